"""Grants that fail: what is undone, when, and where a line stands while it is taken back or undone."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from desired_state import ledger
from desired_state.catalogue import load_builtin
from desired_state.model import Entitlement, Given, GivenKind, GroupId, LineKey, Person, ProductKey, Says, SkuId
from desired_state.rules import Rules
from reconciler.causes import Cause
from reconciler.lifecycle import Phase
from reconciler.line import Decision, DriftKind, Ending, Line, LineState, Observed, Rest, Unread
from reconciler.loop.diff import Windows
from reconciler.loop.ending import PASSING, end, started
from reconciler.loop.gate import Policy, gate
from reconciler.loop.guards.watch import Watch
from reconciler.loop.plan import Bounds, plan
from reconciler.loop.shared import handed_on, kept_by, others_of
from reconciler.model import Outcome, PlanState, Probed, Result
from tests.make import (
    ADA,
    BOB,
    DAY,
    HOUR,
    MONDAY,
    PHONE,
    TEAMS1,
    VISIO,
    VISIO_WEB,
    a_line,
    a_product,
    a_request,
    a_sku,
    a_user,
    teams,
)
from tests.make_endings import a_holder, an_ended_line, find, licence, location, others, there

ERROR = {VISIO: {VISIO_WEB: PlanState.ERROR}}
LATE = MONDAY - 2 * DAY  # when it was given: a day past its window
ENFORCE = Policy(mode="enforce")


def trying(*given: Given, cause: Cause = Cause.PROVISIONING_ERROR, attempts: int = 1, **more: object) -> Line:
    """A line whose change was sent a while ago and is not proven."""
    line = a_line()
    state = LineState(
        line.key, Phase.VERIFYING, cause=cause.value, since=LATE, attempts=attempts, given=given, note="status 500"
    )
    return replace(line, state=state, **more)  # type: ignore[arg-type]


def ended(
    line: Line, observed: Observed, after: Observed | None = None, *, failed: bool = False, policy: Policy = ENFORCE
) -> Ending:
    """One cycle over one line: judged, done or failed, looked at again."""
    first = find(line, observed)
    proposed = plan([first], observed, Bounds())
    (gated,) = gate(proposed, Rules(), policy=policy, watch=Watch(MONDAY), at=MONDAY).gated
    result = Result.FAILED if failed else Result.APPLIED
    cleared = gated.decision is Decision.CLEARED
    done = (
        tuple(
            Outcome(a, result, "no" if failed else "", cause="remote_failing" if failed else None)
            for a in gated.proposal.actions
        )
        if cleared
        else ()
    )
    last = find(line, after) if after is not None else first
    return end(gated, last, done, at=MONDAY, retry_window=DAY, chance=0.5)


# --- what is half done


def test_a_proof_plan_in_error_past_its_window_is_looked_at_twice_before_anything_is_undone():
    first = find(trying(licence(at=LATE), cause=Cause.PROVISIONING_PENDING), there(holds=ERROR))
    second = find(trying(licence(at=LATE)), there(holds=ERROR))

    assert (first.rest, first.cause, first.drift) == (Rest.WAIT, Cause.PROVISIONING_ERROR, None)
    assert (second.rest, second.cause) == (Rest.ACT, Cause.PROVISIONING_ERROR)
    assert second.drift is not None
    assert (second.drift.kind, second.drift.take_back) == (DriftKind.HALF_DONE, (licence(at=LATE),))
    assert "Error" in second.sentence
    assert str(VISIO_WEB) in second.sentence


def test_within_its_window_an_error_is_waited_for():
    assert find(trying(licence(at=MONDAY - HOUR)), there(holds=ERROR)).rest is Rest.WAIT


@pytest.mark.parametrize("state", [PlanState.PENDING_PROVISIONING, PlanState.PENDING_INPUT, PlanState.WAITING])
def test_what_is_merely_pending_is_never_undone(state):
    found = find(trying(licence(at=LATE - 30 * DAY)), there(holds={VISIO: {VISIO_WEB: state}}))

    assert found.drift is None


def test_a_retired_plan_in_error_is_no_reason_to_undo():
    line = replace(trying(licence(at=LATE)), product=a_product(retired=(VISIO_WEB,)))

    assert getattr(find(line, there(holds=ERROR)).drift, "kind", None) is not DriftKind.HALF_DONE


def test_what_we_did_not_give_is_not_undone():
    assert find(trying(location(at=LATE)), there(holds=ERROR)).drift is None
    assert find(trying(licence(PHONE, LATE)), there(holds=ERROR)).drift is None


def test_what_the_person_uses_is_not_undone():
    held = {VISIO: {VISIO_WEB: PlanState.ERROR, TEAMS1: PlanState.SUCCESS}}
    other = trying(licence(at=LATE), others=others(teams()))

    found = find(other, there(holds=held))

    assert (found.rest, found.drift, found.cause) == (Rest.HAND_BACK, None, Cause.PROVISIONING_ERROR)


@pytest.mark.parametrize("said", [Probed(works=True), Unread("no answer")])
def test_a_service_that_works_or_cannot_be_asked_is_not_undone(said):
    observed = replace(there(holds=ERROR), probed={(ADA, a_product().key): said})

    assert find(trying(licence(at=LATE)), observed).drift is None


def test_a_change_that_kept_failing_is_undone_as_far_as_it_came():
    line = replace(trying(licence(PHONE, LATE), location(at=LATE), cause=Cause.REMOTE_FAILING, attempts=3))
    observed = there(a_holder(PHONE), {PHONE: {TEAMS1: PlanState.SUCCESS}})

    found = find(line, observed, windows=Windows(retry=DAY))

    assert (found.rest, found.cause) == (Rest.ACT, Cause.REMOTE_FAILING)
    assert found.drift is not None
    assert (found.drift.kind, found.drift.take_back) == (DriftKind.HALF_DONE, (licence(PHONE, LATE),))
    assert "status 500" in found.sentence


def test_a_change_that_gave_nothing_yet_is_tried_again():
    found = find(trying(location(at=LATE), cause=Cause.REMOTE_FAILING, attempts=3), there(a_user(), {}))

    assert found.drift is not None
    assert found.drift.kind is DriftKind.MISSING


def exchanging(sku: SkuId, *, phase: Phase = Phase.CONVERGING, since: datetime = LATE) -> Line:
    """The person is out of a group that failed, and the licence that was taken away for it is on its way back."""
    line = trying(Given(GivenKind.REPLACED, LATE, sku=sku), attempts=2)
    assert line.state is not None
    return replace(line, state=replace(line.state, phase=phase, since=since))


def test_the_second_half_of_an_undo_does_not_wait_for_the_span_of_an_attempt():
    observed = there(a_user(), {})

    begun = find(exchanging(PHONE, since=MONDAY - HOUR), observed)
    other = find(exchanging(PHONE, since=MONDAY - HOUR, phase=Phase.VERIFYING), observed)

    assert begun.drift is not None and other.drift is not None
    assert (begun.cause, begun.drift.kind) == (Cause.PROVISIONING_ERROR, DriftKind.HALF_DONE)
    assert [g.sku for g in begun.drift.take_back] == [PHONE]
    assert other.drift.kind is DriftKind.MISSING  # nothing of it was begun


@pytest.mark.parametrize("cause", [Cause.PROVISIONING_ERROR, Cause.REMOTE_FAILING])
def test_an_undo_that_turns_out_to_be_done_goes_to_a_person_and_nothing_is_tried_again(cause):
    line = trying(replace(licence(at=LATE), is_leaving=True), cause=cause)

    found = find(line, there(a_user(), {}))

    assert (found.rest, found.cause, found.drift) == (Rest.HAND_BACK, cause, None)
    assert "status 500 What it had given is taken back." in found.sentence
    assert find(trying(licence(at=LATE), cause=cause), there(a_user(), {})).rest is Rest.ACT


def test_what_an_undo_is_about_to_take_back_is_remembered_before_the_first_write_until_it_is_seen_to_be_gone():
    line, observed = trying(licence(at=LATE)), there(holds=ERROR)
    (gated,) = gate(
        plan([find(line, observed)], observed, Bounds()), Rules(), policy=ENFORCE, watch=Watch(MONDAY), at=MONDAY
    ).gated

    assert [g.is_leaving for g in started(gated, MONDAY).given] == [True]
    assert [g.is_leaving for g in ended(line, observed, observed).state.given] == [True]
    assert ended(line, observed, there(a_user(), {})).state.given == ()


def test_a_licence_that_was_given_back_and_seen_ends_the_undo():
    owned = {VISIO: a_sku(), PHONE: a_sku(PHONE, plans=(TEAMS1,))}
    without = replace(there(a_user(), {}), skus=owned)
    back = replace(there(a_holder(PHONE), {PHONE: {TEAMS1: PlanState.SUCCESS}}), skus=owned)

    result = ended(exchanging(PHONE), without, back)

    assert (result.state.phase, result.state.cause) == (Phase.REVIEW, "provisioning_error")
    assert result.state.given == ()
    assert "Taken back: the removal of licence" in result.state.note
    assert ended(exchanging(PHONE), without, without).state.phase is Phase.CONVERGING


# --- where it ends


@pytest.mark.parametrize("kind", [GivenKind.MEMBER, GivenKind.REPLACED])
@pytest.mark.parametrize("cause", [c for c in Cause if c is not Cause.PERMISSION_MISSING])
def test_a_refused_change_ends_with_a_person_unless_it_is_tried_again_or_something_of_it_is_left(cause, kind):
    first = find(a_line(), there(a_user(), {}))
    proposed = plan([first], there(a_user(), {}), Bounds())
    (gated,) = gate(proposed, Rules(), policy=ENFORCE, watch=Watch(MONDAY), at=MONDAY).gated
    (action,) = gated.proposal.actions
    before = replace(action, given=(Given(kind, MONDAY, sku=PHONE, group=GroupId("g")),))
    refused = Outcome(action, Result.FAILED, "no", cause=cause.value)

    def phase(done: Result) -> Phase:
        outcomes = (Outcome(before, done, ""), refused)
        return end(gated, first, outcomes, at=MONDAY, retry_window=DAY, chance=0.5).state.phase

    undone = end(gated, first, (refused,), at=MONDAY, retry_window=DAY, chance=0.5).state.phase
    assert (undone is Phase.REVIEW) is (cause not in PASSING)
    if cause not in PASSING:
        assert (phase(Result.ROLLED_BACK), phase(Result.APPLIED)) == (Phase.REVIEW, Phase.CONVERGING)


@pytest.mark.parametrize(
    ("sent", "next_at", "phase"),
    [
        (HOUR, MONDAY, Phase.REVIEW),  # looked for since, and never seen
        (HOUR, None, Phase.CONVERGING),  # the cycle that began it was cut short: it may never have been sent
        (2 * DAY, MONDAY, Phase.CONVERGING),  # sent before the window: nobody looked for a while
    ],
)
def test_a_country_that_stays_unreadable_goes_to_a_person_once_it_had_its_time(sent, next_at, phase):
    person = Person("p1", country="DE")
    line = replace(a_line(person=person), state=trying(cause=Cause.USAGE_LOCATION_MISSING, attempts=2).state)
    assert line.state is not None
    given = replace(location(at=MONDAY - sent), is_seen=False)
    line = replace(line, state=replace(line.state, phase=Phase.CONVERGING, given=(given,), next_at=next_at))
    nowhere = there(a_user(usage_location="", country="DE"), {})
    proposed = plan([find(line, nowhere)], nowhere, Bounds())
    (gated,) = gate(proposed, Rules(), policy=ENFORCE, watch=Watch(MONDAY), at=MONDAY).gated
    unseen = Outcome(gated.proposal.actions[0], Result.FAILED, "not readable", cause="usage_location_missing")

    result = end(gated, gated.proposal.finding, (unseen,), at=MONDAY, retry_window=DAY, chance=0.5)

    assert unseen.action.kind.value == "set_usage_location"
    assert (result.state.phase, result.state.cause) == (phase, "usage_location_missing")


def test_an_undone_grant_goes_to_a_person_with_a_record_of_what_was_and_what_stays():
    result = ended(trying(location(at=LATE), licence(at=LATE)), there(holds=ERROR), there(a_user(), {}))

    assert (result.state.phase, result.state.cause) == (Phase.REVIEW, "provisioning_error")
    assert result.state.given == (location(at=LATE),)
    assert [(o.action.kind.value, o.result) for o in result.outcomes] == [
        ("assign_license", Result.ROLLED_BACK),
        ("remove_license", Result.APPLIED),
    ]
    assert "Taken back: licence" in result.state.note
    assert "cannot be undone: usage location DE" in result.state.note


def test_an_undo_that_failed_is_tried_again_and_forgets_nothing():
    result = ended(trying(licence(at=LATE)), there(holds=ERROR), failed=True)

    assert (result.state.phase, result.state.cause) == (Phase.CONVERGING, "provisioning_error")
    assert result.state.given == (replace(licence(at=LATE), is_leaving=True),)
    assert result.state.next_at is not None


def test_an_undo_that_never_succeeds_names_what_was_not_taken_back():
    line = trying(licence(at=LATE), attempts=30)

    result = ended(line, there(holds=ERROR), failed=True)

    assert result.state.phase is Phase.REVIEW
    assert "Not taken back: licence" in result.state.note


def test_an_undo_whose_effect_could_not_be_read_is_not_believed():
    unread = replace(there(), users={ADA: Unread("no answer")})

    result = ended(trying(licence(at=LATE)), there(holds=ERROR), unread)

    assert result.state.phase is Phase.CONVERGING
    assert result.state.given == (replace(licence(at=LATE), is_leaving=True),)


def test_a_revoke_that_was_seen_is_the_end_of_the_line():
    result = ended(an_ended_line(licence()), there(), there(a_user(), {}))

    assert (result.state.phase, result.state.cause, result.state.given) == (Phase.REVOKED, None, ())
    assert "Taken back: licence" in result.state.note


def test_a_revoke_that_is_not_seen_yet_is_awaited():
    result = ended(an_ended_line(licence()), there(), there())

    assert (result.state.phase, result.state.cause) == (Phase.REVOKING, "expired_not_removed")
    assert result.state.next_at is not None


def test_a_revoke_that_fails_for_a_day_goes_to_a_person():
    line = an_ended_line(licence(), phase=Phase.REVOKING)

    result = ended(line, there(), failed=True)

    assert result.state.phase is Phase.REVIEW
    assert "tried for 24 h" in result.state.note


def test_that_nothing_is_there_any_more_is_believed_when_it_was_seen_twice():
    gone = there(a_user(), {})

    first = ended(an_ended_line(licence()), gone)
    second = ended(an_ended_line(licence(), phase=Phase.REVOKING), gone)

    assert (first.state.phase, second.state.phase) == (Phase.REVOKING, Phase.REVOKED)


def test_a_line_whose_licence_stays_for_another_ends_and_names_it():
    result = ended(an_ended_line(licence(), others=others(a_product())), there())

    assert (result.state.phase, result.finding.heir) == (Phase.REVOKED, LineKey("RITM0000100", 1))
    assert result.outcomes == ()


@pytest.mark.parametrize(
    ("mode", "phase"), [("suggest", Phase.EXPIRING), ("observe", Phase.EXPIRING), ("enforce", Phase.REVOKED)]
)
def test_only_the_mode_that_writes_takes_back(mode, phase):
    result = ended(an_ended_line(licence()), there(), there(a_user(), {}), policy=Policy(mode=mode))

    if mode != "enforce":
        assert result.outcomes == ()
        result = ended(an_ended_line(licence()), there(), policy=Policy(mode=mode))
    assert result.state.phase is phase


def test_what_we_gave_is_taken_back_however_old_its_ticket_is():
    old = replace(ENFORCE, act_max_age=timedelta(days=1))
    line = an_ended_line(licence())
    assert line.declared.requested_at < MONDAY - DAY

    assert ended(line, there(), there(a_user(), {}), policy=old).state.phase is Phase.REVOKED


def test_a_proposal_is_held_with_its_cause():
    result = ended(an_ended_line(), there())

    assert (result.state.phase, result.state.cause) == (Phase.HELD, "expired_not_removed")


def test_a_reminded_grant_is_expiring_and_still_proven():
    line = an_ended_line(licence(), skipped="", granted_at=MONDAY - 20 * DAY)
    line = replace(
        line, declared=replace(line.declared, period=replace(line.declared.period, ends_on=(MONDAY + DAY).date()))
    )

    result = ended(line, there())

    assert (result.state.phase, result.state.cause, result.state.tier) == (Phase.EXPIRING, None, "V2")
    assert result.state.ends_at == datetime(2026, 11, 3, 23, 59, 59, tzinfo=MONDAY.tzinfo)


# --- what is remembered


def test_what_is_about_to_be_given_is_remembered_before_the_first_write():
    observed = there(a_user(usage_location="DE"), {})
    line = a_line()
    (gated,) = gate(
        plan([find(line, observed)], observed, Bounds()), Rules(), policy=ENFORCE, watch=Watch(MONDAY), at=MONDAY
    ).gated

    assert [g.sku for g in started(gated, MONDAY).given] == [VISIO]


def test_what_certainly_failed_was_not_given():
    assert ended(a_line(), there(a_user(), {}), failed=True).state.given == ()


def test_what_was_sent_is_remembered_as_given():
    assert [g.sku for g in ended(a_line(), there(a_user(), {}), there(a_user(), {})).state.given] == [VISIO]


# --- who shares it


def standing(number: str, product: str = "visio-plan-1", *, by_us: bool = True, why: str = "", **more: object):
    key = LineKey(number, 1)
    request = a_request(number, product=ProductKey(product), **more)
    over = {"ended_at": MONDAY, "ended_why": why} if why else {}
    entitlement = Entitlement(request, "t", more.pop("user", ADA), "ada", MONDAY)  # type: ignore[arg-type]
    return ledger.Standing(key, entitlement, granted_at=LATE, is_by_us=by_us, given=(licence(at=LATE),), **over)


def test_a_licence_that_was_left_to_another_line_is_taken_back_with_that_one():
    first = standing("RITM0000001", why=kept_by(LineKey("RITM0000002", 1)))
    second = standing("RITM0000002", by_us=False, why=kept_by(LineKey("RITM0000003", 1)))
    third = standing("RITM0000003", by_us=False)

    left = handed_on([third, first, second])

    assert left[LineKey("RITM0000003", 1)] == (licence(at=LATE),)


def test_what_was_not_given_by_us_is_handed_on_to_nobody():
    left = handed_on([standing("RITM0000001", by_us=False, why=kept_by(LineKey("RITM0000002", 1)))])

    assert left.get(LineKey("RITM0000002", 1), ()) == ()


def test_a_revoked_line_hands_nothing_on():
    assert handed_on([standing("RITM0000001", why="revoked")]) == {}


def test_lines_that_count_are_approved_begun_and_not_over():
    catalogue = load_builtin()
    asked = [
        standing("RITM0000001"),
        standing("RITM0000002", says=Says.WAITING),
        standing("RITM0000003", why="revoked"),
        standing("RITM0000004"),
        standing("RITM0000005"),
    ]
    states = {LineKey("RITM0000004", 1): LineState(LineKey("RITM0000004", 1), Phase.AWAITING_APPROVAL)}
    skipped = {LineKey("RITM0000005", 1): "over"}

    found = others_of(asked, states, skipped, catalogue)

    assert [o.key.ticket for o in found[ADA]] == ["RITM0000001"]
    assert BOB not in found
