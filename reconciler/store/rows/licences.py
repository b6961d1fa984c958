"""The rows of what is known of licences: seats, rules between service plans, contents of SKUs, published names."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Field

from desired_state.rows import Row, UtcDateTime


class SeatRow(Row, table=True):
    """What is known of the seats of one SKU: counts, who waits, what comes free, what is idle."""

    __tablename__ = "seat"

    tenant: str = Field(primary_key=True)
    sku: str = Field(primary_key=True)
    body: str
    changed_at: datetime = Field(sa_type=UtcDateTime)


class LearnedRow(Row, table=True):
    """A rule between service plans that a refusal of Graph taught. `plans` are ids, divided by spaces."""

    __tablename__ = "learned"

    tenant: str = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    plans: str = Field(primary_key=True)
    words: str
    seen_at: datetime = Field(sa_type=UtcDateTime)
    last_at: datetime = Field(sa_type=UtcDateTime)
    times: int


class SoldRow(Row, table=True):
    """Since when a SKU is known to contain each of its service plans: `body` is JSON, plan id -> instant.

    `since` is the first look at the SKU. What it contained then may have been there for ever.
    """

    __tablename__ = "sold"

    tenant: str = Field(primary_key=True)
    sku: str = Field(primary_key=True)
    since: datetime = Field(sa_type=UtcDateTime)
    body: str
    changed_at: datetime = Field(sa_type=UtcDateTime)


class NameRow(Row, table=True):
    """A name of a SKU or service plan as Microsoft's published list has it, for all tenants. `code` is its part number
    or plan name."""

    __tablename__ = "published_name"

    kind: str = Field(primary_key=True)
    id: str = Field(primary_key=True)
    code: str
    name: str
