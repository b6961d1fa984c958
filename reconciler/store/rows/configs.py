"""The rows of the configurations that a tenant was run by."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Field

from desired_state.rows import Row, UtcDateTime


class ConfigTextRow(Row, table=True):
    """Effective configurations of tenants as canonical JSON without secrets, by their SHA-256."""

    __tablename__ = "config_text"

    hash: str = Field(primary_key=True)
    body: str
    kept_at: datetime = Field(sa_type=UtcDateTime)


class ConfigAcceptedRow(Row, table=True):
    """Configurations that a tenant may run by; the highest number is the last one. `how`: first, sandbox, signed."""

    __tablename__ = "config_accepted"

    tenant: str = Field(primary_key=True)
    number: int = Field(primary_key=True)
    hash: str
    how: str
    by: str  # sign-in names as a JSON list
    at: datetime = Field(sa_type=UtcDateTime)


class ConfigSeenRow(Row, table=True):
    """The configuration that a tenant was last run by: a change of it is told in the audit log."""

    __tablename__ = "config_seen"

    tenant: str = Field(primary_key=True)
    hash: str
    at: datetime = Field(sa_type=UtcDateTime)
