"""How far each second place has the log. The log itself is the outbox: what lies behind a sink's position is owed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlmodel import Session, select

from reconciler.store import journal
from reconciler.store.rows.audit import SinkRow


@dataclass(frozen=True, slots=True)
class Position:
    """`seq` rows and the checkpoints up to size `checkpoint` are there; `behind` rows are owed.

    `failing_since` is None while it takes what it is given.
    """

    sink: str
    seq: int = 0
    checkpoint: int = 0
    failing_since: datetime | None = None
    error: str = ""
    behind: int = 0


def positions(session: Session, tenant: str) -> dict[str, Position]:
    """Where each sink of a tenant stands, by its name."""
    size = journal.head(session, tenant).size
    rows = session.exec(select(SinkRow).where(SinkRow.tenant == tenant).order_by(SinkRow.sink))
    return {
        row.sink: Position(
            row.sink,
            row.seq,
            row.checkpoint,
            datetime.fromisoformat(row.failing_since) if row.failing_since else None,
            row.error,
            max(size - row.seq, 0),
        )
        for row in rows
    }


def delivered(session: Session, tenant: str, sink: str, *, seq: int, checkpoint: int) -> None:
    """The sink has the log up to there; what failed before is over. It never goes back."""
    row = _row(session, tenant, sink)
    row.seq, row.checkpoint = max(row.seq, seq), max(row.checkpoint, checkpoint)
    row.failing_since = row.error = ""
    session.flush()


def failed(session: Session, tenant: str, sink: str, error: str, at: datetime) -> None:
    """The sink did not take what it was given; since when is kept from the first failure on."""
    row = _row(session, tenant, sink)
    row.failing_since = row.failing_since or at.astimezone(UTC).isoformat()
    row.error = error[:300]
    session.flush()


def _row(session: Session, tenant: str, sink: str) -> SinkRow:
    row = session.get(SinkRow, (tenant, sink))
    if row is None:
        row = SinkRow(tenant=tenant, sink=sink)
        session.add(row)
    return row
