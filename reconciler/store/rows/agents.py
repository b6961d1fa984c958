"""The rows of software that may propose, and of what it proposed."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Index, UniqueConstraint
from sqlmodel import Field

from desired_state.rows import Row, UtcDateTime


class AgentRow(Row, table=True):
    """Software that may propose. `token` is the SHA-256 of its secret; `products` are keys divided by spaces, or *.

    `allowance` is what is left of its requests at `counted_at`, in thousandths.
    """

    __tablename__ = "agent"
    __table_args__ = (UniqueConstraint("token"),)

    tenant: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    token: str
    owner: str
    products: str
    reads: str
    per_minute: int
    open_max: int
    created_at: datetime = Field(sa_type=UtcDateTime)
    created_by: str
    expires_at: datetime = Field(sa_type=UtcDateTime)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    revoked_by: str = ""
    revoked_why: str = ""
    used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    allowance: int = Field(default=0, sa_type=BigInteger)
    counted_at: datetime = Field(sa_type=UtcDateTime)


class ProposalRow(Row, table=True):
    """What an agent suggested; its line is in the ledger. `body` is the proposal as JSON, `said` the digest of what was
    sent, `key` what makes it count once."""

    __tablename__ = "proposal"
    __table_args__ = (
        UniqueConstraint("tenant", "agent", "key"),
        Index(None, "tenant", "at"),
    )

    tenant: str = Field(primary_key=True)
    number: str = Field(primary_key=True)
    count: int
    agent: str
    key: str
    said: str
    body: str
    at: datetime = Field(sa_type=UtcDateTime)
