"""Directory roles of the tenant: which are in use, and who holds them or may take them up.

Built-in roles keep their published template ids; in `roleManagement` a built-in role's definition has that same id,
while under `directoryRoles` an activated role has one of the tenant's own. Source: Graph v1.0 reference,
"directoryRole", "unifiedRoleAssignment", and Microsoft Entra's list of built-in roles (read 2026-11).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal
from uuid import UUID, uuid5

import msgspec

BUILT_IN = {
    "Global Administrator": "62e90394-69f5-4237-9190-012177145e10",
    "Global Reader": "f2ef992c-3afb-46b9-b7cf-a126ee74c451",
    "Groups Administrator": "fdd7a751-b60b-444a-984c-02652fe8fa1c",
    "Helpdesk Administrator": "729827e3-9c14-49f7-bb1b-9608f156bbb8",
    "License Administrator": "4d6ac14f-3453-41d0-bef9-a3e0c569773a",
    "Privileged Role Administrator": "e8611ab8-c189-46e8-94e1-60213ab1f814",
    "Teams Administrator": "69091246-20e8-4a56-aa4d-066075b2a7a8",
    "User Administrator": "fe930be7-5e62-47db-91af-98c3a49a38b1",
}
NAMES = {template_id: name for name, template_id in BUILT_IN.items()}


class RoleAssignment(msgspec.Struct, frozen=True):
    """A role of a principal (user or role-assignable group) over a scope; eligible ones are taken up when needed."""

    assignment_id: str
    template_id: str
    principal_id: str
    scope: str = "/"
    kind: Literal["active", "eligible"] = "active"


class Roles:
    """The roles of one tenant."""

    def __init__(self, tenant_id: str) -> None:
        self._tenant = UUID(tenant_id)
        self.assignments: list[RoleAssignment] = []

    def assign(self, name: str, principal_id: str, *, scope: str = "/", eligible: bool = False) -> str:
        """Give a built-in role, by name or template id, to a user or group; the id of the assignment.

        Raises:
            KeyError: there is no such role.
        """
        template_id = name if name in NAMES else BUILT_IN[name]
        kind: Literal["active", "eligible"] = "eligible" if eligible else "active"
        assignment_id = str(uuid5(self._tenant, f"{kind}/{template_id}/{principal_id}/{scope}"))
        self.assignments.append(RoleAssignment(assignment_id, template_id, principal_id, scope, kind))
        return assignment_id

    def withdraw(self, principal_id: str) -> None:
        """Take every role from a principal."""
        self.assignments = [a for a in self.assignments if a.principal_id != principal_id]

    def activated(self) -> list[str]:
        """Template ids of the roles that the tenant has in use, in order of first assignment."""
        return list(dict.fromkeys(a.template_id for a in self.assignments))

    def role_id(self, template_id: str) -> str:
        """The id under which `directoryRoles` has an activated role."""
        return str(uuid5(self._tenant, f"role/{template_id}"))

    def template_of(self, role_id: str) -> str | None:
        """The template of the activated role with this id."""
        return next((t for t in self.activated() if self.role_id(t) == role_id), None)

    def of(self, *principal_ids: str) -> Iterator[str]:
        """Template ids of the roles that any of these holds actively over the whole directory."""
        wanted = set(principal_ids)
        yield from dict.fromkeys(
            a.template_id
            for a in self.assignments
            if a.principal_id in wanted and a.kind == "active" and a.scope == "/"
        )

    def members(self, template_id: str) -> list[str]:
        """Principals that hold a role actively over the whole directory."""
        held = [a for a in self.assignments if a.template_id == template_id and a.kind == "active" and a.scope == "/"]
        return list(dict.fromkeys(a.principal_id for a in held))

    def to_json(self) -> list[dict[str, Any]]:
        data: list[dict[str, Any]] = msgspec.to_builtins(self.assignments)
        return data

    def load(self, data: list[Mapping[str, Any]]) -> None:
        """Become what `to_json` wrote."""
        self.assignments = msgspec.convert(data, list[RoleAssignment])
