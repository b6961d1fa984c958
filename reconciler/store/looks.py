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

LONGEST_S = 600.0  # nobody leaves a tenant alone for longer, whatever is due when
FAR_S = 1.5 * LONGEST_S  # who is to be looked at later than this was put down before the database's clock was set back


@dataclass(frozen=True, slots=True)
class Look:
    """A tenant that wants to be looked at: for which duty, and whether it was slow or failing when last looked at.

    `is_cut`: whoever had it last did not give it back, so something may be half done.
    """

    tenant: str
    duty: str
    is_troubled: bool
    is_cut: bool = False


def due(
    session: Session, tenants: Collection[str], *, limit: int = 1000, now_s: float | None = None
) -> tuple[Look, ...]:
    """Whose time has come and whom nobody has, the longest waiting first. A tenant that was never looked at is due."""
    now = leases.now_s(session) if now_s is None else now_s
    ours = frozenset(tenants)
    look_s = col(LeaseRow.look_s)
    is_called = (look_s <= now) | (look_s > now + FAR_S) | (col(LeaseRow.asked) > col(LeaseRow.served))
    query = (
        select(LeaseRow.tenant, LeaseRow.duty, LeaseRow.is_troubled, LeaseRow.owner)
        .where(col(LeaseRow.until_s) <= now, is_called)
        .order_by(col(LeaseRow.look_s), col(LeaseRow.tenant))
    )
    found = (
        Look(tenant, duty, is_troubled, is_cut=owner is not None)
        for tenant, duty, is_troubled, owner in session.exec(query)
        if tenant in ours
    )
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


def epochs(session: Session, tenants: Collection[str]) -> dict[str, int]:
    """Of each of these tenants, how often its lease was given out; without those that were never held."""
    query = select(LeaseRow.tenant, LeaseRow.epoch).where(col(LeaseRow.tenant).in_(sorted(tenants)))
    return dict(session.exec(query).all())


def left_over(session: Session, tenant: str) -> str:
    """What the last one who looked at the tenant left, "" for nothing."""
    return session.exec(select(LeaseRow.left_over).where(LeaseRow.tenant == tenant)).first() or ""


def leave(
    session: Session,
    lease: Lease,
    *,
    look_s: float,
    duty: str,
    is_troubled: bool,
    left_over: str,
    now_s: float | None = None,
) -> None:
    """Say when to look next, for what, and leave what the next one needs. Raises LeaseLost: nothing was left.

    It is never later than LONGEST_S from now. Those who had asked for a cycle by then are in what is left,
    so that a tenant which cannot be served is not due at once again for them.
    """
    leases.guard(session, lease)
    row = session.exec(
        select(LeaseRow).where(LeaseRow.tenant == lease.tenant, LeaseRow.epoch == lease.epoch).with_for_update()
    ).first()
    if row is None:
        raise LeaseLost(lease)
    soonest_s = min(look_s, (leases.now_s(session) if now_s is None else now_s) + LONGEST_S)
    row.look_s, row.duty, row.is_troubled, row.left_over = soonest_s, duty, is_troubled, left_over
    row.served = max(row.served, lease.asked)
    session.add(row)
    session.flush()


def put_off(session: Session, tenant: str, *, for_s: float, now_s: float | None = None) -> bool:
    """Have nobody look at a tenant for so long, because it could not be served; False when somebody has it.

    The epoch moves on, so whoever looks next sees that something was not done, and does a cycle: for those, too, who
    had asked for one.
    """
    now = leases.now_s(session) if now_s is None else now_s
    row = session.exec(
        select(LeaseRow).where(LeaseRow.tenant == tenant, col(LeaseRow.until_s) <= now).with_for_update()
    ).first()
    if row is None:
        return False
    row.look_s, row.is_troubled, row.served, row.epoch = now + for_s, True, row.asked, row.epoch + 1
    session.add(row)
    session.flush()
    return True


def to_tell(session: Session, tenants: Collection[str], at: datetime, *, now_s: float | None = None) -> frozenset[str]:
    """The tenants that owe a notice which is due at `at`, and whom nobody has: whoever has one tells it too."""
    now = leases.now_s(session) if now_s is None else now_s
    query = (
        select(NoticeRow.tenant)
        .join(LeaseRow, col(LeaseRow.tenant) == NoticeRow.tenant)
        .where(NoticeRow.state == State.QUEUED.value, col(NoticeRow.next_at) <= at, col(LeaseRow.until_s) <= now)
    )
    return frozenset(session.exec(query.distinct())) & frozenset(tenants)
