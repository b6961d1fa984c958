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

import msgspec
from sqlalchemy import func, text
from sqlmodel import Session, col, select

from desired_state.ledger import LedgerRow
from desired_state.model import SkuId
from reconciler.audit.chain import Head, verify
from reconciler.inventory.lines import LineFact, Sums, sums
from reconciler.lifecycle import Phase
from reconciler.line import Lane
from reconciler.loop.guarding import PEOPLE
from reconciler.loop.guards import Limits
from reconciler.metrics.labels import NONE
from reconciler.model import Verdict
from reconciler.seats.book import Book
from reconciler.store import checkpoints, guards, heartbeat, journal, notices, outbox, seats, tally
from reconciler.store.rows.approvals import ApprovalRow
from reconciler.store.rows.tickets import LineRow

DAY = timedelta(hours=24)
BUDGET_KEPT = timedelta(seconds=60)  # yesterday's writes leave the day by themselves
REST = 20  # a big store is added up for a twentieth of the time at most, however often it is scraped
CHECKED = 500  # rows of the audit log that one scrape checks anew
LATE = 200  # rows of the ledger that are read again: two writers may commit out of order
PATIENCE_MS = 4000  # of one statement, where the database can be told


class _Asked(msgspec.Struct):
    product: str | None = None


class _Bound(msgspec.Struct):
    request: _Asked | None = None


class _Change(msgspec.Struct):
    """What a change of the ledger says about the product, whichever kind it is."""

    request: _Asked | None = None
    entitlement: _Bound | None = None
    refusal: _Asked | None = None

    @property
    def product(self) -> str | None:
        asked = self.request or self.refusal or (self.entitlement.request if self.entitlement is not None else None)
        return asked.product if asked is not None else None


_DECODE = msgspec.json.Decoder(_Change).decode
_NAMING = ("declared", "bound", "refused")


@dataclass(frozen=True, slots=True)
class Found:
    """One tenant as a scrape found it. None is what nobody has seen yet.

    `looked_at` is the end of the last cycle; `remaining` and `limits` are by lane, and "cost" where it is capped.
    """

    at: datetime
    looked_at: datetime | None = None
    lines: Sums | None = None
    approvals: Mapping[str, int] = field(default_factory=dict)
    oldest_pending: datetime | None = None
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
    limits: Callable[[], Limits]
    price: Callable[[str], Decimal | None]
    stopwatch: Callable[[], float]
    _is_stale: bool = True
    _rests_until: float = 0.0
    _products: dict[tuple[str, int], str] = field(default_factory=dict)
    _ledger: int = 0
    _head: Head | None = None
    _lines: Sums | None = None
    _used: tuple[datetime, dict[str, Decimal]] | None = None
    _checked: Head | None = None  # up to here the log was read and held
    _again: Head | None = None  # how far it was read since it was begun anew
    _broken: bool = False

    def read(self, session: Session, at: datetime) -> Found:
        """Everything that the gauges say, in the session's one view of the store.

        Raises whatever the database raises: a store in the middle of a migration is not guessed at.
        """
        tenant = self.tenant
        if session.get_bind().dialect.name == "postgresql":  # a migration's lock must not hold up the scrape
            session.execute(text(f"SET LOCAL statement_timeout = {PATIENCE_MS}"))
        head, beat = journal.head(session, tenant), heartbeat.last(session, tenant)
        is_new = head != self._head
        self._is_stale = self._is_stale or is_new
        if self._lines is None or (self._is_stale and self.stopwatch() >= self._rests_until):
            began = self.stopwatch()
            self._take_in(session)
            self._lines, self._is_stale = sums(self._facts(session), self.price), False
            self._rests_until = self.stopwatch() + REST * (self.stopwatch() - began)
        used = self._spent(session, at, is_new=is_new)
        self._check(session, head)
        self._head = head
        pending = select(func.min(ApprovalRow.created_at)).where(
            ApprovalRow.tenant == tenant, ApprovalRow.state == "pending"
        )
        signed = checkpoints.last(session, tenant)
        limits = self._limits(session)
        waiting = notices.counts(session, tenant)
        return Found(
            at=at,
            looked_at=beat.last_finished_at if beat is not None else None,
            lines=self._lines if beat is not None else None,
            approvals=self._states(session),
            oldest_pending=session.exec(pending).one(),
            books=seats.load(session, tenant),
            notices={state: waiting.get(state, 0) for state in ("queued", "dead")},
            remaining={name: max(Decimal(0), limit - used.get(name, Decimal(0))) for name, limit in limits.items()},
            limits=limits,
            signed_at=signed.at if signed is not None else None,
            is_log_whole=not self._broken,
        )

    def _take_in(self, session: Session) -> None:
        """Which product each line is about, by the last word of the ledger."""
        query = select(LedgerRow.id, LedgerRow.ticket, LedgerRow.line, LedgerRow.body)
        where = (LedgerRow.tenant == self.tenant, col(LedgerRow.id) > max(0, self._ledger - LATE))
        rows = session.exec(query.where(*where, col(LedgerRow.kind).in_(_NAMING)).order_by(col(LedgerRow.id)))
        for id, ticket, line, body in rows:
            self._products[ticket, line] = _DECODE(body).product or NONE
            self._ledger = max(self._ledger, id or 0)

    def _facts(self, session: Session) -> list[LineFact]:
        row = LineRow
        query = select(row.ticket, row.line, row.phase, row.since, row.cause, row.verdict, row.user, row.ends_at)  # type: ignore[call-overload]
        found = session.exec(query.where(row.tenant == self.tenant))
        return [
            LineFact(
                self._products.get((ticket, line), NONE),
                Phase(phase),
                since,
                cause,
                Verdict(verdict) if verdict is not None else None,
                user,
                ends_at,
            )
            for ticket, line, phase, since, cause, verdict, user, ends_at in found
        ]

    def _states(self, session: Session) -> dict[str, int]:
        query = select(ApprovalRow.state, func.count()).where(ApprovalRow.tenant == self.tenant)
        return {str(state): int(count) for state, count in session.exec(query.group_by(ApprovalRow.state))}

    def _limits(self, session: Session) -> dict[str, Decimal]:
        people = guards.fact(session, self.tenant, PEOPLE)
        limits = replace(self.limits(), people=people[0].get("count") if people is not None else None)
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
