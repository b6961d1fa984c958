"""Signed checkpoints of the audit log, and what is left of rows that retention removed.

`take` signs only what continues what was signed before: the rows since are hashed anew and the tree is grown from its
frontier, so two checkpoints of one log can never disagree. A cost of the rows since, not of the log.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, bindparam, func, insert
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select

from desired_state.rows import table_of
from reconciler.audit import chain
from reconciler.audit.chain import GENESIS, Head
from reconciler.audit.checkpoints import Checkpoint, read, sign
from reconciler.audit.merkle import Frontier, Tree, leaf
from reconciler.audit.notes import Signer
from reconciler.audit.verify import Marks, Segment
from reconciler.store import journal
from reconciler.store.rows.audit import CheckpointRow, SegmentRow

_TABLE = table_of(CheckpointRow)
_LAST = select_columns(_TABLE).where(_TABLE.c.tenant == bindparam("tenant")).order_by(_TABLE.c.size.desc()).limit(1)
_SIZE = select_columns(func.max(_TABLE.c.size)).where(_TABLE.c.tenant == bindparam("tenant"))
_SIZES = select_columns(_SIZE.scalar_subquery(), journal.SIZE.scalar_subquery())
_ADD = insert(_TABLE)


class Inconsistent(Exception):
    """The log does not continue what was signed before: nothing was signed. Says where, and what to do."""


def last(session: Session, tenant: str) -> Checkpoint | None:
    """The newest checkpoint of a tenant; None when nothing was signed yet."""
    row = _last(session, tenant)
    return read(row.note) if row is not None else None


def is_current(session: Session, tenant: str) -> bool:
    """Whether the newest checkpoint covers every row that there is."""
    signed, size = session.connection().execute(_SIZES, {"tenant": tenant}).one()
    return (signed or 0) == (size or 0)


def take(
    session: Session, tenant: str, signer: Signer, at: datetime, *, elsewhere: Head | None = None
) -> Checkpoint | None:
    """Sign the log as it ends now, in the caller's write transaction; None when it has nothing new.

    `elsewhere` is the newest head of this log that was kept outside the store.

    Raises:
        Inconsistent: rows that were signed are gone or others, or those since do not hold.
    """
    journal.lock(session, tenant)
    end, before = journal.head(session, tenant), _last(session, tenant)
    start = Head(tenant, before.size, before.head) if before is not None else Head(tenant, 0, GENESIS)
    _compare(session, end, start, elsewhere)
    if end.size == start.size:
        return None
    tree = _frontier(before)
    rows = journal.export(session, tenant, after=start.size)
    found = chain.verify(rows, starts={tenant: start}, each=lambda row: tree.add(leaf(bytes.fromhex(row["hash"]))))
    if found.broken is not None:
        raise Inconsistent(f"nothing is signed, because the log does not hold: {found.broken.sentence}")
    taken = sign(signer, end, tree.root, at)
    values = {
        "tenant": tenant,
        "size": end.size,
        "root": tree.root.hex(),
        "head": end.hash,
        "at": taken.at.isoformat(),
        "frontier": json.dumps([node.hex() for node in tree.nodes]),
        "note": taken.note,
    }
    session.connection().execute(_ADD, values)
    return taken


def after(session: Session, tenant: str, size: int) -> list[Checkpoint]:
    """The checkpoints behind one of that size, oldest first."""
    query = select(CheckpointRow.note).where(CheckpointRow.tenant == tenant, col(CheckpointRow.size) > size)
    return [read(note) for note in session.exec(query.order_by(col(CheckpointRow.size)))]


def marks(session: Session, tenant: str | None = None) -> Marks:
    """Everything beside the rows that `verify` needs."""
    notes, segments = select(CheckpointRow), select(SegmentRow)
    if tenant is not None:
        notes, segments = (
            notes.where(CheckpointRow.tenant == tenant),
            segments.where(SegmentRow.tenant == tenant),
        )
    kept = session.exec(notes.order_by(CheckpointRow.tenant, col(CheckpointRow.size)))
    left = session.exec(segments.order_by(SegmentRow.tenant, col(SegmentRow.last)))
    return Marks(tuple(row.note for row in kept), tuple(_segment(row) for row in left))


def tree(session: Session, tenant: str) -> Tree:
    """The whole tree of a tenant's log, for proofs: as many hashes as there are rows."""
    gone = segments(session, tenant)
    removed = Frontier(gone[-1].last, list(gone[-1].frontier)) if gone else None
    return Tree((leaf(hashed) for hashed in journal.hashes(session, tenant)), removed)


