"""What is known of the seats of each SKU at the end of a cycle: counts, who waits, what comes free, what is idle. Pure.

It is what `status` shows, and what a cycle about some tickets only knows of the others. A book is written again only
when it says something else, so a converged world writes none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from desired_state.model import LineKey, Path, SkuId, UserId
from reconciler.lifecycle import Phase
from reconciler.line import Decision, Gated, Line, Observed
from reconciler.model import ActionKind, ObservedGroup, SubscribedSku
from reconciler.seats.forecast import End, ends
from reconciler.seats.idle import Idle
from reconciler.seats.ledger import count
from reconciler.seats.queue import Place, keeps_place, steps_aside, turn


@dataclass(frozen=True, slots=True)
class Book:
    """One SKU. `free` counts units in grace only where they may be used; `idle_at` None: nobody looked yet.

    `consumed` and `free` are Graph's count with what this cycle was about to give already on it.
    `queue` are the lines that wait for a seat, next one first; `kept` those that will need one and are not ready.
    """

    sku: SkuId
    part_number: str
    capability: str
    enabled: int
    warning: int
    consumed: int
    free: int
    queue: tuple[Place, ...] = ()
    kept: tuple[Place, ...] = ()
    ends: tuple[End, ...] = ()
    idle: tuple[Idle, ...] = ()
    idle_at: datetime | None = None
    suspended: int = 0


Books = Mapping[SkuId, Book]
_BY_GROUP = frozenset({ActionKind.ADD_GROUP_MEMBER, ActionKind.REPROCESS})


def written_up(
    before: Books,
    gated: Iterable[Gated],
    observed: Observed,
    *,
    at: datetime,
    is_whole: bool,
    use_grace: bool,
) -> dict[SkuId, Book]:
    """The books after a cycle was decided. A cycle that is not about every line leaves the others' places as they were.

    SKUs that the tenant does not own have a book only while somebody waits for one.
    """
    every = tuple(gated)
    lines = tuple(g.proposal.finding.line for g in every)
    told = frozenset(line.key for line in lines)
    queue, kept, known = list(_queued(every, before, at)), list(_kept(every, at)), list(ends(lines))
    if not is_whole:
        queue += [p for book in before.values() for p in book.queue if p.turn.key not in told]
        kept += [p for book in before.values() for p in book.kept if p.turn.key not in told]
        known += [e for book in before.values() for e in book.ends if e.key not in told]
    skus, spent = observed.skus, Counter(_spent(every, observed))
    wanted = {s.sku for s in skus.values() if s.applies_to.lower() == "user"} | {p.sku for p in queue}
    return {
        sku: replace(
            _counted(sku, skus.get(sku), use_grace, spent[sku]),
            queue=tuple(sorted(p for p in queue if p.sku == sku)),
            kept=tuple(sorted(p for p in kept if p.sku == sku)),
            ends=tuple(sorted(e for e in known if e.sku == sku)),
            idle=before[sku].idle if sku in before else (),
            idle_at=before[sku].idle_at if sku in before else None,
        )
        for sku in sorted(wanted)
    }


def _spent(gated: Iterable[Gated], observed: Observed) -> Iterable[SkuId]:
    """One for each seat that is about to be given."""
    return (sku for g in gated if g.decision is Decision.CLEARED for sku in seats_of(g, observed))


def seats_of(gated: Gated, observed: Observed) -> frozenset[SkuId]:
    """SKUs of which a change takes a seat for its person, directly or by the licences of a group."""
    user = gated.proposal.finding.user
    if user is None:
        return frozenset()
    joined = [observed.groups.get(a.group) for a in gated.proposal.actions if a.group and a.kind in _BY_GROUP]
    carried = [grant.sku for found in joined if isinstance(found, ObservedGroup) for grant in found.licenses or ()]
    return frozenset({*_assigned(gated), *carried} - (user.skus or frozenset()))


def with_places_of(books: Books, others: Books, tickets: Collection[str]) -> dict[SkuId, Book]:
    """The books with the places of these tickets' lines as another cycle has written them up since."""

    def places(mine: tuple[Place, ...], theirs: tuple[Place, ...]) -> tuple[Place, ...]:
        kept = [p for p in mine if p.turn.key.ticket not in tickets]
        return tuple(sorted([*kept, *(p for p in theirs if p.turn.key.ticket in tickets)]))

    found = dict(books)
    for sku, other in others.items():
        if (book := books.get(sku)) is not None:
            found[sku] = replace(book, queue=places(book.queue, other.queue), kept=places(book.kept, other.kept))
        elif other.queue or other.kept:
            found[sku] = other
    return found


def _counted(sku: SkuId, owned: SubscribedSku | None, use_grace: bool, spent: int) -> Book:
    if owned is None:
        return Book(sku, "", "not owned", 0, 0, 0, 0)
    owned = replace(owned, consumed=owned.consumed + spent)
    free = count(owned, use_grace=use_grace).free
    return Book(
        sku,
        owned.part_number,
        owned.capability,
        owned.enabled,
        owned.warning,
        owned.consumed,
        free,
        suspended=owned.suspended,
    )


def _queued(gated: Iterable[Gated], before: Books, at: datetime) -> Iterable[Place]:
    """Lines that wait now, and those whose last attempt was refused for want of a seat and is not due again yet."""
    places = {p.turn.key: p for book in before.values() for p in book.queue}
    for g in gated:
        line = g.proposal.finding.line
        if g.decision is Decision.QUEUED:
            yield Place(turn(line), g.proposal.short_of[0], line.binding.user, since(line, at))
        elif _is_waiting(line) and g.decision is Decision.HELD and not steps_aside(g, at):
            skus = [places[line.key].sku] if line.key in places else _assigned(g)
            for sku in skus[:1]:
                yield Place(turn(line), sku, line.binding.user, since(line, at))


def _assigned(gated: Gated) -> list[SkuId]:
    return [grant.sku for action in gated.proposal.actions for grant in action.add]


def since(line: Line, at: datetime) -> datetime:
    """When the line entered the queue: now, unless it waits already."""
    state = line.state
    return state.since if _is_waiting(line) and state is not None and state.since is not None else at


def _is_waiting(line: Line) -> bool:
    return line.state is not None and line.state.phase is Phase.WAITING_FOR_SEAT


def _kept(gated: Iterable[Gated], at: datetime) -> Iterable[Place]:
    for g in gated:
        finding = g.proposal.finding
        line, product = finding.line, finding.line.product
        if product is None or product.path is not Path.DIRECT:
            continue
        rests = g.decision is Decision.HELD and not steps_aside(g, at) and not _is_waiting(line)
        if rests and _assigned(g):
            yield Place(turn(line), _assigned(g)[0], line.binding.user)
        elif keeps_place(finding, at):
            yield Place(turn(line), product.candidate_skus[0], line.binding.user)


def elsewhere(books: Books, told: Iterable[LineKey]) -> tuple[Place, ...]:
    """The places of lines that this cycle is not about."""
    mine = frozenset(told)
    places = (p for book in books.values() for p in (*book.queue, *book.kept))
    return tuple(sorted(p for p in places if p.turn.key not in mine))


def position(book: Book, key: LineKey | None) -> tuple[int, int]:
    """The place of a line in the queue (1 is next, 0: not in it) and how many wait. Lines of one person share one."""
    people: list[UserId | LineKey] = []
    mine: UserId | LineKey | None = None
    for place in book.queue:
        who = place.user or place.turn.key
        if who not in people:
            people.append(who)
        if place.turn.key == key:
            mine = who
    return (people.index(mine) + 1 if mine is not None else 0), len(people)
