"""Where a line stands at the end of a cycle, from what was found, judged, sent and seen. Pure.

The only place that turns findings into phases. A line always ends in a phase with an owner; what cannot be decided
stays where a person can see it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from desired_state.model import GivenKind, Says
from reconciler.backoff import delay
from reconciler.causes import UNSEEN, Cause
from reconciler.lifecycle import FINAL, Phase, is_legal
from reconciler.line import (
    Closing,
    Decision,
    DriftKind,
    Ending,
    Finding,
    Gated,
    LineState,
    Rest,
)
from reconciler.loop import undo
from reconciler.loop.aftermath import ask_again_at, held, reversals, was_proven
from reconciler.loop.new_plans import is_about
from reconciler.loop.takeback import end_of
from reconciler.model import ActionKind, Outcome, Result, Verdict

RETRY_BASE_S, RETRY_CAP_S = 60.0, 3600.0


@dataclass(frozen=True, slots=True)
class _Stand:
    phase: Phase
    cause: Cause | None
    note: str
    failed: bool = False  # tried without the effect being seen: the next try waits


WORKING = frozenset({Phase.CONVERGING, Phase.VERIFYING})
TRYING = WORKING | {Phase.WAITING_FOR_SEAT}
PASSING = frozenset({Cause.REMOTE_FAILING, Cause.USAGE_LOCATION_MISSING, Cause.NO_SEAT})
"""Why a write may fail and still be sent again later. A change that fails for any other reason ends with a person, so
what it had done by then is undone (I12)."""
REFUSED_AGAIN = timedelta(days=1)
REFUSALS_MAX = 24  # a day of hourly tries while seats are counted that are not given


def end(
    gated: Gated, last: Finding, outcomes: tuple[Outcome, ...], *, at: datetime, retry_window: timedelta, chance: float
) -> Ending:
    """The line's new state. `last` is the latest finding, equal to the first one when nothing was looked at again."""
    first = gated.proposal.finding
    old = first.line.state
    is_news = is_about(first)  # new plans are on: the access stands, whatever becomes of them
    if is_news and last.rest is not Rest.PROVEN:
        last = replace(first, user=last.user)  # one look takes no grant away; the next cycle looks again
    stand = _stand(gated, last, outcomes, at=at, retry_window=retry_window)
    if old is not None and not is_legal(old.phase, stand.phase):
        note = f"The line was {old.phase} and now reads as {stand.phase}; a person has to look. {stand.note}".rstrip()
        stand = _Stand(Phase.REVIEW, Cause.TICKET_INCONSISTENT, note)
    phase = stand.phase
    if old is not None and old.phase in FINAL:
        return Ending(gated, old, last, outcomes)
    granted_at = old.granted_at if old is not None else None
    if phase is Phase.GRANTED and granted_at is None:
        granted_at = at
    attempts = old.attempts if old is not None else 0
    if not is_news and any(o.result in (Result.APPLIED, Result.FAILED) for o in outcomes):
        attempts = _tries(old) + 1
    next_at = _not_before(outcomes, at) if is_news else _still_waits(old, phase, at)
    waits = (Phase.VERIFYING, Phase.WAITING_FOR_SEAT, Phase.HELD)
    if phase in (Phase.CONVERGING, Phase.REVOKING) or (phase in waits and outcomes):
        wait_s = delay(max(attempts, 1), base_s=RETRY_BASE_S, cap_s=RETRY_CAP_S, chance=chance)
        next_at = at + timedelta(seconds=wait_s) if stand.failed else (old.next_at if old else None)
    if phase in (Phase.WAITING_FOR_SEAT, Phase.HELD) and old is not None and old.phase is phase and not stand.failed:
        next_at = old.next_at
    if phase is Phase.DRIFTED:
        next_at = ask_again_at(first, at)
    same = old is not None and (old.phase is phase or {old.phase, phase} <= WORKING)
    state = LineState(
        key=first.key,
        phase=phase,
        verdict=last.verdict,  # as it stands now; what was found at first is kept apart
        first_verdict=_first_verdict(old, first),
        cause=stand.cause.value if stand.cause is not None else None,
        tier=_tier(last),
        user=first.line.account,
        attempts=attempts,
        next_at=next_at,
        since=old.since if same and old is not None else at,
        granted_at=granted_at,
        ends_at=end_of(first.line, granted_at),
        given=undo.after(first, last, outcomes, phase),
        episode=_episode(old, phase),
        note=stand.note,
        reversals=_reversals(first),
        told=old.told if old is not None else "",
        product=first.line.asks_for,
        person=first.line.names,
    )
    return Ending(gated, state, last, (*undo.rolled_back(gated, last, outcomes), *outcomes))


