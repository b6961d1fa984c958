"""Who stands in for whom, as approvers arranged it here (A10). What ServiceNow knows is kept with a request's stage.

A delegation that is ended keeps its row with the instant of its end: who stood in when stays answerable.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime

import msgspec
from sqlalchemy import bindparam, select
from sqlmodel import Session

from desired_state.rows import table_of
from reconciler.approvals.values import Delegation, Human, same
from reconciler.store import journal
from reconciler.store.rows.approvals import ApprovalDelegationRow

_P = table_of(ApprovalDelegationRow).c
_ARRANGED = select(_P.body).where(_P.tenant == bindparam("tenant"))
_DELEGATION = msgspec.json.Decoder(Delegation).decode
OURS = "reconciler"  # what `source` says of those that were arranged here


def who(human: Human | None) -> dict[str, str] | None:
    """An account as the audit log keeps it."""
    return human.described if human is not None else None


def name_of(delegation: Delegation) -> str:
    """Names one delegation in a form: it is kept nowhere and carries no authority."""
    plain = f"{delegation.of.one}\n{delegation.to.one}\n{delegation.starts_at.isoformat()}"
    return hashlib.sha256(plain.encode()).hexdigest()[:32]


def delegate(session: Session, tenant: str, delegation: Delegation, at: datetime) -> None:
    """Let somebody stand in for an approver from one instant until another. Arranging it again moves its end.

    Raises:
        ValueError: it ends before it begins, or is to the same human.
    """
    if delegation.ends_at <= delegation.starts_at:
        raise ValueError("a delegation ends after it begins")
    if same(delegation.of, delegation.to):
        raise ValueError("nobody stands in for themselves")
    place = (tenant, delegation.of.one, delegation.to.one, delegation.starts_at)
    row = session.get(ApprovalDelegationRow, place)
    if row is None:
        row = ApprovalDelegationRow(
            tenant=tenant,
            principal=delegation.of.one,
            deputy=delegation.to.one,
            starts_at=delegation.starts_at,
            ends_at=delegation.ends_at,
            body="",
        )
        session.add(row)
    _keep(session, row, delegation)
    _audit(session, tenant, "approval.delegated", delegation, at, by=delegation.by)


def end(session: Session, tenant: str, delegation: Delegation, at: datetime, *, by: str) -> bool:
    """Let nobody stand in by it from now on; False when it is over or not there."""
    row = session.get(ApprovalDelegationRow, (tenant, delegation.of.one, delegation.to.one, delegation.starts_at))
    if row is None or row.ends_at <= at:
        return False
    kept = msgspec.json.decode(row.body, type=Delegation)
    ended = replace(kept, ends_at=max(at, kept.starts_at))  # one that never began has no instant at all
    _keep(session, row, ended)
    _audit(session, tenant, "approval.delegation_ended", ended, at, by=by)
    return True


def delegations(session: Session, tenant: str) -> tuple[Delegation, ...]:
    """Everything that was arranged here, in the order of its beginning."""
    found = map(_DELEGATION, session.connection().execute(_ARRANGED, {"tenant": tenant}).scalars())
    return tuple(sorted(found, key=lambda d: (d.starts_at, d.of.one, d.to.one)))


def _keep(session: Session, row: ApprovalDelegationRow, delegation: Delegation) -> None:
    row.ends_at, row.body = delegation.ends_at, msgspec.json.encode(delegation).decode()
    session.flush()


def _audit(session: Session, tenant: str, kind: str, delegation: Delegation, at: datetime, *, by: str) -> None:
    body = {
        "of": who(delegation.of),
        "to": who(delegation.to),
        "starts_at": delegation.starts_at,
        "ends_at": delegation.ends_at,
        "by": by,
    }
    journal.append(session, tenant, kind=kind, subject=delegation.of.one, body=body, at=at, actor=by)
