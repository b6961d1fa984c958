"""Requests for approval, their stages and the answers to them, as frozen values. Pure.

One human is one person over all accounts: `Human.one` names the human, `same` compares two. Instants are aware UTC,
money is text, digests are 64 hex digits. Rules A1 to A14 are those of the contract on approvals.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any

from desired_state.model import LineKey


@dataclass(frozen=True, slots=True)
class Human:
    """An account of a person: tenant and object id identify it, name and sign-in name are for people to read.

    `employee_id` ties the accounts of one human together; "" where it is not known.
    """

    tid: str
    oid: str
    name: str = ""
    upn: str = ""
    employee_id: str = ""

    @property
    def account(self) -> str:
        """The account as the audit log names who acted: tenant and object id."""
        return f"{self.tid}/{self.oid}"

    @property
    def told(self) -> dict[str, str]:
        """The account as a row of the audit log describes whoever did something at a page or a terminal."""
        return {"tid": self.tid, "oid": self.oid, "name": self.name, "upn": self.upn}

    @property
    def described(self) -> dict[str, str]:
        """The account as rows about requests, delegations and notices describe it: with the employee id."""
        return {**self.told, "employee_id": self.employee_id}

    @property
    def one(self) -> str:
        """Names the human behind the account: the employee id, or the account itself where that is not known."""
        number = self.employee_id.strip().casefold()
        if number:
            return f"employee:{number}"
        return f"account:{self.tid}/{self.oid}".lower() if self.oid else f"name:{self.upn}".lower()


def same(a: Human | None, b: Human | None) -> bool:
    """Whether two accounts are one human's, as far as can be told: the same account, or the same employee id."""
    if a is None or b is None:
        return False
    is_account = bool(a.oid) and (a.tid.lower(), a.oid.lower()) == (b.tid.lower(), b.oid.lower())
    return a.one == b.one or is_account


def may_be_same(a: Human | None, b: Human | None) -> bool:
    """`same`, or the same sign-in name; of somebody whose account is not known, also the same name, or the same first
    part of an address, which is then an alias. Good enough to keep somebody out, never to let somebody in."""
    if a is None or b is None:
        return False
    if same(a, b) or (bool(a.upn) and a.upn.lower() == b.upn.lower()):
        return True
    return not (a.oid and b.oid) and not (a.employee_id and b.employee_id) and _reads_alike(a, b)


def _reads_alike(a: Human, b: Human) -> bool:
    def plain(text: str) -> str:
        return " ".join(text.split()).casefold()

    pairs = ((a.name, b.name), (a.upn.partition("@")[0], b.upn.partition("@")[0]))
    return any(plain(one) and plain(one) == plain(other) for one, other in pairs)


def among(human: Human | None, others: Iterable[Human | None]) -> bool:
    """Whether one of the accounts is this human's."""
    return any(same(human, other) for other in others)


class State(StrEnum):
    """Where a request stands. The moves between these are in `machine`."""

    DRAFT = "draft"
    PENDING = "pending"
    APPROVED = "approved"
    EXECUTING = "executing"
    DONE = "done"
    FAILED = "failed"
    PARTLY = "partly"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    VOID = "void"
    SUPERSEDED = "superseded"


class Verdict(StrEnum):
    APPROVE = "approve"
    REJECT = "reject"


class Channel(StrEnum):
    """By which way an answer came."""

    PAGE = "page"
    SERVICENOW = "servicenow"
    BREAK_GLASS = "break_glass"


class Assurance(StrEnum):
    """How sure it is that this person gave this answer."""

    LOW = "low"
    MEDIUM = "medium"
    STRONG = "strong"

    def is_at_least(self, wanted: Assurance) -> bool:
        return _Rank[self.name] >= _Rank[wanted.name]


class _Rank(IntEnum):
    LOW = 0
    MEDIUM = 1
    STRONG = 2


@dataclass(frozen=True, slots=True)
class Delegation:
    """`to` may act for `of` from one instant until another, one level deep (A10). `source` says who knows.

    `arranged_by` is the administrator who arranged it in the place of `of`, and who gains no answer to what is theirs.
    """

    of: Human
    to: Human
    starts_at: datetime
    ends_at: datetime
    by: str = ""  # who arranged it
    source: str = "reconciler"  # or servicenow
    arranged_by: Human | None = None


