"""The heartbeat of a tenant: its last cycle, one row updated in place. All that a converged cycle writes (I10).

It keeps the head of the audit log as the cycle left it, so that a log cut by somebody who forgets this row is found.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, insert, select, update
from sqlmodel import Session

from desired_state.rows import is_row, table_of
from reconciler.audit.chain import Head
from reconciler.store.rows.cycles import CycleRow

_TABLE = table_of(CycleRow)
_ONE, _ADD, _CHANGE = select(_TABLE).where(is_row(_TABLE)), insert(_TABLE), update(_TABLE).where(is_row(_TABLE))
_START = _CHANGE.values(number=_TABLE.c.number + 1)
_FINISH = _CHANGE.where(_TABLE.c.cycle == bindparam("of_cycle"))


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
    values = {
        "cycle": cycle,
        "started_at": at,
        "finished_at": None,
        "is_converged": None,
        "counts": "{}",
        "error": "",
    }
    if session.connection().execute(_START, {"of_tenant": tenant} | values).rowcount == 0:
        first = {"tenant": tenant, "number": 1, "audit_size": 0, "audit_head": "", "last_finished_at": None}
        session.connection().execute(_ADD, first | values)


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
    values = {
        "finished_at": at,
        "last_finished_at": at,
        "is_converged": is_converged,
        "counts": json.dumps(dict(counts), sort_keys=True),
        "error": error,
        "audit_size": head.size,
        "audit_head": head.hash,
    }
    finished = session.connection().execute(_FINISH, {"of_tenant": tenant, "of_cycle": cycle} | values)
    return bool(finished.rowcount == 1)


def last(session: Session, tenant: str) -> Heartbeat | None:
    """The last cycle of a tenant, running or over; None when there was none."""
    row = session.connection().execute(_ONE, {"of_tenant": tenant}).first()
    return _heartbeat(row) if row is not None else None


def heads(session: Session) -> list[Head]:
    """The heads of the audit log that the last finished cycles saw, for `journal.verify`."""
    beats = (_heartbeat(row) for row in session.connection().execute(select(_TABLE)))
    return [beat.head for beat in beats if beat.head is not None]


def _heartbeat(row: Row[Any]) -> Heartbeat:
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
