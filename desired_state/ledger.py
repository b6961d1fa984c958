"""The ledger of entitlements: every declaration about a line, in the order it was made, never changed.

A line's standing is the fold of its changes. A change that would leave the standing as it is appends nothing, so a
cycle may declare everything it read again (level-triggered) and a converged one adds no row (I10). Two facets are
kept apart: what is wished (declared, bound, refused, withdrawn) and what came of it (granted, ended). Reading an old
ticket again therefore never revives an entitlement that has ended.

The functions work on a session they are handed; the caller decides what else belongs to the same transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Index, Select, bindparam, insert, select
from sqlmodel import Field, Session

from desired_state.model import Claim, Entitlement, Given, LineKey, Refusal, Request, Why
from desired_state.rows import Row, RowId, UtcDateTime, table_of

CHUNK = 400  # tickets in one IN list: SQLite takes at least 999 parameters


class LedgerRow(Row, table=True):
    """One change of one line. Triggers refuse UPDATE and DELETE."""

    __tablename__ = "ledger"
    __table_args__ = (Index(None, "tenant", "ticket", "id"), {"sqlite_autoincrement": True})

    id: int | None = Field(default=None, primary_key=True, sa_type=RowId)
    tenant: str
    ticket: str
    line: int
    kind: str
    body: str
    at: datetime = Field(sa_type=UtcDateTime)


_TABLE = table_of(LedgerRow)
_OF_TENANT = (
    select(_TABLE.c.kind, _TABLE.c.body, _TABLE.c.at)
    .where(_TABLE.c.tenant == bindparam("tenant"))
    .order_by(_TABLE.c.id)
)
_NAMED = _OF_TENANT.where(_TABLE.c.ticket.in_(bindparam("tickets", expanding=True)))
_ANY = select(_TABLE.c.id).where(_TABLE.c.tenant == bindparam("tenant")).limit(1)
_ADD = insert(_TABLE).inline()


# --- changes ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Declared:
    """A line was read as a request."""

    request: Request

    @property
    def key(self) -> LineKey:
        return self.request.key


@dataclass(frozen=True, slots=True)
class Bound:
    """A request was bound to one person of one directory (I18)."""

    entitlement: Entitlement

    @property
    def key(self) -> LineKey:
        return self.entitlement.key


@dataclass(frozen=True, slots=True)
class Refused:
    """A line could not be read as a request, or was refused."""

    refusal: Refusal

    @property
    def key(self) -> LineKey:
        return self.refusal.key


@dataclass(frozen=True, slots=True)
class Granted:
    """A fresh observation proved the access at `at`; it is due until `until` (None: open). `by_us`: we gave it.

    `given` is exactly what we added for it, () when nothing was added or the past does not say.
    """

    key: LineKey
    at: datetime
    until: datetime | None = None
    by_us: bool = True
    given: tuple[Given, ...] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """The entitlement is over: revoked, returned, reclaimed, left. `why` is a word of ours."""

    key: LineKey
    at: datetime
    why: str = ""


@dataclass(frozen=True, slots=True)
class Lost:
    """What we gave was seen to be gone by other hands: whatever is there later is not ours, unless we give it again."""

    key: LineKey
    at: datetime
    given: tuple[Given, ...]


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """The wish itself is gone: the ticket was cancelled, rejected or deleted."""

    key: LineKey
    why: str = ""


LedgerChange = Declared | Bound | Refused | Granted | Lost | Ended | Withdrawn
Declaration = Request | Entitlement | Refusal

KINDS: dict[str, type[LedgerChange]] = {
    "declared": Declared,
    "bound": Bound,
    "refused": Refused,
    "granted": Granted,
    "lost": Lost,
    "ended": Ended,
    "withdrawn": Withdrawn,
}
_KIND_OF = {cls: kind for kind, cls in KINDS.items()}
_ENCODE = msgspec.json.Encoder(order="deterministic").encode
_DECODE = {kind: msgspec.json.Decoder(cls).decode for kind, cls in KINDS.items()}


@dataclass(frozen=True, slots=True)
class Entry:
    """One change as it was recorded."""

    change: LedgerChange
    recorded_at: datetime

    @property
    def key(self) -> LineKey:
        return self.change.key


def encode(change: LedgerChange) -> tuple[str, str]:
    """The kind and the JSON text of a change. `decode` gives back an equal value."""
    return _KIND_OF[type(change)], _ENCODE(change).decode()


def decode(kind: str, body: str) -> LedgerChange:
    """The change that `encode` wrote.

    Raises:
        ValueError: no such kind, or the text is not that of a change of this kind.
    """
    if kind not in KINDS:
        raise ValueError(f"the ledger knows no change of kind {kind!r}")
    change: LedgerChange = _DECODE[kind](body)
    return change


# --- standing: the fold ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Standing:
    """What all changes of one line amount to. `declaration` is the last word about the wish, None when withdrawn."""

    key: LineKey
    declaration: Declaration | None = None
    withdrawn_why: str | None = None
    granted_at: datetime | None = None
    until: datetime | None = None
    is_by_us: bool = False
    given: tuple[Given, ...] = ()
    ended_at: datetime | None = None
    ended_why: str = ""
    held: str = ""  # why nothing is changed for it: a person keeps the ticket's task; "" when nobody does

    @property
    def request(self) -> Request | None:
        match self.declaration:
            case Entitlement(request=request):
                return request
            case Request() as request:
                return request
            case _:
                return None

    @property
    def entitlement(self) -> Entitlement | None:
        return self.declaration if isinstance(self.declaration, Entitlement) else None

    @property
    def is_current(self) -> bool:
        """Still wished for and not over."""
        return self.declaration is not None and self.ended_at is None


def fold(standing: Standing, change: LedgerChange) -> Standing:
    """The standing after `change`; equal to `standing` when the change says nothing new. Pure."""
    match change:
        case Declared(request):
            return _declared(standing, request)
        case Bound(entitlement):
            known = standing.entitlement
            if known is not None and (known.tenant_id, known.user) == (entitlement.tenant_id, entitlement.user):
                entitlement = replace(known, request=entitlement.request)  # bound once: the first binding stands
            return replace(_declared(standing, entitlement.request), declaration=entitlement)
        case Refused(refusal):
            return _refused(standing, refusal)
        case Withdrawn(_, why):
            return standing if standing.withdrawn_why is not None else _withdrawn(standing, why)
        case Granted(_, at, until, by_us, given):
            if standing.granted_at is not None and standing.ended_at is None:
                # The first grant started the period. Who gave it is settled once, unless it was lost and given again:
                # later proof changes only the end.
                if by_us and given and not standing.given:
                    return replace(standing, until=until, is_by_us=True, given=given)
                return replace(standing, until=until)
            return replace(
                standing, granted_at=at, until=until, is_by_us=by_us, given=given, ended_at=None, ended_why=""
            )
        case Lost(_, _, lost):
            what = {(g.kind, g.sku, g.group, g.plans) for g in lost}
            left = tuple(g for g in standing.given if (g.kind, g.sku, g.group, g.plans) not in what)
            return standing if left == standing.given else replace(standing, given=left, is_by_us=bool(left))
        case Ended(_, at, why):
            return standing if standing.ended_at is not None else replace(standing, ended_at=at, ended_why=why)


def _refused(standing: Standing, refusal: Refusal) -> Standing:
    """Who takes a ticket's task does not unsay what was granted: that stands, and is looked at as before (I4)."""
    is_granted = standing.entitlement is not None and standing.granted_at is not None and standing.ended_at is None
    if refusal.why is Why.HELD_BY_PERSON and is_granted:
        return replace(standing, withdrawn_why=None, held=refusal.sentence)
    return replace(standing, declaration=refusal, withdrawn_why=None, held="")


