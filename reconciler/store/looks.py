"""When somebody of a fleet has to look at which tenant, and what the one who looked leaves to the next.

It is kept with the lease, written only by who holds it: a worker that comes back late leaves nothing (I16). Seconds are
the database's own, as everywhere in `leases`. Asking for work costs one query over an index, however many tenants
there are; tenants whose time has not come are not read.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlmodel import Session, col, select

from reconciler.store import leases
from reconciler.store.leases import Lease, LeaseLost
from reconciler.store.notices import State
from reconciler.store.rows.cycles import LeaseRow
from reconciler.store.rows.notices import NoticeRow


@dataclass(frozen=True, slots=True)
class Look:
    """A tenant that wants to be looked at: for which duty, and whether it was slow or failing when last looked at."""

    tenant: str
    duty: str
    is_troubled: bool


def due(
    session: Session, tenants: Collection[str], *, limit: int = 1000, now_s: float | None = None
) -> tuple[Look, ...]:
    """Whose time has come and whom nobody has, the longest waiting first. A tenant that was never looked at is due."""
    now = leases.now_s(session) if now_s is None else now_s
    ours = frozenset(tenants)
    is_called = (col(LeaseRow.look_s) <= now) | (col(LeaseRow.asked) > col(LeaseRow.served))
    query = (
        select(LeaseRow.tenant, LeaseRow.duty, LeaseRow.is_troubled)
        .where(col(LeaseRow.until_s) <= now, is_called)
        .order_by(col(LeaseRow.look_s), col(LeaseRow.tenant))
    )
    found = (Look(tenant, duty, is_troubled) for tenant, duty, is_troubled in session.exec(query) if tenant in ours)
    return tuple(look for look, _ in zip(found, range(limit), strict=False))


@dataclass(frozen=True, slots=True)
class NextLook:
    """When a worker looks at a tenant next, and what for."""

    at: datetime
    duty: str
    is_troubled: bool


def next_of(session: Session, tenant: str) -> NextLook | None:
    """When a tenant is looked at next; None when no worker ever had it."""
    row = session.exec(select(LeaseRow).where(LeaseRow.tenant == tenant)).first()
    if row is None or not row.left_over:
        return None
    return NextLook(datetime.fromtimestamp(row.look_s, UTC), row.duty, row.is_troubled)


def know(session: Session, tenants: Collection[str]) -> int:
    """Have a row for each of these tenants, due at once where it is new; how many are."""
    known = set(session.exec(select(LeaseRow.tenant)))
    fresh = sorted(set(tenants) - known)
    for tenant in fresh:  # two workers may start at once: whoever comes second finds the row
        leases.know(session, tenant)
    return len(fresh)


def left_over(session: Session, tenant: str) -> str:
    """What the last one who looked at the tenant left, "" for nothing."""
    return session.exec(select(LeaseRow.left_over).where(LeaseRow.tenant == tenant)).first() or ""


def leave(session: Session, lease: Lease, *, look_s: float, duty: str, is_troubled: bool, left_over: str) -> None:
    """Say when to look next, for what, and leave what the next one needs. Raises LeaseLost: nothing was left."""
    leases.guard(session, lease)
    row = session.exec(
        select(LeaseRow).where(LeaseRow.tenant == lease.tenant, LeaseRow.epoch == lease.epoch).with_for_update()
    ).first()
    if row is None:
        raise LeaseLost(lease)
    row.look_s, row.duty, row.is_troubled, row.left_over = look_s, duty, is_troubled, left_over
    session.add(row)
    session.flush()


def to_tell(session: Session, tenants: Collection[str], at: datetime, *, now_s: float | None = None) -> frozenset[str]:
    """The tenants that owe a notice which is due at `at`, and whom nobody has: whoever has one tells it too."""
    now = leases.now_s(session) if now_s is None else now_s
    query = (
        select(NoticeRow.tenant)
        .join(LeaseRow, col(LeaseRow.tenant) == NoticeRow.tenant)
        .where(NoticeRow.state == State.QUEUED.value, col(NoticeRow.next_at) <= at, col(LeaseRow.until_s) <= now)
    )
    return frozenset(session.exec(query.distinct())) & frozenset(tenants)
