"""What would have been done for lines, and what people made of it: one row a line, axis and digest.

A row is added once and changed once, when it is judged. What was judged longer ago than it is kept goes when another
row is added, so a tenant that stands still writes nothing and one that moves does not grow without bound.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, delete, insert, select, update
from sqlmodel import Session

from desired_state.ledger import CHUNK
from desired_state.model import LineKey
from desired_state.rows import is_row, table_of
from reconciler.promotion.values import Axis, Outcome, Shadow
from reconciler.store.rows.shadows import ShadowRow

_TABLE = table_of(ShadowRow)
_ADD, _CHANGE = insert(_TABLE), update(_TABLE).where(is_row(_TABLE))
_OF_TENANT = select(_TABLE).where(_TABLE.c.tenant == bindparam("tenant"))
_WAITING = _OF_TENANT.where(_TABLE.c.outcome == Outcome.WAITING.value)
_NAMED = _OF_TENANT.where(_TABLE.c.ticket.in_(bindparam("tickets", expanding=True)))
_SINCE = _OF_TENANT.where(
    (_TABLE.c.outcome == Outcome.WAITING.value) | (_TABLE.c.decided_at >= bindparam("since"))
).order_by(_TABLE.c.recorded_at.desc(), _TABLE.c.ticket, _TABLE.c.line)
_JUDGED = frozenset({"outcome", "why", "by", "acted_at", "decided_at"})
_OLD = delete(_TABLE).where(_TABLE.c.tenant == bindparam("of_tenant"), _TABLE.c.decided_at < bindparam("before"))


def waiting(session: Session, tenant: str) -> list[Shadow]:
    """Those that nobody has acted on yet, of all lines."""
    return [_shadow(row) for row in session.connection().execute(_WAITING, {"tenant": tenant})]


def of_tickets(session: Session, tenant: str, tickets: Collection[str]) -> list[Shadow]:
    """All of the lines of some tickets (numbers)."""
    some = sorted(tickets)
    parts = (some[i : i + CHUNK] for i in range(0, len(some), CHUNK))
    query = session.connection().execute
    return [_shadow(r) for part in parts for r in query(_NAMED, {"tenant": tenant, "tickets": part})]


def since(session: Session, tenant: str, at: datetime) -> list[Shadow]:
    """Those that wait, and those that were judged since an instant, the newest first."""
    return [_shadow(row) for row in session.connection().execute(_SINCE, {"tenant": tenant, "since": at})]


def add(session: Session, tenant: str, shadow: Shadow) -> None:
    """Keep a new one. The caller has made sure that the line has none of this axis and digest."""
    session.connection().execute(_ADD, _key(tenant, shadow, "") | _values(shadow))


def judged(session: Session, tenant: str, shadow: Shadow) -> None:
    """Keep what was found about one."""
    found = {name: value for name, value in _values(shadow).items() if name in _JUDGED}
    session.connection().execute(_CHANGE, _key(tenant, shadow, "of_") | found)


def prune(session: Session, tenant: str, before: datetime) -> int:
    """Remove what was judged before an instant; how many that were."""
    return session.connection().execute(_OLD, {"of_tenant": tenant, "before": before}).rowcount


def _key(tenant: str, shadow: Shadow, prefix: str) -> dict[str, Any]:
    key = {
        "tenant": tenant,
        "ticket": shadow.line.ticket,
        "line": shadow.line.line,
        "axis": shadow.axis.value,
        "digest": shadow.digest,
    }
    return {f"{prefix}{name}": value for name, value in key.items()}


def _values(shadow: Shadow) -> dict[str, Any]:
    return {
        "product": shadow.product,
        "user": shadow.user,
        "step": shadow.step,
        "would": json.dumps([dict(e) for e in shadow.would], sort_keys=True),
        "base": json.dumps(dict(shadow.base), sort_keys=True),
        "is_removal": shadow.is_removal,
        "recorded_at": shadow.recorded_at,
        "outcome": shadow.outcome.value,
        "why": shadow.why,
        "by": shadow.by,
        "acted_at": shadow.acted_at,
        "decided_at": shadow.decided_at,
    }


def _shadow(row: Row[Any]) -> Shadow:
    return Shadow(
        line=LineKey(row.ticket, row.line),
        axis=Axis(row.axis),
        digest=row.digest,
        product=row.product,
        step=row.step,
        would=tuple(json.loads(row.would)),
        recorded_at=row.recorded_at,
        user=row.user,
        is_removal=row.is_removal,
        base=json.loads(row.base),
        outcome=Outcome(row.outcome),
        why=row.why,
        by=row.by,
        acted_at=row.acted_at,
        decided_at=row.decided_at,
    )
