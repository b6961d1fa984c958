"""What an answer does to a line that awaits one: exactly this plan, in time, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from desired_state.model import Says
from desired_state.rules import Rules
from reconciler.approvals.values import Approval, State
from reconciler.causes import Cause
from reconciler.line import Decision, Gated
from reconciler.loop.diff import Windows, diff
from reconciler.loop.gate import Policy, gate
from reconciler.loop.guards.watch import Watch
from reconciler.loop.plan import Bounds, plan
from tests.make import DAY, HOUR, MONDAY, a_line, a_sku, a_user, seen
from tests.make_approvals import LAURA, a_request, a_stage, an_answer

ASKS = Rules.model_validate(
    {"rules": [{"id": "dear", "kind": "stage_required", "price_above": "0", "stages": ["manager"]}]}
)


def judged(approval: Approval | None, *, mode="enforce", says=Says.APPROVED, observed=None, at=MONDAY) -> Gated:
    line = a_line(says=says)
    world = observed or seen(a_user())
    planned = plan(diff([line], world, at=MONDAY, windows=Windows()), world, Bounds())
    asked = {line.key: approval} if approval is not None else {}
    (gated,) = gate(planned, ASKS, policy=Policy(mode=mode), watch=Watch(at), at=at, approvals=asked).gated
    return gated


def asked(state: State, **changes) -> Approval:
    digest = judged(None).proposal.digest
    request = a_request(a_stage("manager", LAURA), digest=digest, valid_until=MONDAY + DAY)
    return replace(request, state=state, **changes)


def test_a_line_that_awaits_people_is_cleared_by_their_yes_alone():
    outcomes = {state: judged(asked(state)).decision for state in State}

    cleared = {state for state, decision in outcomes.items() if decision is Decision.CLEARED}
    assert cleared == {State.APPROVED, State.EXECUTING}
    assert (outcomes[State.REJECTED], outcomes[State.EXPIRED]) == (Decision.REFUSED, Decision.LAPSED)
    assert judged(None).decision is Decision.AWAITING


def test_a_yes_to_another_plan_clears_nothing():
    assert judged(asked(State.APPROVED, digest="0" * 64)).decision is Decision.AWAITING
    assert judged(asked(State.EXECUTING, digest="0" * 64)).decision is Decision.AWAITING


def test_a_yes_of_yesterday_clears_nothing_and_goes_to_a_person():
    late = judged(asked(State.APPROVED), at=MONDAY + DAY)

    assert (late.decision, late.cause) == (Decision.LAPSED, Cause.POLICY_REFUSED)
    assert judged(asked(State.APPROVED, resting_since=MONDAY), at=MONDAY + DAY).decision is Decision.CLEARED


def test_after_the_clock_went_back_behind_the_answers_nothing_is_done_until_it_caught_up():
    given = asked(State.APPROVED, decisions=(an_answer(LAURA, decided_at=MONDAY + 3 * HOUR),))

    assert judged(given).decision is Decision.AWAITING
    assert judged(replace(given, state=State.EXECUTING)).decision is Decision.AWAITING
    assert judged(given, at=MONDAY + 3 * HOUR).decision is Decision.CLEARED


def test_in_mode_observe_a_yes_changes_nothing_and_in_suggest_it_does():
    assert judged(asked(State.APPROVED), mode="observe").decision is Decision.PLANNED
    assert judged(asked(State.APPROVED), mode="suggest").decision is Decision.CLEARED


def test_what_is_approved_and_has_no_seat_waits_for_one():
    full = seen(a_user(), skus=[a_sku(free=0)])
    digest = judged(None, observed=full).proposal.digest

    waits = judged(asked(State.APPROVED, digest=digest), observed=full)

    assert (waits.decision, waits.cause) == (Decision.QUEUED, Cause.NO_SEAT)
    assert waits.approval


def test_a_refusal_names_the_stage_and_the_reason():
    no = an_answer(comment="Not in the budget.")

    refused = judged(asked(State.REJECTED, reason="Not in the budget.", decisions=(no,)))

    assert refused.sentence == "The request was rejected (manager): Not in the budget."


@pytest.mark.parametrize("approval", [None, State.PENDING, State.APPROVED])
def test_a_ticket_that_waits_in_servicenow_is_cleared_by_our_own_stages_or_not_at_all(approval):
    request = asked(approval) if approval is not None else None
    if request is not None:
        request = replace(request, digest=judged(None, says=Says.WAITING).proposal.digest)

    gated = judged(request, says=Says.WAITING)

    assert gated.decision is (Decision.CLEARED if approval is State.APPROVED else Decision.AWAITING)


def test_a_ticket_that_waits_and_needs_no_stage_of_ours_is_nobodys_here():
    line, world = a_line(says=Says.WAITING), seen(a_user())
    planned = plan(diff([line], world, at=MONDAY, windows=Windows()), world, Bounds())

    (gated,) = gate(planned, Rules(), policy=Policy(mode="enforce"), watch=Watch(MONDAY + HOUR), at=MONDAY + HOUR).gated

    assert gated.decision is Decision.AWAITING
    assert gated.approval == ""
