"""Software that may propose: one secret each, kept as its SHA-256, for one tenant and named products, until a day.

A secret opens nothing but the API's reading and proposing: deciding takes a person who is signed in. Every request
counts against a bucket of the agent's own, kept here, so that a restart or a second process gives nobody more.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel import Session, col, select

from reconciler.store import journal
from reconciler.store.rows.agents import AgentRow

EVERY = "*"  # all products
READS = ("own", "all")  # its own proposals; every ticket too
LONGEST = timedelta(days=366)
PREFIX = "lra_"  # so that a secret that leaks is recognised by scanners
_WHOLE = 1000


@dataclass(frozen=True, slots=True)
class Agent:
    """One agent. `owner` is the sign-in name of the human who answers for it; `products` are keys, or EVERY.

    `per_minute` requests are let through, as many at once; `open_max` proposals may wait for people at a time.
    """

    tenant: str
    name: str
    owner: str
    products: frozenset[str]
    reads: str
    per_minute: int
    open_max: int
    created_at: datetime
    created_by: str
    expires_at: datetime
    revoked_at: datetime | None = None
    revoked_by: str = ""
    revoked_why: str = ""
    used_at: datetime | None = None

    def may_propose(self, product: str) -> bool:
        return EVERY in self.products or product in self.products

    def standing(self, at: datetime) -> str:
        """active, expired or revoked."""
        if self.revoked_at is not None:
            return "revoked"
        return "active" if at < self.expires_at else "expired"


def name_of(token: str) -> str:
    """Under what a secret is kept."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def add(session: Session, agent: Agent, token: str, at: datetime) -> bool:
    """Register an agent under a fresh secret. False, and nothing kept, where its tenant has one of this name: a name
    in the log means one agent for ever, also once it is revoked."""
    if session.get(AgentRow, (agent.tenant, agent.name)) is not None:
        return False
    row = AgentRow(
        tenant=agent.tenant,
        name=agent.name,
        token=name_of(token),
        owner=agent.owner,
        products=" ".join(sorted(agent.products)),
        reads=agent.reads,
        per_minute=agent.per_minute,
        open_max=agent.open_max,
        created_at=agent.created_at,
        created_by=agent.created_by,
        expires_at=agent.expires_at,
        allowance=agent.per_minute * _WHOLE,
        counted_at=at,
    )
    session.add(row)
    session.flush()
    body = {
        "owner": agent.owner,
        "products": sorted(agent.products),
        "reads": agent.reads,
        "per_minute": agent.per_minute,
        "open_max": agent.open_max,
        "expires_at": agent.expires_at,
    }
    _audit(session, agent.tenant, "agent.added", agent.name, body, agent.created_by, at)
    return True


def revoke(session: Session, tenant: str, name: str, *, by: str, why: str, at: datetime) -> Agent | None:
    """Let an agent in no more; revoking again changes nothing. None when there is none of this name."""
    row = session.get(AgentRow, (tenant, name))
    if row is None:
        return None
    if row.revoked_at is None:
        row.revoked_at, row.revoked_by, row.revoked_why = at, by, why
        session.flush()
        _audit(session, tenant, "agent.revoked", name, {"why": why}, by, at)
    return _agent(row)


def listed(session: Session, tenant: str) -> tuple[Agent, ...]:
    """All agents of a tenant by name, revoked ones too."""
    rows = session.exec(select(AgentRow).where(AgentRow.tenant == tenant).order_by(col(AgentRow.name)))
    return tuple(map(_agent, rows))


def find(session: Session, tenant: str, token: str) -> Agent | None:
    """Whose secret this is in this tenant, whatever its standing; None when it is nobody's here."""
    row = session.exec(select(AgentRow).where(AgentRow.token == name_of(token))).first()
    return _agent(row) if row is not None and row.tenant == tenant else None


def spend(session: Session, agent: Agent, at: datetime) -> float:
    """Count one request. 0.0 when it is let through, else the seconds after which one will be."""
    where = (AgentRow.tenant == agent.tenant, AgentRow.name == agent.name)
    row = session.exec(select(AgentRow).where(*where).with_for_update()).one()
    left = refilled(row.allowance, row.counted_at, at, per_minute=row.per_minute)
    wait = 0.0 if left >= _WHOLE else (_WHOLE - left) * 60 / (row.per_minute * _WHOLE)
    row.allowance, row.counted_at = left - _WHOLE if wait == 0.0 else left, max(at, row.counted_at)
    if wait == 0.0:
        row.used_at = at
    session.flush()
    return wait


def refilled(left: int, since: datetime, at: datetime, *, per_minute: int) -> int:
    """What a bucket holds at `at`, in thousandths of a request. A clock that went back gives nothing. Pure."""
    gained = max((at - since).total_seconds(), 0.0) * per_minute * _WHOLE / 60
    return min(left + int(gained), per_minute * _WHOLE)


def _audit(session: Session, tenant: str, kind: str, name: str, body: dict[str, object], by: str, at: datetime) -> None:
    journal.append(session, tenant, kind=kind, subject=f"agent:{name}", body=body, at=at, actor=by)


def _agent(row: AgentRow) -> Agent:
    return Agent(
        tenant=row.tenant,
        name=row.name,
        owner=row.owner,
        products=frozenset(row.products.split()),
        reads=row.reads,
        per_minute=row.per_minute,
        open_max=row.open_max,
        created_at=row.created_at,
        created_by=row.created_by,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        revoked_by=row.revoked_by,
        revoked_why=row.revoked_why,
        used_at=row.used_at,
    )
