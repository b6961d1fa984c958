"""Tickets as they were last read, so that a cycle needs to read only what changed."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

import msgspec
from sqlalchemy import bindparam, insert, select, update
from sqlmodel import Session

from desired_state.ledger import CHUNK
from desired_state.model import Ticket
from desired_state.rows import is_row, table_of
from reconciler.store.rows.tickets import TicketRow

_TABLE = table_of(TicketRow)
_ONE = select(_TABLE.c.body).where(is_row(_TABLE))
_OF_TENANT = select(_TABLE.c.body).where(_TABLE.c.tenant == bindparam("tenant"))
_NAMED = _OF_TENANT.where(_TABLE.c.number.in_(bindparam("numbers", expanding=True)))
_ADD, _CHANGE = insert(_TABLE), update(_TABLE).where(is_row(_TABLE))
_ENCODE = msgspec.json.Encoder(order="deterministic").encode
_DECODE = msgspec.json.Decoder(Ticket).decode


def save(session: Session, tenant: str, ticket: Ticket, at: datetime | None) -> bool:
    """Keep the ticket as it was read at `at`; False, and nothing written, when the copy says the same already.

    `at` None: there is a copy, and nobody but us has written to the ticket since it was read.
    """
    body = _ENCODE(ticket).decode()
    key = {"of_tenant": tenant, "of_sys_id": ticket.sys_id}
    known = session.connection().execute(_ONE, key).scalar()
    if known == body:
        return False
    values: dict[str, object] = {"number": ticket.number, "mod_count": ticket.mod_count, "body": body}
    values |= {"read_at": at} if at is not None else {}
    if known is None:
        session.connection().execute(_ADD, {"tenant": tenant, "sys_id": ticket.sys_id} | values)
    else:
        session.connection().execute(_CHANGE, key | values)
    return True


def read_since(session: Session, tenant: str, at: datetime) -> frozenset[str]:
    """Numbers of the tickets whose copy was made or changed after this instant, by others than us."""
    query = select(_TABLE.c.number).where(_TABLE.c.tenant == tenant, _TABLE.c.read_at > at)
    return frozenset(session.connection().execute(query).scalars())


def load(session: Session, tenant: str, numbers: Collection[str] | None = None) -> dict[str, Ticket]:
    """All copies of a tenant by ticket number, or the named ones; a number without a copy is not in it."""
    if numbers is None:
        bodies = list(session.connection().execute(_OF_TENANT, {"tenant": tenant}).scalars())
    else:
        some = sorted(numbers)
        parts = (some[i : i + CHUNK] for i in range(0, len(some), CHUNK))
        found = (session.connection().execute(_NAMED, {"tenant": tenant, "numbers": part}) for part in parts)
        bodies = [body for rows in found for body in rows.scalars()]
    return {ticket.number: ticket for ticket in map(_DECODE, bodies)}
