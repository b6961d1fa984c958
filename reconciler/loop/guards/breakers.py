"""Breakers: stop when results speak against the system, and when somebody else turns the same thing back. Pure.

A refusal with a known cause is that person's result and says nothing about the system. One person who fails at each try
is one bad person, however often: the last result of each of them is what counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from reconciler.model import Action, ActionKind

WINDOW = 20  # subjects whose last result counts
SUBJECTS_MIN = 10  # different ones before anything is concluded
BAD_SHARE = Decimal("0.2")
FLIPS_MAX = 2  # times that others may turn back the same thing


@dataclass(frozen=True, slots=True)
class Mark:
    """What became of one write: `is_bad` when it speaks against the system. Newest last."""

    subject: str
    at: datetime
    is_bad: bool
    why: str = ""


def tripped(marks: Sequence[Mark]) -> str:
    """Why the breaker opens, "" while it stays closed."""
    last: dict[str, Mark] = {}
    for mark in reversed(marks):
        if len(last) == WINDOW:
            break
        last.setdefault(mark.subject, mark)
    bad = [mark for mark in last.values() if mark.is_bad]
    if len(last) < SUBJECTS_MIN or len(bad) < len(last) * BAD_SHARE:
        return ""
    return f"{len(bad)} of the last {len(last)} accounts or tickets ended with trouble, the newest with: {bad[0].why}"


@dataclass(frozen=True, slots=True)
class Circuit:
    """Where a breaker stands. Open, it stops everything until `until_at`; then one write may try (half open)."""

    opened_at: datetime | None = None
    until_at: datetime | None = None
    why: str = ""

    def is_open(self, at: datetime) -> bool:
        return self.until_at is not None and at < self.until_at

    def after(self, mark: Mark, marks: Sequence[Mark], pause: timedelta) -> Circuit:
        """Where it stands after one more result; `marks` are those since it last closed, this one included."""
        if self.until_at is not None and self.opened_at is not None:  # half open: this was the try
            return Circuit(mark.at, mark.at + pause, mark.why) if mark.is_bad else Circuit()
        why = tripped(marks)
        return Circuit(mark.at, mark.at + pause, why) if why else self


@dataclass(frozen=True, slots=True)
class Touch:
    """One change of ours that was seen in place afterwards: whose, of what, to which value."""

    user: str
    thing: str
    value: str


def touches(action: Action) -> tuple[Touch, ...]:
    """What an action sets, thing by thing: a location, a licence with its plans, a membership."""
    if action.kind is ActionKind.SET_USAGE_LOCATION:
        return (Touch(action.user, "location", action.country or ""),)
    if action.kind in (ActionKind.ADD_GROUP_MEMBER, ActionKind.REMOVE_GROUP_MEMBER):
        value = "in" if action.kind is ActionKind.ADD_GROUP_MEMBER else "out"
        return (Touch(action.user, f"group {action.group}", value),)
    given = (Touch(action.user, f"sku {g.sku}", f"on without {sorted(g.disabled_plans)}") for g in action.add)
    taken = (Touch(action.user, f"sku {sku}", "off") for sku in action.remove)
    return (*given, *taken)


def fights(seen: Iterable[Touch]) -> Mapping[tuple[str, str], tuple[str, int]]:
    """What each thing was last set to by us and seen so, and how often in a row; oldest first in."""
    found: dict[tuple[str, str], tuple[str, int]] = {}
    for touch in seen:
        key = (touch.user, touch.thing)
        value, count = found.get(key, ("", 0))
        found[key] = (touch.value, count + 1 if value == touch.value else 1)
    return found


def is_fought(action: Action, known: Mapping[tuple[str, str], tuple[str, int]]) -> bool:
    """Whether others have turned back twice what the action would set again."""
    return any(
        known.get((touch.user, touch.thing)) is not None
        and known[(touch.user, touch.thing)][0] == touch.value
        and known[(touch.user, touch.thing)][1] >= FLIPS_MAX
        for touch in touches(action)
    )
