"""What a ticket says about itself, and when its own fields disagree."""

from __future__ import annotations

from dataclasses import replace

import pytest

from desired_state.catalogue import load_builtin
from desired_state.intake import intake
from desired_state.model import Refusal, Says, Why
from desired_state.says import TicketWords, what_it_says
from tests.make_tickets import MONDAY, OUR_GROUP, PEOPLE, a_closed_ticket, a_task, a_ticket, an_approval, an_item

WAITING = {"approval": "requested", "request_approval": "requested", "tasks": ()}


def says(ticket, item=None, words=None):
    return what_it_says(ticket, item or an_item(), words or TicketWords())


@pytest.mark.parametrize(
    ("ticket", "expected"),
    [
        (a_closed_ticket(), Says.FULFILLED),
        (a_closed_ticket(approval="requested", approvals=(an_approval(),)), Says.FULFILLED),
        (a_closed_ticket(approval="not requested"), Says.FULFILLED),
        (a_ticket(), Says.APPROVED),
        (a_ticket(**WAITING), Says.WAITING),
        (a_ticket(**WAITING | {"approvals": (an_approval(),)}), Says.APPROVED),
        (a_ticket(**WAITING | {"approvals": (an_approval(), an_approval("requested"))}), Says.WAITING),
        (a_ticket(**WAITING | {"approvals": (an_approval(), an_approval("not_required"))}), Says.APPROVED),
        (a_ticket(approval="not requested", request_approval="approved"), Says.APPROVED),
        (a_ticket(approval="requested", request_approval="approved"), Says.WAITING),
        (a_ticket(approval="not requested", request_approval="requested"), Says.WAITING),
        (a_ticket(approval="rejected"), Says.REJECTED),
        (a_ticket(approval="rejected", stage="Request Cancelled", state="4", is_active=False), Says.REJECTED),
        (a_ticket(state="4", is_active=False, stage="Request Cancelled"), Says.CANCELLED),
        (a_ticket(state="7", is_active=False, stage=""), Says.CANCELLED),
    ],
)
def test_what_a_ticket_says_follows_from_its_fields_together(ticket, expected):
    assert says(ticket).says is expected
    assert says(ticket).sentence == ""


@pytest.mark.parametrize(
    ("ticket", "words"),
    [
        (a_closed_ticket(stage="Request Cancelled"), ("state 3", "stage is 'Request Cancelled'")),
        (a_closed_ticket(stage="request_cancelled"), ("stage",)),
        (a_closed_ticket(approval="rejected"), ("state 3", "approval is 'rejected'")),
        (a_closed_ticket(request_approval="rejected"), ("approval of its request",)),
        (a_closed_ticket(approvals=(an_approval(), an_approval("rejected"))), ("approvers rejected",)),
        (a_closed_ticket(is_active=True), ("still active",)),
        (a_closed_ticket(is_active=None), ("'active' could not be read",)),
        (a_closed_ticket(approval="requested", request_approval="requested"), ("nobody approved",)),
        (a_closed_ticket(approval="requested", approvals=(an_approval("requested"),)), ("nobody approved",)),
        (a_closed_ticket(tasks=(a_task(state="4", is_active=False),)), ("SCTASK0010001", "closed incomplete")),
        (a_ticket(is_active=False), ("not active",)),
        (a_ticket(stage="Request Cancelled"), ("stage is 'Request Cancelled'",)),
        (a_ticket(approvals=(an_approval("rejected"),)), ("one of its approvers rejected",)),
        (a_ticket(approval="cancelled"), ("'cancelled'",)),
        (a_ticket(state="42"), ("'42'", "configured states")),
        (a_ticket(state="4", is_active=True), ("still active",)),
        (a_ticket(state="4", is_active=False, stage="Completed"), ("stage is 'Completed'",)),
    ],
)
def test_fields_that_disagree_are_named(ticket, words):
    said = says(ticket)

    assert said.says is Says.INCONSISTENT
    assert all(word in said.sentence for word in words)


def test_an_item_that_needs_no_approval_is_fulfilled_without_one():
    ticket = a_closed_ticket(approval="not requested", request_approval="not requested")

    assert says(ticket).says is Says.INCONSISTENT
    assert says(ticket, an_item(approval="none")).says is Says.FULFILLED


def test_the_words_of_an_instance_are_its_own():
    words = TicketWords(complete_states=frozenset({"30"}), cancelled_stages=frozenset({"abgebrochen"}))

    assert says(a_closed_ticket(state="30"), words=words).says is Says.FULFILLED
    assert says(a_closed_ticket(state="30", stage="Abgebrochen"), words=words).says is Says.INCONSISTENT
    assert says(a_closed_ticket(state="3"), words=words).says is Says.INCONSISTENT


def test_every_line_of_a_ticket_that_contradicts_itself_goes_to_a_person():
    ticket = replace(
        a_closed_ticket(stage="Request Cancelled"), variables={"user": ",".join(PEOPLE), "product": "visio-plan-2"}
    )

    result = intake(ticket, an_item(), PEOPLE, load_builtin(), at=MONDAY, our_groups={OUR_GROUP})

    assert result.says is Says.INCONSISTENT
    assert len(result.lines) == 2
    for line in result.lines:
        assert isinstance(line, Refusal)
        assert line.why is Why.TICKET_INCONSISTENT
        assert line.needs_person
        assert line.sentence == result.sentence
