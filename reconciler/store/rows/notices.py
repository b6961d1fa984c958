"""The rows of what people outside the tickets are told."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, UniqueConstraint
from sqlmodel import Field

from desired_state.rows import Row, RowId, UtcDateTime


class NoticeRow(Row, table=True):
    """One thing that one recipient is told once. `body` is the card, and empty once it is settled."""

    __tablename__ = "notice"
    __table_args__ = (
        UniqueConstraint("tenant", "op_key"),
        Index(None, "tenant", "state", "next_at"),
        Index(None, "state", "next_at"),  # of all tenants, for a fleet
        Index(None, "tenant", "request"),
        Index(None, "tenant", "recipient", "sent_at"),
        {"sqlite_autoincrement": True},
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=RowId)
    tenant: str
    op_key: str
    kind: str
    event: str
    request: str
    ticket: str
    recipient: str
    channel: str
    digest: str
    line: str
    person: str  # the account of the recipient as JSON, "" for a channel
    body: str
    state: str
    tries: int = 0
    is_proven: bool = False
    is_alerted: bool = False
    problem: str = ""
    batch: str = Field(default="", sa_column_kwargs={"server_default": ""})  # the mail that it was first sent in
    queued_at: datetime = Field(sa_type=UtcDateTime)
    next_at: datetime = Field(sa_type=UtcDateTime)
    sent_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    settled_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
