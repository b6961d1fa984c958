"""What a scrape reads of one tenant, in one read transaction whose cost follows what changed since the last one.

The end of the audit log says whether anything has changed: every move of a line and every write adds a row to it. Lines
are added up again only then, and of the ledger only new rows are read. 100,000 lines take a second of one processor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any

from sqlmodel import Session

from desired_state.model import SkuId
from reconciler.audit.chain import Head, verify
from reconciler.inventory.lines import Backlog, LineFact, Sums, backlog, sums
from reconciler.lifecycle import Phase
from reconciler.line import Lane
from reconciler.loop.guards import Limits
from reconciler.loop.headcount import PEOPLE
from reconciler.metrics.labels import NONE
from reconciler.model import Verdict
from reconciler.seats.book import Book
from reconciler.store import checkpoints, guards, heartbeat, journal, notices, outbox, seats, stock, tally

DAY = timedelta(hours=24)
BUDGET_KEPT = timedelta(seconds=60)  # yesterday's writes leave the day by themselves
REST = 20  # a big store is added up for a twentieth of the time at most, however often it is scraped
CHECKED = 500  # rows of the audit log that one scrape checks anew
LATE = 200  # rows of the ledger that are read again: two writers may commit out of order
PATIENCE_MS = 4000  # of one statement, where the database can be told


@dataclass(frozen=True, slots=True)
class Terms:
    """What the configuration in use says about what is counted. Another one is another value: all is added up anew.

    `price` is a month's of a product, None where none is configured; `grace` is how long it stays after its end.
    """

    limits: Limits
    price: Callable[[str], Decimal | None]
    grace: Callable[[str], timedelta]


@dataclass(frozen=True, slots=True)
class Found:
    """One tenant as a scrape found it. None is what nobody has seen yet.

    `looked_at` is the end of the last cycle; `remaining` and `limits` are by lane, and "cost" where it is capped.
    """

    at: datetime
    looked_at: datetime | None = None
    lines: Sums | None = None
    approvals: Mapping[str, int] = field(default_factory=dict)
    backlog: Backlog = field(default_factory=Backlog)
    books: Mapping[SkuId, Book] = field(default_factory=dict)
    notices: Mapping[str, int] = field(default_factory=dict)
    remaining: Mapping[str, Decimal] = field(default_factory=dict)
    limits: Mapping[str, Decimal] = field(default_factory=dict)
    signed_at: datetime | None = None
    is_log_whole: bool = True


@dataclass(slots=True)
class Reader:
    """Reads one tenant again and again. Not safe for threads: the collector takes turns."""

    tenant: str
    terms: Callable[[], Terms]  # as they are now; the same object while the configuration is the same
    stopwatch: Callable[[], float]
    _by: Terms | None = None  # what the sums were made by
    _is_stale: bool = True
    _rests_until: float = 0.0
    _products: dict[tuple[str, int], str] = field(default_factory=dict)
    _ledger: int = 0
    _head: Head | None = None
    _lines: Sums | None = None
    _backlog: Backlog | None = None
    _used: tuple[datetime, dict[str, Decimal]] | None = None
    _checked: Head | None = None  # up to here the log was read and held
    _again: Head | None = None  # how far it was read since it was begun anew
    _broken: bool = False

    def read(self, session: Session, at: datetime) -> Found:
        """Everything that the gauges say, in the session's one view of the store.

        Raises whatever the database raises: a store in the middle of a migration is not guessed at.
        """
        tenant, terms = self.tenant, self.terms()
        stock.be_patient(session, PATIENCE_MS)  # a migration's lock must not hold up the scrape
        head, beat = journal.head(session, tenant), heartbeat.last(session, tenant)
        is_new = head != self._head
        self._is_stale = self._is_stale or is_new
        if self._lines is None or terms is not self._by or (self._is_stale and self.stopwatch() >= self._rests_until):
            began = self.stopwatch()
            self._take_in(session)
            self._lines, self._is_stale = sums(self._facts(session), terms.price, terms.grace), False
            self._by = terms
            self._rests_until = self.stopwatch() + REST * (self.stopwatch() - began)
        used = self._spent(session, at, is_new=is_new)
        self._check(session, head)
        self._head = head
        signed = checkpoints.last(session, tenant)
        limits = self._limits(session, terms.limits)
        waiting = notices.counts(session, tenant)
        return Found(
            at=at,
            looked_at=beat.last_finished_at if beat is not None else None,
            lines=self._lines if beat is not None else None,
            approvals=stock.approvals(session, tenant),
            backlog=self._waiting(session, is_new=is_new),
            books=seats.load(session, tenant),
            notices={state: waiting.get(state, 0) for state in ("queued", "dead")},
            remaining={name: max(Decimal(0), limit - used.get(name, Decimal(0))) for name, limit in limits.items()},
            limits=limits,
            signed_at=signed.at if signed is not None else None,
            is_log_whole=not self._broken,
        )

    def _take_in(self, session: Session) -> None:
        """Which product each line is about, by the last word of the ledger."""
        for named in stock.namings(session, self.tenant, max(0, self._ledger - LATE)):
            self._products[named.ticket, named.line] = named.product or NONE
            self._ledger = max(self._ledger, named.id)

    def _facts(self, session: Session) -> list[LineFact]:
        return [
            LineFact(
                self._products.get((kept.ticket, kept.line), NONE),
                Phase(kept.phase),
                kept.since,
                kept.cause,
                Verdict(kept.verdict) if kept.verdict is not None else None,
                kept.user,
                kept.ends_at,
            )
            for kept in stock.lines(session, self.tenant)
        ]

    def _waiting(self, session: Session, *, is_new: bool) -> Backlog:
        if self._backlog is None or is_new:  # whatever becomes of a request is a row of the log
            self._backlog = backlog(stock.waiting(session, self.tenant))
        return self._backlog

    def _limits(self, session: Session, configured: Limits) -> dict[str, Decimal]:
        people = guards.fact(session, self.tenant, PEOPLE)
        limits = replace(configured, people=people[0].get("count") if people is not None else None)
        found = {lane.value: Decimal(limits.of_day(lane)) for lane in Lane}
        return found | ({"cost": limits.cost_per_day} if limits.cost_per_day is not None else {})

    def _spent(self, session: Session, at: datetime, *, is_new: bool) -> dict[str, Decimal]:
        if self._used is None or is_new or not timedelta() <= at - self._used[0] < BUDGET_KEPT:
            touched = tally.touched_since(session, self.tenant, at - DAY)
            used = {lane: Decimal(len(who)) for lane, who in touched.users.items()}
            used[Lane.ANSWERS.value] = Decimal(len(outbox.tickets_answered_since(session, self.tenant, at - DAY)))
            self._used = (at, used | {"cost": touched.cost})
        return self._used[1]

    # --- the audit log: what is new is checked at once, all of it again and again

    def _check(self, session: Session, head: Head) -> None:
        if self._checked is not None and head.size < self._checked.size:
            self._broken, self._again = True, None  # its end is gone
        if self._again is None:
            gone = checkpoints.segments(session, self.tenant)
            self._again = Head(self.tenant, gone[-1].last, gone[-1].head) if gone else Head(self.tenant, 0, "")
        is_over, self._again, is_sound = self._slice(session, self._again)
        if is_sound and is_over:
            self._checked, self._broken, self._again = head, False, None
        elif is_sound and self._checked is not None and self._checked.size < head.size:
            _, self._checked, is_sound = self._slice(session, self._checked)
        if not is_sound:
            self._broken, self._again = True, None

    def _slice(self, session: Session, start: Head) -> tuple[bool, Head, bool]:
        """Check some rows behind `start`: whether the end was reached, how far it came, whether all of them hold."""
        rows: list[Mapping[str, Any]] = list(islice(journal.export(session, self.tenant, after=start.size), CHECKED))
        found = verify(rows, starts={self.tenant: start} if start.size else None)
        return len(rows) < CHECKED, found.heads.get(self.tenant, start), found.ok
