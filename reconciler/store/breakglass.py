"""Requests that two people approved from the terminal, until a third has looked at them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, select
from sqlmodel import Session

from desired_state.model import LineKey
from desired_state.rows import table_of
from reconciler.approvals.values import Approval
from reconciler.store import journal
from reconciler.store.rows.approvals import BreakGlassRow

_TABLE = table_of(BreakGlassRow)
_OWED = (
    select(_TABLE)
    .where(_TABLE.c.tenant == bindparam("tenant"), _TABLE.c.reviewed_by == "")
    .order_by(_TABLE.c.used_at, _TABLE.c.approval)
)


@dataclass(frozen=True, slots=True)
class BreakGlass:
    """One use. `signers` are sign-in names, `incident` the ticket that it was used for, `review_by` the last instant
    for a look at it; `reviewed_by` is "" until then."""

    approval: str
    line: LineKey
    digest: str
    signers: tuple[str, ...]
    reason: str
    incident: str
    used_at: datetime
    review_by: datetime
    reviewed_by: str = ""
    reviewed_at: datetime | None = None
    note: str = ""

    def sentence(self, at: datetime) -> str:
        """What is owed, for people."""
        late = "it is overdue since" if self.review_by < at else "it is due by"
        return (
            f"break-glass was used for {self.line} on {self.used_at:%Y-%m-%d %H:%M} UTC by "
            f"{' and '.join(self.signers)} (request {self.approval}, {self.incident}); "
            f"somebody else has to look at it: {late} {self.review_by:%Y-%m-%d %H:%M} UTC, "
            "with `reconciler approvals reviewed`"
        )


def used(
    session: Session,
    tenant: str,
    approval: Approval,
    *,
    signers: Sequence[str],
    reason: str,
    incident: str,
    at: datetime,
    review_by: datetime,
) -> BreakGlass:
    """Note a use, and that a review is owed; its audit row is as loud as any."""
    row = BreakGlassRow(
        tenant=tenant,
        approval=approval.id,
        line_ticket=approval.line.ticket,
        line=approval.line.line,
        digest=approval.digest,
        signers=json.dumps(list(signers)),
        reason=reason,
        incident=incident,
        used_at=at,
        review_by=review_by,
    )
    session.add(row)
    session.flush()
    body = {
        "id": approval.id,
        "lines": [str(approval.line)],
        "digest": approval.digest,
        "signers": list(signers),
        "reason": reason,
        "incident": incident,
        "valid_until": approval.valid_until,
        "review_by": review_by,
    }
    actor = ", ".join(signers)
    journal.append(session, tenant, kind="breakglass.used", subject=approval.id, body=body, at=at, actor=actor)
    return _read(row)


def reviewed(session: Session, tenant: str, id: str, *, by: str, note: str, at: datetime) -> bool:
    """Somebody has looked at it; False when there is none of this id, or somebody had before."""
    row = session.get(BreakGlassRow, (tenant, id))
    if row is None or row.reviewed_by:
        return False
    row.reviewed_by, row.reviewed_at, row.note = by, at, note
    session.flush()
    body = {"id": id, "lines": [f"{row.line_ticket}/{row.line}"], "digest": row.digest, "by": by, "note": note}
    journal.append(session, tenant, kind="breakglass.reviewed", subject=id, body=body, at=at, actor=by)
    return True


def load(session: Session, tenant: str, id: str) -> BreakGlass | None:
    row = session.get(BreakGlassRow, (tenant, id))
    return _read(row) if row is not None else None


def owed(session: Session, tenant: str) -> tuple[BreakGlass, ...]:
    """Every use that nobody has looked at yet, the oldest first."""
    return tuple(map(_read, session.connection().execute(_OWED, {"tenant": tenant})))


def _read(row: BreakGlassRow | Row[Any]) -> BreakGlass:
    return BreakGlass(
        row.approval,
        LineKey(row.line_ticket, row.line),
        row.digest,
        tuple(json.loads(row.signers)),
        row.reason,
        row.incident,
        row.used_at,
        row.review_by,
        row.reviewed_by,
        row.reviewed_at,
        row.note,
    )
