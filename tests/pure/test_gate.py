"""What may be sent, and what the gate says when it may not."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from desired_state.model import LineKey, Period, Says, UserId
from desired_state.rules import Rules
from reconciler.allowance import Allowance
from reconciler.causes import Cause
from reconciler.lifecycle import Phase
from reconciler.line import (
    Decision,
    Lane,
    Line,
    LineState,
    Observed,
)
from reconciler.loop.diff import Windows, diff
from reconciler.loop.gate import Gates, Policy, gate
from reconciler.loop.guards import Limits, Used
from reconciler.loop.guards.scope import EVERYBODY, Scope
from reconciler.loop.guards.watch import Watch
from reconciler.loop.plan import Bounds, plan
from reconciler.model import PlanState, Verdict
from tests.make import ADA, DAY, MONDAY, VISIO, VISIO_WEB, a_line, a_product, a_sku, a_user, details_of, seen

ENFORCE = Policy(mode="enforce")
CONTRACTORS = Rules.model_validate(
    {
        "rules": [
            {"id": "contractors-end", "kind": "end_date_required", "employee_types": ["Contractor"], "max_days": 90},
            {"id": "dear", "kind": "stage_required", "price_above": "30", "stages": ["manager"]},
            {"id": "sales-only", "kind": "eligibility", "products": ["copilot"], "departments": ["Sales"]},
        ]
    }
)


def gated(
    lines: list[Line], observed: Observed, policy: Policy = ENFORCE, rules: Rules | None = None, watch=None
) -> Gates:
    findings = diff(lines, observed, at=MONDAY, windows=Windows())
    plans = plan(findings, observed, Bounds())
    return gate(plans, rules or Rules(), policy=policy, watch=watch or Watch(MONDAY), at=MONDAY)


def one(line: Line, observed: Observed, policy: Policy = ENFORCE, rules: Rules | None = None, watch=None):
    (result,) = gated([line], observed, policy, rules, watch).gated
    return result


def test_drift_of_an_approved_request_is_cleared_in_enforce():
    assert one(a_line(says=Says.APPROVED), seen(a_user())).decision is Decision.CLEARED


@pytest.mark.parametrize(("mode", "decision"), [("observe", Decision.PLANNED), ("suggest", Decision.AWAITING)])
def test_modes_below_enforce_write_nothing(mode, decision):
    assert one(a_line(), seen(a_user()), Policy(mode=mode)).decision is decision


def test_a_products_own_mode_is_what_counts():
    policy = Policy(mode="enforce", modes={a_product().key: "observe"})

    assert one(a_line(), seen(a_user()), policy).decision is Decision.PLANNED


def test_a_ticket_that_is_kept_our_hands_off_is_held_and_its_access_not_vouched_for():
    policy = replace(ENFORCE, held_tickets={"RITM0000001": "A colleague works on it."})
    proven = seen(a_user(holds={VISIO: ()}), details={ADA: details_of({VISIO: {VISIO_WEB: PlanState.SUCCESS}})})

    result = one(a_line(), proven, policy)

    assert (result.decision, result.sentence) == (Decision.HELD, "A colleague works on it.")
    assert result.proposal.finding.verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    "policy",
    [replace(ENFORCE, act_max_age=timedelta(hours=3)), replace(ENFORCE, act_on_tickets_since=MONDAY)],
)
def test_a_ticket_older_than_the_horizon_is_reported_only(policy):
    result = one(a_line(), seen(a_user()), policy)

    assert result.decision is Decision.HELD
    assert "reported only" in result.sentence


@pytest.mark.parametrize(
    "scope",
    [
        replace(EVERYBODY, deny_users=frozenset({"ada@contoso.example"})),
        replace(EVERYBODY, deny_users=frozenset({ADA})),
        Scope(allow_domains=frozenset({"fabrikam.example"})),
    ],
)
def test_an_account_out_of_scope_is_never_changed(scope):
    result = one(a_line(), seen(a_user()), watch=Watch(MONDAY, scope))

    assert (result.decision, result.cause) == (Decision.HELD, Cause.USER_OUT_OF_SCOPE)


def test_a_contractor_without_an_end_date_is_held_by_the_rule():
    result = one(a_line(says=Says.APPROVED), seen(a_user(employee_type="Contractor")), rules=CONTRACTORS)

    assert (result.decision, result.cause) == (Decision.HELD, Cause.POLICY_REFUSED)
    assert [j["rule"] for j in result.judged] == ["contractors-end", "dear", "sales-only"]


def test_data_that_a_rule_needs_and_nobody_knows_is_asked_and_never_allowed():
    result = one(a_line(says=Says.APPROVED), seen(a_user(employee_type=None)), rules=CONTRACTORS)

    assert result.decision is Decision.AWAITING


def test_a_ticket_closed_under_older_rules_is_not_judged_again():
    result = one(a_line(says=Says.FULFILLED), seen(a_user(employee_type="Contractor")), rules=CONTRACTORS)

    assert result.decision is Decision.CLEARED


def test_an_order_by_an_agents_account_only_proposes():
    policy = replace(ENFORCE, agents=frozenset({"svc.chatbot"}))

    result = one(a_line(says=Says.APPROVED, opened_by="svc.chatbot"), seen(a_user()), policy)

    assert result.decision is Decision.AWAITING


def test_a_grant_that_ends_is_given_like_any_other():
    result = one(a_line(period=Period(duration_days=30)), seen(a_user()))

    assert result.decision is Decision.CLEARED


def test_a_line_that_a_person_has_is_left_to_that_person():
    state = LineState(LineKey("RITM0000001", 1), Phase.REVIEW, note="Handed back.")

    assert one(a_line(state=state), seen(a_user())).decision is Decision.HELD


def test_a_failed_attempt_is_not_repeated_before_its_time():
    state = LineState(LineKey("RITM0000001", 1), Phase.CONVERGING, attempts=1, next_at=MONDAY + timedelta(minutes=5))

    assert one(a_line(state=state), seen(a_user())).decision is Decision.HELD
    due = replace(state, next_at=MONDAY - timedelta(seconds=1))
    assert one(a_line(state=due), seen(a_user())).decision is Decision.CLEARED


@given(count=st.integers(1, 12), limit=st.integers(0, 12), used=st.integers(0, 12))
def test_a_lane_is_all_or_nothing(count, limit, used):
    people = [UserId(f"{n:08d}-0000-4000-8000-000000000000") for n in range(count)]
    lines = [a_line(f"RITM{n:07d}", user=p, requested_at=MONDAY - n * DAY) for n, p in enumerate(people)]
    budget = dict.fromkeys(Lane, Allowance(limit))
    others = frozenset(f"other-{n}" for n in range(used))
    watch = Watch(MONDAY, limits=Limits(budget, budget), used=Used({Lane.GRANTS: others}))

    result = gated(lines, seen(*(a_user(p) for p in people), skus=[a_sku(free=99)]), watch=watch)

    fits = used + count <= limit
    assert {g.decision for g in result.gated} == {Decision.CLEARED if fits else Decision.STOPPED}
    assert bool(result.trips) is not fits


@pytest.mark.parametrize("observed", [seen(), seen(a_user(is_enabled=False)), seen(a_user())])
def test_scope_holds_every_line_whatever_would_become_of_it(observed):
    scope = Scope(allow_users=frozenset({"grace@contoso.example"}))
    line = a_line() if observed.users else a_line(user=None)

    result = one(line, observed, watch=Watch(MONDAY, scope))

    assert (result.decision, result.cause) == (Decision.HELD, Cause.USER_OUT_OF_SCOPE)
    assert result.proposal.actions == ()


def test_a_ticket_outside_the_horizon_whose_access_is_there_is_not_answered():
    proven = seen(a_user(holds={VISIO: ()}), details={ADA: details_of({VISIO: {VISIO_WEB: PlanState.SUCCESS}})})
    old = a_line(says=Says.APPROVED, due_since=MONDAY - 90 * DAY)

    assert one(old, proven).may_answer is False
    assert one(a_line(says=Says.APPROVED), proven).may_answer is True


def test_rules_are_recorded_for_a_closed_ticket_that_is_changed():
    result = one(a_line(says=Says.FULFILLED), seen(a_user(employee_type="Contractor")), rules=CONTRACTORS)

    assert [j["rule"] for j in result.judged] == ["contractors-end", "dear", "sales-only"]
