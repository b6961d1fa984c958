"""One writer per tenant over all processes and machines (I16): a claim that expires by itself, with a fencing epoch.

Each claim is one conditional UPDATE. Time is the database's own, so machines whose clocks differ agree, and a virtual
clock of the sandbox cannot keep a dead process alive; tests hand in `now_s`. `guard` runs in the transaction of each
intent: a writer that was paused past its lease finds a higher epoch, and its intent is rolled back. What the database
cannot fence is the remote system itself; a pause between guard and request remains (dependencies.md section 1).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write for one tenant. `epoch` grows with every claim and is never given out twice."""

    tenant: str
    owner: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Held:
    """The tenant is somebody else's: who, since when, and until when unless they renew it."""

    by: str
    since: datetime
    until: datetime


class LeaseLost(Exception):
    """The lease expired or was taken over; nothing may be written under it any more."""

    def __init__(self, lease: Lease) -> None:
        super().__init__(f"{lease.owner} no longer holds {lease.tenant}")
        self.lease = lease


def claim(session: Session, tenant: str, owner: str, *, ttl_s: float, now_s: float | None = None) -> Lease | Held:
    """Take the tenant for `ttl_s` seconds, if nobody has it. The same owner is refused too: one cycle at a time."""
    first = "INSERT INTO lease (tenant, epoch, since_s, until_s) VALUES (:tenant, 0, 0, 0) ON CONFLICT DO NOTHING"
    _run(session, first, now_s, tenant=tenant)
    won = _run(
        session,
        "UPDATE lease SET owner = :owner, since_s = {now}, until_s = {now} + :ttl, epoch = epoch + 1 "
        "WHERE tenant = :tenant AND until_s <= {now} RETURNING epoch",
        now_s,
        tenant=tenant,
        owner=owner,
        ttl=ttl_s,
    ).scalar()
    if won is not None:
        return Lease(tenant, owner, won)
    by, since_s, until_s = _run(
        session, "SELECT owner, since_s, until_s FROM lease WHERE tenant = :tenant", now_s, tenant=tenant
    ).one()
    return Held(by or "", _instant(since_s), _instant(until_s))


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


def release(session: Session, lease: Lease, *, now_s: float | None = None) -> bool:
    """Give it back; False when it was lost already. The epoch stays, so a late writer is still refused."""
    changed = _run(
        session,
        "UPDATE lease SET owner = NULL, since_s = 0, until_s = 0 "
        "WHERE tenant = :tenant AND owner = :owner AND epoch = :epoch",
        now_s,
        **_of(lease),
    )
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
