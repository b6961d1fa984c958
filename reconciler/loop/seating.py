"""The books of seats: read before lines are judged, written up after, idle seats looked for when somebody queues.

Looking for idle seats costs one listing a SKU, when a line enters its queue and the last look is a day old; a queue
that only waits asks for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from desired_state.model import SkuId
from reconciler.clients.graph import Graph
from reconciler.clients.servicenow import ServiceNow
from reconciler.errors import RemoteError
from reconciler.lifecycle import Phase
from reconciler.line import Decision, Gated, Observed
from reconciler.model import ObservedUser
from reconciler.seats.book import Book, Books, written_up
from reconciler.seats.idle import Idle
from reconciler.seats.words import explained
from reconciler.store import seats
from reconciler.store.database import Database

LOOK_AGAIN = timedelta(days=1)
ASKED_MAX = 20  # holders whose cost centre is asked for


@dataclass(frozen=True, slots=True)
class Seating:
    """What is needed to keep the books of one tenant."""

    tenant: str
    database: Database
    graph: Graph
    servicenow: ServiceNow
    use_grace: bool = False

    def load(self) -> dict[SkuId, Book]:
        """The books as the last cycle left them."""
        with self.database.read() as session:
            return seats.load(session, self.tenant)

    def save(self, books: Books, before: Books, at: datetime) -> None:
        """Keep the books that say something else than `before`, which is what the cycle loaded."""
        if before == books:
            return
        with self.database.write() as session:
            seats.save(session, self.tenant, books, at)


def seat(
    seating: Seating,
    before: Books,
    gated: Iterable[Gated],
    observed: Observed,
    *,
    at: datetime,
    is_whole: bool,
) -> tuple[tuple[Gated, ...], dict[SkuId, Book]]:
    """Give every line that waits its place and its sentence; returns the lines and the books."""
    every = tuple(gated)
    books = written_up(before, every, observed, at=at, is_whole=is_whole, use_grace=seating.use_grace)
    for sku in sorted(_entered(every, books, at)):
        found = _idle(seating, sku)
        if found is not None:
            books[sku] = replace(books[sku], idle=found, idle_at=at)
    return explained(every, books, at=at, use_grace=seating.use_grace), books


def _entered(gated: Iterable[Gated], books: Books, at: datetime) -> set[SkuId]:
    """SKUs whose queue somebody entered, where nobody looked for idle seats within a day."""
    entered: set[SkuId] = set()
    for g in gated:
        state = g.proposal.finding.line.state
        if g.decision is not Decision.QUEUED or (state is not None and state.phase is Phase.WAITING_FOR_SEAT):
            continue
        looked = books[g.proposal.short_of[0]].idle_at
        if looked is None or at - looked >= LOOK_AGAIN:
            entered.add(g.proposal.short_of[0])
    return entered


def _idle(seating: Seating, sku: SkuId) -> tuple[Idle, ...] | None:
    """Who holds a seat and does not use it; None when that cannot be told. A proposal is worth no failed cycle."""
    try:
        disabled = seating.graph.disabled_holders(sku)
        return tuple(sorted(_idler(seating, user, is_asked=n < ASKED_MAX) for n, user in enumerate(disabled)))
    except RemoteError:
        return None


def _idler(seating: Seating, user: ObservedUser, *, is_asked: bool) -> Idle:
    try:
        person = seating.servicenow.person_by(email=user.upn) if is_asked else None
    except RemoteError:
        person = None
    cost_center = (person.cost_center if person is not None else None) or ""
    return Idle(user.upn, "the account is disabled", user.department or "", cost_center)
