"""What belongs to the tenant as a whole: subscriptions, organization, objects by id, the audit log (graph.md 2, 5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.sandbox import hosts
from reconciler.sandbox.directory import Sku, refusals
from reconciler.sandbox.graph import listing
from reconciler.sandbox.graph.answers import Answer, bad_request, not_implemented
from reconciler.sandbox.graph.calls import Call
from reconciler.sandbox.graph.properties import GROUP_DEFAULTS, USER_DEFAULTS, Properties

IDS_MAX = 1000

# D21:api/directoryaudit-list by way of graph.md section 5.
AUDIT_FILTERS: Mapping[str, frozenset[str]] = {
    "activityDisplayName": frozenset({"eq", "startswith"}),
    "activityDateTime": frozenset({"eq", "ge", "le"}),
    "loggedByService": frozenset({"eq"}),
    "correlationId": frozenset({"eq"}),
    "initiatedBy/user/id": frozenset({"eq"}),
    "initiatedBy/app/appId": frozenset({"eq"}),
    "targetResources/id": frozenset({"any"}),
}


class Tenant:
    """Routes of the tenant."""

    def __init__(self, properties: Properties) -> None:
        self._properties = properties

    def skus(self, call: Call) -> Answer:
        """GET /subscribedSkus: one page, no options."""
        call.refuse_options("$select")
        rows = [self._sku(call, sku) for sku in call.store.skus.values()]
        return Answer(200, {"@odata.context": call.context("subscribedSkus"), "value": rows})

    def sku(self, call: Call, key: str) -> Answer:
        """GET /subscribedSkus/{id}"""
        for sku in call.store.skus.values():
            row = self._sku(call, sku)
            if row["id"].lower() == key.lower():
                return Answer(200, {"@odata.context": call.context("subscribedSkus/$entity")} | row)
        raise refusals.not_found(key)

    def _sku(self, call: Call, sku: Sku) -> dict[str, Any]:
        plans = call.directory.catalogue.plans
        row = {
            "accountName": call.directory.display_name.lower(),
            "accountId": call.directory.tenant_id,
            "appliesTo": sku.applies_to,
            "capabilityStatus": sku.capability,
            "consumedUnits": call.store.seats_used(sku.sku_id),
            "id": f"{call.directory.tenant_id}_{self._properties.sku_id(sku.sku_id)}",
            "skuId": self._properties.sku_id(sku.sku_id),
            "skuPartNumber": sku.part_number,
            "subscriptionIds": [],
            "prepaidUnits": {
                "enabled": sku.enabled,
                "suspended": sku.suspended,
                "warning": sku.warning,
                "lockedOut": sku.locked_out,
            },
            "servicePlans": [
                {
                    "servicePlanId": plan_id,
                    "servicePlanName": plans[plan_id].name,
                    "provisioningStatus": "PendingProvisioning" if plan_id in sku.pending_plan_ids else "Success",
                    "appliesTo": plans[plan_id].applies_to,
                }
                for plan_id in sku.plan_ids
            ],
        }
        select = call.select()
        return row if select is None else {k: v for k, v in row.items() if k in select or k == "id"}

    def organization(self, call: Call) -> Answer:
        """GET /organization: a collection of one."""
        return Answer(200, {"@odata.context": call.context("organization"), "value": [self._organization(call)]})

    def organization_by_id(self, call: Call, key: str) -> Answer:
        """GET /organization/{id}"""
        if key.lower() != call.directory.tenant_id:
            raise refusals.not_found(key)
        return Answer(200, {"@odata.context": call.context("organization/$entity")} | self._organization(call))

    def _organization(self, call: Call) -> dict[str, Any]:
        row = {
            "id": call.directory.tenant_id,
            "deletedDateTime": None,
            "businessPhones": [],
            "city": None,
            "country": None,
            "countryLetterCode": call.directory.country,
            "createdDateTime": "2019-03-04T08:00:00Z",
            "defaultUsageLocation": None,
            "displayName": call.directory.display_name,
            "onPremisesSyncEnabled": True if any(u.synced for u in call.store.users.values()) else None,
            "technicalNotificationMails": [],
            "tenantType": "AAD",
            "assignedPlans": [],
            "provisionedPlans": [],
            "verifiedDomains": [
                {
                    "capabilities": "Email, OfficeCommunicationsOnline",
                    "isDefault": True,
                    "isInitial": False,
                    "name": hosts.TENANT_DOMAIN,
                    "type": "Managed",
                }
            ],
        }
        select = call.select()
        return row if select is None else {k: v for k, v in row.items() if k in select}

    def by_ids(self, call: Call) -> Answer:
        """POST /directoryObjects/getByIds: users and groups; ids not found are left out (UNCONFIRMED)."""
        body = call.json()
        ids = body.get("ids")
        if not isinstance(ids, list) or not ids or len(ids) > IDS_MAX or not all(isinstance(i, str) for i in ids):
            raise bad_request(f"Invalid value for 'ids': between 1 and {IDS_MAX} ids are expected.")
        types = {str(t).lower() for t in body.get("types") or ("user", "group", "directoryobject")}
        rows = []
        for object_id in dict.fromkeys(i.lower() for i in ids):
            row = directory_object(call, self._properties, object_id, None)
            kind = "" if row is None else str(row["@odata.type"]).rsplit(".", 1)[-1]
            if row is not None and types & {kind, "directoryobject"}:
                rows.append(row)
        return Answer(200, {"@odata.context": call.url("/$metadata#directoryObjects"), "value": rows})

    def role_assignments(self, call: Call) -> Answer:
        """GET /roleManagement/directory/roleAssignments, with the principal where it is asked for."""
        if call.query.get("$expand", "principal") != "principal":
            raise not_implemented(f"$expand={call.query['$expand']}")
        users = [(u.user_id, u.roles) for u in call.store.users.values() if u.deleted_at is None]
        groups = [(g.group_id, g.roles) for g in call.store.groups.values() if g.deleted_at is None]
        rows = [self._role_assignment(call, i, role) for i, roles in (*users, *groups) for role in roles]
        names = call.select()
        return listing.answer_list(
            call,
            rows,
            len(rows),
            context="roleManagement/directory/roleAssignments",
            matches=lambda _: True,
            show=lambda r: r if names is None else {k: v for k, v in r.items() if k in (*names, "principal")},
        )

    def _role_assignment(self, call: Call, object_id: str, role: str) -> dict[str, Any]:
        row: dict[str, Any] = {
            "id": f"{role}-{object_id}",
            "principalId": object_id,
            "directoryScopeId": "/",
            "roleDefinitionId": role,
        }
        if "$expand" in call.query:
            row["principal"] = directory_object(call, self._properties, object_id, None)
        return row

    def audits(self, call: Call) -> Answer:
        """GET /auditLogs/directoryAudits: newest first."""
        wanted = listing.read_filter(call, AUDIT_FILTERS, "DirectoryAudit")
        entries = call.directory.log.entries()
        order = listing.ordering(call, ("activityDateTime",))
        if order is not None and not order[1]:
            entries.reverse()
        return listing.answer_list(
            call,
            entries,
            len(entries),
            context="auditLogs/directoryAudits",
            matches=lambda e: wanted is None or wanted.matches(lambda path: _dig(e, path)),
            show=lambda e: e,
        )

    def audit(self, call: Call, key: str) -> Answer:
        """GET /auditLogs/directoryAudits/{id}"""
        for entry in call.directory.log.entries():
            if entry["id"] == key:
                return Answer(200, {"@odata.context": call.url("/$metadata#auditLogs/directoryAudits/$entity")} | entry)
        raise refusals.not_found(key)


def directory_object(
    call: Call, properties: Properties, object_id: str, select: list[str] | None
) -> dict[str, Any] | None:
    """A user or group with its type, as lists of mixed objects show it; None when there is none.

    Users are bare ids for a caller that may not read them (graph.md section 11, last row).
    """
    user = call.store.seen(call.store.users, object_id, stale=call.is_stale)
    if user is not None and user.deleted_at is None:
        may_read = call.roles & {"User.Read.All", "User.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All"}
        known = _if_known(select, lambda s: properties.user_names(s, unknown="ignored", in_list=True), USER_DEFAULTS)
        row = properties.user(user, known)
        if not may_read:
            row = {k: (v if k == "id" else None) for k, v in row.items()}
        return {"@odata.type": "#microsoft.graph.user", **row}
    group = call.store.seen(call.store.groups, object_id, stale=call.is_stale)
    if group is not None and group.deleted_at is None:
        known = _if_known(select, lambda s: properties.group_names(s, unknown="ignored"), GROUP_DEFAULTS)
        return {"@odata.type": "#microsoft.graph.group", **properties.group(group, known)}
    return None


def _if_known(select: list[str] | None, choose: Any, defaults: list[str]) -> list[str]:
    if select is None:
        return defaults
    names: list[str] = choose(select)
    return names


def _dig(entry: Any, path: str) -> Any:
    for part in path.split("/"):
        entry = entry.get(part) if isinstance(entry, dict) else None
    return entry
