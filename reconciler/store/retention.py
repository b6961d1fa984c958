"""Removing what need not be kept any longer: whole sealed segments from the beginning of the log, never single rows of
it; and the board's numbers of days long past.

A segment ends at a checkpoint and goes when every row in it has outlived its class. What stays is its size, its last
hash, the frontier of its tree and the checkpoint, so the rest verifies as before, and proofs from the checkpoints
inside it to its end, so older checkpoints can still be compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, func, or_
from sqlmodel import Session, col, select

from reconciler.audit.verify import Segment
from reconciler.store import checkpoints, journal
from reconciler.store.rows.audit import AuditAbout, AuditRecord
from reconciler.store.rows.tickets import LineDayRow

VIEWS = frozenset({"approval.viewed", "approval.view_denied", "audit.read", "auth.signin", "auth.refused", "polled"})


KEEP_DAYS = timedelta(days=397)  # of the board's daily numbers: a year to compare with, and a month


@dataclass(frozen=True, slots=True)
class Keep:
    """How long rows are kept by class: decisions and changes, and views."""

    decisions: timedelta = timedelta(days=7 * 365 + 2)
    views: timedelta = timedelta(days=400)


def due(session: Session, tenant: str, keep: Keep, at: datetime) -> int:
    """The last row of the longest segment that may go, 0 when none may. It ends at a checkpoint."""
    decisions, views = (_written(at - span) for span in (keep.decisions, keep.views))
    is_view = col(AuditRecord.kind).in_(sorted(VIEWS))
    stays = or_(
        is_view & (col(AuditRecord.at) >= views),
        ~is_view & (col(AuditRecord.at) >= decisions),
    )
    query = select(func.min(AuditRecord.seq)).where(AuditRecord.tenant == tenant, stays)
    first_kept = session.exec(query).one()
    end = first_kept - 1 if first_kept is not None else journal.head(session, tenant).size
    gone = checkpoints.segments(session, tenant)
    fitting = list(checkpoints.sizes(session, tenant, gone[-1].last if gone else 0, end))
    return fitting[-1] if fitting else 0


def remove(session: Session, tenant: str, last: int, *, by: str, at: datetime) -> Segment:
    """Remove the rows up to `last`, where there is a checkpoint, and say so in the log; one write transaction.

    Raises:
        ValueError: there is no checkpoint of that size, or those rows are gone.
    """
    gone = checkpoints.segments(session, tenant)
    before = gone[-1].last if gone else 0
    found = checkpoints.frontier_at(session, tenant, last)
    if found is None or last <= before:
        raise ValueError(f"there is no checkpoint at row {last} of {tenant} behind row {before}")
    checkpoint, frontier = found
    tree = checkpoints.tree(session, tenant)
    inside = list(checkpoints.sizes(session, tenant, max(before - 1, 0), last))
    proofs = {size: tuple(tree.consistency(size, last)) for size in inside}
    segment = Segment(tenant, before + 1, last, checkpoint.head, tuple(frontier.nodes), checkpoint.note, proofs)
    body = {"first": segment.first, "last": last, "head": segment.head, "root": checkpoint.root.hex()}
    journal.append(session, tenant, kind="audit.removed", subject="audit", body=body, at=at, actor=by)
    checkpoints.keep_segment(session, segment, by=by, at=at)
    session.exec(delete(AuditRecord).where(col(AuditRecord.tenant) == tenant, col(AuditRecord.seq) <= last))
    session.exec(delete(AuditAbout).where(col(AuditAbout.tenant) == tenant, col(AuditAbout.seq) <= last))
    return segment


def forget_days(session: Session, tenant: str, at: datetime) -> int:
    """Remove what lines did on days that are older than KEEP_DAYS; how many rows. What the board counts now stays.

    A number of a day is today's less what came after it, so only days further back are lost.
    """
    first = (at - KEEP_DAYS).astimezone(UTC).date().isoformat()
    old = delete(LineDayRow).where(col(LineDayRow.tenant) == tenant, col(LineDayRow.day) < first)
    return session.connection().execute(old).rowcount


def _written(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")
