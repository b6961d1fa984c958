"""What the board and the metrics read: lines counted by kind, their history by day, and pages of lines.

Every query is answered from an index of `line` (migration 0022) and reads a bounded number of rows, whatever a tenant
has; `tests/bench/board.py` measures them on 100,000 lines.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import ColumnElement, and_, func, or_
from sqlalchemy import select as sql_select
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from desired_state.model import LineKey
from reconciler.lifecycle import FINAL, Phase
from reconciler.model import Verdict
from reconciler.store.rows.tickets import LineDayRow, LineKindRow, LineRow
from reconciler.tallies import DAY, WEEK, Ages, Count, Kind, Move

PAGE_MAX = 200
PEOPLE_MAX = 200  # whom one search may mean
SEARCH_MAX = 100  # characters
LAST = "\uffff"  # behind everything that begins so
NUMBER = re.compile(r"[A-Z]{2,8}[0-9]{1,20}")
AT_REST = FINAL | {Phase.GRANTED, Phase.EXPIRING}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which lines: all that is given has to hold. `text` is the beginning of a number or a part of a person's name.

    `phases` empty: those that are not at rest, or any when something else is asked for.
    """

    text: str = ""
    phases: Collection[str] = ()
    cause: str = ""
    product: str = ""
    verdict: str = ""

    @property
    def is_all(self) -> bool:
        return not (self.text or self.phases or self.cause or self.product or self.verdict)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page ended: the last line's instant and key."""

    since: datetime
    key: LineKey


@dataclass(frozen=True, slots=True)
class Listed:
    """One line as it is listed; "" for none."""

    key: LineKey
    product: str
    person: str
    phase: str
    cause: str
    verdict: str
    since: datetime
    ends_at: datetime | None
    next_at: datetime | None
    note: str

    @property
    def place(self) -> Place:
        return Place(self.since, self.key)


def counts(session: Session, tenant: str) -> list[Count]:
    """All lines of a tenant by kind."""
    kind = (LineKindRow.product, LineKindRow.phase, LineKindRow.cause, LineKindRow.verdict)
    query = select(*kind, LineKindRow.lines).where(LineKindRow.tenant == tenant, col(LineKindRow.lines) != 0)  # type: ignore[call-overload]
    return [Count(Kind(*row[:4]), row[4]) for row in session.exec(query)]


def moves(session: Session, tenant: str, since: date) -> list[Move]:
    """What changed from a day on, that day included, of lines that drift or whose access is not there."""
    kind = (LineDayRow.product, LineDayRow.phase, LineDayRow.cause, LineDayRow.verdict)
    query = select(LineDayRow.day, *kind, LineDayRow.change)  # type: ignore[call-overload]
    query = query.where(
        LineDayRow.tenant == tenant,
        col(LineDayRow.day) >= since.isoformat(),
        or_(col(LineDayRow.cause) != "", col(LineDayRow.verdict) == Verdict.FALSE.value),
        LineDayRow.change != 0,
    )
    days: dict[str, date] = {}
    found = []
    for row in session.exec(query):
        day = days.get(row[0]) or days.setdefault(row[0], date.fromisoformat(row[0]))
        found.append(Move(day, Kind(*row[1:5]), row[5]))
    return found


def ages(session: Session, tenant: str, at: datetime) -> dict[str, Ages]:
    """By phase; of phases at rest only since when the oldest is in it. Each number is one walk of an index."""
    phases = select(LineKindRow.phase).where(LineKindRow.tenant == tenant, LineKindRow.lines != 0).distinct().subquery()
    known, since = phases.c.phase, col(LineRow.since)
    mine = (LineRow.tenant == tenant, LineRow.phase == known)
    oldest = select(since).where(*mine).order_by(since).limit(1).correlate(phases).scalar_subquery()
    found = [row for row in session.connection().execute(sql_select(known, oldest)) if row[1] is not None]
    at_rest = {phase.value for phase in AT_REST}
    return {
        phase: Ages(first, *((None, None) if phase in at_rest else _older(session, tenant, phase, at)))
        for phase, first in found
    }


def _older(session: Session, tenant: str, phase: str, at: datetime) -> tuple[int, int]:
    """How many lines of a phase are in it for a day, and for a week.

    For all phases in one statement, PostgreSQL plans as if each had an even share of the lines, and reads all of them.
    """
    since = col(LineRow.since)
    over_week = func.count().filter(since <= at - WEEK)
    mine = (col(LineRow.tenant) == tenant, col(LineRow.phase) == phase, since <= at - DAY)
    row = session.connection().execute(sql_select(func.count(), over_week).select_from(LineRow).where(*mine)).one()
    return row[0], row[1]


