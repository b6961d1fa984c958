"""The rows of who runs the cycles of a tenant, and of the last one."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Float, false
from sqlmodel import Field

from desired_state.rows import Row, UtcDateTime


class LeaseRow(Row, table=True):
    """Who may write for a tenant, until when. Instants are seconds since 1970 by the database's own clock."""

    __tablename__ = "lease"

    tenant: str = Field(primary_key=True)
    owner: str | None = None
    epoch: int = Field(default=0, sa_type=BigInteger)
    since_s: float = Field(default=0.0, sa_type=Float)
    until_s: float = Field(default=0.0, sa_type=Float)
    next_due_s: float = Field(default=0.0, sa_type=Float, sa_column_kwargs={"server_default": "0"})
    asked: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    served: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    # of a fleet: when a worker has to look, for which duty, whether the tenant is slow or failing, and what the last
    # worker leaves to the next
    look_s: float = Field(default=0.0, sa_type=Float, index=True, sa_column_kwargs={"server_default": "0"})
    duty: str = Field(default="", sa_column_kwargs={"server_default": ""})
    is_troubled: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    left_over: str = Field(default="", sa_column_kwargs={"server_default": ""})


class CycleRow(Row, table=True):
    """The heartbeat: the last cycle of a tenant, updated in place, the only row a converged cycle writes (I10)."""

    __tablename__ = "cycle"

    tenant: str = Field(primary_key=True)
    cycle: str
    number: int
    started_at: datetime = Field(sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    is_converged: bool | None = None
    counts: str = "{}"
    error: str = ""
    audit_size: int = Field(default=0, sa_type=BigInteger)
    audit_head: str = ""
    last_finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
