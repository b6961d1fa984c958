"""What was answered in ServiceNow, and what the ticket's own approval covers."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from reconciler.approvals.envelope import Envelope, Planned, beyond
from reconciler.approvals.native import Given, NativeRow, NotGiven, read
from reconciler.approvals.values import Assurance, Delegation, Verdict
from tests.make import DAY, HOUR, MONDAY
from tests.make_approvals import ADA, DIGEST, EVE, LAURA, TOM, a_stage

PEOPLE = {"ada": ADA, "laura": LAURA, "tom": TOM, "eve": EVE}
ROW = NativeRow(
    sys_id="row-1",
    subjects=("ritm-1",),
    approver="sys-laura",
    approver_user="Laura",
    state="approved",
    changed_at=MONDAY,
    actor="laura",
    touched_by="laura",
)
STAGE = a_stage("manager", LAURA, accepts_ticket_approval=True)


def said(row: NativeRow = ROW, stage=STAGE, **changes) -> Given | NotGiven:
    given = {
        "subjects": ("ritm-1", "req-1"),
        "people": PEOPLE,
        "delegations": (),
        "software": ("svc.procurement", "integration"),
        "digest": DIGEST,
        "asked_at": MONDAY - HOUR,
    }
    return read(row, stage, **(given | changes))


def test_an_approval_by_its_approver_counts_with_medium_assurance():
    how = "by the history of the row; whether somebody acted in their name could not be read"

    assert said() == Given(Verdict.APPROVE, LAURA, None, Assurance.MEDIUM, "", MONDAY, how)
    seen = said(replace(ROW, impersonator=""))
    assert isinstance(seen, Given)
    assert (seen.assurance, seen.how) == (Assurance.MEDIUM, "by the history of the row")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"subjects": ("another",)}, "something else"),
        ({"actor": "system"}, "software"),
        ({"actor": "svc.procurement"}, "software"),
        ({"actor": None, "touched_by": "Integration"}, "software"),
        ({"actor": "tom"}, "neither its approver nor a delegate"),
        ({"actor": None, "touched_by": "tom"}, "neither its approver nor a delegate"),
        ({"actor": "nobody"}, "no single account"),
        ({"actor": None, "touched_by": None}, "who decided it cannot be read"),
        ({"approver_user": "stranger", "actor": "stranger"}, "no single account"),
        ({"impersonator": "eve"}, "acted in the name of"),
    ],
)
def test_what_claims_to_be_an_approval_and_is_none_is_odd(changes, why):
    row = said(replace(ROW, **changes))

    assert isinstance(row, NotGiven)
    assert row.is_odd
    assert why in row.why


@pytest.mark.parametrize("state", ["requested", "not requested", "not_required", "cancelled", "duplicate"])
def test_a_row_that_is_not_decided_says_nothing(state):
    row = said(replace(ROW, state=state))

    assert isinstance(row, NotGiven)
    assert not row.is_odd


def test_the_history_outranks_who_touched_the_row_last():
    assert isinstance(said(replace(ROW, touched_by="system")), Given)
    assert isinstance(said(replace(ROW, actor="system", touched_by="laura")), NotGiven)


def test_where_only_the_last_touch_can_be_read_the_assurance_is_low():
    row = said(replace(ROW, actor=None, touched_by="laura"))

    assert isinstance(row, Given)
    assert (row.actor, row.assurance) == (LAURA, Assurance.LOW)


def test_a_delegate_decides_for_the_approver_at_the_time_of_the_change():
    delegation = Delegation(LAURA, TOM, MONDAY - DAY, MONDAY + HOUR, source="servicenow")
    row = replace(ROW, actor="tom")

    given = said(row, delegations=(delegation,))
    late = said(replace(row, changed_at=MONDAY + HOUR), delegations=(delegation,))

    assert isinstance(given, Given)
    assert (given.actor, given.acting_for) == (TOM, LAURA)
    assert isinstance(late, NotGiven)


def test_an_approver_who_is_not_of_this_stage_is_left_to_another_one():
    row = said(replace(ROW, approver_user="tom", actor="tom"))

    assert row == NotGiven("its approver is not one of this stage")


def test_without_the_rules_word_an_approval_has_to_name_the_digest_and_be_newer():
    strict = a_stage("manager", LAURA, accepts_ticket_approval=False)
    naming = replace(ROW, comment=f"I agree to {DIGEST[:12]}.")

    assert isinstance(said(ROW, strict), NotGiven)
    assert isinstance(said(naming, strict), Given)
    assert isinstance(said(naming, strict, asked_at=MONDAY + HOUR), NotGiven)


def test_a_no_counts_also_without_a_reason_and_keeps_what_was_said():
    mute, talking = said(replace(ROW, state="rejected")), said(replace(ROW, state="rejected", comment="Too dear."))

    assert isinstance(mute, Given)
    assert isinstance(talking, Given)
    assert (mute.verdict, mute.comment[:8], talking.comment[:9]) == (Verdict.REJECT, "Rejected", "Too dear.")
    assert min(len(mute.comment), len(talking.comment)) >= 10


# --- the envelope -------------------------------------------------------------------------------------------------

PERIOD = {"starts_on": None, "ends_on": None, "duration_days": None}
ASKED = Envelope("ada-oid", "m365-e5", PERIOD, Decimal("57.00"), frozenset({"sku-e3"}))
PLAN = Planned({"ADA-oid"}, {"m365-e5"}, PERIOD, Decimal("57.00"), ("SKU-E3",))


def test_a_plan_inside_what_the_ticket_asks_for_is_covered():
    assert beyond(ASKED, PLAN) == ""
    assert beyond(replace(ASKED, price_cap=None), replace(PLAN, price=Decimal(0))) == ""


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"people": {"eve-oid"}}, "another person"),
        ({"products": {"copilot"}}, "another product"),
        ({"period": PERIOD | {"duration_days": 30}}, "another period"),
        ({"price": Decimal("57.01")}, "costs 57.01"),
        ({"price": None}, "not known"),
        ({"removals": ("sku-visio",)}, "sku-visio"),
    ],
)
def test_whatever_is_beyond_the_ticket_is_named(changes, why):
    assert why in beyond(ASKED, replace(PLAN, **changes))


def test_a_ticket_that_showed_no_price_covers_none():
    assert "showed no price" in beyond(replace(ASKED, price_cap=None), PLAN)
