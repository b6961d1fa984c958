"""What was observed, what differs, what is to be done: frozen values. Pure.

Observed state keeps direct and inherited assignments apart, tells unknown (None) from none (empty), and carries
when it was read. A plan is data with a digest: dry run, approval, apply, audit and rollback name the same one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from desired_state.model import (
    GroupId,
    LineKey,
    Person,
    PlanId,
    Product,
    ProductKey,
    Refusal,
    Request,
    Says,
    SkuId,
    Ticket,
    UserId,
)
from reconciler.causes import Cause
from reconciler.lifecycle import Phase


class PlanState(StrEnum):
    """provisioningStatus of one service plan for one user (graph.md section 5). New words read as WAITING."""

    SUCCESS = "Success"
    DISABLED = "Disabled"
    PENDING_INPUT = "PendingInput"
    PENDING_ACTIVATION = "PendingActivation"
    PENDING_PROVISIONING = "PendingProvisioning"
    ERROR = "Error"
    WAITING = "Waiting"  # a word this version does not know


@dataclass(frozen=True, slots=True)
class Assignment:
    """One row of licenseAssignmentStates. `group` None is direct. `error` is "" when fine ("None" or null remotely)."""

    sku: SkuId
    group: GroupId | None
    disabled_plans: frozenset[PlanId]
    state: str  # Active, ActiveWithError, Disabled, Error, or a new word
    error: str = ""
    updated_at: datetime | None = None

    @property
    def is_in_force(self) -> bool:
        return self.state in ("Active", "ActiveWithError")


@dataclass(frozen=True, slots=True)
class ObservedUser:
    """One user as the directory showed them at `read_at`. None is "not shown", never "none"."""

    id: UserId
    upn: str
    read_at: datetime
    display_name: str | None = None
    is_enabled: bool | None = None
    usage_location: str | None = None  # "" is known to be unset, None is not known
    country: str | None = None
    user_type: str | None = None  # Member, Guest
    is_synced: bool | None = None
    employee_id: str | None = None
    department: str | None = None
    employee_type: str | None = None
    created_at: datetime | None = None
    skus: frozenset[SkuId] | None = None  # assignedLicenses: direct and inherited, not told apart
    assignments: tuple[Assignment, ...] | None = None  # licenseAssignmentStates
    enabled_plans: frozenset[PlanId] | None = None  # assignedPlans with capabilityStatus Enabled or Warning


@dataclass(frozen=True, slots=True)
class SkuDetail:
    """licenseDetails of one SKU of one user: the state of each of its plans that applies to users."""

    sku: SkuId
    part_number: str
    plans: Mapping[PlanId, PlanState]
    plan_names: Mapping[PlanId, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SubscribedSku:
    """One SKU the tenant owns. Units are whole licences."""

    sku: SkuId
    part_number: str
    capability: str  # Enabled, Warning, Suspended, Deleted, LockedOut
    applies_to: str  # User, Company
    enabled: int
    warning: int
    suspended: int
    consumed: int
    plans: Mapping[PlanId, str]  # plans that apply to users, id -> name

    @property
    def seats_free(self) -> int:
        """Units that are certainly free; units in grace are not counted (graph.md section 5)."""
        if self.capability not in ("Enabled", "Warning"):
            return 0
        return max(0, self.enabled - self.consumed)


@dataclass(frozen=True, slots=True)
class Organization:
    tenant_id: str
    display_name: str
    country: str  # countryLetterCode


class Verdict(StrEnum):
    """On a line whose ticket says it is fulfilled. Unknown is never guessed."""

    TRUE = "true"
    FALSE = "false"
    PENDING = "pending"
    UNKNOWN = "unknown"


# --- actions ------------------------------------------------------------------------------------------------


class ActionKind(StrEnum):
    SET_USAGE_LOCATION = "set_usage_location"
    ASSIGN_LICENSE = "assign_license"
    ADD_GROUP_MEMBER = "add_group_member"
    REMOVE_LICENSE = "remove_license"
    REMOVE_GROUP_MEMBER = "remove_group_member"
    REPROCESS = "reprocess"


class Undo(StrEnum):
    REVERSIBLE = "reversible"
    REVERSIBLE_UNTIL = "reversible_until"
    IRREVERSIBLE = "irreversible"


@dataclass(frozen=True, slots=True)
class Grant:
    """One SKU to assign, with the complete list of its plans that stay off."""

    sku: SkuId
    disabled_plans: frozenset[PlanId] = frozenset()


@dataclass(frozen=True, slots=True)
class Action:
    """One change of one user. `before` and `after` are plain JSON values that people are shown.

    Exactly one of the payloads is set, by kind. `inverse` says in JSON what would undo it, None for irreversible.
    """

    kind: ActionKind
    user: UserId
    product: ProductKey
    keys: tuple[LineKey, ...]
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    undo: Undo
    inverse: Mapping[str, Any] | None = None
    country: str | None = None  # set_usage_location
    sources: tuple[str, ...] = ()  # set_usage_location: who agrees on the country
    add: tuple[Grant, ...] = ()  # assign_license
    remove: tuple[SkuId, ...] = ()  # assign_license, remove_license


class Result(StrEnum):
    PLANNED = "planned"
    APPLIED = "applied"
    SKIPPED = "skipped"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one action. `request_id` is the remote system's own, "" when none came back."""

    action: Action
    result: Result
    why: str = ""
    request_id: str = ""
    cause: str | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What a write's response tells: that it was accepted, and the ids for support. Never proof of anything."""

    request_id: str
    client_request_id: str
    status: int = 200


