"""The rows of who is signed in to the pages."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index
from sqlmodel import Field

from desired_state.rows import Row, UtcDateTime


class SignInRow(Row, table=True):
    """A sign-in to the pages that is under way, for ten minutes. `state` and `browser` are SHA-256 of secrets that the
    browser carries; `flow` is what msal needs to end it."""

    __tablename__ = "sign_in"
    __table_args__ = (Index(None, "begun_at"),)

    state: str = Field(primary_key=True)
    tenant: str
    browser: str
    flow: str
    place: str
    replaces: str
    begun_at: datetime = Field(sa_type=UtcDateTime)


class WebSessionRow(Row, table=True):
    """Somebody who is signed in to the pages. `id` is the SHA-256 of the browser's secret."""

    __tablename__ = "web_session"

    id: str = Field(primary_key=True)
    tenant: str
    tid: str
    oid: str
    name: str
    upn: str
    roles: str
    evidence: str
    credentials_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    signed_in_at: datetime = Field(sa_type=UtcDateTime)
    seen_at: datetime = Field(sa_type=UtcDateTime)
