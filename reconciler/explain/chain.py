"""The chain of a ticket from the store: what was asked, whom it means, what was found, decided, sent and seen.

Nothing is read anew, so an explanation is the same tomorrow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlmodel import Session

from desired_state import ledger
from desired_state.model import LineKey, Refusal, SkuId, Ticket
from desired_state.proposals import Proposal
from desired_state.rules import Ruling
from reconciler.approvals.values import Approval
from reconciler.explain.events import Event, events_of
from reconciler.line import LineState
from reconciler.promotion.values import Shadow
from reconciler.seats.book import Book
from reconciler.store import (
    approvals,
    journal,
    lines,
    outbox,
    proposals,
    rulings,
    seats,
    shadows,
    switches,
    tickets,
)
from reconciler.store.database import Database
from reconciler.store.switches import Switch


@dataclass(frozen=True, slots=True)
class LineChain:
    """One line with everything that happened to it. `approvals` are its requests, the newest first.

    `ruling` is the newest word of the rules about it, judged again from what was kept; `rules_text` the text of those
    rules. Both are None where no rule was asked, or where what was kept cannot be read.
    """

    key: LineKey
    standing: ledger.Standing | None
    state: LineState | None
    events: tuple[Event, ...]
    approvals: tuple[Approval, ...] = ()
    ruling: Ruling | None = None
    rules_text: str | None = None
    compared: tuple[Shadow, ...] = ()  # what would have been done, and what people made of it


@dataclass(frozen=True, slots=True)
class Chain:
    """One ticket with all its lines and what it was told. `proposal` is what software suggested, where it is one.

    `stops` are the switches that hold writes back now, `books` the seats as the last cycle left them.
    """

    ticket: Ticket
    lines: tuple[LineChain, ...]
    answers: tuple[outbox.Owed, ...]
    proposal: Proposal | None = None
    stops: tuple[Switch, ...] = ()
    books: Mapping[SkuId, Book] = field(default_factory=dict)


def explain(database: Database, tenant: str, subject: str) -> tuple[Chain, ...]:
    """The chains of a ticket number, or of every ticket of a person by sign-in name; () when none is known."""
    with database.read() as session:
        numbers = _tickets_of(session, tenant, subject)
        copies = tickets.load(session, tenant, numbers=numbers)
        standings = ledger.standings(session, tenant, tickets=numbers)
        states = lines.load(session, tenant, tickets=numbers)
        suggested = proposals.load(session, tenant, numbers)
        stops = tuple(s for s in switches.stops(session, tenant) if s.is_on)
        books = seats.load(session, tenant)
        compared = shadows.of_tickets(session, tenant, numbers)
        chains = []
        for number in sorted(numbers & set(copies)):
            rows = journal.rows_for(session, tenant, number)
            found = []
            for key in sorted({k for k in (*standings, *states) if k.ticket == number}):
                asked = approvals.of_line(session, tenant, key)
                mine = [*rows, *(r for a in asked for r in journal.rows_for(session, tenant, a.id))]
                every = sorted({row.seq: row for row in mine}.values(), key=lambda row: row.seq)
                ruling, text = _ruling(rulings.newest_of(session, every, key))
                own = tuple(sorted((s for s in compared if s.line == key), key=lambda s: (s.recorded_at, s.axis)))
                events = events_of(every, key)
                found.append(LineChain(key, standings.get(key), states.get(key), events, asked, ruling, text, own))
            chains.append(
                Chain(
                    copies[number],
                    tuple(found),
                    outbox.of_ticket(session, tenant, number),
                    suggested.get(number),
                    stops,
                    books,
                )
            )
        return tuple(chains)


def _ruling(found: tuple[Ruling, str] | None) -> tuple[Ruling | None, str | None]:
    return found if found is not None else (None, None)


def _tickets_of(session: Session, tenant: str, subject: str) -> set[str]:
    if "@" not in subject:
        return {subject.upper().partition("/")[0]}
    wanted, standings = subject.lower(), ledger.standings(session, tenant)
    return {key.ticket for key, standing in standings.items() if wanted in _names(standing)}


def _names(standing: ledger.Standing) -> set[str]:
    names: set[str | None] = set()
    if standing.entitlement is not None:
        names.add(standing.entitlement.upn)
    if standing.request is not None:
        claim = standing.request.claim
        names |= {claim.upn, claim.person.email if claim.person is not None else None}
    if isinstance(standing.declaration, Refusal):
        names.add(standing.declaration.person)
    return {name.lower() for name in names if name}