def _withdrawn(standing: Standing, why: str) -> Standing:
    return replace(standing, declaration=None, withdrawn_why=why, held="")


def _declared(standing: Standing, request: Request) -> Standing:
    """A request again: the person stays bound while the claim is the same; a new wish starts a new period."""
    before = standing.request
    known = standing.entitlement
    is_same_person = known is not None and _who(known.request.claim) == _who(request.claim)
    declaration: Declaration = replace(known, request=request) if known is not None and is_same_person else request
    after = replace(standing, declaration=declaration, withdrawn_why=None, held="")
    is_same_wish = before is None or (before.product, before.period) == (request.product, request.period)
    if is_same_wish and (known is None or is_same_person):
        return after
    if before is not None and before.product == request.product and is_same_person and standing.ended_at is None:
        return after  # a new period of what is granted already: only its end moves, and `granted` says so
    return replace(after, granted_at=None, until=None, is_by_us=False, given=(), ended_at=None, ended_why="")


def _who(claim: Claim) -> tuple[str | None, str | None]:
    """What identifies the person; their department may change without making them someone else."""
    return (claim.upn.lower() if claim.upn else None, claim.person.sys_id if claim.person else None)


# --- reading and appending --------------------------------------------------------------------------------------


def append(session: Session, tenant: str, change: LedgerChange, at: datetime) -> bool:
    """Record one change; False when it says nothing new and no row was added."""
    return append_all(session, tenant, (change,), at) == 1