@dataclass(frozen=True, slots=True)
class Stage:
    """One of the ordered stages of a request, as it was resolved when it opened (A2).

    A stage that has not opened has no approvers and no instants. `alternates` came in by escalation; they may act
    beside the approvers. `lost` names humans (`Human.one`) who were approvers and have lost the role since.
    """

    name: str
    resolver: str
    quorum: int = 1
    approvers: tuple[Human, ...] = ()
    is_fallback: bool = False
    why: str = ""  # how the approvers were found, for people
    channels: tuple[Channel, ...] = (Channel.PAGE,)
    assurance: Assurance = Assurance.LOW  # the least that counts here
    accepts_ticket_approval: bool = False
    needs_comment: bool = False  # also for a yes
    opened_at: datetime | None = None
    remind_at: tuple[datetime, ...] = ()
    escalate_at: datetime | None = None
    expires_at: datetime | None = None
    reminded: int = 0
    escalated_at: datetime | None = None
    alternates: tuple[Human, ...] = ()
    delegations: tuple[Delegation, ...] = ()
    lost: tuple[str, ...] = ()

    @property
    def everyone(self) -> tuple[Human, ...]:
        """Who may act in their own name: approvers and alternates that still have the role."""
        return tuple(h for h in (*self.approvers, *self.alternates) if h.one not in self.lost)


@dataclass(frozen=True, slots=True)
class Decision:
    """One answer of one person: the record of rule A13. `stage` is a stage's name.

    `digest` is the one that the person was shown. `evidence` is a SHA-256 in hex, never the evidence itself. `key`
    makes an answer count once however often it is sent.
    """

    stage: str
    verdict: Verdict
    actor: Human
    digest: str
    decided_at: datetime
    channel: Channel = Channel.PAGE
    assurance: Assurance = Assurance.STRONG
    acting_for: Human | None = None
    evidence: str = ""
    comment: str = ""  # as typed: untrusted text
    asked_at: datetime | None = None
    opened_at: datetime | None = None
    source: str = ""  # address it came from
    agent: str = ""  # user agent
    correlation: str = ""
    key: str = ""

    @property
    def humans(self) -> tuple[Human, ...]:
        """Whose answer this is: the person, and whom they acted for."""
        return (self.actor,) if self.acting_for is None else (self.actor, self.acting_for)


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for every stage of a request, as configured when it opened. Spans are whole seconds."""

    comment_min: int = 10  # characters, where a comment is needed
    opener_may_approve: bool = False  # somebody who ordered for staff; never for themselves
    config_change_s: int = 0  # who changed the configuration this recently may not approve; 0: anybody may
    valid_s: int = 86_400  # from the last yes to the first write
    break_glass_s: int = 3_600  # from one signature to the next, and from the second to the first write


@dataclass(frozen=True, slots=True)
class Approval:
    """A request for approval of one digest.

    `subject` is the document that `digest` is over, `shown` are facts for people; both are JSON values. `at` is the
    index of the stage that is open, the number of stages once all of them are passed.
    """

    id: str
    tenant: str
    line: LineKey
    digest: str
    subject: Mapping[str, Any]
    shown: Mapping[str, Any]
    stages: tuple[Stage, ...]
    created_at: datetime
    requester: Human | None = None
    beneficiary: Human | None = None
    opener: Human | None = None
    at: int = 0
    state: State = State.DRAFT
    valid_until: datetime | None = None  # once approved
    resting_since: datetime | None = None  # approved, and waiting for what does not age it: a seat, a freeze, a proof
    decisions: tuple[Decision, ...] = ()
    terms: Terms = field(default_factory=Terms)
    label: str = ""  # why a person is asked: rule, proposal, suggest, person
    reason: str = ""  # why it ended, for people
    noted: tuple[str, ...] = ()  # answers elsewhere that did not count and were told of
    renewed_by: str = ""  # who wants people asked anew after it expired

    @property
    def stage(self) -> Stage | None:
        """The stage that is open, None when none is."""
        return self.stages[self.at] if self.state is State.PENDING and self.at < len(self.stages) else None

    @property
    def is_renewed(self) -> bool:
        """It expired, and people are to be asked anew: over what would be done then, whatever that is."""
        return self.state is State.EXPIRED and bool(self.renewed_by)

    @property
    def parties(self) -> tuple[Human, ...]:
        """Who it is for, who asked and who ordered: none of them may approve it (A4)."""
        return tuple(h for h in (self.requester, self.beneficiary, self.opener) if h is not None)


class Code(StrEnum):
    """Why an answer does not count."""

    NOT_FOUND = "not_found"
    NOT_APPROVER = "not_approver"
    SELF = "self"
    ALREADY = "already"
    CLOSED = "closed"
    STALE = "stale"
    COMMENT = "comment"
    EXPIRED = "expired"
    LOST_ROLE = "lost_role"
    CHANNEL = "channel"


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that does not count, and the sentence for whoever gave it. Nothing was changed."""

    code: Code
    sentence: str


def new_id(random: bytes) -> str:
    """The id of a request from 16 random bytes: "LR-" and 26 characters. Unguessable, and carries no authority.

    Raises:
        ValueError: it is not 16 bytes.
    """
    if len(random) != 16:
        raise ValueError("the id of a request is made from 16 random bytes")
    number, letters = int.from_bytes(random, "big"), []
    for _ in range(26):
        number, digit = divmod(number, 32)
        letters.append("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[digit])
    return "LR-" + "".join(reversed(letters))
