"""Which configurations a tenant may run by, and which one it ran by last.

A configuration is kept as canonical JSON under its digest. Nothing here judges: `reconciler.governance` compares. Every
change works in its caller's write transaction, with its row of the audit log.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, select
from sqlmodel import Session

from desired_state.rows import is_row, table_of, unless_there
from reconciler.digest import canonical
from reconciler.store import journal
from reconciler.store.rows.configs import ConfigAcceptedRow, ConfigSeenRow, ConfigTextRow

_TEXTS, _SEEN_IN, _ACCEPTED = table_of(ConfigTextRow), table_of(ConfigSeenRow), table_of(ConfigAcceptedRow)
_OF_TENANT = select(_ACCEPTED).where(_ACCEPTED.c.tenant == bindparam("tenant"))
_LAST = _OF_TENANT.order_by(_ACCEPTED.c.number.desc()).limit(1)
_OTHERS = select(_ACCEPTED.c.tenant).where(_ACCEPTED.c.tenant != bindparam("tenant")).distinct()
_TEXT = select(_TEXTS.c.body).where(is_row(_TEXTS))
_KEEP = unless_there(_TEXTS)
_SEEN = select(_SEEN_IN.c.hash).where(is_row(_SEEN_IN))


@dataclass(frozen=True, slots=True)
class Accepted:
    """A configuration that a tenant may run by. `how`: first (observing only), sandbox, signed."""

    digest: str
    document: Mapping[str, Any]
    how: str
    by: tuple[str, ...]
    at: datetime
    number: int


def accepted(session: Session, tenant: str) -> Accepted | None:
    """The last accepted configuration, None before the first start."""
    row = session.connection().execute(_LAST, {"tenant": tenant}).first()
    if row is None:
        return None
    document = text_of(session, row.hash)
    return Accepted(row.hash, document or {}, row.how, tuple(json.loads(row.by)), row.at, row.number)


def others(session: Session, tenant: str) -> list[str]:
    """Every other tenant name in the store that has an accepted configuration."""
    return sorted(session.connection().execute(_OTHERS, {"tenant": tenant}).scalars())


def newest(session: Session, tenants: Iterable[str]) -> tuple[Accepted, ...]:
    """The last accepted configuration of each of these tenant names that has one, the newest first."""
    found = (accepted(session, name) for name in tenants)
    return tuple(sorted((a for a in found if a is not None), key=lambda a: a.at, reverse=True))


def accept(
    session: Session,
    tenant: str,
    digest: str,
    document: Mapping[str, Any],
    *,
    how: str,
    at: datetime,
    by: Sequence[str] = (),
    changes: Sequence[str] = (),
    evidence: Sequence[str] = (),
) -> None:
    """From now on the tenant may run by this configuration. `evidence` is what those who accepted it were told of how
    people had acted until then."""
    last = accepted(session, tenant)
    keep(session, digest, document, at)
    number = last.number + 1 if last is not None else 1
    session.add(ConfigAcceptedRow(tenant=tenant, number=number, hash=digest, how=how, by=json.dumps(sorted(by)), at=at))
    session.flush()
    body = {
        "digest": digest,
        "replaces": last.digest if last is not None else "",
        "how": how,
        "accepted_by": sorted(by),
        "changes": list(changes),
        **({"evidence": list(evidence)} if evidence else {}),
    }
    actor = ", ".join(sorted(by)) or journal.US
    journal.append(session, tenant, kind="config.accepted", subject="configuration", body=body, at=at, actor=actor)


def seen(session: Session, tenant: str) -> str:
    """The digest of the configuration that the tenant last ran by, "" when it never did."""
    digest: str | None = session.connection().execute(_SEEN, {"of_tenant": tenant}).scalar()
    return digest or ""


def note(
    session: Session, tenant: str, digest: str, document: Mapping[str, Any], body: Mapping[str, Any], at: datetime
) -> bool:
    """Tell the audit log that the tenant runs by another configuration than before; False when it is the same."""
    row = session.get(ConfigSeenRow, tenant)
    before = row.hash if row is not None else ""
    if before == digest:
        return False
    keep(session, digest, document, at)
    if row is None:
        row = ConfigSeenRow(tenant=tenant, hash=digest, at=at)
        session.add(row)
    row.hash, row.at = digest, at
    session.flush()
    told = {"digest": digest, "before": before, **body}
    journal.append(session, tenant, kind="config.changed", subject="configuration", body=told, at=at)
    return True


def keep(session: Session, digest: str, document: Mapping[str, Any], at: datetime) -> None:
    """Keep a document under its digest; nothing is written when it is there."""
    if session.connection().execute(_TEXT, {"of_hash": digest}).first() is None:
        row = {"hash": digest, "body": canonical(dict(document)).decode(), "kept_at": at}
        session.connection().execute(_KEEP, row)


def text_of(session: Session, digest: str) -> Mapping[str, Any] | None:
    """The document that has this digest, None when it was never kept."""
    body = session.connection().execute(_TEXT, {"of_hash": digest}).scalar()
    found: dict[str, Any] | None = json.loads(body) if body is not None else None
    return found
