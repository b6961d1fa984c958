"""Tickets read as lines: what each line asks for, or the sentence its requester gets."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from desired_state.catalogue import Catalogue, load_builtin
from desired_state.intake import LINES_MAX, USER_NAMES_MAX, Intake, intake, user_names
from desired_state.items import Item
from desired_state.model import Claim, Period, Refusal, Request, Says, Ticket, Why
from tests.make_tickets import (
    ADA,
    BOB,
    COLLEAGUE,
    DAY,
    MONDAY,
    OTHER_GROUP,
    OUR_GROUP,
    PEOPLE,
    a_closed_ticket,
    a_task,
    a_ticket,
    an_approval,
    an_item,
)


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_builtin()


@pytest.fixture
def read(catalogue):
    def read(ticket: Ticket, item: Item | None = None, **more) -> Intake:
        return intake(ticket, item or an_item(), PEOPLE, catalogue, at=MONDAY, our_groups={OUR_GROUP}, **more)

    return read


def asking(**answers: str) -> Ticket:
    return a_ticket(variables={"user": ADA.sys_id, "product": "visio-plan-2"} | answers)


def team_item(**changes) -> Item:
    return an_item(variables={}, rows={"person": "user", "product": "product"}, **changes)


def test_an_approved_ticket_with_a_task_in_our_queue_is_one_request(read):
    result = read(asking(justification="Floor plans", cost_center="CC-1"))

    (line,) = result.lines
    assert isinstance(line, Request)
    assert (line.product, line.claim.person, line.says) == ("visio-plan-2", ADA, Says.APPROVED)
    assert (line.justification, line.cost_center) == ("Floor plans", "CC-1")
    assert line.period.is_open
    assert str(line.key) == "RITM0010001/1"


def test_without_a_person_on_the_form_the_ticket_s_own_person_counts(read):
    (line,) = read(a_ticket(variables={"product": "visio-plan-2"}, requested_for=BOB)).lines

    assert line.claim.person == BOB


def test_a_sign_in_name_is_taken_as_it_was_typed(read):
    (line,) = read(asking(user=" Ada.Lovelace@contoso.com ")).lines

    assert (line.claim.upn, line.claim.person) == ("Ada.Lovelace@contoso.com", None)


def test_a_user_name_means_who_was_looked_up_for_it_and_nobody_else_that_is_known(read):
    known = asking(user="ada")

    (found,) = read(known, named={"ada": BOB}).lines
    (hidden,) = read(known, named={"ada": None}).lines
    (nobody,) = read(known).lines

    assert found.claim == Claim(None, BOB)
    assert hidden.why is Why.UNKNOWN
    assert nobody.why is Why.IDENTITY_MISMATCH


def test_what_is_looked_up_is_a_user_name_where_a_person_is_expected():
    typed = f"ada,{BOB.sys_id},{BOB.sys_id.upper()},bob@contoso.com,Ada Lovelace,CONTOSO\\ada,javascript:x,a^b"
    rows = ({"user": "bob", "product": "ada"}, {"user": "", "product": "x"}, {"user": "ada.b"})

    assert user_names(asking(user=typed, manager="carl"), an_item()) == {1: "ada", 6: "CONTOSO\\ada"}
    assert user_names(a_ticket(variables={"user": "eve"}, rows=rows), team_item()) == {1: "bob", 3: "ada.b"}
    assert user_names(a_ticket(variables=None), an_item()) == {}


def test_one_ticket_looks_up_so_many_user_names_the_first_of_them():
    many = ",".join(f"user{n},user0" for n in range(USER_NAMES_MAX + 5))

    found = user_names(asking(user=many), an_item())

    assert set(found.values()) == {f"user{n}" for n in range(USER_NAMES_MAX)}


def test_a_display_name_is_a_question_because_two_people_can_share_it(read):
    (line,) = read(asking(user="Ada Lovelace")).lines

    assert isinstance(line, Refusal)
    assert line.why is Why.IDENTITY_MISMATCH
    assert "sign-in name" in line.sentence
    assert line.product == "visio-plan-2"


def test_a_person_that_servicenow_does_not_show_is_unknown_and_not_missing(read):
    (line,) = read(asking(user="9" * 32)).lines

    assert line.why is Why.UNKNOWN


def test_several_people_in_one_list_are_several_lines(read):
    lines = read(asking(user=f"{ADA.sys_id},{BOB.sys_id}")).lines

    assert [(line.key.line, line.claim.person.user_name) for line in lines] == [(1, "ada"), (2, "bob")]


def test_answers_that_could_not_be_read_hold_the_ticket(read):
    (line,) = read(a_ticket(variables=None)).lines

    assert isinstance(line, Refusal)
    assert line.why is Why.UNKNOWN
    assert "could not be read" in line.sentence
    assert line.needs_person is False


def test_each_row_of_a_table_is_a_line_and_one_bad_row_spoils_no_other(read):
    rows = (
        {"user": ADA.sys_id, "product": "power-bi-pro"},
        {"user": BOB.sys_id, "product": "no such thing"},
        {"user": "", "product": "power-bi-pro"},
    )

    first, second, third = read(a_ticket(variables={}, rows=rows), team_item()).lines

    assert (first.product, first.claim.person) == ("power-bi-pro", ADA)
    assert second.why is Why.PRODUCT_UNMAPPED
    assert third.why is Why.IDENTITY_MISMATCH
    assert [line.key.line for line in (first, second, third)] == [1, 2, 3]


def test_an_empty_row_is_never_filled_with_whoever_ordered(read):
    rows = ({"user": "", "product": "power-bi-pro"},)

    (line,) = read(a_ticket(variables={"user": BOB.sys_id}, rows=rows, requested_for=BOB), team_item()).lines

    assert isinstance(line, Refusal)


def test_a_table_without_rows_holds_the_ticket(read):
    (line,) = read(a_ticket(variables={}, rows=()), team_item()).lines

    assert line.why is Why.UNKNOWN


def test_three_licences_for_one_person_need_three_names(read):
    item = an_item(variables={"person": "user", "product": "product", "quantity": "quantity"})

    (line,) = read(asking(quantity="3"), item).lines

    assert line.why is Why.POLICY_REFUSED
    assert "'quantity' is 3, but one person is named" in line.sentence


def test_a_quantity_that_fits_the_people_is_fine(read):
    item = an_item(variables={"person": "user", "product": "product", "quantity": "quantity"})

    lines = read(asking(quantity="2", user=f"{ADA.sys_id},{BOB.sys_id}"), item).lines

    assert all(isinstance(line, Request) for line in lines)


def test_a_list_without_end_is_refused_as_a_whole(read):
    (line,) = read(asking(user=",".join([ADA.sys_id] * (LINES_MAX + 1)))).lines

    assert line.why is Why.POLICY_REFUSED


@pytest.mark.parametrize(
    ("answers", "period"),
    [
        ({}, Period()),
        ({"end_date": "2026-12-31"}, Period(ends_on=date(2026, 12, 31))),
        ({"end_date": "2026-12-31 22:30:00"}, Period(ends_on=date(2026, 12, 31))),
        ({"end_date": "2026-12-31T10:00:00Z"}, Period(ends_on=date(2026, 12, 31))),
        ({"start_date": "2026-12-01", "duration": "30"}, Period(starts_on=date(2026, 12, 1), duration_days=30)),
        ({"duration": "30 days"}, Period(duration_days=30)),
        ({"duration": "4 weeks"}, Period(duration_days=28)),
        ({"duration": "3 months"}, Period(duration_days=90)),
        (
            {"start_date": "2026-12-01", "end_date": "2026-12-31", "duration": "30"},
            Period(starts_on=date(2026, 12, 1), ends_on=date(2026, 12, 31)),
        ),
    ],
)
def test_a_period_is_read_as_it_was_meant(read, answers, period):
    (line,) = read(asking(**answers)).lines

    assert line.period == period


def test_an_instant_is_utc_and_its_day_is_the_tenant_s(read):
    (line,) = read(asking(end_date="2026-12-31 23:30:00"), zone=ZoneInfo("Europe/Berlin")).lines

    assert line.period.ends_on == date(2027, 1, 1)


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({"end_date": "31.12.2026"}, ("'end_date'", "'31.12.2026'", "2026-12-31")),
        ({"end_date": "12/31/2026"}, ("'end_date'", "2026-12-31")),
        ({"end_date": "2026-02-30"}, ("'2026-02-30'",)),
        ({"end_date": "9999-12-31"}, ("too far ahead", "no end")),
        ({"start_date": "2026-12-31", "end_date": "2026-12-01"}, ("2026-12-01", "before 'start_date'")),
        ({"duration": "a while"}, ("'duration'", "'a while'", "4 weeks")),
        ({"duration": "0"}, ("'duration'",)),
        ({"end_date": "2026-12-31", "duration": "5"}, ("only one of them can count",)),
    ],
)
def test_a_period_that_cannot_be_read_is_asked_back_by_name(read, answers, words):
    (line,) = read(asking(**answers)).lines

    assert isinstance(line, Refusal)
    assert line.why is Why.POLICY_REFUSED
    assert all(word in line.sentence for word in words)


def test_a_task_that_a_colleague_has_is_theirs(read):
    ticket = a_ticket(tasks=(a_task(assigned_to=COLLEAGUE),))

    (line,) = read(ticket).lines

    assert (line.why, line.product) == (Why.HELD_BY_PERSON, "visio-plan-2")
    assert "SCTASK0010001" in line.sentence


def test_a_task_that_is_assigned_to_our_own_account_is_ours(read):
    ticket = a_ticket(tasks=(a_task(assigned_to=COLLEAGUE),))

    (line,) = read(ticket, our_accounts={COLLEAGUE}).lines

    assert isinstance(line, Request)


def test_while_another_group_works_on_it_it_is_not_our_turn(read):
    (line,) = read(a_ticket(tasks=(a_task(assignment_group=OTHER_GROUP),))).lines

    assert line.why is Why.HELD_BY_PERSON


def test_an_approved_item_without_any_task_is_ours(read):
    (line,) = read(a_ticket(tasks=())).lines

    assert isinstance(line, Request)


def test_an_item_that_we_close_ourselves_is_left_to_the_person_it_is_assigned_to(read):
    ticket = a_ticket(tasks=(), assigned_to=COLLEAGUE)

    (line,) = read(ticket, an_item(close="item")).lines

    assert line.why is Why.HELD_BY_PERSON


def test_a_fulfilled_ticket_is_read_whoever_had_its_task(read):
    ticket = a_closed_ticket(tasks=(a_task(state="3", is_active=False, assigned_to=COLLEAGUE),))

    (line,) = read(ticket).lines

    assert isinstance(line, Request)
    assert (line.says, line.due_since) == (Says.FULFILLED, ticket.closed_at)


def test_windows_count_from_the_approval_and_never_from_our_own_notes(read):
    decided = MONDAY - DAY / 2
    early = a_ticket(approvals=(an_approval(decided_at=decided),))
    later = a_ticket(approvals=(an_approval(decided_at=decided),), updated_at=MONDAY + timedelta(days=3), mod_count=9)

    assert read(early).lines[0].due_since == read(later).lines[0].due_since == decided


def test_the_price_that_was_approved_is_the_cap_and_zero_is_no_price(read):
    assert read(a_ticket(price=Decimal("9.40"))).lines[0].price_cap == Decimal("9.40")
    assert read(a_ticket(price=Decimal("0"))).lines[0].price_cap is None


def test_a_price_for_the_whole_item_is_shared_by_its_lines_and_never_rounded_up(read):
    rows = tuple({"user": p.sys_id, "product": "power-bi-pro"} for p in (ADA, BOB, ADA))

    lines = read(a_ticket(variables={}, rows=rows, price=Decimal("20.00")), team_item(price_covers="item")).lines

    assert [line.price_cap for line in lines] == [Decimal("6.66")] * 3


def test_an_agent_s_order_names_the_agent(read):
    (line,) = read(a_ticket(opened_by=BOB, approvals=(an_approval(approver_name="Grace Hopper"),))).lines

    assert (line.opened_by, line.approvers) == ("bob", ("Grace Hopper",))
