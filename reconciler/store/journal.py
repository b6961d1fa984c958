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
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import rfc8785
from sqlalchemy import insert, text
from sqlmodel import Session, col, or_, select

from reconciler.audit.chain import GENESIS, Head, Verification, read_export, row_hash, verify
from reconciler.audit.conduct import CLOCK_WARNING, STEP_BACK
from reconciler.audit.veil import revealed
from reconciler.store import persons
from reconciler.store.fit import fit, redact
from reconciler.store.tables import AuditAbout, AuditRecord

__all__ = [
    "US",
    "AuditRow",
    "Head",
    "Verification",
    "append",
    "broken",
    "export",
    "head",
    "note_read",
    "page",
    "read_export",
    "rows_for",
    "rows_of_cycle",
    "rows_since",
    "subjects_since",
    "verify",
]

NAMES = ("tenant", "seq", "at", "kind", "subject", "actor", "cycle", "body", "prev", "hash")
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
    intent is. Text that looks like a secret is replaced, very long text is cut. Where persons are pseudonyms, they and
    free text are kept behind signs. A clock that stepped back is noted in the body.

    Raises:
        UnfitBody: the body holds a float, or a name that calls a secret; nothing was added.
        ValueError: `at` has no time zone.
    """
    if at.tzinfo is None:
        raise ValueError("an audit row needs an aware instant")
    lock(session, tenant)
    before, last_at = _last(session, tenant)
    if last_at and datetime.fromisoformat(last_at) - at > STEP_BACK:
        body = {**body, CLOCK_WARNING: last_at}
    kept, canonical = fit(body)
    subject, actor = redact(subject), redact(actor)
    if persons.veil_of(session) is not None:
        subject, actor, kept, about = persons.hide(session, tenant, subject, actor, kept, about)
        canonical = rfc8785.dumps(kept).decode()
    row: dict[str, Any] = {
        "tenant": tenant,
        "seq": before.size + 1,
        "at": _written(at),
        "kind": kind,
        "subject": subject,
        "actor": actor,
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


def lock(session: Session, tenant: str) -> None:
    """Be the only one to append to this chain until the transaction ends."""
    if session.get_bind().dialect.name == "postgresql":  # SQLite's write transactions queue by themselves
        statement = text("SELECT pg_advisory_xact_lock(hashtextextended('audit/' || :tenant, 0))")
        session.connection().execute(statement, {"tenant": tenant})


def note_read(session: Session, tenant: str, *, what: str, by: str, at: datetime, exported: bool = False) -> AuditRow:
    """Remember that somebody read the log, or took a copy of it; `what` says which part."""
    kind = "audit.exported" if exported else "audit.read"
    return append(session, tenant, kind=kind, subject="audit", body={"what": what}, at=at, actor=by)


def head(session: Session, tenant: str) -> Head:
    """The end of the tenant's chain; size 0 and 64 zeros when nothing was written yet."""
    return _last(session, tenant)[0]


def _last(session: Session, tenant: str) -> tuple[Head, str]:
    """The end of the chain, and the instant of its last row, "" when there is none."""
    query = select(AuditRecord.seq, AuditRecord.hash, AuditRecord.at).where(AuditRecord.tenant == tenant)
    last = session.exec(query.order_by(col(AuditRecord.seq).desc()).limit(1)).first()
    return (Head(tenant, last[0], last[1]), last[2]) if last is not None else (Head(tenant, 0, GENESIS), "")


def tenants(session: Session) -> list[str]:
    """Whose chains there are."""
    return sorted(session.exec(select(AuditRecord.tenant).distinct()))


def export(
    session: Session,
    tenant: str | None = None,
    *,
    after: int = 0,
    since: datetime | None = None,
    until: datetime | None = None,
    kinds: Collection[str] = (),
) -> Iterator[dict[str, Any]]:
    """The rows of one tenant or of all, in the order of their chains, as `verify` reads them and JSON Lines hold them.

    `after` leaves out the rows up to that one; `since`, `until` (not included) and `kinds` choose. What somebody
    changed by hand comes out as it is; it is for `verify` to find. Nothing is loaded at once.
    """
    columns = AuditRecord.__table__.c  # type: ignore[attr-defined]
    query = select(*(columns[name] for name in NAMES)).order_by(columns.tenant, columns.seq)
    if tenant is not None:
        query = query.where(columns.tenant == tenant)
    if after:
        query = query.where(columns.seq > after)
    if since is not None:
        query = query.where(columns.at >= _written(since))
    if until is not None:
        query = query.where(columns.at < _written(until))
    if kinds:
        query = query.where(columns.kind.in_(sorted(kinds)))
    for row in session.connection().execution_options(yield_per=1000).execute(query):
        found = dict(zip(NAMES, row, strict=True))
        yield found | {"body": _body(found["body"])}


