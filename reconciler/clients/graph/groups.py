"""One group as far as licensing cares. Source: graph.md section 8."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from desired_state.model import GroupId, PlanId, SkuId
from reconciler.model import Grant, ObservedGroup

GROUP_SELECT = (
    "id,displayName,groupTypes,securityEnabled,mailEnabled,onPremisesSyncEnabled,isAssignableToRole,membershipRule,"
    "assignedLicenses,licenseProcessingState"
)


class _License(msgspec.Struct, gc=False, rename="camel"):
    sku_id: str
    disabled_plans: list[str] = []


class _Processing(msgspec.Struct, gc=False, rename="camel"):
    state: str | None = ""


class GroupRow(msgspec.Struct, gc=False, rename="camel"):
    id: str
    display_name: str | None = ""
    group_types: list[str] | None = None
    security_enabled: bool | None = None
    mail_enabled: bool | None = None
    on_premises_sync_enabled: bool | UnsetType | None = UNSET
    is_assignable_to_role: bool | UnsetType | None = UNSET
    assigned_licenses: list[_License] | None = None
    license_processing_state: _Processing | UnsetType | None = UNSET


def group(row: GroupRow) -> ObservedGroup:
    kinds = None if row.group_types is None else {kind.lower() for kind in row.group_types}
    state = row.license_processing_state
    return ObservedGroup(
        id=GroupId(row.id.lower()),
        name=row.display_name or "",
        is_dynamic=None if kinds is None else "dynamicmembership" in kinds,
        is_security=row.security_enabled,
        is_mail=row.mail_enabled,
        is_unified=None if kinds is None else "unified" in kinds,
        is_synced=None if row.on_premises_sync_enabled is UNSET else bool(row.on_premises_sync_enabled),
        is_role_assignable=None if row.is_assignable_to_role is UNSET else bool(row.is_assignable_to_role),
        licenses=None
        if row.assigned_licenses is None
        else tuple(
            Grant(SkuId(held.sku_id.lower()), frozenset(PlanId(plan.lower()) for plan in held.disabled_plans))
            for held in row.assigned_licenses
        ),
        processing=None if state is UNSET else "" if state is None else state.state or "",
    )
