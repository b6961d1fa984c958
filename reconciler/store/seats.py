"""The books of seats: one row a SKU, written only when it says something else (I10)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec
from sqlalchemy import bindparam, delete, insert, select, update
from sqlmodel import Session

from desired_state.model import SkuId
from desired_state.rows import is_row, table_of
from reconciler.seats.book import Book
from reconciler.store.rows.licences import SeatRow

_DECODE = msgspec.json.Decoder(Book).decode
_ENCODE = msgspec.json.Encoder(order="deterministic").encode
_TABLE = table_of(SeatRow)
_BODIES = select(_TABLE.c.sku, _TABLE.c.body).where(_TABLE.c.tenant == bindparam("tenant")).order_by(_TABLE.c.sku)
_ADD, _CHANGE = insert(_TABLE), update(_TABLE).where(is_row(_TABLE))
_REMOVE = delete(_TABLE).where(is_row(_TABLE))


def load(session: Session, tenant: str) -> dict[SkuId, Book]:
    """The books of a tenant as they were last kept."""
    return {book.sku: book for book in map(_DECODE, _bodies(session, tenant).values())}


def save(session: Session, tenant: str, books: Mapping[SkuId, Book], at: datetime) -> bool:
    """Keep these books and no others; False, and nothing written, when they are kept so already."""
    bodies, connection = _bodies(session, tenant), session.connection()
    is_changed = False
    for sku in sorted(bodies.keys() - books.keys()):
        connection.execute(_REMOVE, {"of_tenant": tenant, "of_sku": sku})
        is_changed = True
    for sku, book in books.items():
        body = _ENCODE(book).decode()
        if sku not in bodies:
            connection.execute(_ADD, {"tenant": tenant, "sku": sku, "body": body, "changed_at": at})
        elif bodies[sku] != body:
            connection.execute(_CHANGE, {"of_tenant": tenant, "of_sku": sku, "body": body, "changed_at": at})
        else:
            continue
        is_changed = True
    return is_changed


def _bodies(session: Session, tenant: str) -> dict[str, str]:
    return {row.sku: row.body for row in session.connection().execute(_BODIES, {"tenant": tenant})}
