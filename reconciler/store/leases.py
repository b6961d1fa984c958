"""One writer per tenant over all processes and machines (I16): a claim that expires by itself, with a fencing epoch.

Each claim is one conditional UPDATE. Time is the database's own, so machines whose clocks differ agree, and a virtual
clock of the sandbox cannot keep a dead process alive; tests hand in `now_s`. `guard` runs in the transaction of each
intent: a writer that was paused past its lease finds a higher epoch, and its intent is rolled back. What the database
cannot fence is the remote system itself; a pause between guard and request remains (dependencies.md section 1).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import TextClause, text
from sqlmodel import Session

from reconciler.store.database import Database

_NOW = {
    "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
    "postgresql": "extract(epoch from clock_timestamp())::float8",
}

_CLAIM = (
    "UPDATE lease SET owner = :owner, since_s = {now}, until_s = {now} + :ttl, epoch = epoch + 1 "
    "WHERE tenant = :tenant AND until_s <= {now} RETURNING epoch, asked"
)
_CLAIM_DUE = _CLAIM.replace("RETURNING", "AND (next_due_s <= {now} OR asked > served) RETURNING")
_RELEASE = (
    "UPDATE lease SET owner = NULL, since_s = 0, until_s = 0 "
    "WHERE tenant = :tenant AND owner = :owner AND epoch = :epoch"
)
_DONE = _RELEASE.replace("until_s = 0", "until_s = 0, next_due_s = {now} + :next, served = :asked")


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write for one tenant. `epoch` grows with every claim and is never given out twice. `asked` is how
    often a cycle had been asked for when it was claimed."""

    tenant: str
    owner: str
    epoch: int
    asked: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Held:
    """The tenant is somebody else's: who, since when, and until when unless they renew it."""

    by: str
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class NotDue:
    """Nobody has the tenant, and its next cycle is due in `in_s` seconds: somebody has done the one before."""

    in_s: float


class LeaseLost(Exception):
    """The lease expired or was taken over; nothing may be written under it any more."""

    def __init__(self, lease: Lease) -> None:
        super().__init__(f"{lease.owner} no longer holds {lease.tenant}")
        self.lease = lease


def know(session: Session, tenant: str) -> None:
    """Have a row for the tenant; one that is there stays."""
    first = "INSERT INTO lease (tenant, epoch, since_s, until_s) VALUES (:tenant, 0, 0, 0) ON CONFLICT DO NOTHING"
    _run(session, first, None, tenant=tenant)


def claim(session: Session, tenant: str, owner: str, *, ttl_s: float, now_s: float | None = None) -> Lease | Held:
    """Take the tenant for `ttl_s` seconds, if nobody has it. The same owner is refused too: one cycle at a time."""
    found = _claim(session, tenant, owner, ttl_s, now_s, only_due=False)
    assert not isinstance(found, NotDue)
    return found


def claim_due(
    session: Session, tenant: str, owner: str, *, ttl_s: float, now_s: float | None = None
) -> Lease | Held | NotDue:
    """As `claim`, if the tenant's next cycle is due or somebody asked for one."""
    return _claim(session, tenant, owner, ttl_s, now_s, only_due=True)


def _claim(
    session: Session, tenant: str, owner: str, ttl_s: float, now_s: float | None, *, only_due: bool
) -> Lease | Held | NotDue:
    know(session, tenant)
    won = _run(session, _CLAIM_DUE if only_due else _CLAIM, now_s, tenant=tenant, owner=owner, ttl=ttl_s).first()
    if won is not None:
        return Lease(tenant, owner, won[0], won[1])
    by, since_s, until_s, is_held, in_s = _run(
        session,
        "SELECT owner, since_s, until_s, until_s > {now}, next_due_s - {now} FROM lease WHERE tenant = :tenant",
        now_s,
        tenant=tenant,
    ).one()
    return Held(by or "", _instant(since_s), _instant(until_s)) if is_held or not only_due else NotDue(max(0.0, in_s))


def ask(session: Session, tenant: str, *, now_s: float | None = None) -> None:
    """Somebody wants a cycle, whoever does it. Asked while one runs, another one follows."""
    know(session, tenant)
    _run(session, "UPDATE lease SET asked = asked + 1 WHERE tenant = :tenant", now_s, tenant=tenant)


