"""Whom a cycle need not look at by name: who rests, and whom a filter or a scan of all users shows as they should be.

The decisions are in `resting`, `waking` and `sweep`; what they go by is read here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from desired_state.model import DesiredState, LineKey, UserId
from reconciler.clients.graph import Graph, UserPage
from reconciler.errors import RemoteError
from reconciler.line import Line
from reconciler.loop.look import Eyes
from reconciler.loop.reader import LOOKED, Reader
from reconciler.loop.resting import at_rest, is_over, sweep_pays, unless
from reconciler.loop.sweep import Desired, SweepResult, sweep, sweep_again
from reconciler.loop.waking import to_read
from reconciler.model import SubscribedSku
from reconciler.observed import Listing
from reconciler.store import guards, outbox, tickets, watermarks

SCANS = "scans"  # the guards' fact: how many users the last one showed


@dataclass(slots=True)
class Seats:
    """The seats of one cycle: read with the accounts, unless something before them needs to know what licences hold."""

    graph: Graph
    found: tuple[SubscribedSku, ...] | None = None

    def read(self) -> tuple[SubscribedSku, ...]:
        if self.found is None:
            self.found = self.graph.subscribed_skus()
        return self.found


def passed_over(
    reader: Reader,
    eyes: Eyes,
    found: tuple[Line, ...],
    desired: DesiredState,
    seats: Seats,
    moved: frozenset[UserId],
    *,
    is_quick: bool,
    at: datetime,
) -> frozenset[LineKey]:
    """The lines that a cycle which began at `at` need not look at by name; `moved` are people who are known to have.

    A quick one leaves alone whatever rests; another one scans all users where that takes fewer requests.

    Raises:
        RemoteError: the seats could not be read, or the pass be begun.
    """
    with reader.database.read() as session:
        mark = watermarks.load(session, reader.tenant, LOOKED)
        if mark is None or mark.at > at:  # never, or by a clock that was ahead: what moved since is not known
            return frozenset()
        touched = tickets.read_since(session, reader.tenant, mark.at)
        touched |= outbox.due_tickets(session, reader.tenant, at)  # whoever is told something is looked at first
    resting = at_rest(found, touched=touched, at=at)
    resting = unless(resting, found, to_read(eyes, found, resting, desired.wants, seats.read, moved, at))
    return resting if is_quick else _scanned(reader, eyes, found, resting, desired, seats, at)


def _scanned(
    reader: Reader,
    eyes: Eyes,
    found: tuple[Line, ...],
    resting: frozenset[LineKey],
    desired: DesiredState,
    seats: Seats,
    at: datetime,
) -> frozenset[LineKey]:
    """Those at rest whom a scan of all users shows as they should be."""
    people = {line.account for line in found if line.key in resting and not is_over(line)} - {None}
    over = frozenset(line.key for line in found if line.key in resting and is_over(line))  # nobody has to look at them
    with reader.database.read() as session:
        kept = guards.fact(session, reader.tenant, SCANS)
    try:
        size = int(kept[0]["rows"]) if kept is not None else eyes.graph.licensed_people()
    except RemoteError:
        return over
    if not sweep_pays(len(people), size):
        return over
    seen = _swept(eyes, desired, seats.read())
    if not seen.is_complete:  # a listing that was cut shows nobody to be well
        return over
    with reader.database.write() as session:
        guards.remember(session, reader.tenant, SCANS, {"rows": seen.rows}, at)
    return unless(resting, found, seen.candidates)


def _swept(eyes: Eyes, desired: DesiredState, skus: Iterable[SubscribedSku]) -> SweepResult:
    """Every user in pages: in slices since the last time, or all of them now, of which only what is new is decoded."""
    plans = {sku.sku: sku.plans for sku in skus}
    rolling = eyes.rolling
    if rolling is None:
        return sweep(_with_pauses(eyes.graph.scan(), eyes), Desired.compile(desired.wants, plans))
    like = rolling.memory.key if isinstance(rolling.memory.key, Desired) and not rolling.memory.key.is_worn else None
    compiled = Desired.compile(desired.wants, plans, like=like)

    def scan(begin: Callable[[], Listing]) -> Iterator[UserPage]:
        return _with_pauses(eyes.graph.scan(begin=begin), eyes)

    return rolling.take(compiled) or sweep_again(scan, compiled, rolling.memory)


def _with_pauses(pages: Iterator[UserPage], eyes: Eyes) -> Iterator[UserPage]:
    for page in pages:
        yield page
        del page  # and with it its rows, before the next page is built
        eyes.pause()