def hashes(session: Session, tenant: str) -> list[bytes]:
    """The hashes of the rows that are there, oldest first: the leaves of the tree."""
    query = select(AuditRecord.hash).where(AuditRecord.tenant == tenant).order_by(col(AuditRecord.seq))
    return [bytes.fromhex(written) for written in session.exec(query)]


def row(session: Session, tenant: str, seq: int) -> dict[str, Any] | None:
    """One row as it is exported; None when there is none."""
    found = next(export(session, tenant, after=seq - 1), None)
    return found if found is not None and found["seq"] == seq else None


def rows_for(session: Session, tenant: str, subject: str) -> list[AuditRow]:
    """Everything about a line, a ticket with all its lines, or an object id, oldest first."""
    return _rows(session, tenant, _about(session, tenant, subject))


def _about(session: Session, tenant: str, subject: str) -> Any:
    signs = persons.signs_for(session, tenant, subject)
    further = select(AuditAbout.seq).where(AuditAbout.tenant == tenant, col(AuditAbout.subject).in_(signs))
    return or_(col(AuditRecord.subject).in_(signs), col(AuditRecord.seq).in_(further))


def page(
    session: Session, tenant: str, *, before: int | None = None, kind: str = "", subject: str = "", limit: int = 50
) -> list[AuditRow]:
    """The newest rows, newest first: those before row `before`, of one kind, about a line, a ticket or an object id."""
    seq, at, mine = col(AuditRecord.seq), col(AuditRecord.at), col(AuditRecord.tenant) == tenant
    query = select(seq).where(mine)
    if subject:
        query = query.where(_about(session, tenant, subject))
    if kind:
        query = query.where(col(AuditRecord.kind) == kind)
    if before is not None:
        query = query.where(seq < before)
        if kind and not subject:
            edge = session.exec(select(at).where(mine, seq <= before).order_by(seq.desc()).limit(1)).first()
            query = query.where(at <= edge) if edge is not None else query
    order = (at.desc(), seq.desc()) if kind and not subject else (seq.desc(),)  # as an index has them
    chosen = list(session.exec(query.order_by(*order).limit(limit)))
    return _rows(session, tenant, seq.in_(chosen))[::-1]


def broken(session: Session, tenant: str, seqs: Collection[int]) -> list[int]:
    """Which of these rows do not say what their hash is over, or do not follow the row before them."""
    columns = AuditRecord.__table__.c  # type: ignore[attr-defined]
    wanted = sorted({*seqs, *(seq - 1 for seq in seqs)})
    query = select(*(columns[name] for name in NAMES)).where(columns.tenant == tenant, columns.seq.in_(wanted))
    rows = {row.seq: row for row in session.connection().execute(query)}
    found = []
    for seq in sorted(seqs):
        row, before = rows.get(seq), rows.get(seq - 1)
        if row is None:
            continue
        told = dict(zip(NAMES, row, strict=True)) | {"body": _body(row.body)}
        try:
            is_whole = row_hash(told, row.prev) == row.hash
        except (ValueError, TypeError):
            is_whole = False
        if not is_whole or (before is not None and before.hash != row.prev):
            found.append(seq)
    return found


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
    rows = [record.model_dump() | {"body": json.loads(record.body)} for record in found]
    if rows and persons.veil_of(session) is not None:
        known = persons.known(session, tenant, rows)
        rows = [revealed(row, known) for row in rows]
    return [_frozen(row) for row in rows]


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
        return value if isinstance(value, dict) and rfc8785.dumps(value).decode() == written else written
    except (ValueError, TypeError, RecursionError):
        return written
