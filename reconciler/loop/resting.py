"""Which lines a quick cycle leaves alone: what is proven, has nothing due and has not moved. Pure.

A quick cycle costs what changed and not what was ever granted. What it leaves out is read again by a full scan, which
compares every user of the tenant in pages (`sweep`) and reads by name who differs. A scan does not show what
provisioning made of an assignment: for that, everybody is read by name now and then (`daemon.service.BY_NAME_EVERY`).
A ticket is answered whole and a person is planned for whole: where one line of either is awake, all of them are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from desired_state.model import LineKey, UserId
from desired_state.periods import reminds_at
from reconciler.lifecycle import FINAL, Phase
from reconciler.line import Line
from reconciler.loop.takeback import end_of

BY_NAME = 10  # people read by one request: batches of 20, one for accounts and one for plans
A_PAGE = 999


def is_over(line: Line) -> bool:
    """Whether nothing comes of the line any more."""
    return line.state is not None and line.state.phase in FINAL


def at_rest(found: Iterable[Line], *, touched: Collection[str], at: datetime) -> frozenset[LineKey]:
    """The lines that nothing calls for. `touched`: numbers of tickets that read otherwise since the last cycle."""
    every = tuple(found)
    quiet = {line.key: _is_quiet(line, at) and line.key.ticket not in touched for line in every}
    return _whole(every, {key for key, is_quiet in quiet.items() if is_quiet})


def unless(resting: frozenset[LineKey], found: Iterable[Line], awake: Collection[UserId]) -> frozenset[LineKey]:
    """Those at rest without the lines of these people, and of who shares a ticket with them."""
    every = tuple(found)
    return _whole(every, {line.key for line in every if line.key in resting and line.account not in awake})


def sweep_pays(resting: int, people: int) -> bool:
    """Whether reading every user in pages takes fewer requests than reading those at rest by name."""
    return resting / BY_NAME > people / A_PAGE + 1


def _is_quiet(line: Line, at: datetime) -> bool:
    state = line.state
    if state is None or line.hold:
        return False
    if state.phase in FINAL:
        return True
    if state.phase is not Phase.GRANTED or state.cause is not None or state.next_at is not None or line.skipped:
        return False
    end = end_of(line, state.granted_at)
    if end is None:
        return True
    return line.product is not None and at < reminds_at(end, line.granted_at or state.granted_at, line.product.remind_s)


def _whole(every: tuple[Line, ...], quiet: set[LineKey]) -> frozenset[LineKey]:
    """Without those that share a ticket or, for what is granted, a person with one that is awake; until none does."""
    accounts: Mapping[LineKey, UserId | None] = {
        line.key: line.account for line in every if line.state is None or line.state.phase not in FINAL
    }
    while True:
        awake = [line for line in every if line.key not in quiet]
        numbers = {line.key.ticket for line in awake}
        people = {accounts[line.key] for line in awake if line.key in accounts} - {None}
        left = {key for key in quiet if key.ticket not in numbers and accounts.get(key) not in people}
        if left == quiet:
            return frozenset(quiet)
        quiet = left
