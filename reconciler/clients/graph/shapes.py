"""What Graph sends, as typed structs, and what we make of it. Pure.

A field that was not sent is unknown (None), a field that was sent as null or empty is known to be empty: the two are
kept apart, because absent is never a reason to remove. All ids come out lower case, since Graph mixes cases.
Source of fields: graph.md sections 3, 5 and 7.
"""

from __future__ import annotations

from datetime import datetime

import msgspec
from msgspec import UNSET, UnsetType, field

from desired_state.model import GroupId, PlanId, SkuId, UserId
from reconciler.model import Assignment, ObservedUser, Organization, PlanState, SkuDetail, SubscribedSku

USER_SELECT = (
    "id,userPrincipalName,displayName,accountEnabled,usageLocation,country,userType,onPremisesSyncEnabled,employeeId,"
    "department,employeeType,createdDateTime,officeLocation,isResourceAccount,"
    "assignedLicenses,licenseAssignmentStates,assignedPlans"
)
IN_USE = frozenset({"enabled", "warning"})  # assignedPlans.capability_status of plans that work now (D21 assignedplan)


class LicenseRow(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    sku_id: str


class StateRow(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    sku_id: str
    assigned_by_group: str | None = None
    disabled_plans: list[str] = []
    state: str | None = ""
    error: str | None = None
    last_updated_date_time: datetime | None = None


class PlanRow(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    service_plan_id: str
    capability_status: str | None = ""


class UserRow(msgspec.Struct, gc=False, rename="camel"):
    id: str
    user_principal_name: str
    display_name: str | None = None
    account_enabled: bool | None = None
    usage_location: str | UnsetType | None = UNSET
    country: str | UnsetType | None = UNSET
    office_location: str | UnsetType | None = UNSET
    user_type: str | None = None
    on_premises_sync_enabled: bool | UnsetType | None = UNSET
    employee_id: str | UnsetType | None = UNSET
    department: str | UnsetType | None = UNSET
    employee_type: str | UnsetType | None = UNSET
    created_date_time: datetime | None = None
    is_resource_account: bool | None = None
    assigned_licenses: list[LicenseRow] | None = None
    license_assignment_states: list[StateRow] | None = None
    assigned_plans: list[PlanRow] | None = None


class UserList(msgspec.Struct, gc=False, rename="camel"):
    value: list[UserRow]
    next_link: str | None = field(name="@odata.nextLink", default=None)
    error: msgspec.Raw = msgspec.Raw(b"")


class DetailPlan(msgspec.Struct, gc=False, rename="camel"):
    service_plan_id: str
    service_plan_name: str = ""
    provisioning_status: str | None = ""
    applies_to: str | None = ""


class DetailRow(msgspec.Struct, gc=False, rename="camel"):
    sku_id: str
    service_plans: list[DetailPlan]
    sku_part_number: str = ""


class DetailList(msgspec.Struct, gc=False, rename="camel"):
    value: list[DetailRow]
    next_link: str | None = field(name="@odata.nextLink", default=None)


class Units(msgspec.Struct, gc=False, rename="camel"):
    enabled: int = 0
    warning: int = 0
    suspended: int = 0


class SkuRow(msgspec.Struct, gc=False, rename="camel"):
    sku_id: str
    sku_part_number: str
    capability_status: str
    applies_to: str
    consumed_units: int
    prepaid_units: Units
    service_plans: list[DetailPlan]


class SkuList(msgspec.Struct, gc=False, rename="camel"):
    value: list[SkuRow]
    next_link: str | None = field(name="@odata.nextLink", default=None)


class OrganizationRow(msgspec.Struct, gc=False, rename="camel"):
    id: str
    display_name: str | None = ""
    country_letter_code: str | None = ""


class OrganizationList(msgspec.Struct, gc=False, rename="camel"):
    value: list[OrganizationRow]


def user(row: UserRow, *, read_at: datetime) -> ObservedUser:
    """One user as observed at `read_at`."""
    return ObservedUser(
        id=UserId(row.id.lower()),
        upn=row.user_principal_name,
        read_at=read_at,
        display_name=row.display_name,
        is_enabled=row.account_enabled,
        usage_location=_shown(row.usage_location),
        country=_shown(row.country),
        office=_shown(row.office_location),
        user_type=row.user_type,
        is_resource=row.is_resource_account,
        # null means never synced (graph.md section 3); only a missing field is unknown
        is_synced=None if row.on_premises_sync_enabled is UNSET else bool(row.on_premises_sync_enabled),
        employee_id=_shown(row.employee_id),
        department=_shown(row.department),
        employee_type=_shown(row.employee_type),
        created_at=row.created_date_time,
        skus=None
        if row.assigned_licenses is None
        else frozenset(SkuId(held.sku_id.lower()) for held in row.assigned_licenses),
        assignments=None
        if row.license_assignment_states is None
        else tuple(assignment(state) for state in row.license_assignment_states),
        enabled_plans=None
        if row.assigned_plans is None
        else frozenset(
            PlanId(plan.service_plan_id.lower())
            for plan in row.assigned_plans
            if (plan.capability_status or "").lower() in IN_USE
        ),
    )


def assignment(row: StateRow) -> Assignment:
    """One row of licenseAssignmentStates. `error` is "None" on live systems and null in the documents: both are ""."""
    error = row.error or ""
    return Assignment(
        sku=SkuId(row.sku_id.lower()),
        group=GroupId(row.assigned_by_group.lower()) if row.assigned_by_group else None,
        disabled_plans=frozenset(PlanId(plan.lower()) for plan in row.disabled_plans),
        state=row.state or "",
        error="" if error.lower() == "none" else error,
        updated_at=row.last_updated_date_time,
    )


_STATES = {state.value.lower(): state for state in PlanState}


def plan_state(word: str | None) -> PlanState:
    """provisioningStatus in any case; a word that is new to us reads as WAITING (graph.md section 5)."""
    return _STATES.get((word or "").lower(), PlanState.WAITING)


def is_for_users(plan: DetailPlan) -> bool:
    """Plans of the whole company are not per-user work; they are left out of verification (graph.md section 5)."""
    return (plan.applies_to or "").lower() != "company"


def detail(row: DetailRow) -> SkuDetail:
    plans = [plan for plan in row.service_plans if is_for_users(plan)]
    return SkuDetail(
        sku=SkuId(row.sku_id.lower()),
        part_number=row.sku_part_number,
        plans={PlanId(plan.service_plan_id.lower()): plan_state(plan.provisioning_status) for plan in plans},
        plan_names={PlanId(plan.service_plan_id.lower()): plan.service_plan_name for plan in plans},
    )


def sku(row: SkuRow) -> SubscribedSku:
    return SubscribedSku(
        sku=SkuId(row.sku_id.lower()),
        part_number=row.sku_part_number,
        capability=row.capability_status,
        applies_to=row.applies_to,
        enabled=row.prepaid_units.enabled,
        warning=row.prepaid_units.warning,
        suspended=row.prepaid_units.suspended,
        consumed=row.consumed_units,
        plans={
            PlanId(plan.service_plan_id.lower()): plan.service_plan_name
            for plan in row.service_plans
            if is_for_users(plan)
        },
    )


def organization(row: OrganizationRow) -> Organization:
    return Organization(row.id.lower(), row.display_name or "", row.country_letter_code or "")


def _shown(value: str | UnsetType | None) -> str | None:
    return None if value is UNSET else value or ""