class AnswerKind(StrEnum):
    NOTE = "note"
    QUESTION = "question"
    TASK = "task"
    REOPENED = "reopened"
    CLOSED = "closed"


# --- lines through a cycle ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LineState:
    """What is remembered of one line between cycles; a row is written only when one of these changed.

    `episode` counts the decisions about a line: it grows when its ticket makes it news again, so that an answer
    can be given once per change and episode (I6). `note` is the sentence people are shown for the phase.
    """

    key: LineKey
    phase: Phase
    verdict: Verdict | None = None
    first_verdict: Verdict | None = None
    cause: str | None = None
    tier: str | None = None
    user: UserId | None = None
    attempts: int = 0
    next_at: datetime | None = None
    since: datetime | None = None  # when the phase began
    granted_at: datetime | None = None
    ends_at: datetime | None = None
    episode: int = 1
    note: str = ""


class Known(StrEnum):
    """How sure we are which account a line means."""

    BOUND = "bound"
    MISSING = "missing"  # the directory answered that there is nobody of this name
    MISMATCH = "mismatch"  # somebody has the name, but it may not be the person who was meant
    UNREAD = "unread"  # we could not ask


@dataclass(frozen=True, slots=True)
class Binding:
    known: Known
    user: UserId | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One line as the cycle takes it up: what was declared, what the ticket says now, what is remembered."""

    declared: Request | Refusal
    ticket: Ticket
    binding: Binding
    product: Product | None = None
    person: Person | None = None  # as the ticket system knows the subject
    state: LineState | None = None
    skipped: str = ""  # why its period does not count now, "" when it does

    @property
    def key(self) -> LineKey:
        return self.declared.key

    @property
    def says(self) -> Says:
        return self.declared.says


@dataclass(frozen=True, slots=True)
class Gone:
    """The directory says that this object does not exist (or not any more)."""


@dataclass(frozen=True, slots=True)
class Unread:
    """It could not be read; `why` is a short sentence. Never the same as nothing."""

    why: str


@dataclass(frozen=True, slots=True)
class Observed:
    """The part of a tenant that a cycle looked at."""

    at: datetime
    users: Mapping[UserId, ObservedUser | Gone | Unread]
    details: Mapping[UserId, tuple[SkuDetail, ...] | Unread]
    skus: Mapping[SkuId, SubscribedSku]


class Access(StrEnum):
    """What the proof plans of a product say about one person."""

    PROVEN = "proven"
    PENDING = "pending"
    ERROR = "error"
    DISABLED = "disabled"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Proof:
    """The best answer for the product, and the plan and SKU that gave it."""

    access: Access
    plan: PlanId | None = None
    sku: SkuId | None = None


class DriftKind(StrEnum):
    MISSING = "missing"  # no SKU that could prove the product is assigned
    PLAN_OFF = "plan_off"  # a direct assignment has the proof plan switched off


@dataclass(frozen=True, slots=True)
class Drift:
    """One disagreement about one user and one product that this cycle may be able to remove."""

    kind: DriftKind
    needs_location: bool
    sku: SkuId | None = None  # PLAN_OFF: the SKU to change
    disabled_before: frozenset[PlanId] = frozenset()
    disabled_after: frozenset[PlanId] = frozenset()


class Rest(StrEnum):
    """Where a line stands when nothing is written for it."""

    PROVEN = "proven"
    ACT = "act"  # there is drift to remove
    WAIT = "wait"  # within a window
    AWAIT = "await"  # an approval
    HOLD = "hold"
    HAND_BACK = "hand_back"
    REVIEW = "review"
    REFUSE = "refuse"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class Finding:
    """What the cycle found about one line. `verdict` is None where the ticket does not say fulfilled."""

    line: Line
    rest: Rest
    verdict: Verdict | None = None
    cause: Cause | None = None
    sentence: str = ""
    user: ObservedUser | None = None
    proof: Proof | None = None
    drift: Drift | None = None
    covered_by: SkuId | None = None  # a SKU that proves the product without being one of its own

    @property
    def key(self) -> LineKey:
        return self.line.key


@dataclass(frozen=True, slots=True)
class Proposal:
    """The actions that would remove a finding's drift, in order; or none, with what stands in the way.

    Several lines that need the same change share it: the oldest carries the actions, the others name it in `with_`.
    """

    finding: Finding
    actions: tuple[Action, ...] = ()
    blocked: Cause | None = None
    sentence: str = ""
    with_: LineKey | None = None
    digest: str = ""  # of the request: what an approval names


@dataclass(frozen=True, slots=True)
class Plan:
    """The actions of one cycle, in order, and the lines that cannot go on. `digest` names it."""

    proposals: tuple[Proposal, ...]
    digest: str

    @property
    def actions(self) -> tuple[Action, ...]:
        return tuple(a for p in self.proposals for a in p.actions)


class Decision(StrEnum):
    CLEARED = "cleared"
    HELD = "held"
    AWAITING = "awaiting_approval"
    PLANNED = "planned"  # observe: what would be done is shown and not done
    STOPPED = "stopped"  # a guard froze the lane


class Lane(StrEnum):
    """Kinds of writes that are limited and stopped together."""

    GRANTS = "grants"
    REMOVALS = "removals"
    USAGE_LOCATIONS = "usage_locations"
    ANSWERS = "answers"


@dataclass(frozen=True, slots=True)
class Trip:
    """A guard that stopped a lane: what was wanted, what is allowed, and the plan it freezes."""

    guard: str
    lane: Lane
    wanted: int
    limit: int
    digest: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Gated:
    """A proposal after judgement; `judged` lists every rule that was looked at, as JSON values."""

    proposal: Proposal
    decision: Decision
    cause: Cause | None = None
    sentence: str = ""
    judged: tuple[Mapping[str, Any], ...] = ()
    may_answer: bool = True  # False: the ticket is too old to be told anything


@dataclass(frozen=True, slots=True)
class Ending:
    """Where a line stands at the end of the cycle, and what was done for it."""

    gated: Gated
    state: LineState
    finding: Finding  # the last look
    outcomes: tuple[Outcome, ...] = ()
    answers: tuple[AnswerKind, ...] = ()
