"""The audit log: append-only, hash-chained account of everything done and why, in table `audit`.

`append` works in the transaction of its caller, so what is told and what is changed are kept together or not at all:

    with database.write() as session:
        if lines.save(session, tenant, state, at):
            journal.append(session, tenant, kind="line_moved", subject=str(state.key), body=body, at=at, cycle=cycle)

`append_all` does so for many rows at once. No remote write goes out before such a transaction has committed its intent
(I1); whatever the database refuses raises.
Kinds are short words: intent, result, line_moved, answer, cycle, config, bound, switch, imported.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BindParameter, Row, Select, bindparam, func, insert, select, text, union
from sqlmodel import Session

from desired_state.ledger import CHUNK
from desired_state.rows import table_of
from reconciler.audit.chain import GENESIS, Head, Verification, read_export, row_hash, verify
from reconciler.audit.conduct import CLOCK_WARNING, STEP_BACK
from reconciler.audit.veil import revealed
from reconciler.digest import canonical
from reconciler.store import persons
from reconciler.store.fit import fit, redact
from reconciler.store.prepared import Prepared
from reconciler.store.rows.audit import AuditAbout, AuditRecord
from reconciler.store.server import lock_chain
from reconciler.store.tables import EVERYONE

__all__ = [
    "US",
    "AuditRow",
    "Entry",
    "Head",
    "Verification",
    "append",
    "append_all",
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

US = "reconciler"  # the actor of what no person did

_TABLE, _ABOUT = table_of(AuditRecord), table_of(AuditAbout)
_NAMES = ("tenant", "seq", "at", "kind", "subject", "actor", "cycle", "body", "prev", "hash")
_C = _TABLE.c
_OF_TENANT = _C.tenant == bindparam("tenant")
_ROWS = select(*(_C[name] for name in _NAMES)).order_by(_C.tenant, _C.seq)
_LAST = Prepared(select(_C.seq, _C.hash, _C.at).where(_OF_TENANT).order_by(_C.seq.desc()).limit(1))
SIZE = select(func.max(_C.seq)).where(_OF_TENANT)  # how many rows were ever written: they are numbered from 1
_HASHES = select(_C.hash).where(_OF_TENANT).order_by(_C.seq)
_ALL = _ROWS.where(_OF_TENANT)
_BEHIND = _ALL.where(_C.seq > bindparam("after"))
_ONE = _ALL.where(_C.seq == bindparam("seq"))
_OF_CYCLE = _ALL.where(_C.cycle == bindparam("cycle"))
_COUNT = select(func.count()).select_from(_TABLE).where(_OF_TENANT, _C.kind == bindparam("kind"))
_OF_KINDS = (
    _ALL.where(_C.kind.in_(bindparam("kinds", expanding=True)), _C.at >= bindparam("since"))
    .order_by(None)
    .order_by(_C.seq + 0)  # by the bare column SQLite reads the whole log in order, to save the sorting of a few rows
)
_SIGNS: BindParameter[Any] = bindparam("signs", expanding=True)
# Two walks of two indexes, put together: by OR, PostgreSQL reads the whole log.
_NAMED = _TABLE.alias("named")
_ABOUT_IT = union(
    select(_NAMED.c.seq).where(_NAMED.c.tenant == bindparam("tenant"), _NAMED.c.subject.in_(_SIGNS)),
    select(_ABOUT.c.seq).where(_ABOUT.c.tenant == bindparam("tenant"), _ABOUT.c.subject.in_(_SIGNS)),
)
_OF_SUBJECT = _ALL.where(_C.seq.in_(_ABOUT_IT))
_TOLD_OF = select(_ABOUT.c.seq, _ABOUT.c.subject).where(_ABOUT.c.tenant == bindparam("tenant"))
_TOLD_OF_SOME = _TOLD_OF.where(_ABOUT.c.seq.in_(bindparam("seqs", expanding=True)))
# By itself SQLite takes the primary key here, because that covers the columns, and reads all that the tenant has of it.
_TOLD_OF_SOME_IN_A_FILE = text(
    "SELECT seq, subject FROM audit_about INDEXED BY ix_audit_about_tenant_seq WHERE tenant = :tenant AND seq IN :seqs"
).bindparams(bindparam("seqs", expanding=True))
_ADD, _ADD_ABOUT = (Prepared(insert(table).inline(), table.columns.keys()) for table in (_TABLE, _ABOUT))


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


@dataclass(frozen=True, slots=True)
class Entry:
    """What one row is to say, as `append` takes it."""

    kind: str
    subject: str
    body: Mapping[str, Any]
    actor: str = US
    about: Sequence[str] = ()


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
    return append_all(session, tenant, (Entry(kind, subject, body, actor, about),), at=at, cycle=cycle)[0]


def append_all(
    session: Session, tenant: str, entries: Sequence[Entry], *, at: datetime, cycle: str = ""
) -> list[AuditRow]:
    """Add rows in this order: the same rows as by `append` one after the other, in as many statements as one takes.

    Raises: as `append`, whichever of them it is about; nothing was added.
    """
    if at.tzinfo is None:
        raise ValueError("an audit row needs an aware instant")
    if not entries:
        return []
    lock(session, tenant)
    head, last_at = _last(session, tenant)
    is_back = last_at != "" and datetime.fromisoformat(last_at) - at > STEP_BACK
    told_of = _told_of(session, tenant, sorted({_intent_of(e.body) for e in entries} - {0}))
    written_at, chained = _written(at), list[dict[str, Any]]()
    rows: list[dict[str, Any]] = []
    further: list[dict[str, Any]] = []
    for n, entry in enumerate(entries):
        body = {**entry.body, CLOCK_WARNING: last_at} if is_back and n == 0 else entry.body
        kept, written = fit(body)
        subject, actor, about = redact(entry.subject), redact(entry.actor), entry.about
        if persons.is_veiled(session):
            subject, actor, kept, about = persons.hide(session, tenant, subject, actor, kept, about)
            written = canonical(kept).decode()
        row: dict[str, Any] = {
            "tenant": tenant,
            "seq": head.size + 1,
            "at": written_at,
            "kind": entry.kind,
            "subject": subject,
            "actor": actor,
            "cycle": cycle,
            "body": kept,
        }
        row |= {"prev": head.hash, "hash": row_hash(row, head.hash, written)}
        head = Head(tenant, row["seq"], row["hash"])
        chained.append(row)
        rows.append(row | {"body": written})
        names = _further(subject, kept, (*about, *told_of.get(_intent_of(kept), ())))
        told_of[row["seq"]] = names
        further.extend({"tenant": tenant, "seq": row["seq"], "subject": name} for name in names)
    _ADD.run(session.connection(), rows)
    if further:
        _ADD_ABOUT.run(session.connection(), further)
    return [_frozen(row) for row in chained]


def lock(session: Session, tenant: str) -> None:
    """Be the only one to append to this chain until the transaction ends."""
    if getattr(session, "turn", "") in (tenant, EVERYONE):
        return
    if session.get_bind().dialect.name == "postgresql":  # SQLite's write transactions queue by themselves
        lock_chain(session.connection(), tenant)


def note_read(session: Session, tenant: str, *, what: str, by: str, at: datetime, exported: bool = False) -> AuditRow:
    """Remember that somebody read the log, or took a copy of it; `what` says which part."""
    kind = "audit.exported" if exported else "audit.read"
    return append(session, tenant, kind=kind, subject="audit", body={"what": what}, at=at, actor=by)


def head(session: Session, tenant: str) -> Head:
    """The end of the tenant's chain; size 0 and 64 zeros when nothing was written yet."""
    return _last(session, tenant)[0]


