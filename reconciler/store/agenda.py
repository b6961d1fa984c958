"""What is due at an instant: the next end date, second try, reminder or expiry that a cycle has to be there for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from sqlmodel import Session, col, func, select

from reconciler.lifecycle import FINAL
from reconciler.store import approvals, outbox
from reconciler.store.rows.tickets import AnswerRow, LineRow


def next_instant(session: Session, tenant: str, *, after: datetime) -> datetime | None:
    """The first instant later than `after` at which a line or a request of the tenant has something due, or None.

    What was due before and still stands waits for something else (a freeze, a person), not for an instant.
    """
    return min((at for at in _instants(session, tenant, after) if at > after), default=None)


def _instants(session: Session, tenant: str, after: datetime) -> Iterator[datetime]:
    over = [phase.value for phase in FINAL]
    open_ = (LineRow.tenant == tenant, col(LineRow.phase).not_in(over))
    owed = col(AnswerRow.state).in_(outbox.OWED)
    for query in (
        select(func.min(LineRow.next_at)).where(*open_, col(LineRow.next_at) > after),
        select(func.min(LineRow.ends_at)).where(*open_, col(LineRow.ends_at) > after),
        select(func.min(AnswerRow.next_at)).where(AnswerRow.tenant == tenant, owed, col(AnswerRow.next_at) > after),
    ):
        found = session.exec(query).one()
        if found is not None:
            yield found
    for approval in approvals.unfinished(session, tenant):
        stage = approval.stage
        if stage is not None:
            yield from stage.remind_at
            yield from (at for at in (stage.escalate_at, stage.expires_at) if at is not None)
        if approval.valid_until is not None:
            yield approval.valid_until
