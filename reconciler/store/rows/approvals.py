"""The rows of what people and rules approved."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, UniqueConstraint
from sqlmodel import Field

from desired_state.rows import Row, UtcDateTime


class ApprovalRow(Row, table=True):
    """One request for approval. `body` is all of it but its answers, as JSON."""

    __tablename__ = "approval"
    __table_args__ = (
        Index(None, "tenant", "ticket", "line"),
        Index(None, "tenant", "state"),
    )

    tenant: str = Field(primary_key=True)
    id: str = Field(primary_key=True)
    ticket: str
    line: int
    digest: str
    state: str
    stage: int
    body: str
    created_at: datetime = Field(sa_type=UtcDateTime)
    changed_at: datetime = Field(sa_type=UtcDateTime)


class ApprovalDecisionRow(Row, table=True):
    """One answer to a request. A human answers a stage once, whatever account they use; never changed afterwards."""

    __tablename__ = "approval_decision"
    __table_args__ = (UniqueConstraint("tenant", "approval", "human", "key"),)

    tenant: str = Field(primary_key=True)
    approval: str = Field(primary_key=True)
    stage: str = Field(primary_key=True)
    human: str = Field(primary_key=True)
    number: int  # counts from 1 within the request
    key: str
    verdict: str
    digest: str
    body: str
    decided_at: datetime = Field(sa_type=UtcDateTime)


class ApprovalDelegationRow(Row, table=True):
    """Who acts for whom from when until when, as an approver or an administrator arranged it here."""

    __tablename__ = "approval_delegation"

    tenant: str = Field(primary_key=True)
    principal: str = Field(primary_key=True)
    deputy: str = Field(primary_key=True)
    starts_at: datetime = Field(primary_key=True, sa_type=UtcDateTime)
    ends_at: datetime = Field(sa_type=UtcDateTime)
    body: str


class RuleTextRow(Row, table=True):
    """The rules that decisions were made by, by the SHA-256 of their canonical text; for all tenants."""

    __tablename__ = "rule_text"

    hash: str = Field(primary_key=True)
    body: str
    kept_at: datetime = Field(sa_type=UtcDateTime)


class AutoApprovalRow(Row, table=True):
    """A request that a rule approved without a person. `cost` is more a month, as text."""

    __tablename__ = "auto_approval"
    __table_args__ = (Index(None, "tenant", "at"),)

    tenant: str = Field(primary_key=True)
    rule: str = Field(primary_key=True)
    ticket: str = Field(primary_key=True)
    line: int = Field(primary_key=True)
    digest: str = Field(primary_key=True)
    cost: str
    at: datetime = Field(sa_type=UtcDateTime)
    is_sampled: bool
    reviewed_by: str = ""
    reviewed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    note: str = ""


class BreakGlassRow(Row, table=True):
    """A request that two people approved from the terminal, until somebody else has looked at it afterwards."""

    __tablename__ = "break_glass"

    tenant: str = Field(primary_key=True)
    approval: str = Field(primary_key=True)
    line_ticket: str
    line: int
    digest: str
    signers: str  # sign-in names as a JSON list
    reason: str
    incident: str
    used_at: datetime = Field(sa_type=UtcDateTime)
    review_by: datetime = Field(sa_type=UtcDateTime)
    reviewed_by: str = ""
    reviewed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    note: str = ""