def oldest_by_cause(session: Session, tenant: str) -> dict[str, datetime]:
    """Since when the oldest line that drifts by a cause is in its phase."""
    mine = (LineKindRow.tenant == tenant, LineKindRow.cause != "", LineKindRow.lines != 0)
    causes = select(LineKindRow.cause).where(*mine).distinct().subquery()
    since = col(LineRow.since)
    drifting = (LineRow.tenant == tenant, LineRow.cause == causes.c.cause, col(LineRow.phase).not_in(sorted(FINAL)))
    oldest = select(since).where(*drifting).order_by(since).limit(1).correlate(causes).scalar_subquery()
    found = session.connection().execute(sql_select(causes.c.cause, oldest))
    return {row[0]: row[1] for row in found if row[1] is not None}


def known_since(session: Session, tenant: str) -> date | None:
    """The first day of which there is a record; None when there is none."""
    first = session.exec(select(func.min(LineDayRow.day)).where(LineDayRow.tenant == tenant)).one()
    return date.fromisoformat(first) if first is not None else None


def page(session: Session, tenant: str, wanted: Wanted, *, after: Place | None = None, limit: int = 50) -> list[Listed]:
    """Lines by how long they are in their phase, the longest first; by number where a number is looked for.

    `after` is where the page before ended.
    """
    since, ticket, line = col(LineRow.since), col(LineRow.ticket), col(LineRow.line)
    query = select(LineRow).where(LineRow.tenant == tenant, *_conditions(wanted))
    number, name = number_of(wanted.text), wanted.text.strip().lower()
    begins = _begins(session, number)
    if number:  # an account may be called so too
        known = select(ticket).where(LineRow.tenant == tenant, *begins).limit(1)
        number = number if session.exec(known).first() is not None else ""
    if number:
        query = query.where(*begins).order_by(ticket, line)
    else:
        query = query.order_by(since, ticket, line)
        if name:
            query = query.where(col(LineRow.person).in_(_people(session, tenant, name)))
    if after is not None:
        same = and_(ticket == after.key.ticket, line > after.key.line)
        further = or_(ticket > after.key.ticket, same)
        if number:
            query = query.where(ticket >= after.key.ticket, further)
        else:
            query = query.where(since >= after.since, or_(since > after.since, further))
    query = query.limit(min(limit, PAGE_MAX))
    phases = _phases(wanted)
    if number or len(phases) < 2:
        return [_listed(row) for row in session.exec(_in(query, phases))]
    # An index has each phase in order, and not several: the first of each, put in order, are the first of all.
    every = (_listed(row) for phase in phases for row in session.exec(_in(query, [phase])))
    return sorted(every, key=lambda line: (line.since, line.key))[: min(limit, PAGE_MAX)]


def _phases(wanted: Wanted) -> list[str]:
    if wanted.is_all:
        return [p.value for p in Phase if p not in AT_REST]
    return sorted(wanted.phases)


def _in(query: SelectOfScalar[LineRow], phases: Collection[str]) -> SelectOfScalar[LineRow]:
    return query.where(col(LineRow.phase).in_(phases)) if phases else query


def _begins(session: Session, number: str) -> tuple[ColumnElement[bool], ...]:
    """SQLite compares bytes and walks its index; elsewhere an order of letters may be anybody's."""
    ticket = col(LineRow.ticket)
    if session.get_bind().dialect.name == "sqlite":
        return ticket >= number, ticket < number + LAST
    return (ticket.startswith(number, autoescape=True),)


def number_of(text: str) -> str:
    """The beginning of a ticket number, "" for text that is none: a name has no digit right behind its letters."""
    said = text.strip().upper()
    return said if NUMBER.fullmatch(said) else ""


def _people(session: Session, tenant: str, name: str) -> list[str]:
    """Whom some text may mean: found in one pass over the index of names."""
    person = col(LineRow.person)
    query = select(person).where(LineRow.tenant == tenant, person.contains(name, autoescape=True)).distinct()
    return list(session.exec(query.order_by(person).limit(PEOPLE_MAX)))


def _conditions(wanted: Wanted) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.cause:
        found.append(col(LineRow.cause) == wanted.cause)
    if wanted.product:
        found.append(col(LineRow.product) == wanted.product)
    if wanted.verdict:
        found.append(col(LineRow.verdict) == wanted.verdict)
    return found


def _listed(row: LineRow) -> Listed:
    return Listed(
        key=LineKey(row.ticket, row.line),
        product=row.product,
        person=row.person,
        phase=row.phase,
        cause=row.cause or "",
        verdict=row.verdict or "",
        since=row.since,
        ends_at=row.ends_at,
        next_at=row.next_at,
        note=row.note,
    )
