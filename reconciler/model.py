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
    Given,
    GroupId,
    LineKey,
    PlanId,
    ProductKey,
    SkuId,
    UserId,
)
from desired_state.plan_rules import Rule


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
    is_resource: bool | None = None  # an account of a room or a phone, as far as the directory marks it
    is_synced: bool | None = None
    employee_id: str | None = None
    department: str | None = None
    employee_type: str | None = None
    created_at: datetime | None = None
    office: str | None = None
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


@dataclass(frozen=True, slots=True)
class Grant:
    """One SKU to assign, with the complete list of its plans that stay off."""

    sku: SkuId
    disabled_plans: frozenset[PlanId] = frozenset()


@dataclass(frozen=True, slots=True)
class ObservedGroup:
    """One group as far as licensing cares. None is "not shown".

    `processing` is "" when the group was never processed. `app_roles` counts what else membership gives;
    `parents` are the groups that it sits in.
    """

    id: GroupId
    name: str
    is_dynamic: bool | None
    is_security: bool | None
    is_mail: bool | None
    is_unified: bool | None  # a Microsoft 365 group
    is_synced: bool | None
    is_role_assignable: bool | None
    licenses: tuple[Grant, ...] | None
    processing: str | None
    app_roles: int | None = None
    parents: tuple[GroupId, ...] | None = None

    @property
    def is_writable(self) -> bool:
        """Members can be changed through Graph with the permission for members alone; unknown counts as no."""
        return (
            self.is_dynamic is False
            and self.is_synced is False
            and self.is_role_assignable is False
            and (self.is_unified is True or self.is_mail is False)
        )


@dataclass(frozen=True, slots=True)
class Probed:
    """What a workload probe saw: the service works, does not, or (None) cannot be told. `why` is a sentence."""

    works: bool | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One entry of the directory's own log (graph.md section 5). "" is "not said"; names are text from outside.

    `changes` are (property, old value, new value) as raw text; often there are none, or they are cut.
    """

    id: str
    at: datetime
    activity: str
    category: str = ""
    service: str = ""
    result: str = ""
    user_id: str = ""
    user_upn: str = ""
    user_name: str = ""
    app_id: str = ""
    app_name: str = ""
    changes: tuple[tuple[str, str, str], ...] = ()
    correlation_id: str = ""


@dataclass(frozen=True, slots=True)
class AuditTrail:
    """What the directory's log showed of one user. `is_whole` False: there was more than was read."""

    events: tuple[AuditEvent, ...]
    is_whole: bool = True


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
    group: GroupId | None = None  # add_group_member, remove_group_member; reprocess: the group whose licences wait
    given: tuple[Given, ...] = ()  # what this adds, should it be done: what an undo may take back
    takes_back: tuple[Given, ...] = ()  # what of that this removes again


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
    is_unsure: bool = False  # it was sent and no trustworthy reply came
    taught: Rule | None = None  # the rule between service plans that a refusal named
    words: str = ""  # the refusal's own, where it taught something


@dataclass(frozen=True, slots=True)
class Reply:
    """What a write's response tells: that it was accepted, and the ids for support. Never proof of anything."""

    request_id: str
    client_request_id: str
    status: int = 200
    record: str = ""  # number or id of the record that it made, "" for none


class AnswerKind(StrEnum):
    """What a ticket is given. Evidence goes with another answer and is not reported as one."""

    NOTE = "note"
    QUESTION = "question"
    EVIDENCE = "evidence"
    TASK = "task"
    REOPENED = "reopened"
    CLOSED = "closed"