def append_all(session: Session, tenant: str, news: Iterable[LedgerChange], at: datetime) -> int:
    """Record several changes in their order, reading each line's standing once. Returns the number of rows added."""
    news = tuple(news)
    known = standings(session, tenant, tickets={change.key.ticket for change in news})
    added = 0
    for change in news:
        before = known.get(change.key, Standing(change.key))
        known[change.key] = append_to(session, tenant, before, change, at)
        added += known[change.key] is not before
    return added


def append_to(session: Session, tenant: str, before: Standing, change: LedgerChange, at: datetime) -> Standing:
    """Record one change of a line that stands as `before`, which was read in this transaction.

    Returns how it stands now: `before` itself when the change says nothing new and no row was added.
    """
    key, after = change.key, fold(before, change)
    if after == before:
        return before
    kind, body = encode(change)
    # One statement a change: ids give their order.
    values = {"tenant": tenant, "ticket": key.ticket, "line": key.line, "kind": kind, "body": body, "at": at}
    session.connection().execute(_ADD, values)
    return after


def changes(session: Session, tenant: str, ticket: str | None = None) -> list[Entry]:
    """Every change of a tenant, or of one ticket, oldest first."""
    return list(_entries(session, tenant, None if ticket is None else (ticket,)))


def standings(session: Session, tenant: str, tickets: Collection[str] | None = None) -> dict[LineKey, Standing]:
    """The standing of every line that was ever declared, or of the lines of some tickets."""
    known: dict[LineKey, Standing] = {}
    for entry in _entries(session, tenant, tickets):
        known[entry.key] = fold(known.get(entry.key, Standing(entry.key)), entry.change)
    return known


def current(session: Session, tenant: str, tickets: Collection[str] | None = None) -> dict[LineKey, Declaration]:
    """The last declaration of each line that is neither withdrawn nor over: a request, an entitlement or a refusal."""
    return {
        key: standing.declaration
        for key, standing in standings(session, tenant, tickets).items()
        if standing.declaration is not None and standing.is_current
    }


def is_empty(session: Session, tenant: str) -> bool:
    """Nothing was ever declared for this tenant."""
    return session.connection().execute(_ANY, {"tenant": tenant}).first() is None


def import_history(session: Session, tenant: str, past: Sequence[tuple[LedgerChange, datetime]]) -> int:
    """Give an empty ledger its past, oldest first; a ledger that has one keeps it. Returns the number of rows added.

    Each change is recorded under its own instant, so that "granted by us last month" reads so ever after.
    """
    if not is_empty(session, tenant):
        return 0
    return sum(append(session, tenant, change, at) for change, at in past)


def _entries(session: Session, tenant: str, tickets: Collection[str] | None) -> Iterator[Entry]:
    if tickets is None:
        yield from _read(session, _OF_TENANT, {"tenant": tenant})
        return
    ordered = sorted(tickets)
    for i in range(0, len(ordered), CHUNK):
        yield from _read(session, _NAMED, {"tenant": tenant, "tickets": ordered[i : i + CHUNK]})


def _read(session: Session, query: Select[Any], values: Mapping[str, Any]) -> Iterator[Entry]:
    return (Entry(decode(kind, body), at) for kind, body, at in session.connection().execute(query, values))
