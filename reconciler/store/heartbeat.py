"""The heartbeat of a tenant: its last cycle, one row updated in place. All that a converged cycle writes (I10).

It keeps the head of the audit log as the cycle left it, so that a log cut by somebody who forgets this row is found.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, select

from reconciler.audit.chain import Head
from reconciler.store.tables import CycleRow


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The last cycle. `finished_at` is None while it runs, or when its process died; `error` "" when all went well.

    `last_finished_at` is when any cycle last came to its end; `number` counts the tenant's cycles.
    """

    tenant: str
    cycle: str
    number: int
    started_at: datetime
    finished_at: datetime | None
    is_converged: bool | None
    counts: Mapping[str, int]
    error: str
    head: Head | None
    last_finished_at: datetime | None


def start(session: Session, tenant: str, cycle: str, at: datetime) -> None:
    """A cycle begins."""
    row = session.get(CycleRow, tenant)
    if row is None:
        row = CycleRow(tenant=tenant, cycle=cycle, number=0, started_at=at)
        session.add(row)
    row.cycle, row.number, row.started_at = cycle, row.number + 1, at
    row.finished_at, row.is_converged, row.counts, row.error = None, None, "{}", ""
    session.flush()


def finish(
    session: Session,
    tenant: str,
    cycle: str,
    at: datetime,
    *,
    is_converged: bool,
    counts: Mapping[str, int],
    head: Head,
    error: str = "",
) -> bool:
    """A cycle has ended; False when another one has begun since, whose heartbeat this is now."""
    row = session.get(CycleRow, tenant)
    if row is None or row.cycle != cycle:
        return False
    row.finished_at = row.last_finished_at = at
    row.is_converged, row.error = is_converged, error
    row.counts = json.dumps(dict(counts), sort_keys=True)
    row.audit_size, row.audit_head = head.size, head.hash
    session.flush()
    return True


def last(session: Session, tenant: str) -> Heartbeat | None:
    """The last cycle of a tenant, running or over; None when there was none."""
    row = session.get(CycleRow, tenant)
    return _heartbeat(row) if row is not None else None


def heads(session: Session) -> list[Head]:
    """The heads of the audit log that the last finished cycles saw, for `journal.verify`."""
    beats = (_heartbeat(row) for row in session.exec(select(CycleRow)))
    return [beat.head for beat in beats if beat.head is not None]


def _heartbeat(row: CycleRow) -> Heartbeat:
    return Heartbeat(
        tenant=row.tenant,
        cycle=row.cycle,
        number=row.number,
        started_at=row.started_at,
        finished_at=row.finished_at,
        is_converged=row.is_converged,
        counts=json.loads(row.counts),
        error=row.error,
        head=Head(row.tenant, row.audit_size, row.audit_head) if row.audit_head else None,
        last_finished_at=row.last_finished_at,
    )
