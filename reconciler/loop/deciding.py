"""What people are asked about access that is not as it was granted, kept after each cycle with what became of answers.

An answer that a cycle followed is done when the line has arrived; one whose object has moved is void and asked anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from desired_state.model import LineKey
from reconciler.causes import Cause
from reconciler.lifecycle import FINAL, Phase
from reconciler.line import Ending, Line
from reconciler.question import HOLDS, Question, Word
from reconciler.store import questions
from reconciler.store.database import Database
from reconciler.store.questions import Asked, State

_UNDER_WAY = (Phase.APPROVED, Phase.WAITING_FOR_SEAT, Phase.CONVERGING, Phase.VERIFYING, Phase.REVOKING)
_ARRIVED = FINAL | {Phase.GRANTED}
_ASKED_IN = (Phase.DRIFTED, Phase.HELD, Phase.REVIEW, Phase.EXPIRING)
_UNSEEN = (Cause.REMOTE_FAILING.value, Cause.PERMISSION_MISSING.value, Cause.UNKNOWN.value)


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be kept about one line: an old question settled, a new one asked, or both."""

    line: LineKey
    old: Asked | None = None
    to: State | None = None
    why: str = ""
    ask: Question | None = None


def with_answers(database: Database, tenant: str, lines: tuple[Line, ...]) -> tuple[Line, ...]:
    """The lines with what people said about them and is not carried out yet."""
    with database.read() as session:
        said = questions.load(session, tenant, State.DECIDED)
    if not said:
        return lines
    return tuple(replace(line, decided=said[line.key].decided) if line.key in said else line for line in lines)


def keep(database: Database, tenant: str, endings: Iterable[Ending], *, cycle: str, at: datetime) -> tuple[str, ...]:
    """Keep what is asked now and what became of answers; returns a sentence for each answer that is void."""
    with database.read() as session:
        known = questions.load(session, tenant, State.ASKED, State.DECIDED)
    changes = tuple(c for c in (change(e, known, at) for e in endings) if c is not None)
    if changes:
        with database.write() as session:
            for one in changes:
                if one.old is not None and one.to is not None:
                    questions.settle(session, tenant, one.old, one.to, why=one.why, at=at, cycle=cycle)
                if one.ask is not None:
                    questions.ask(session, tenant, one.line, one.ask, at)
    return tuple(f"what was decided about {c.line} is void: {c.why}" for c in changes if c.to is State.VOID)


def change(ending: Ending, known: Mapping[LineKey, Asked], at: datetime) -> Change | None:
    """What is to be kept about a line that ended so; None when it is kept already. `known` are open. Pure."""
    key, phase = ending.state.key, ending.state.phase
    old = known.get(key)
    asked = ending.finding.question if phase in _ASKED_IN else None
    to, why = _became(ending, old, at) if old is not None else (None, "")
    stands = to or (old.state if old is not None else None)
    is_new = old is None or asked is None or old.question.digest != asked.digest
    ask = asked if is_new or stands not in (State.ASKED, State.DECIDED) else None
    if to is None and ask is None:
        return None
    return Change(key, old if to is not None else None, to, why, ask)


def _became(ending: Ending, old: Asked, at: datetime) -> tuple[State | None, str]:
    state, now = ending.state, ending.finding.question
    if old.state is State.ASKED:
        return (State.GONE, "") if state.phase in _ARRIVED else (None, "")
    if old.state is not State.DECIDED or old.decided is None:
        return None, ""
    before = ending.gated.proposal.finding.line.state
    was_under_way = before is not None and before.phase in _UNDER_WAY
    followed = ending.gated.proposal.finding.decided is not None or was_under_way
    if followed and state.phase in _ARRIVED:
        return State.DONE, state.note
    if followed and state.phase is Phase.REVIEW and was_under_way:
        return State.VOID, f"it could not be carried out: {state.note}"
    if state.phase in _UNDER_WAY or state.cause in _UNSEEN:
        return None, ""
    if state.phase in _ARRIVED:
        return State.VOID, "what it was about is there no more"
    if now is not None and now.digest != old.question.digest:
        return State.VOID, "what it was about has changed, so it is asked anew"
    if old.decided.word is not Word.LEAVE and at - old.decided.at > HOLDS:
        return State.VOID, f"it could not be carried out within {HOLDS.days} days: {state.note}"
    return None, ""
