"""The rows of the store. They stay in this folder: callers get frozen values.

Every row carries its tenant. Text that is JSON is written by one writer in one form, so equal values are equal text
and an unchanged row is never written again. The ledger's row is declared in `desired_state.ledger`.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Float, Index, LargeBinary, MetaData, Text, UniqueConstraint
from sqlmodel import Field

import desired_state.ledger
import reconciler.store.proposal_rows
import reconciler.store.question_rows  # noqa: F401 - part of the schema
from desired_state.rows import Row, RowId, UtcDateTime

EVERYONE = "*"  # the tenant of what concerns all tenants

# The whole schema: naming the ledger's row here makes it part of what migrations and checks see.
METADATA: MetaData = desired_state.ledger.LedgerRow.metadata


class WatermarkRow(Row, table=True):
    """How far a source was read: everything up to this instant and id is known."""

    __tablename__ = "watermark"

    tenant: str = Field(primary_key=True)
    source: str = Field(primary_key=True)
    at: datetime = Field(sa_type=UtcDateTime)
    sys_id: str


class LineRow(Row, table=True):
    """What is remembered of one line between cycles. `product` and `person` are there to count and to find it by."""

    __tablename__ = "line"
    __table_args__ = (
        Index(None, "tenant", "phase", "since", "ticket", "line"),
        Index(None, "tenant", "cause", "since", "ticket", "line"),
        Index(None, "tenant", "product", "since", "ticket", "line"),
        Index(None, "tenant", "verdict", "since", "ticket", "line"),
        Index(None, "tenant", "person"),
        Index(None, "tenant", "phase", "ends_at"),
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


class AuditRecord(Row, table=True):
    """One row of the audit log. Triggers refuse UPDATE and DELETE; `hash` covers every other column."""

    __tablename__ = "audit"
    __table_args__ = (
        Index(None, "tenant", "subject"),
        Index(None, "tenant", "kind", "at"),
        {"sqlite_strict": True},
    )

    tenant: str = Field(primary_key=True, sa_type=Text)
    seq: int = Field(primary_key=True, sa_type=RowId)
    at: str = Field(sa_type=Text)  # UTC, microseconds, as hashed
    kind: str = Field(sa_type=Text)
    subject: str = Field(sa_type=Text)
    actor: str = Field(sa_type=Text)
    cycle: str = Field(sa_type=Text)
    body: str = Field(sa_type=Text)  # canonical JSON, as hashed
    prev: str = Field(sa_type=Text)
    hash: str = Field(sa_type=Text)


class AuditAbout(Row, table=True):
    """An index into the audit log: further lines that a row is about. Evidence is the row's body, not this."""

    __tablename__ = "audit_about"
    __table_args__ = (Index(None, "tenant", "seq"),)

    tenant: str = Field(primary_key=True)
    subject: str = Field(primary_key=True)
    seq: int = Field(primary_key=True, sa_type=BigInteger)


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


class SwitchRow(Row, table=True):
    """A stop that a person threw or planned: the kill switch, or a freeze of one lane or of everything."""

    __tablename__ = "switch"

    tenant: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    kind: str
    scope: str
    is_on: bool
    reason: str
    by: str
    changed_at: datetime = Field(sa_type=UtcDateTime)
    from_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    until_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


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


class NameRow(Row, table=True):
    """A name of a SKU or service plan as Microsoft's published list has it, for all tenants. `code` is its part number
    or plan name."""

    __tablename__ = "published_name"

    kind: str = Field(primary_key=True)
    id: str = Field(primary_key=True)
    code: str
    name: str


class TicketRow(Row, table=True):
    """A ticket as it was last read."""

    __tablename__ = "ticket_copy"
    __table_args__ = (Index(None, "tenant", "number"),)

    tenant: str = Field(primary_key=True)
    sys_id: str = Field(primary_key=True)
    number: str
    mod_count: int
    body: str
    read_at: datetime = Field(sa_type=UtcDateTime)


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


