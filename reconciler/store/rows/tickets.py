"""The rows of tickets, of what is remembered of their lines, and of what they are told."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, UniqueConstraint, text
from sqlmodel import Field

from desired_state.rows import Row, RowId, UtcDateTime


def _sparse(name: str, *columns: str) -> Index:
    """An index of the rows that have a value in a column. A question for a value of it is answered from there."""
    is_there = text(f"{name} IS NOT NULL")
    return Index(None, *columns, sqlite_where=is_there, postgresql_where=is_there)


class WatermarkRow(Row, table=True):
    """How far a source was read: everything up to this instant and id is known."""

    __tablename__ = "watermark"

    tenant: str = Field(primary_key=True)
    source: str = Field(primary_key=True)
    at: datetime = Field(sa_type=UtcDateTime)
    sys_id: str


class TicketRow(Row, table=True):
    """A ticket as it was last read."""

    __tablename__ = "ticket_copy"
    __table_args__ = (Index(None, "tenant", "number"), Index(None, "tenant", "read_at"))

    tenant: str = Field(primary_key=True)
    sys_id: str = Field(primary_key=True)
    number: str
    mod_count: int
    body: str
    read_at: datetime = Field(sa_type=UtcDateTime)


class LineRow(Row, table=True):
    """What is remembered of one line between cycles. `product` and `person` are there to count and to find it by."""

    __tablename__ = "line"
    __table_args__ = (
        Index(None, "tenant", "phase", "since", "ticket", "line"),
        _sparse("cause", "tenant", "cause", "since", "ticket", "line"),
        Index(None, "tenant", "product", "since", "ticket", "line"),
        Index(None, "tenant", "verdict", "since", "ticket", "line"),
        Index(None, "tenant", "person"),
        Index(None, "tenant", "user"),
        _sparse("ends_at", "tenant", "phase", "ends_at"),
        _sparse("next_at", "tenant", "next_at"),
        _sparse("ends_at", "tenant", "ends_at"),
    )

    tenant: str = Field(primary_key=True)
    ticket: str = Field(primary_key=True)
    line: int = Field(primary_key=True)
    phase: str
    verdict: str | None = None
    first_verdict: str | None = None
    cause: str | None = None
    tier: str | None = None
    user: str | None = None
    attempts: int = 0
    next_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    since: datetime = Field(sa_type=UtcDateTime)
    granted_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    ends_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    episode: int = 1
    note: str = ""
    given: str = "[]"  # JSON
    reversals: int = 0
    told: str = ""
    first_seen_at: datetime = Field(sa_type=UtcDateTime)
    changed_at: datetime = Field(sa_type=UtcDateTime)
    product: str = ""
    person: str = ""


class LineKindRow(Row, table=True):
    """How many lines of one kind there are. Triggers on `line` keep it, in the same transaction, whoever writes them;
    a cycle that changes no line changes nothing here (I10). `cause` and `verdict` are "" for none."""

    __tablename__ = "line_kind"

    tenant: str = Field(primary_key=True)
    product: str = Field(primary_key=True)
    phase: str = Field(primary_key=True)
    cause: str = Field(primary_key=True)
    verdict: str = Field(primary_key=True)
    lines: int


class LineDayRow(Row, table=True):
    """By how many the lines of one kind grew on one day (UTC), kept as `line_kind` is: with it, what the number was at
    the end of any day."""

    __tablename__ = "line_day"

    tenant: str = Field(primary_key=True)
    day: str = Field(primary_key=True)  # as 2026-11-30
    product: str = Field(primary_key=True)
    phase: str = Field(primary_key=True)
    cause: str = Field(primary_key=True)
    verdict: str = Field(primary_key=True)
    change: int


class AnswerRow(Row, table=True):
    """One answer that a ticket is owed or has had, kept so that it is given once (I6). `id` is the order of giving."""

    __tablename__ = "answer"
    __table_args__ = (
        UniqueConstraint("tenant", "op_key"),
        Index(None, "tenant", "ticket"),
        Index(None, "tenant", "state"),
        Index(None, "tenant", "sent_at"),
        {"sqlite_autoincrement": True},
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=RowId)
    tenant: str
    op_key: str
    ticket: str
    kind: str
    group: str
    body: str
    state: str
    remote_id: str = ""
    tries: int = 0
    failures: int = 0
    next_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    intended_at: datetime = Field(sa_type=UtcDateTime)
    sent_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    changed_at: datetime = Field(sa_type=UtcDateTime)