def _not_before(outcomes: tuple[Outcome, ...], at: datetime) -> datetime | None:
    """When new plans that could not be switched off are tried again; a refusal that does not pass waits for a day."""
    failed = next((o for o in outcomes if o.result is Result.FAILED), None)
    if failed is None:
        return None
    passes = failed.cause is not None and Cause(failed.cause) in PASSING
    return at + timedelta(seconds=RETRY_CAP_S) if passes else at + REFUSED_AGAIN


def _still_waits(old: LineState | None, phase: Phase, at: datetime) -> datetime | None:
    """The next try of new plans is remembered until then: a line that is as it should be has no other."""
    waits = old is not None and old.phase is phase and phase in (Phase.GRANTED, Phase.EXPIRING)
    return old.next_at if waits and old is not None and old.next_at is not None and old.next_at > at else None


def _tries(old: LineState | None) -> int:
    """Tries so far; what is lost after it was granted is mended from the first try on."""
    return old.attempts if old is not None and old.phase not in (Phase.GRANTED, Phase.DRIFTED) else 0


def _reversals(first: Finding) -> int:
    """A loss counts once, in the cycle that finds what was granted gone."""
    state = first.line.state
    if state is None:
        return 0
    return reversals(first.line) if first.aftermath is not None else state.reversals


def _episode(old: LineState | None, phase: Phase) -> int:
    """An episode ends when the access is there: what goes wrong after that is a new one, and told anew (I6)."""
    if old is None:
        return 1
    return old.episode + 1 if old.phase is Phase.GRANTED and phase is Phase.DRIFTED else old.episode


def _first_verdict(old: LineState | None, first: Finding) -> Verdict | None:
    """The first definite word on the line: true or false, never pending or unknown.

    A later loss is none: what was proven once was true, whatever became of it.
    """
    if old is not None and (old.first_verdict is not None or first.aftermath is not None):
        return old.first_verdict
    return first.verdict if first.verdict in (Verdict.TRUE, Verdict.FALSE) else None


def _tier(last: Finding) -> str | None:
    """The tier that was reached, not the one that was asked for."""
    return last.tier.value if last.tier is not None and last.rest is Rest.PROVEN else None


def _stand(
    gated: Gated, last: Finding, outcomes: tuple[Outcome, ...], *, at: datetime, retry_window: timedelta
) -> _Stand:
    first = gated.proposal.finding
    old = first.line.state
    has_person = old is not None and old.phase is Phase.REVIEW and gated.decision is Decision.HELD
    if undo.is_ending(gated, last) and not has_person:
        on_its_way = undo.stand(gated, last, outcomes, old, at, retry_window)
        return _Stand(on_its_way.phase, on_its_way.cause, on_its_way.note, on_its_way.failed)
    if gated.decision is not Decision.CLEARED:
        return _not_cleared(gated, old, at)
    if last.rest is Rest.PROVEN and last.closing is Closing.NEAR:
        return _Stand(Phase.EXPIRING, None, last.sentence)
    if last.rest is Rest.PROVEN:
        return _Stand(Phase.GRANTED, None, "")
    if outcomes:
        return _after_writes(last, gated.proposal.sentence, outcomes, old, at, retry_window)
    if first.rest is Rest.ACT and first.aftermath is not None:  # a dry run, or it shares another line's change
        return _Stand(Phase.DRIFTED, Cause.REMOVED_LATER, first.sentence)
    if last.rest is Rest.ACT and gated.proposal.with_ is None:  # a dry run
        return _Stand(Phase.APPROVED, last.cause, "This would be changed now.")
    if first.rest is Rest.ACT:  # it shares the change of another line
        return _Stand(Phase.VERIFYING, last.cause, last.sentence)
    return _at_rest(last if first.rest is Rest.PROVEN else first, old)  # it was there, and went while we looked


_HOPELESS = (Cause.PLAN_CONFLICT, Cause.DEPENDENCY_MISSING)  # no retry can help: a person has to change something


JOINING = timedelta(days=1)  # a new account gets its first licences by groups within hours


def _is_new(finding: Finding, at: datetime) -> bool:
    created_at = finding.user.created_at if finding.user is not None else None
    return created_at is not None and at - created_at < JOINING