def _last(session: Session, tenant: str) -> tuple[Head, str]:
    """The end of the chain, and the instant of its last row, "" when there is none."""
    last = _LAST.first(session.connection(), {"tenant": tenant})
    return (Head(tenant, last[0], last[1]), last[2]) if last is not None else (Head(tenant, 0, GENESIS), "")


def tenants(session: Session) -> list[str]:
    """Whose chains there are."""
    return sorted(session.connection().execute(select(_C.tenant).distinct()).scalars())


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
    query = _ROWS if tenant is None else _BEHIND if after else _ALL
    if tenant is None and after:
        query = query.where(_C.seq > after)
    if since is not None:
        query = query.where(_C.at >= _written(since))
    if until is not None:
        query = query.where(_C.at < _written(until))
    if kinds:
        query = query.where(_C.kind.in_(sorted(kinds)))
    values = {"tenant": tenant, "after": after}
    # Closed also when its reader stops early: on PostgreSQL it is a cursor of the server's.
    with session.connection().execute(query, values, execution_options={"yield_per": 1000}) as result:
        for found in result:
            yield _exported(found)


def hashes(session: Session, tenant: str) -> list[bytes]:
    """The hashes of the rows that are there, oldest first: the leaves of the tree."""
    return [bytes.fromhex(h) for h in session.connection().execute(_HASHES, {"tenant": tenant}).scalars()]


def row(session: Session, tenant: str, seq: int) -> dict[str, Any] | None:
    """One row as it is exported; None when there is none."""
    found = session.connection().execute(_ONE, {"tenant": tenant, "seq": seq}).first()
    return _exported(found) if found is not None else None


def rows_for(session: Session, tenant: str, subject: str) -> list[AuditRow]:
    """Everything about a line, a ticket with all its lines, or an object id, oldest first."""
    signs = persons.signs_for(session, tenant, subject)
    return _rows(session, _OF_SUBJECT, tenant, signs=list(signs))


