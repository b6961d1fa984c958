"""Changing licences of users and groups, and reading what a user's licences hold (graph.md sections 5, 6 and 8)."""

from __future__ import annotations

import base64
import re
from typing import Any
from uuid import UUID

from reconciler.sandbox.directory import User, refusals
from reconciler.sandbox.directory.entitlement import effective_licences
from reconciler.sandbox.graph.answers import Answer, Problem, bad_request
from reconciler.sandbox.graph.calls import Call
from reconciler.sandbox.graph.properties import USER_DEFAULTS, Properties

GUID = re.compile(r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")
LICENCE_PROPERTIES = ("assignedLicenses", "assignedPlans", "licenseAssignmentStates", "usageLocation")


class Licences:
    """assignLicense, reprocessLicenseAssignment, licenseDetails."""

    def __init__(self, properties: Properties) -> None:
        self._properties = properties

    def assign_to_user(self, call: Call, key: str) -> Answer:
        """POST /users/{id}/assignLicense"""
        add, remove = read_change(call.json())
        user = call.store.live_user(key)
        truth = call.store.users[user.user_id]
        if truth.failing_status is not None:
            raise Problem(truth.failing_status, "Service_InternalServerError", "Encountered an internal server error.")
        call.directory.changes.change_licences(
            truth.user_id, add=add, remove=remove, actor=call.actor, seen_location=user.usage_location
        )
        return self._reply(call, truth)

    def reprocess(self, call: Call, key: str) -> Answer:
        """POST /users/{id}/reprocessLicenseAssignment"""
        user = call.store.live_user(key)
        call.directory.changes.reprocess(user.user_id)
        return self._reply(call, call.store.users[user.user_id])

    def assign_to_group(self, call: Call, key: str) -> Answer:
        """POST /groups/{id}/assignLicense: accepted; the members follow later."""
        add, remove = read_change(call.json())
        group = call.store.live_group(key)
        call.directory.changes.set_group_licences(group.group_id, add=add, remove=remove, actor=call.actor)
        names = ["id", "displayName", "createdDateTime", "groupTypes", "mailEnabled", "securityEnabled"]
        shown = self._properties.group(call.store.groups[group.group_id], names)
        body = {"@odata.context": call.url("/$metadata#groups/$entity")} | shown
        return Answer(202, body, {"Location": call.url(f"/groups/{group.group_id}")})

    def details(self, call: Call, key: str) -> Answer:
        """GET /users/{id}/licenseDetails"""
        call.refuse_options("$select")
        user = call.store.live_user(key, stale=call.is_stale)
        rows = [self._detail(call, user, sku_id) for sku_id in effective_licences(user.assignments)]
        if (select := call.select()) is not None:
            rows = [{k: v for k, v in row.items() if k in select} for row in rows]
        return Answer(200, {"@odata.context": call.context(f"users('{user.user_id}')/licenseDetails"), "value": rows})

    def detail(self, call: Call, key: str, detail_id: str) -> Answer:
        """GET /users/{id}/licenseDetails/{id}"""
        user = call.store.live_user(key, stale=call.is_stale)
        for sku_id in effective_licences(user.assignments):
            row = self._detail(call, user, sku_id)
            if row["id"] == detail_id:
                return Answer(200, {"@odata.context": call.context("users/licenseDetails/$entity")} | row)
        raise refusals.not_found(detail_id)

    def _detail(self, call: Call, user: User, sku_id: str) -> dict[str, Any]:
        sku = call.store.skus[sku_id]
        opaque = UUID(call.directory.tenant_id).bytes_le + UUID(sku_id).bytes_le
        return {
            "id": base64.urlsafe_b64encode(opaque).decode().rstrip("="),
            "skuId": self._properties.sku_id(sku_id),
            "skuPartNumber": sku.part_number,
            "servicePlans": self._properties.licence_details(user, sku),
        }

    def _reply(self, call: Call, user: User) -> Answer:
        """200 and the user: default properties only, unless switched (graph.md section 6, "Response")."""
        names = [*USER_DEFAULTS]
        if call.switches.assign_reply_has_licences:
            names.extend(LICENCE_PROPERTIES)
        return Answer(
            200, {"@odata.context": call.url("/$metadata#users/$entity")} | self._properties.user(user, names)
        )


def read_change(body: dict[str, Any]) -> tuple[dict[str, list[str]], list[str]]:
    """addLicenses as SKU -> plans to switch off, and removeLicenses; all ids lower case.

    Raises:
        Problem: 400, an array is missing (text UNCONFIRMED) or something is no GUID.
        Refused: 400, a SKU more than once.
    """
    for name in ("addLicenses", "removeLicenses"):
        if not isinstance(body.get(name), list):
            raise bad_request(
                f"One or more parameters of the operation 'assignLicense' are missing from the request "
                f"payload. The missing parameters: {name}."
            )
    add: dict[str, list[str]] = {}
    for entry in body["addLicenses"]:
        if not isinstance(entry, dict):
            raise _not_a_guid(entry)
        sku_id = _guid(entry.get("skuId"))
        if sku_id in add:
            raise refusals.same_sku_twice(sku_id)
        plans = entry.get("disabledPlans")
        add[sku_id] = list(dict.fromkeys(_guid(p) for p in (plans if isinstance(plans, list) else [])))
    return add, list(dict.fromkeys(_guid(s) for s in body["removeLicenses"]))


def _guid(value: object) -> str:
    if not isinstance(value, str) or not GUID.match(value):
        raise _not_a_guid(value)
    return value.lower()


def _not_a_guid(value: object) -> Problem:
    return bad_request(f"Cannot convert the literal '{value}' to the expected type 'Edm.Guid'.")