def _not_cleared(gated: Gated, old: LineState | None, at: datetime) -> _Stand:
    cause, note, first = gated.cause, gated.sentence, gated.proposal.finding
    if gated.decision is Decision.AWAITING and first.aftermath is None:
        return _Stand(Phase.AWAITING_APPROVAL, cause, note)
    if gated.decision is Decision.REFUSED and first.aftermath is None and not was_proven(first.line):
        return _Stand(Phase.REFUSED, cause, note)
    if gated.decision in (Decision.REFUSED, Decision.LAPSED) and first.aftermath is None:
        return _Stand(Phase.REVIEW, cause, note)
    if gated.decision is Decision.QUEUED:
        return _Stand(Phase.WAITING_FOR_SEAT, cause, note)
    is_tried = old is not None and (old.phase in TRYING or is_unpermitted(old))
    if old is not None and (old.phase is Phase.REVIEW or (is_tried and _backs_off(old, at))):
        return _Stand(old.phase, Cause(old.cause) if old.cause else cause, old.note)
    if first.aftermath is not None:
        return _Stand(Phase.DRIFTED, Cause.REMOVED_LATER, held(first.sentence, note))
    proposal = gated.proposal
    is_new = _is_new(proposal.finding, at) and cause is not Cause.PLAN_CONFLICT
    is_blocked = cause is proposal.blocked and proposal.after is None and not is_new
    is_promised = first.line.says is Says.FULFILLED  # nobody reads a question in a ticket that is closed
    is_people_s = cause in _HOPELESS or (cause is Cause.POLICY_REFUSED and is_promised)
    if is_blocked and (is_people_s or (cause is Cause.USAGE_LOCATION_MISSING and _was_held(old, cause))):
        return _Stand(Phase.REVIEW, cause, note)
    return _Stand(Phase.HELD, cause, note)


def _was_held(old: LineState | None, cause: Cause) -> bool:
    """Whether a former cycle saw the same: one look may have met a replica that shows no country yet."""
    return old is not None and old.phase is Phase.HELD and old.cause == cause.value


def is_unpermitted(state: LineState) -> bool:
    """Whether its change was refused for want of a permission: that may be granted, so it is tried now and then."""
    return state.phase is Phase.HELD and state.cause == Cause.PERMISSION_MISSING.value and state.attempts > 0


def _backs_off(state: LineState, at: datetime) -> bool:
    return state.next_at is not None and state.next_at > at


def _after_writes(
    last: Finding,
    sentence: str,
    outcomes: tuple[Outcome, ...],
    old: LineState | None,
    at: datetime,
    retry_window: timedelta,
) -> _Stand:
    broken = next((o for o in outcomes if o.result in (Result.FAILED, Result.SKIPPED)), None)
    since = old.since if old is not None and old.phase in WORKING and old.attempts and old.since else at
    if broken is None and all(o.action.kind is ActionKind.SET_USAGE_LOCATION for o in outcomes):
        return _Stand(Phase.VERIFYING, Cause.USAGE_LOCATION_MISSING, sentence)
    is_over = at - since >= retry_window
    if broken is None and is_over and _had_its_time(outcomes, old, since + retry_window):
        return _Stand(Phase.REVIEW, Cause.UNKNOWN, f"The change was accepted and had no effect within {retry_window}.")
    if broken is None and last.rest is Rest.WAIT:
        return _Stand(Phase.VERIFYING, last.cause, last.sentence)
    if broken is None:
        sentence = "The change was accepted; its effect is awaited."
        return _Stand(Phase.VERIFYING, Cause.PROVISIONING_PENDING, sentence, failed=True)
    cause = Cause(broken.cause) if broken.cause else last.cause
    if broken.result is Result.FAILED and cause not in PASSING and _is_left_half_done(outcomes):
        return _Stand(Phase.CONVERGING, cause, broken.why, failed=True)  # the undo at once failed too: it follows
    if any(o.result is Result.ROLLED_BACK for o in outcomes):
        return _Stand(Phase.REVIEW, cause, f"{broken.why} What had been done for it before was taken back.")
    if broken.result is Result.SKIPPED and old is not None and is_unpermitted(old):
        # The breaker is open for that very reason.
        return _Stand(old.phase, Cause.PERMISSION_MISSING, old.note, failed=True)
    if broken.result is Result.SKIPPED:
        return _Stand(Phase.CONVERGING, cause, broken.why)
    if cause in (Cause.REMOTE_FAILING, Cause.USAGE_LOCATION_MISSING):
        was_refused = cause is Cause.REMOTE_FAILING
        if is_over and (was_refused or _had_its_time((broken,), old, since + retry_window)):
            return _given_up(last, cause, f"{undo.tried_for(retry_window)}: {broken.why.rstrip('.')}.")
        return _Stand(Phase.CONVERGING, cause, broken.why, failed=True)
    if cause is Cause.NO_SEAT:
        if old is not None and old.attempts >= REFUSALS_MAX:
            return _Stand(Phase.REVIEW, cause, f"A seat is counted as free and is never given: {broken.why}")
        return _Stand(Phase.WAITING_FOR_SEAT, cause, broken.why, failed=True)
    if cause is Cause.PERMISSION_MISSING:
        return _Stand(Phase.HELD, cause, broken.why, failed=True)
    return _Stand(Phase.REVIEW, cause, broken.why)


