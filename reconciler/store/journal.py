"""The audit log: append-only, hash-chained account of everything done and why, in table `audit`.

`append` works in the transaction of its caller, so what is told and what is changed are kept together or not at all:

    with database.write() as session:
        if lines.save(session, tenant, state, at):
            journal.append(session, tenant, kind="line_moved", subject=str(state.key), body=body, at=at, cycle=cycle)

No remote write goes out before such a transaction has committed its intent (I1); whatever the database refuses raises.
Kinds are short words: intent, result, line_moved, answer, cycle, config, bound, switch, imported.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import insert, text
from sqlmodel import Session, col, or_, select

from reconciler.store.chain import GENESIS, Head, Verification, read_export, row_hash, verify
from reconciler.store.fit import fit, redact
from reconciler.store.tables import AuditAbout, AuditRecord

__all__ = [
    "US",
    "AuditRow",
    "Head",
    "Verification",
    "append",
    "export",
    "head",
    "read_export",
    "rows_for",
    "rows_of_cycle",
    "rows_since",
    "subjects_since",
    "verify",
]

US = "reconciler"  # the actor of what no person did


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One row as it was written. `seq` counts from 1 within the tenant."""

    tenant: str
    seq: int
    at: datetime
    kind: str
    subject: str
    actor: str
    cycle: str
    body: Mapping[str, Any]
    prev: str
    hash: str


def append(
    session: Session,
    tenant: str,
    *,
    kind: str,
    subject: str,
    body: Mapping[str, Any],
    at: datetime,
    cycle: str = "",
    actor: str = US,
    about: Sequence[str] = (),
) -> AuditRow:
    """Add one row to the tenant's chain, in the caller's write transaction.

    `subject` is a line, a ticket, an object id, or a name of ours. The row is also found under what `about` names
    and under each line of `body["lines"]`, with its ticket; one that names an `intent` by its seq, under whatever the
    intent is. Text that looks like a secret is replaced.

    Raises:
        UnfitBody: the body holds a float, or a name that calls a secret; nothing was added.
        ValueError: `at` has no time zone.
    """
    if at.tzinfo is None:
        raise ValueError("an audit row needs an aware instant")
    kept, canonical = fit(body)
    if session.get_bind().dialect.name == "postgresql":  # SQLite's write transactions queue by themselves
        lock = text("SELECT pg_advisory_xact_lock(hashtextextended('audit/' || :tenant, 0))")
        session.connection().execute(lock, {"tenant": tenant})
    before = head(session, tenant)
    row: dict[str, Any] = {
        "tenant": tenant,
        "seq": before.size + 1,
        "at": _written(at),
        "kind": kind,
        "subject": redact(subject),
        "actor": redact(actor),
        "cycle": cycle,
        "body": kept,
    }
    row |= {"prev": before.hash, "hash": row_hash(row, before.hash)}
    session.connection().execute(insert(AuditRecord), row | {"body": canonical})
    further = _further(row["subject"], kept, (*about, *_told_of(session, tenant, kept.get("intent"))))
    if further:
        rows = [{"tenant": tenant, "seq": row["seq"], "subject": name} for name in further]
        session.connection().execute(insert(AuditAbout), rows)
    return _frozen(row)


def head(session: Session, tenant: str) -> Head:
    """The end of the tenant's chain; size 0 and 64 zeros when nothing was written yet."""
    query = select(AuditRecord.seq, AuditRecord.hash).where(AuditRecord.tenant == tenant)
    last = session.exec(query.order_by(col(AuditRecord.seq).desc()).limit(1)).first()
    return Head(tenant, *last) if last is not None else Head(tenant, 0, GENESIS)


def export(session: Session, tenant: str | None = None) -> Iterator[dict[str, Any]]:
    """The rows of one tenant or of all, in the order of their chains, as `verify` reads them and JSON Lines hold them.

    What somebody changed by hand comes out as it is; it is for `verify` to find. Nothing is loaded at once.
    """
    columns = AuditRecord.__table__.c  # type: ignore[attr-defined]
    names = ("tenant", "seq", "at", "kind", "subject", "actor", "cycle", "body", "prev", "hash")
    query = select(*(columns[name] for name in names)).order_by(columns.tenant, columns.seq)
    if tenant is not None:
        query = query.where(columns.tenant == tenant)
    for row in session.connection().execution_options(yield_per=1000).execute(query):
        found = dict(zip(names, row, strict=True))
        yield found | {"body": _body(found["body"])}


def rows_for(session: Session, tenant: str, subject: str) -> list[AuditRow]:
    """Everything about a line, a ticket with all its lines, or an object id, oldest first."""
    further = select(AuditAbout.seq).where(AuditAbout.tenant == tenant, AuditAbout.subject == subject)
    return _rows(session, tenant, or_(col(AuditRecord.subject) == subject, col(AuditRecord.seq).in_(further)))


def rows_of_cycle(session: Session, tenant: str, cycle: str) -> list[AuditRow]:
    """Everything one cycle wrote, oldest first."""
    return _rows(session, tenant, col(AuditRecord.cycle) == cycle)


def rows_since(session: Session, tenant: str, since: datetime, kind: str) -> list[AuditRow]:
    """Rows of one kind from `since` on, oldest first."""
    return _rows(session, tenant, col(AuditRecord.kind) == kind, col(AuditRecord.at) >= _written(since))


def subjects_since(session: Session, tenant: str, lane: str, since: datetime) -> int:
    """How many subjects had a write intended in this lane at `since` or later: what the day's budget counts.

    An intent counts whatever became of it: its write may have landed.
    """
    rows = rows_since(session, tenant, since, "intent")
    return len({row.subject for row in rows if row.body.get("lane") == lane})


def _rows(session: Session, tenant: str, *conditions: Any) -> list[AuditRow]:
    query = select(AuditRecord).where(col(AuditRecord.tenant) == tenant, *conditions)
    found = session.exec(query.order_by(col(AuditRecord.seq)))
    return [_frozen(record.model_dump() | {"body": json.loads(record.body)}) for record in found]


def _frozen(row: Mapping[str, Any]) -> AuditRow:
    return AuditRow(**{**row, "at": datetime.fromisoformat(row["at"])})


def _written(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def _further(subject: str, body: Mapping[str, Any], about: Sequence[str]) -> list[str]:
    named = [subject, *about, *(name for name in body.get("lines") or () if isinstance(name, str))]
    tickets = [name.rpartition("/")[0] for name in named if "/" in name]
    return sorted({*named, *tickets} - {subject})


def _told_of(session: Session, tenant: str, seq: object) -> Sequence[str]:
    if type(seq) is not int:
        return ()
    return session.exec(select(AuditAbout.subject).where(AuditAbout.tenant == tenant, AuditAbout.seq == seq)).all()


def _body(written: object) -> object:
    """The body as JSON when it stands there exactly as it is written by us; as found otherwise, which cannot hold."""
    if not isinstance(written, str):
        return written
    try:
        value = json.loads(written)
        return value if isinstance(value, dict) and fit(value)[1] == written else written
    except (ValueError, TypeError, RecursionError):
        return written
