"""Tickets as they were last read, so that a cycle needs to read only what changed."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

import msgspec
from sqlmodel import Session, col, select

from desired_state.ledger import CHUNK
from desired_state.model import Ticket
from reconciler.store.tables import TicketRow


def save(session: Session, tenant: str, ticket: Ticket, at: datetime) -> bool:
    """Keep the ticket as it was read at `at`; False, and nothing written, when the copy says the same already."""
    body = msgspec.json.encode(ticket, order="deterministic").decode()
    row = session.get(TicketRow, (tenant, ticket.sys_id))
    if row is None:
        row = TicketRow(tenant=tenant, sys_id=ticket.sys_id, number="", mod_count=0, body="", read_at=at)
        session.add(row)
    elif row.body == body:
        return False
    row.number, row.mod_count, row.body, row.read_at = ticket.number, ticket.mod_count, body, at
    session.flush()
    return True


def load(session: Session, tenant: str, numbers: Collection[str] | None = None) -> dict[str, Ticket]:
    """All copies of a tenant by ticket number, or the named ones; a number without a copy is not in it."""
    query = select(TicketRow.body).where(TicketRow.tenant == tenant)
    if numbers is None:
        queries = [query]
    else:
        some = sorted(numbers)
        queries = [query.where(col(TicketRow.number).in_(some[i : i + CHUNK])) for i in range(0, len(some), CHUNK)]
    decode = msgspec.json.Decoder(Ticket).decode
    return {ticket.number: ticket for q in queries for ticket in map(decode, session.exec(q))}
