"""The rows of what would have been done, and of what people made of it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index
from sqlmodel import Field

from desired_state.rows import Row, UtcDateTime


class ShadowRow(Row, table=True):
    """What would have been done for one line by one request. `would` and `base` are JSON; `outcome` is "waiting" until
    it was judged."""

    __tablename__ = "shadow"
    __table_args__ = (Index(None, "tenant", "outcome"), Index(None, "tenant", "decided_at"))

    tenant: str = Field(primary_key=True)
    ticket: str = Field(primary_key=True)
    line: int = Field(primary_key=True)
    axis: str = Field(primary_key=True)
    digest: str = Field(primary_key=True)
    product: str
    user: str = ""
    step: str
    would: str
    base: str = "{}"
    is_removal: bool = False
    recorded_at: datetime = Field(sa_type=UtcDateTime)
    outcome: str
    why: str = ""
    by: str = ""
    acted_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    decided_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
