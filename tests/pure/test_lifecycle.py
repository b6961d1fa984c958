"""Legal moves, and where a line stands after a cycle."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from desired_state.model import LineKey, Says
from desired_state.rules import Rules
from reconciler.backoff import delay
from reconciler.causes import CAUSES, Cause
from reconciler.digest import digest
from reconciler.lifecycle import ENDING, FINAL, MOVES, IllegalMove, Phase, move
from reconciler.line import (
    Ending,
    Gone,
    Line,
    LineState,
    Observed,
)
from reconciler.loop.diff import Windows, diff
from reconciler.loop.ending import end
from reconciler.loop.gate import Policy, gate
from reconciler.loop.guards.watch import Watch
from reconciler.loop.plan import Bounds, plan
from reconciler.model import (
    Outcome,
    PlanState,
    Result,
    Verdict,
)
from tests.make import ADA, DAY, MONDAY, VISIO, VISIO_WEB, a_line, a_user, details_of, seen

NOTHING, PROVEN = (
    seen(a_user()),
    seen(a_user(holds={VISIO: ()}), details={ADA: details_of({VISIO: {VISIO_WEB: PlanState.SUCCESS}})}),
)
DAY_LONG = timedelta(hours=24)


def ended(line: Line, before: Observed, after: Observed | None = None, results: list[Outcome] | None = None) -> Ending:
    findings = diff([line], before, at=MONDAY, windows=Windows())
    gates = gate(
        plan(findings, before, Bounds()), Rules(), policy=Policy(mode="enforce"), watch=Watch(MONDAY), at=MONDAY
    )
    last = diff([line], after or before, at=MONDAY, windows=Windows())[0]
    return end(gates.gated[0], last, tuple(results or ()), at=MONDAY, retry_window=DAY_LONG, chance=0.5)


def outcome(line: Line, result: Result, cause: str | None = None) -> Outcome:
    findings = diff([line], NOTHING, at=MONDAY, windows=Windows())
    return Outcome(plan(findings, NOTHING, Bounds()).actions[0], result, "words", "req-1", cause)


def state(phase: Phase, **more) -> LineState:
    return LineState(LineKey("RITM0000001", 1), phase, **{"since": MONDAY - DAY, **more})


def test_every_phase_has_a_row_and_every_cause_a_sentence_and_an_owner():
    assert set(MOVES) == set(Phase)
    assert set(CAUSES) == set(Cause)
    assert all(facts.sentence.endswith(".") for facts in CAUSES.values())


@given(old=st.sampled_from(Phase), new=st.sampled_from(Phase))
def test_what_is_not_in_the_table_cannot_happen(old, new):
    ends = new in ENDING and old not in FINAL
    if new is old or ends or new in (Phase.REVIEW, Phase.CANCELLED) or new in MOVES[old]:
        assert move(old, new) is new
    else:
        with pytest.raises(IllegalMove):
            move(old, new)


def test_a_correction_that_is_proven_is_granted_and_what_was_found_at_first_is_kept():
    line = a_line()

    ending = ended(line, NOTHING, PROVEN, [outcome(line, Result.APPLIED)])

    assert (ending.state.phase, ending.state.tier) == (Phase.GRANTED, "V2")
    assert (ending.state.first_verdict, ending.state.verdict) == (Verdict.FALSE, Verdict.TRUE)


def test_a_correction_without_proof_is_verified_by_the_next_cycle():
    line = a_line()

    assert ended(line, NOTHING, NOTHING, [outcome(line, Result.APPLIED)]).state.phase is Phase.VERIFYING


def test_a_remote_failure_backs_off_and_ends_with_a_person_after_the_window():
    line = a_line()
    failure = outcome(line, Result.FAILED, "remote_failing")

    first = ended(line, NOTHING, None, [failure]).state
    last = ended(a_line(state=state(Phase.CONVERGING, attempts=9)), NOTHING, None, [failure]).state

    assert first.phase is Phase.CONVERGING and first.next_at is not None and first.next_at > MONDAY
    assert last.phase is Phase.REVIEW


def test_a_refusal_nobody_knows_goes_to_a_person_at_once():
    line = a_line()

    ending = ended(line, NOTHING, None, [outcome(line, Result.FAILED, "unknown")])

    assert (ending.state.phase, ending.state.cause) == (Phase.REVIEW, "unknown")


def test_a_grant_stands_while_it_cannot_be_looked_at():
    hidden = seen(a_user(assignments=None))

    ending = ended(a_line(state=state(Phase.GRANTED)), hidden)

    assert ending.state.phase is Phase.GRANTED
    assert ending.state.verdict is Verdict.UNKNOWN


def test_a_grant_that_is_seen_to_be_gone_has_drifted():
    ending = ended(a_line(state=state(Phase.GRANTED)), NOTHING)

    assert (ending.state.phase, ending.state.cause) == (Phase.DRIFTED, "removed_later")


def test_access_that_goes_while_it_is_watched_has_drifted_too():
    ending = ended(a_line(state=state(Phase.GRANTED)), PROVEN, NOTHING)

    assert (ending.state.phase, ending.state.cause) == (Phase.DRIFTED, "removed_later")


def test_access_that_a_person_restored_ends_a_review():
    assert ended(a_line(state=state(Phase.REVIEW)), PROVEN).state.phase is Phase.GRANTED


@pytest.mark.parametrize("phase", sorted(FINAL))
def test_what_is_over_stays_over(phase):
    assert ended(a_line(state=state(phase)), PROVEN).state.phase is phase


@pytest.mark.parametrize(
    ("says", "phase"),
    [
        (Says.WAITING, Phase.AWAITING_APPROVAL),
        (Says.REJECTED, Phase.REFUSED),
        (Says.CANCELLED, Phase.CANCELLED),
    ],
)
def test_what_the_ticket_says_decides_where_nothing_is_to_be_done(says, phase):
    assert ended(a_line(says=says), NOTHING).state.phase is phase


@given(attempt=st.integers(1, 60), chance=st.floats(0, 0.999), wish=st.none() | st.floats(0, 7200))
def test_a_wait_is_never_shorter_than_the_server_asked(attempt, chance, wish):
    waited = delay(attempt, retry_after_s=wish, chance=chance)

    assert waited >= (wish or 0)
    assert waited <= max(300.0, (wish or 0) + 2)


@given(st.dictionaries(st.text(max_size=5), st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=5), max_size=6))
def test_a_digest_does_not_depend_on_order(value):
    assert digest(value) == digest(dict(reversed(value.items())))


REFUSALS = [Says.APPROVED, Says.FULFILLED, Says.WAITING, Says.REJECTED, Says.CANCELLED]


@given(
    old=st.sampled_from(sorted(Phase)),
    says=st.sampled_from(REFUSALS),
    observed=st.sampled_from([NOTHING, PROVEN, seen(a_user(is_enabled=False)), seen(a_user(assignments=None))]),
    result=st.sampled_from([None, Result.APPLIED, Result.FAILED, Result.SKIPPED]),
    cause=st.sampled_from(["remote_failing", "no_seat", "unknown", "usage_location_missing"]),
    attempts=st.integers(0, 3),
)
def test_whatever_a_line_was_its_next_phase_is_one_it_may_go_to(old, says, observed, result, cause, attempts):
    line = a_line(says=says, state=state(old, attempts=attempts))
    done = [] if result is None else [outcome(a_line(), result, cause if result is Result.FAILED else None)]

    ending = ended(line, observed, None, done)

    assert move(old, ending.state.phase) is ending.state.phase


def test_a_grant_whose_ticket_is_rejected_later_goes_to_a_person():
    ending = ended(a_line(says=Says.REJECTED, state=state(Phase.GRANTED)), PROVEN)

    assert (ending.state.phase, ending.state.cause) == (Phase.REVIEW, "ticket_inconsistent")


def test_a_change_without_effect_waits_longer_each_time_and_ends_with_a_person():
    line = a_line(state=state(Phase.VERIFYING, attempts=1, since=MONDAY - timedelta(hours=1)))
    early = ended(line, NOTHING, NOTHING, [outcome(line, Result.APPLIED)]).state
    sent = tuple(replace(g, at=MONDAY - timedelta(hours=1)) for g in outcome(line, Result.APPLIED).action.given)
    late_line = a_line(state=state(Phase.VERIFYING, attempts=9, since=MONDAY - timedelta(days=2), given=sent))
    late = ended(late_line, NOTHING, NOTHING, [outcome(late_line, Result.APPLIED)]).state

    assert early.phase is Phase.VERIFYING and early.next_at is not None and early.next_at > MONDAY
    assert early.since == MONDAY - timedelta(hours=1)
    assert late.phase is Phase.REVIEW


def test_what_was_sent_again_after_a_pause_that_used_up_the_window_has_its_time_to_show():
    paused = a_line(state=state(Phase.CONVERGING, attempts=1, since=MONDAY - timedelta(days=2)))

    ending = ended(paused, NOTHING, NOTHING, [outcome(paused, Result.APPLIED)])

    assert (ending.state.phase, ending.state.cause) == (Phase.VERIFYING, Cause.PROVISIONING_PENDING)


def test_whoever_has_a_cause_is_told_what_to_do_and_jargon_stays_out_of_what_requesters_read():
    jargon = ("sku", "graph", "api", "tenant", "entra", "usage location", "provision", "ritm", "guid")
    for cause, facts in CAUSES.items():
        assert not [word for word in jargon if word in facts.sentence.lower()], cause
        assert facts.sentence.endswith("."), cause
        assert facts.ask.endswith((".", "?")), cause


def test_leavers_and_joiners_on_their_way_are_never_counted_as_failures():
    leaver = ended(a_line(), seen(a_user(is_enabled=False)))
    joiner = ended(a_line(user=None), seen())
    gone = ended(a_line(), Observed(MONDAY, {ADA: Gone()}, {}, {}))

    for ending in (leaver, joiner, gone):
        assert ending.state.verdict in (Verdict.UNKNOWN, Verdict.PENDING)
        assert ending.state.first_verdict is None


def test_a_later_loss_does_not_make_the_ticket_one_that_was_closed_falsely():
    granted = state(Phase.GRANTED, granted_at=MONDAY - DAY)

    lost = ended(a_line(state=granted), NOTHING).state
    back = ended(a_line(state=lost), PROVEN).state

    assert (lost.phase, lost.verdict, lost.first_verdict) == (Phase.DRIFTED, Verdict.FALSE, None)
    assert (back.phase, back.first_verdict) == (Phase.GRANTED, Verdict.TRUE)
    assert (
        ended(a_line(state=replace(granted, first_verdict=Verdict.TRUE)), NOTHING).state.first_verdict is Verdict.TRUE
    )
