"""The books of seats: one row a SKU, written only when it says something else (I10)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec
from sqlmodel import Session, select

from desired_state.model import SkuId
from reconciler.seats.book import Book
from reconciler.store.tables import SeatRow

_DECODE = msgspec.json.Decoder(Book).decode


def load(session: Session, tenant: str) -> dict[SkuId, Book]:
    """The books of a tenant as they were last kept."""
    bodies = session.exec(select(SeatRow.body).where(SeatRow.tenant == tenant).order_by(SeatRow.sku))
    return {book.sku: book for book in map(_DECODE, bodies)}


def save(session: Session, tenant: str, books: Mapping[SkuId, Book], at: datetime) -> bool:
    """Keep these books and no others; False, and nothing written, when they are kept so already."""
    rows = {row.sku: row for row in session.exec(select(SeatRow).where(SeatRow.tenant == tenant))}
    is_changed = False
    for sku in rows.keys() - books.keys():
        session.delete(rows[sku])
        is_changed = True
    for sku, book in books.items():
        body = msgspec.json.encode(book, order="deterministic").decode()
        row = rows.get(sku)
        if row is None:
            session.add(SeatRow(tenant=tenant, sku=sku, body=body, changed_at=at))
        elif row.body != body:
            row.body, row.changed_at = body, at
        else:
            continue
        is_changed = True
    session.flush()
    return is_changed