def _had_its_time(outcomes: Iterable[Outcome], old: LineState | None, end: datetime) -> bool:
    """Whether what was accepted now had been sent after the `end` of the window before: that one was looked for since.

    What was sent first after a long pause may simply not be readable yet, and of a cycle that was cut short nobody
    knows whether it was sent at all.
    """
    if old is not None and old.phase is Phase.CONVERGING and old.next_at is None:  # begun (`started`), and never ended
        return False
    now = {undo.same(g) for o in outcomes for g in o.action.given}
    former = [g for g in (old.given if old is not None else ()) if undo.same(g) in now]
    return not now or any(g.at >= end for g in former)


def _is_left_half_done(outcomes: tuple[Outcome, ...]) -> bool:
    """Whether the person was put into a group, or lost a licence, for a change that failed later."""
    done = (g.kind for o in outcomes if o.result is Result.APPLIED for g in o.action.given)
    return any(kind in (GivenKind.MEMBER, GivenKind.REPLACED) for kind in done)


_NO_ACCESS = (GivenKind.LOCATION, GivenKind.WITHHELD)


def _given_up(last: Finding, cause: Cause, sentence: str) -> _Stand:
    """To a person, once nothing of it is left: what the attempt has given so far is taken back first."""
    state = last.line.state
    given = state.given if state is not None else ()
    if last.there or (last.there is None and any(g.kind not in _NO_ACCESS for g in given)):
        return _Stand(Phase.CONVERGING, cause, sentence, failed=True)
    stays = [undo.words(g) for g in given if g.kind is GivenKind.LOCATION and g.is_seen]
    more = f" Stays, because it cannot be undone: {', '.join(stays)}." if stays else ""
    return _Stand(Phase.REVIEW, cause, sentence + more)


_STANDING = (Phase.GRANTED, Phase.DRIFTED, Phase.EXPIRING, Phase.REVOKING)


def _at_rest(first: Finding, old: LineState | None) -> _Stand:
    phase = {
        Rest.AWAIT: Phase.AWAITING_APPROVAL,
        Rest.WAIT: Phase.VERIFYING,
        Rest.HOLD: Phase.HELD,
        Rest.HAND_BACK: Phase.REVIEW,
        Rest.REVIEW: Phase.REVIEW,
        Rest.REFUSE: Phase.REFUSED,
        Rest.CANCEL: Phase.CANCELLED,
        Rest.OVER: Phase.REVOKED,
    }[first.rest]
    if first.rest is (Rest.WAIT if first.aftermath is None else Rest.HOLD) and was_proven(first.line):
        phase = Phase.DRIFTED
    if first.cause is Cause.USER_MISSING and first.rest is Rest.WAIT and first.line.says is Says.APPROVED:
        phase = Phase.APPROVED
    if phase is Phase.HELD and old is not None and old.phase in _STANDING and first.cause in UNSEEN:
        # What was not looked at says nothing about what was proven: a grant stands until a look disproves it (I4).
        return _Stand(old.phase, first.cause, first.sentence)
    return _Stand(phase, first.cause, first.sentence)


def started(gated: Gated, at: datetime) -> LineState:
    """The state of a line whose change is about to be sent."""
    first = gated.proposal.finding
    old = first.line.state or LineState(first.key, Phase.RECEIVED)
    if is_about(first):  # it is as it was all the while
        return replace(old, given=undo.about_to_give(old.given, gated))
    is_surplus = first.drift is not None and first.drift.kind is DriftKind.SURPLUS
    return replace(
        old,
        phase=Phase.REVOKING if is_surplus else Phase.CONVERGING,
        verdict=first.verdict,
        first_verdict=_first_verdict(first.line.state, first),
        cause=first.cause.value if first.cause is not None else None,
        tier=None,
        user=first.line.account,
        attempts=_tries(old) + 1,
        next_at=None,
        since=old.since if old.phase in WORKING and old.attempts else at,
        note=first.sentence,
        reversals=_reversals(first),
        given=undo.about_to_give(old.given, gated),
        product=first.line.asks_for,
        person=first.line.names,
    )


def renewed(state: LineState, at: datetime) -> LineState:
    """The state of a line whose ticket made it news again: a new decision, a new episode."""
    return replace(
        state,
        phase=Phase.RECEIVED,
        verdict=None,
        cause=None,
        tier=None,
        attempts=0,
        next_at=None,
        since=at,
        granted_at=None,
        episode=state.episode + 1,
        note="",
        reversals=0,
    )