def page(
    session: Session, tenant: str, *, before: int | None = None, kind: str = "", subject: str = "", limit: int = 50
) -> list[AuditRow]:
    """The newest rows, newest first: those before row `before`, of one kind, about a line, a ticket or an object id."""
    query, signs = select(_C.seq).where(_OF_TENANT), persons.signs_for(session, tenant, subject)
    if subject:
        query = query.where(_C.seq.in_(_ABOUT_IT))
    if kind:
        query = query.where(_C.kind == kind)
    if before is not None:
        query = query.where(_C.seq < before)
        if kind and not subject:  # the index of kinds is by instant, so the walk begins at that of `before`
            edge = select(_C.at).where(_OF_TENANT, _C.seq <= before).order_by(_C.seq.desc()).limit(1)
            query = query.where(_C.at <= edge.scalar_subquery())
    order = (_C.at.desc(), _C.seq.desc()) if kind and not subject else (_C.seq.desc(),)
    values: dict[str, Any] = {"tenant": tenant} | ({"signs": list(signs)} if subject else {})
    chosen = session.connection().execute(query.order_by(*order).limit(limit), values).scalars().all()
    return _rows(session, _ALL.where(_C.seq.in_(chosen)), tenant)[::-1]


def broken(session: Session, tenant: str, seqs: Collection[int]) -> list[int]:
    """Which of these rows do not say what their hash is over, or do not follow the row before them."""
    wanted = sorted({*seqs, *(seq - 1 for seq in seqs)})
    rows = {row.seq: row for row in session.connection().execute(_ALL.where(_C.seq.in_(wanted)), {"tenant": tenant})}
    found = []
    for seq in sorted(seqs):
        row, before = rows.get(seq), rows.get(seq - 1)
        if row is None:
            continue
        try:
            is_whole = row_hash(_exported(row), row.prev) == row.hash
        except (ValueError, TypeError):
            is_whole = False
        if not is_whole or (before is not None and before.hash != row.prev):
            found.append(seq)
    return found


def rows_of_cycle(session: Session, tenant: str, cycle: str) -> list[AuditRow]:
    """Everything one cycle wrote, oldest first."""
    return _rows(session, _OF_CYCLE, tenant, cycle=cycle)


def rows_since(session: Session, tenant: str, since: datetime, *kinds: str) -> list[AuditRow]:
    """Rows of these kinds from `since` on, oldest first."""
    return _rows(session, _OF_KINDS, tenant, kinds=list(kinds), since=_written(since))


def count(session: Session, tenant: str, kind: str) -> int:
    """How many rows of one kind there are."""
    found = session.connection().execute(_COUNT, {"tenant": tenant, "kind": kind})
    return int(found.scalar_one())


def subjects_since(session: Session, tenant: str, lane: str, since: datetime) -> int:
    """How many subjects had a write intended in this lane at `since` or later: what the day's budget counts.

    An intent counts whatever became of it: its write may have landed.
    """
    rows = rows_since(session, tenant, since, "intent")
    return len({row.subject for row in rows if row.body.get("lane") == lane})


def _rows(session: Session, query: Select[Any], tenant: str, **values: Any) -> list[AuditRow]:
    found = session.connection().execute(query, {"tenant": tenant} | values)
    rows: list[dict[str, Any]] = [{**record._mapping, "body": json.loads(record.body)} for record in found]
    if rows and persons.is_veiled(session):
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


def _intent_of(body: Mapping[str, Any]) -> int:
    """The seq of the intent that a body names, 0 for none."""
    seq = body.get("intent")
    return seq if type(seq) is int else 0


def _told_of(session: Session, tenant: str, seqs: Sequence[int]) -> dict[int, list[str]]:
    """Under what else these rows are found, by their seq."""
    found: dict[int, list[str]] = {}
    for start in range(0, len(seqs), CHUNK):
        connection = session.connection()
        query = _TOLD_OF_SOME_IN_A_FILE if connection.dialect.name == "sqlite" else _TOLD_OF_SOME
        for seq, subject in connection.execute(query, {"tenant": tenant, "seqs": seqs[start : start + CHUNK]}):
            found.setdefault(seq, []).append(subject)
    return found


def _exported(found: Row[Any]) -> dict[str, Any]:
    return {**found._mapping, "body": _body(found.body)}


def _body(written: object) -> object:
    """The body as JSON when it stands there exactly as it is written by us; as found otherwise, which cannot hold."""
    if not isinstance(written, str):
        return written
    try:
        value = json.loads(written)
        return value if isinstance(value, dict) and canonical(value).decode() == written else written
    except (ValueError, TypeError, RecursionError):
        return written