def is_asked(session: Session, tenant: str, *, since: Lease | None = None) -> bool:
    """Whether somebody wants a cycle that none has begun for yet; `since` a lease was claimed, when it is named."""
    query = "SELECT 1 FROM lease WHERE tenant = :tenant AND asked > served AND asked > :before"
    before = -1 if since is None else since.asked
    return _run(session, query, None, tenant=tenant, before=before).scalar() is not None


def now_s(session: Session) -> float:
    """Seconds since 1970 by the database's own clock: the one clock that all workers of a fleet share."""
    return float(_run(session, "SELECT {now}", None).scalar())


def renew(session: Session, lease: Lease, *, ttl_s: float, now_s: float | None = None) -> bool:
    """Hold it for `ttl_s` from now; False when it is lost, and then for good. Call every third of `ttl_s`."""
    changed = _run(
        session,
        "UPDATE lease SET until_s = {now} + :ttl "
        "WHERE tenant = :tenant AND owner = :owner AND epoch = :epoch AND until_s > {now}",
        now_s,
        ttl=ttl_s,
        **_of(lease),
    )
    return bool(changed.rowcount == 1)


def guard(session: Session, lease: Lease, *, need_s: float = 0.0, now_s: float | None = None) -> None:
    """Return when the lease holds, for at least `need_s` more seconds: the time limit of what is sent next.

    Raises:
        LeaseLost: it does not; the caller's transaction must not be committed.
    """
    sql = "SELECT 1 FROM lease WHERE tenant = :tenant AND owner = :owner AND epoch = :epoch AND until_s > {now} + :need"
    if session.get_bind().dialect.name == "postgresql":
        sql += " FOR SHARE"
    held = _run(session, sql, now_s, need=need_s, **_of(lease)).scalar()
    if held is None:
        raise LeaseLost(lease)


def release(session: Session, lease: Lease, *, next_in_s: float | None = None, now_s: float | None = None) -> bool:
    """Give it back; False when it was lost already. The epoch stays, so a late writer is still refused.

    `next_in_s`: the cycle is done, and the next one is due in so many seconds. Left out, the row's timetable stays.
    """
    if next_in_s is None:
        changed = _run(session, _RELEASE, now_s, **_of(lease))
    else:
        changed = _run(session, _DONE, now_s, next=next_in_s, asked=lease.asked, **_of(lease))
    return bool(changed.rowcount == 1)


def abandon(session: Session, tenant: str, owner: str, *, now_s: float | None = None) -> bool:
    """Free the tenant from an owner that is known to be dead; False when it is not theirs. The epoch stays."""
    changed = _run(
        session,
        "UPDATE lease SET owner = NULL, since_s = 0, until_s = 0 WHERE tenant = :tenant AND owner = :owner",
        now_s,
        tenant=tenant,
        owner=owner,
    )
    return bool(changed.rowcount == 1)


def holders(session: Session, *, now_s: float | None = None) -> dict[str, str]:
    """Who has which tenant now, by tenant; without those that nobody has."""
    query = "SELECT tenant, owner FROM lease WHERE until_s > {now} AND owner IS NOT NULL"
    return {row.tenant: row.owner for row in _run(session, query, now_s)}


def holder(session: Session, tenant: str, *, now_s: float | None = None) -> Held | None:
    """Who has the tenant now; None when nobody does."""
    found = _run(
        session,
        "SELECT owner, since_s, until_s FROM lease WHERE tenant = :tenant AND until_s > {now}",
        now_s,
        tenant=tenant,
    ).first()
    return Held(found[0] or "", _instant(found[1]), _instant(found[2])) if found is not None else None


@contextmanager
def fenced(database: Database, lease: Lease, *, need_s: float = 0.0, now_s: float | None = None) -> Iterator[Session]:
    """A write transaction that is kept only if the lease holds. Raises LeaseLost."""
    with database.write() as session:
        guard(session, lease, need_s=need_s, now_s=now_s)
        yield session


def _of(lease: Lease) -> dict[str, Any]:
    return {"tenant": lease.tenant, "owner": lease.owner, "epoch": lease.epoch}


def _run(session: Session, sql: str, now_s: float | None, **values: Any) -> Any:
    now = ":now" if now_s is not None else _NOW[session.get_bind().dialect.name]
    if now_s is not None and "{now}" in sql:
        values["now"] = now_s
    return session.connection().execute(_statement(sql, now), values)


@cache
def _statement(sql: str, now: str) -> TextClause:
    return text(sql.replace("{now}", now))


def _instant(seconds: float) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