class CheckpointRow(Row, table=True):
    """A signed checkpoint of a tenant's log. `root`, `head` are hex, `frontier` a JSON list of hex; never changed."""

    __tablename__ = "audit_checkpoint"
    __table_args__ = ({"sqlite_strict": True},)

    tenant: str = Field(primary_key=True, sa_type=Text)
    size: int = Field(primary_key=True, sa_type=RowId)
    root: str = Field(sa_type=Text)
    head: str = Field(sa_type=Text)
    at: str = Field(sa_type=Text)
    frontier: str = Field(sa_type=Text)
    note: str = Field(sa_type=Text)


class SegmentRow(Row, table=True):
    """What is left of rows that retention removed. `proofs` is JSON: size of a checkpoint inside -> hashes."""

    __tablename__ = "audit_segment"
    __table_args__ = ({"sqlite_strict": True},)

    tenant: str = Field(primary_key=True, sa_type=Text)
    last: int = Field(primary_key=True, sa_type=RowId)
    first: int = Field(sa_type=RowId)
    head: str = Field(sa_type=Text)
    frontier: str = Field(sa_type=Text)
    note: str = Field(sa_type=Text)
    proofs: str = Field(sa_type=Text)
    sealed_at: str = Field(sa_type=Text)
    by: str = Field(sa_type=Text)


class SinkRow(Row, table=True):
    """How far a second place has the log: rows up to `seq`, checkpoints up to size `checkpoint`.

    `failing_since` is "" while it takes what it is given.
    """

    __tablename__ = "audit_sink"
    __table_args__ = ({"sqlite_strict": True},)

    tenant: str = Field(primary_key=True, sa_type=Text)
    sink: str = Field(primary_key=True, sa_type=Text)
    seq: int = Field(default=0, sa_type=RowId)
    checkpoint: int = Field(default=0, sa_type=RowId)
    failing_since: str = Field(default="", sa_type=Text)
    error: str = Field(default="", sa_type=Text)


class PersonRow(Row, table=True):
    """The key of one pseudonym, wrapped by the installation's own; gone once the person was erased."""

    __tablename__ = "audit_person"
    __table_args__ = ({"sqlite_strict": True},)

    tenant: str = Field(primary_key=True, sa_type=Text)
    pseudonym: str = Field(primary_key=True, sa_type=Text)
    key: bytes | None = Field(default=None, sa_type=LargeBinary)
    erased_at: str = Field(default="", sa_type=Text)


class VeilRow(Row, table=True):
    """What a sign in the log stands for, encrypted with the key of the person that it belongs to."""

    __tablename__ = "audit_veil"
    __table_args__ = (Index(None, "tenant", "pseudonym"), {"sqlite_strict": True})

    tenant: str = Field(primary_key=True, sa_type=Text)
    sign: str = Field(primary_key=True, sa_type=Text)
    pseudonym: str = Field(sa_type=Text)
    cipher: bytes = Field(sa_type=LargeBinary)


class GuardPlanRow(Row, table=True):
    """A lane's plan that a guard stopped, or ends that are known ahead, and who let it through once (`guards release`).

    `digest` names the plan; `body` is JSON: what would be changed.
    """

    __tablename__ = "guard_plan"

    tenant: str = Field(primary_key=True)
    digest: str = Field(primary_key=True)
    guard: str
    lane: str
    wanted: int
    allowed: int
    sentence: str
    body: str
    cycle: str
    at: datetime = Field(sa_type=UtcDateTime)
    released_by: str = ""
    reason: str = ""
    released_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class GuardFactRow(Row, table=True):
    """What a guard remembers between cycles, by name: how many people there are, a breaker that is open, …"""

    __tablename__ = "guard_fact"

    tenant: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    body: str  # JSON
    at: datetime = Field(sa_type=UtcDateTime)


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


class NoticeRow(Row, table=True):
    """One thing that one recipient is told once. `body` is the card, and empty once it is settled."""

    __tablename__ = "notice"
    __table_args__ = (
        UniqueConstraint("tenant", "op_key"),
        Index(None, "tenant", "state", "next_at"),
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
