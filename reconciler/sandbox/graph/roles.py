"""Directory roles and who holds them: /directoryRoles and /roleManagement/directory.

Source: Graph v1.0 reference, "List directoryRoles", "List members", "List unifiedRoleAssignments", "List
roleEligibilityScheduleInstances" (read 2026-11); not in graph.md. Left out: custom roles, administrative units,
`directoryRoles(roleTemplateId='…')`, schedules other than instances.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from reconciler.sandbox.directory import refusals
from reconciler.sandbox.directory.roles import NAMES, RoleAssignment
from reconciler.sandbox.graph import listing
from reconciler.sandbox.graph.answers import Answer, Problem, not_implemented
from reconciler.sandbox.graph.calls import Call
from reconciler.sandbox.graph.properties import Properties
from reconciler.sandbox.graph.tenant import directory_object, role_object

FILTERS: Mapping[str, frozenset[str]] = {
    "principalId": frozenset({"eq", "in"}),
    "roleDefinitionId": frozenset({"eq", "in"}),
    "directoryScopeId": frozenset({"eq"}),
}
EXPANDS = frozenset({"principal", "roleDefinition"})


class RoleRoutes:
    """Routes under /directoryRoles and /roleManagement/directory."""

    def __init__(self, properties: Properties) -> None:
        self._properties = properties

    def roles(self, call: Call) -> Answer:
        """GET /directoryRoles: those that the tenant uses"""
        _check_readable(call)
        rows = [role_object(call, template_id) for template_id in call.directory.roles.activated()]
        return _listed(call, rows, "directoryRoles")

    def role(self, call: Call, key: str) -> Answer:
        """GET /directoryRoles/{id}"""
        _check_readable(call)
        row = role_object(call, _activated(call, key))
        return Answer(200, {"@odata.context": call.context("directoryRoles/$entity")} | _chosen(call, row))

    def members(self, call: Call, key: str) -> Answer:
        """GET /directoryRoles/{id}/members: users and groups that hold it over the whole directory"""
        _check_readable(call)
        principals = call.directory.roles.members(_activated(call, key))
        select = call.select()
        rows = [row for p in principals if (row := directory_object(call, self._properties, p, select))]
        return _listed(call, rows, "directoryObjects", chosen=True)

    def definitions(self, call: Call) -> Answer:
        """GET /roleManagement/directory/roleDefinitions"""
        _check_readable(call)
        return _listed(call, [_definition(t) for t in NAMES], "roleManagement/directory/roleDefinitions")

    def definition(self, call: Call, key: str) -> Answer:
        """GET /roleManagement/directory/roleDefinitions/{id}"""
        _check_readable(call)
        if key.lower() not in NAMES:
            raise refusals.not_found(key)
        head = {"@odata.context": call.url("/$metadata#roleManagement/directory/roleDefinitions/$entity")}
        return Answer(200, head | _chosen(call, _definition(key.lower())))

    def assignments(self, call: Call) -> Answer:
        """GET /roleManagement/directory/roleAssignments: what is in force now"""
        return self._assignments(call, "active", "roleManagement/directory/roleAssignments")

    def eligibilities(self, call: Call) -> Answer:
        """GET /roleManagement/directory/roleEligibilityScheduleInstances: what can be taken up"""
        return self._assignments(call, "eligible", "roleManagement/directory/roleEligibilityScheduleInstances")

    def _assignments(self, call: Call, kind: str, context: str) -> Answer:
        _check_readable(call)
        expand = {name.strip() for name in call.query.get("$expand", "").split(",") if name.strip()}
        if expand - EXPANDS:
            raise not_implemented(f"$expand={call.query['$expand']}")
        wanted = listing.read_filter(call, FILTERS, "UnifiedRoleAssignment")
        rows = [
            self._assignment(call, a, expand)
            for a in call.directory.roles.assignments
            if a.kind == kind and directory_object(call, self._properties, a.principal_id, None)
        ]
        shown = [row for row in rows if wanted is None or wanted.matches(row.get)]
        return _listed(call, shown, context, also=expand)

    def _assignment(self, call: Call, assignment: RoleAssignment, expand: set[str]) -> dict[str, Any]:
        row: dict[str, Any] = {
            "id": assignment.assignment_id,
            "principalId": assignment.principal_id,
            "directoryScopeId": assignment.scope,
            "roleDefinitionId": assignment.template_id,
        }
        if assignment.kind == "eligible":
            row |= {"appScopeId": None, "memberType": "Direct", "startDateTime": None, "endDateTime": None}
        if "principal" in expand:
            row["principal"] = directory_object(call, self._properties, assignment.principal_id, None)
        if "roleDefinition" in expand:
            row["roleDefinition"] = _definition(assignment.template_id)
        return row


def _check_readable(call: Call) -> None:
    if not call.switches.directory_roles_readable:
        raise Problem(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")


def _activated(call: Call, role_id: str) -> str:
    template_id = call.directory.roles.template_of(role_id.lower())
    if template_id is None:
        raise refusals.not_found(role_id)
    return template_id


def _definition(template_id: str) -> dict[str, Any]:
    return {
        "id": template_id,
        "description": NAMES[template_id],
        "displayName": NAMES[template_id],
        "isBuiltIn": True,
        "isEnabled": True,
        "templateId": template_id,
        "version": "1",
    }


def _listed(
    call: Call, rows: Sequence[dict[str, Any]], context: str, *, chosen: bool = False, also: Collection[str] = ()
) -> Answer:
    return listing.answer_list(
        call,
        rows,
        len(rows),
        context=context,
        matches=lambda _: True,
        show=(lambda r: r) if chosen else (lambda r: _chosen(call, r, also)),
    )


def _chosen(call: Call, row: dict[str, Any], also: Collection[str] = ()) -> dict[str, Any]:
    """The selected properties, and what was expanded."""
    select = call.select()
    shown = {k: v for k, v in row.items() if k != "@odata.type"}
    return shown if select is None else {k: v for k, v in shown.items() if k in select or k in also}