def segments(session: Session, tenant: str) -> list[Segment]:
    """What is left of removed rows, oldest first."""
    query = select(SegmentRow).where(SegmentRow.tenant == tenant).order_by(col(SegmentRow.last))
    return [_segment(row) for row in session.exec(query)]


def export(session: Session, tenant: str | None = None) -> Iterator[dict[str, Any]]:
    """The whole log as it is exported: what is left of removed rows, then rows, each checkpoint behind its last row."""
    every = marks(session, tenant)
    for segment in every.segments:
        yield {"segment": as_json(segment)}
    notes = {(c.tenant, c.size): c for c in map(read, every.notes)}
    for row in journal.export(session, tenant):
        yield row
        found = notes.pop((row["tenant"], row["seq"]), None)
        if found is not None:
            yield {"checkpoint": checkpoint_json(found)}
    for found in notes.values():  # of rows that retention removed, or that are gone
        yield {"checkpoint": checkpoint_json(found)}


def checkpoint_json(found: Checkpoint) -> dict[str, Any]:
    """A checkpoint as it is exported and appended to second places."""
    return {
        "tenant": found.tenant,
        "size": found.size,
        "root": found.root.hex(),
        "head": found.head,
        "at": found.at.isoformat(),
        "note": found.note,
    }


def as_json(segment: Segment) -> dict[str, Any]:
    """What is left of removed rows, as it is exported."""
    return {
        "tenant": segment.tenant,
        "first": segment.first,
        "last": segment.last,
        "head": segment.head,
        "frontier": [node.hex() for node in segment.frontier],
        "note": segment.note,
        "proofs": {str(size): [h.hex() for h in proof] for size, proof in segment.proofs.items()},
    }


def keep_segment(session: Session, segment: Segment, *, by: str, at: datetime) -> None:
    """Remember what is left of rows that are about to be removed; from then on the database lets them go."""
    said = as_json(segment)
    written = {name: json.dumps(said[name], sort_keys=True) for name in ("frontier", "proofs")}
    sealed = {"sealed_at": at.astimezone(UTC).isoformat(), "by": by}
    session.connection().execute(insert(SegmentRow), said | written | sealed)


def _compare(session: Session, end: Head, start: Head, elsewhere: Head | None) -> None:
    for known, where in ((start, "its last checkpoint"), (elsewhere, "the head that was kept elsewhere")):
        if known is None or not known.size:
            continue
        said = f"the log of {end.tenant}"
        if known.size > end.size:
            raise Inconsistent(
                f"{said} has {end.size} rows and {where} covers {known.size}: its end is gone, or the store was "
                "replaced by an older copy; nothing is signed. Find out why (`reconciler audit verify`) before you "
                "move anything"
            )
        row = journal.row(session, end.tenant, known.size)
        is_removed = row is None and any(known.size <= s.last for s in segments(session, end.tenant))
        if not is_removed and (row is None or row["hash"] != known.hash):
            raise Inconsistent(
                f"row {known.size} of {said} is not the one that {where} names: it was rewritten; nothing is signed. "
                "See `reconciler audit verify`"
            )


def _frontier(row: CheckpointRow | Row[Any] | None) -> Frontier:
    return Frontier(row.size, [bytes.fromhex(n) for n in json.loads(row.frontier)]) if row is not None else Frontier()


def frontier_at(session: Session, tenant: str, size: int) -> tuple[Checkpoint, Frontier] | None:
    """A checkpoint of exactly that size with its frontier."""
    row = session.get(CheckpointRow, (tenant, size))
    return (read(row.note), _frontier(row)) if row is not None else None


def sizes(session: Session, tenant: str, above: int, up_to: int) -> Iterable[int]:
    """At which sizes there are checkpoints, `above` not included."""
    query = select(CheckpointRow.size).where(CheckpointRow.tenant == tenant)
    bounded = query.where(col(CheckpointRow.size) > above, col(CheckpointRow.size) <= up_to)
    return session.exec(bounded.order_by(col(CheckpointRow.size))).all()


def _last(session: Session, tenant: str) -> Row[Any] | None:
    return session.connection().execute(_LAST, {"tenant": tenant}).first()


def _segment(row: SegmentRow) -> Segment:
    said = {name: getattr(row, name) for name in ("tenant", "first", "last", "head", "note")}
    return Segment.parse(said | {"frontier": json.loads(row.frontier), "proofs": json.loads(row.proofs)})
