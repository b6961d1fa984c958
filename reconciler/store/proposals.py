"""What software suggested. Each is kept with its line, its stand-in for a ticket and its audit row, in one transaction.

Nothing here approves or writes anything remote: a proposal enters the ledger as a line that waits for people.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime

import msgspec
from sqlmodel import Session, col, func, select

from desired_state import ledger
from desired_state.model import Says
from desired_state.proposals import Proposal, as_request, as_ticket, number_of
from reconciler.digest import plain
from reconciler.store import journal, tickets
from reconciler.store.rows.agents import ProposalRow


@dataclass(frozen=True, slots=True)
class Filed:
    """A proposal that is kept. `said` is the digest of what was sent, `is_new` whether this call has kept it."""

    proposal: Proposal
    said: str
    is_new: bool = False


def file(session: Session, proposal: Proposal, *, key: str, said: str, at: datetime) -> Filed:
    """Keep a proposal once per `key` of its agent, under the next number of its tenant; the `number` given is not
    looked at. What was kept under this key before comes back as it is."""
    journal.lock(session, proposal.tenant)
    known = by_key(session, proposal.tenant, proposal.agent, key)
    if known is not None:
        return known
    last = session.exec(select(func.max(ProposalRow.count)).where(ProposalRow.tenant == proposal.tenant)).one()
    count = (last or 0) + 1
    kept = replace(proposal, number=number_of(count))
    row = ProposalRow(
        tenant=kept.tenant,
        number=kept.number,
        count=count,
        agent=kept.agent,
        key=key,
        said=said,
        body=msgspec.json.encode(kept, order="deterministic").decode(),
        at=at,
    )
    session.add(row)
    session.flush()
    tickets.save(session, kept.tenant, as_ticket(kept), at)
    ledger.append(session, kept.tenant, ledger.Declared(as_request(kept)), at)
    body = {
        "agent": kept.agent,
        "owner": kept.owner,
        "person": kept.person,
        "product": kept.product,
        "period": plain(kept.period),
        "price_max": plain(kept.price_max),
        "reason": kept.reason,
        "cost_center": kept.cost_center,
        "source_ticket": kept.source_ticket,
        "said": said,
    }
    about = [kept.source_ticket] if kept.source_ticket else []
    actor = f"agent:{kept.agent}"
    journal.append(
        session, kept.tenant, kind="proposal.filed", subject=str(kept.key), body=body, at=at, actor=actor, about=about
    )
    return Filed(kept, said, is_new=True)


def withdraw(session: Session, proposal: Proposal, *, at: datetime) -> bool:
    """Its agent wants it no more: from now on the line is a cancelled one. False when it is already."""
    gone = replace(as_request(proposal), says=Says.CANCELLED)
    if not ledger.append(session, proposal.tenant, ledger.Declared(gone), at):
        return False
    copy = as_ticket(proposal)
    tickets.save(session, proposal.tenant, replace(copy, is_active=False, approval="cancelled"), at)
    body = {"agent": proposal.agent, "owner": proposal.owner, "person": proposal.person, "product": proposal.product}
    actor = f"agent:{proposal.agent}"
    journal.append(
        session, proposal.tenant, kind="proposal.withdrawn", subject=str(proposal.key), body=body, at=at, actor=actor
    )
    return True


def note_refused(session: Session, tenant: str, agent: str, sentence: str, at: datetime) -> None:
    """Record that an agent asked for what it may not; nothing else is kept of it."""
    name = f"agent:{agent}"
    journal.append(
        session, tenant, kind="proposal.refused", subject=name, body={"sentence": sentence}, at=at, actor=name
    )


def by_key(session: Session, tenant: str, agent: str, key: str) -> Filed | None:
    """What this agent filed under this key, None when it is the first time."""
    where = (ProposalRow.tenant == tenant, ProposalRow.agent == agent, ProposalRow.key == key)
    row = session.exec(select(ProposalRow).where(*where)).first()
    return Filed(_proposal(row), row.said) if row is not None else None


def load(session: Session, tenant: str, numbers: Collection[str] | None = None) -> dict[str, Proposal]:
    """All proposals of a tenant by number, oldest first, or the named ones."""
    query = select(ProposalRow).where(ProposalRow.tenant == tenant).order_by(col(ProposalRow.count))
    if numbers is not None:
        query = query.where(col(ProposalRow.number).in_(sorted(numbers)))
    return {row.number: _proposal(row) for row in session.exec(query)}


def of_agent(session: Session, tenant: str, agent: str) -> dict[str, Proposal]:
    """All proposals of one agent by number, oldest first."""
    where = (ProposalRow.tenant == tenant, ProposalRow.agent == agent)
    rows = session.exec(select(ProposalRow).where(*where).order_by(col(ProposalRow.count)))
    return {row.number: _proposal(row) for row in rows}


def _proposal(row: ProposalRow) -> Proposal:
    return msgspec.json.decode(row.body, type=Proposal)
