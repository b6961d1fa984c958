"""What the directory remembers of each object. Mutable, JSON-plain through msgspec, no behaviour beyond reading itself.

GUIDs are lower case here whatever case a client sent; `Sku.upper_case` only changes how one is shown (graph.md
section 11, "Wrong SKU case"). Instants are aware UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec

GroupKind = Literal["security", "microsoft365", "microsoft365_unsecured", "mail_enabled", "distribution", "dynamic"]

IN_FORCE = frozenset({"Active", "ActiveWithError"})


class Plan(msgspec.Struct, frozen=True):
    """A service plan of the product catalogue."""

    plan_id: str
    name: str
    service: str
    applies_to: str
    """"User" or "Company"; Company plans are nobody's work (graph.md section 5)."""


class Sku(msgspec.Struct):
    """One subscription of the tenant."""

    sku_id: str
    part_number: str
    plan_ids: list[str]
    enabled: int
    warning: int = 0
    suspended: int = 0
    locked_out: int = 0
    consumed_elsewhere: int = 0
    """Seats held by people who are not modelled."""
    pending_plan_ids: list[str] = msgspec.field(default_factory=list)
    """Plans that are new in the SKU and not active in the tenant yet."""
    capability: str = "Enabled"
    applies_to: str = "User"
    upper_case: bool = False


class Assignment(msgspec.Struct):
    """One entry of licenseAssignmentStates: a path by which a SKU comes to a user."""

    sku_id: str
    group_id: str | None
    disabled: list[str]
    updated_at: datetime
    state: str = "Active"
    error: str | None = None

    @property
    def is_in_force(self) -> bool:
        """Whether the assignment gives anything (graph.md section 7)."""
        return self.state in IN_FORCE


class PlanState(msgspec.Struct, frozen=True):
    """How far a plan of a user has come. Plans that came together share one value."""

    status: str
    assigned_at: datetime
    capability: str = "Enabled"


class User(msgspec.Struct):
    """A person, or an account that is none."""

    user_id: str
    upn: str
    display_name: str
    created_at: datetime
    usage_location: str | None = None
    country: str | None = None
    enabled: bool = True
    synced: bool = False
    user_type: str = "Member"
    department: str | None = None
    employee_type: str | None = None
    employee_id: str | None = None
    job_title: str | None = None
    mail: str | None = None
    manager_id: str | None = None
    is_resource: bool | None = None
    roles: list[str] = msgspec.field(default_factory=list)
    """Ids of the directory roles that are assigned to the account itself."""
    telephone_number: str | None = None
    """The number that Teams voice rings; without one no licence makes a phone work."""
    deleted_at: datetime | None = None
    assignments: list[Assignment] = msgspec.field(default_factory=list)
    plans: dict[str, PlanState] = msgspec.field(default_factory=dict)
    failing_status: int | None = None
    """Each assignLicense for this user answers so."""
    synced_location: str | None = None
    """What the on-premises sync writes into usageLocation, "" for nothing; None: it leaves it alone."""
    sync_every_s: float = 1800.0
    created_seq: int = 0
    changed: dict[str, int] = msgspec.field(default_factory=dict)
    """Property -> number of the directory's last change of it, for delta."""


class Group(msgspec.Struct):
    """A group, perhaps one that brings licences."""

    group_id: str
    name: str
    created_at: datetime
    kind: GroupKind = "security"
    synced: bool = False
    role_assignable: bool = False
    licenses: dict[str, list[str]] = msgspec.field(default_factory=dict)
    """SKU -> plans switched off in this group's assignment."""
    members: dict[str, None] = msgspec.field(default_factory=dict)
    """Direct members, users and groups, in order of joining."""
    roles: list[str] = msgspec.field(default_factory=list)
    """Ids of the directory roles that are assigned to the group."""
    app_roles: list[str] = msgspec.field(default_factory=list)
    """Names of the applications in which its members have a role."""
    processing: str = "ProcessingComplete"
    waiting: dict[str, datetime] = msgspec.field(default_factory=dict)
    """User -> when the group's licences will be worked out for this user."""
    deleted_at: datetime | None = None
    created_seq: int = 0
    changed: dict[str, int] = msgspec.field(default_factory=dict)
    member_changes: dict[str, int] = msgspec.field(default_factory=dict)
    """Object -> number of the directory's last change of its membership."""

    @property
    def is_dynamic(self) -> bool:
        return self.kind == "dynamic"

    @property
    def is_security_enabled(self) -> bool:
        return self.kind not in ("microsoft365_unsecured", "distribution")

    @property
    def is_mail_enabled(self) -> bool:
        return self.kind in ("microsoft365", "microsoft365_unsecured", "mail_enabled", "distribution")


def user_to_json(user: User) -> dict[str, Any]:
    """A user, JSON-plain. Plans are kept by the state they share: `[state, plan ids]`."""
    data: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(user, plans={}))
    together: dict[PlanState, list[str]] = {}
    for plan_id, state in user.plans.items():
        together.setdefault(state, []).append(plan_id)
    return data | {"plans": [[msgspec.to_builtins(state), ids] for state, ids in together.items()]}


def user_from_json(data: Mapping[str, Any]) -> User:
    """What `user_to_json` wrote."""
    user = msgspec.convert({**data, "plans": {}}, User)
    for state, plan_ids in data["plans"]:
        user.plans.update(dict.fromkeys(plan_ids, msgspec.convert(state, PlanState)))
    return user


class Ending(msgspec.Struct, frozen=True):
    """How the provisioning walk of a plan ends."""

    status: str
    after_s: float
