"""What is believed of one line, from what was read and only from that."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from desired_state.model import GroupId, LineKey, Period, Refusal, Says, Why
from desired_state.resolve import OVER
from reconciler.causes import Cause
from reconciler.lifecycle import Phase
from reconciler.line import (
    Binding,
    DriftKind,
    Finding,
    Gone,
    Known,
    Line,
    LineState,
    Observed,
    Rest,
    Unread,
)
from reconciler.loop.diff import Windows, diff
from reconciler.loop.plan import Bounds, plan
from reconciler.model import Assignment, PlanState, Verdict
from tests.make import (
    ADA,
    DAY,
    E3,
    E5,
    HOUR,
    MCOEV,
    MONDAY,
    SWAY,
    TEAMS1,
    VISIO,
    VISIO_WEB,
    YAMMER,
    a_line,
    a_product,
    a_sku,
    a_ticket,
    a_user,
    details_of,
    seen,
)

S = PlanState


def found(line: Line, observed: Observed, *, at=MONDAY) -> Finding:
    (finding,) = diff([line], observed, at=at, windows=Windows())
    return finding


def test_a_closed_ticket_is_true_when_its_proof_plan_is_provisioned():
    user = a_user(holds={VISIO: ()})

    finding = found(a_line(), seen(user, details={ADA: details_of({VISIO: {VISIO_WEB: S.SUCCESS}})}))

    assert (finding.rest, finding.verdict, finding.cause) == (Rest.PROVEN, Verdict.TRUE, None)
    assert finding.covered_by is None


def test_a_bundle_that_brings_the_proof_plan_covers_the_product():
    user = a_user(holds={E5: ()})

    finding = found(a_line(), seen(user, details={ADA: details_of({E5: {VISIO_WEB: S.SUCCESS}})}))

    assert (finding.verdict, finding.covered_by) == (Verdict.TRUE, E5)


def test_nothing_assigned_without_a_location_names_the_location_as_the_cause():
    finding = found(a_line(), seen(a_user(usage_location="")))

    assert (finding.rest, finding.verdict) == (Rest.ACT, Verdict.FALSE)
    assert finding.cause is Cause.USAGE_LOCATION_MISSING
    assert finding.drift is not None and finding.drift.needs_location


def test_nothing_assigned_with_a_location_was_never_assigned():
    finding = found(a_line(), seen(a_user()))

    assert (finding.cause, finding.verdict) == (Cause.NEVER_ASSIGNED, Verdict.FALSE)


@pytest.mark.parametrize(
    "hidden",
    [{"assignments": None}, {"skus": None}, {"is_enabled": None}, {"usage_location": None}],
)
def test_what_the_directory_does_not_show_is_unknown_and_never_nothing(hidden):
    finding = found(a_line(), seen(a_user(**hidden)))

    assert (finding.rest, finding.verdict, finding.cause) == (Rest.HOLD, Verdict.UNKNOWN, Cause.PERMISSION_MISSING)


def test_two_lists_that_disagree_are_unknown():
    user = a_user(holds={VISIO: ()}, skus=frozenset({VISIO, E3}))

    finding = found(a_line(), seen(user))

    assert (finding.verdict, finding.drift) == (Verdict.UNKNOWN, None)


def test_an_unread_account_and_an_unread_plan_list_are_unknown():
    line, user = a_line(), a_user(holds={VISIO: ()})

    unread = found(line, Observed(MONDAY, {ADA: Unread("time limit")}, {}, {}))
    no_plans = found(line, Observed(MONDAY, {ADA: user}, {ADA: Unread("time limit")}, {}))

    for finding in (unread, no_plans):
        assert (finding.verdict, finding.cause, finding.drift) == (Verdict.UNKNOWN, Cause.REMOTE_FAILING, None)


def test_a_bound_account_that_is_gone_goes_to_a_person():
    finding = found(a_line(), Observed(MONDAY, {ADA: Gone()}, {}, {}))

    assert (finding.rest, finding.verdict) == (Rest.REVIEW, Verdict.UNKNOWN)


def test_a_plan_switched_off_directly_is_switched_on_and_the_others_stay_off():
    product = a_product("teams", proof_plans=(TEAMS1,), candidate_skus=(VISIO,))
    user = a_user(holds={E3: (TEAMS1, SWAY, YAMMER)})
    plans = details_of({E3: {TEAMS1: S.DISABLED, SWAY: S.DISABLED, YAMMER: S.DISABLED}})

    finding = found(a_line(product=product), seen(user, details={ADA: plans}))

    assert (finding.rest, finding.cause) == (Rest.ACT, Cause.PLAN_DISABLED)
    assert finding.drift is not None
    assert finding.drift.kind is DriftKind.PLAN_OFF
    assert finding.drift.disabled_after == {SWAY, YAMMER}


def test_of_two_editions_in_a_bundle_only_the_one_that_was_asked_for_is_switched_on():
    product = a_product("entra-p1", proof_plans=(SWAY, YAMMER), candidate_skus=(VISIO,))
    plans = details_of({E5: {SWAY: S.DISABLED, YAMMER: S.DISABLED}})

    finding = found(a_line(product=product), seen(a_user(holds={E5: (SWAY, YAMMER)}), details={ADA: plans}))

    assert finding.drift is not None
    assert finding.drift.disabled_after == {YAMMER}


def test_the_licence_in_which_the_plan_is_off_is_changed_and_not_one_in_which_it_is_on():
    product = a_product("pair", proof_plans=(SWAY, YAMMER), proof_mode="all", candidate_skus=(VISIO,))
    user = a_user(holds={VISIO: (), E3: (YAMMER,)})
    plans = details_of({VISIO: {SWAY: S.SUCCESS}, E3: {YAMMER: S.DISABLED}})

    finding = found(a_line(product=product), seen(user, details={ADA: plans}))

    assert finding.drift is not None
    assert (finding.drift.sku, finding.drift.disabled_after) == (E3, frozenset())


def test_what_a_group_switches_off_is_not_looked_for_in_a_direct_licence_that_has_it_not():
    product = a_product("pair", proof_plans=(SWAY, YAMMER), proof_mode="all", candidate_skus=(VISIO,))
    rows = (Assignment(VISIO, None, frozenset(), "Active"), Assignment(E3, GroupId("g"), frozenset({YAMMER}), "Active"))
    user = a_user(holds={VISIO: (), E3: ()}, assignments=rows)
    plans = details_of({VISIO: {SWAY: S.SUCCESS}, E3: {YAMMER: S.DISABLED}})

    finding = found(a_line(product=product), seen(user, details={ADA: plans}))

    assert (finding.rest, finding.cause, finding.drift) == (Rest.HAND_BACK, Cause.PLAN_DISABLED, None)


def test_where_the_sku_itself_is_asked_for_no_other_licence_is_switched_on():
    product = a_product("plan-5", proof_plans=(SWAY,), proof_mode="all+sku", candidate_skus=(VISIO,))
    rows = (
        Assignment(VISIO, GroupId("g"), frozenset({SWAY}), "Active"),
        Assignment(E3, None, frozenset({SWAY}), "Active"),
    )
    user = a_user(holds={VISIO: (), E3: ()}, assignments=rows)
    plans = details_of({VISIO: {SWAY: S.DISABLED}, E3: {SWAY: S.DISABLED}})

    finding = found(a_line(product=product), seen(user, details={ADA: plans}))

    assert (finding.cause, finding.drift) == (Cause.PLAN_DISABLED, None)


def test_a_plan_switched_off_by_a_group_is_left_to_people():
    product = a_product("teams", proof_plans=(TEAMS1,), candidate_skus=(VISIO,))
    row = Assignment(E3, GroupId("g"), frozenset({TEAMS1}), "Active")
    user = a_user(holds={E3: ()}, assignments=(row,))

    finding = found(a_line(product=product), seen(user, details={ADA: details_of({E3: {TEAMS1: S.DISABLED}})}))

    assert (finding.rest, finding.cause, finding.drift) == (Rest.HAND_BACK, Cause.PLAN_DISABLED, None)


@pytest.mark.parametrize("state", [S.PENDING_INPUT, S.PENDING_ACTIVATION, S.PENDING_PROVISIONING, S.WAITING])
def test_provisioning_is_waited_for_within_the_window_and_handed_back_after_it(state):
    row = Assignment(VISIO, None, frozenset(), "Active", updated_at=MONDAY - HOUR)
    user = a_user(holds={VISIO: ()}, assignments=(row,))
    observed = seen(user, details={ADA: details_of({VISIO: {VISIO_WEB: state}})})

    early = found(a_line(), observed)
    late = found(a_line(), observed, at=MONDAY + 2 * DAY)

    assert (early.rest, early.verdict) == (Rest.WAIT, Verdict.PENDING)
    assert (late.rest, late.verdict) == (Rest.HAND_BACK, Verdict.FALSE)


def test_a_disabled_account_is_left_alone():
    finding = found(a_line(), seen(a_user(is_enabled=False)))

    assert (finding.rest, finding.cause, finding.drift) == (Rest.CANCEL, Cause.SUBJECT_LEFT, None)
    assert finding.verdict is Verdict.UNKNOWN  # a leaver's licences are gone for a reason: no failure


def test_a_joiner_is_pending_within_the_sync_window_and_handed_back_after_it():
    line = a_line(user=None)

    early, late = found(line, seen()), found(line, seen(), at=MONDAY + 5 * DAY)

    assert (early.rest, early.verdict, early.cause) == (Rest.WAIT, Verdict.PENDING, Cause.USER_MISSING)
    assert (late.rest, late.verdict, late.cause) == (Rest.HAND_BACK, Verdict.FALSE, Cause.USER_MISSING)


def test_a_name_that_may_mean_somebody_else_is_a_question():
    line = a_line(binding=Binding(Known.MISMATCH, why="The account is newer than the ticket."))

    finding = found(line, seen(a_user()))

    assert (finding.rest, finding.verdict, finding.drift) == (Rest.REVIEW, Verdict.UNKNOWN, None)


def test_what_was_granted_and_is_gone_is_not_granted_again_by_itself():
    state = LineState(LineKey("RITM0000001", 1), Phase.GRANTED)

    finding = found(a_line(state=state), seen(a_user()))

    assert (finding.rest, finding.cause, finding.drift) == (Rest.HOLD, Cause.REMOVED_LATER, None)


def test_a_ticket_that_is_not_closed_has_no_verdict():
    finding = found(a_line(says=Says.APPROVED), seen(a_user()))

    assert (finding.rest, finding.verdict, finding.cause) == (Rest.ACT, None, Cause.NEVER_ASSIGNED)


def test_a_line_that_could_not_be_read_is_kept_with_its_sentence():
    refusal = Refusal(
        LineKey("RITM0000001", 1),
        Why.TICKET_INCONSISTENT,
        "State and stage disagree.",
        Says.INCONSISTENT,
        needs_person=True,
    )
    line = Line(refusal, a_ticket(), Binding(Known.UNREAD))

    finding = found(line, seen())

    assert (finding.rest, finding.verdict, finding.cause) == (
        Rest.REVIEW,
        Verdict.UNKNOWN,
        Cause.TICKET_INCONSISTENT,
    )
    assert finding.sentence == "State and stage disagree."


def test_every_line_is_judged_and_the_oldest_request_comes_first():
    old = a_line("RITM0000002", requested_at=MONDAY - 9 * DAY)
    new = a_line("RITM0000001", requested_at=MONDAY - DAY)

    findings = diff([new, old], seen(a_user()), at=MONDAY, windows=Windows())

    assert [f.key for f in findings] == [old.key, new.key]


def test_with_all_plus_sku_only_the_products_own_sku_can_prove_it():
    product = a_product("project-plan-5", proof_mode="all+sku")
    plans = details_of({E3: {VISIO_WEB: S.SUCCESS}})

    finding = found(a_line(product=product), seen(a_user(holds={E3: ()}), details={ADA: plans}, skus=[a_sku()]))

    assert finding.rest is Rest.ACT


def test_with_all_the_worst_plan_speaks():
    product = replace(a_product(), proof_plans=(VISIO_WEB, SWAY), proof_mode="all")
    user = a_user(holds={VISIO: ()})
    plans = details_of({VISIO: {VISIO_WEB: S.SUCCESS, SWAY: S.PENDING_INPUT}})

    finding = found(a_line(product=product), seen(user, details={ADA: plans}))

    assert finding.verdict is Verdict.PENDING or finding.rest is Rest.HOLD
    assert finding.rest is not Rest.PROVEN


# --- another product than the one asked for ---------------------------------------------------------------------


def guessed(cap):
    asked = a_product("visio-plan-2", candidate_skus=(E5,), proof_plans=(MCOEV,), price=Decimal("14.10"))
    lower = a_product()
    line = replace(a_line(product=asked, price_cap=cap), siblings=(asked, lower))
    user = a_user(holds={VISIO: ()})
    (finding,) = diff(
        [line], seen(user, details={ADA: details_of({VISIO: {VISIO_WEB: S.SUCCESS}})}), at=MONDAY, windows=Windows()
    )
    return finding


def test_a_dearer_product_than_was_approved_is_handed_back_where_the_fulfiller_guessed():
    finding = guessed(Decimal("5.00"))

    assert (finding.rest, finding.verdict, finding.cause) == (Rest.HAND_BACK, Verdict.FALSE, Cause.WRONG_PRODUCT)
    assert "14.10 a month, and 5.00 was approved" in finding.sentence


def test_the_right_product_is_assigned_where_its_price_was_approved():
    finding = guessed(Decimal("20.00"))

    assert (finding.rest, finding.cause) == (Rest.ACT, Cause.WRONG_PRODUCT)


def test_a_line_that_our_own_code_cannot_judge_stops_no_other_and_nothing_is_changed_for_it():
    broken = a_line("RITM0000009", period=Period(duration_days=14))
    broken = replace(broken, skipped=f"{OVER}ended")  # over, and it never began: nobody makes this
    observed = seen(a_user())

    findings = diff([broken, a_line()], observed, at=MONDAY, windows=Windows())
    judged = {f.key: f for f in findings}
    actions = {p.finding.key: p.actions for p in plan(findings, observed, Bounds()).proposals}

    found = judged[broken.key]
    assert judged[a_line().key].rest is Rest.ACT
    assert (found.rest, found.cause, found.drift) == (Rest.HOLD, Cause.UNKNOWN, None)
    assert "AssertionError in takeback.py, line" in found.defect
    assert "defect of the reconciler" in found.sentence
    assert actions[broken.key] == ()
    assert actions[a_line().key] != ()
