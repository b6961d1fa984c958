"""What exists at which address, what it costs, and which permissions open it (graph.md sections 2, 10 and 12)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from reconciler.sandbox.graph.answers import Answer
from reconciler.sandbox.graph.delta import Delta
from reconciler.sandbox.graph.groups import Groups
from reconciler.sandbox.graph.licences import Licences
from reconciler.sandbox.graph.mail import Mailing
from reconciler.sandbox.graph.mailboxes import Mailboxes
from reconciler.sandbox.graph.properties import Properties
from reconciler.sandbox.graph.roles import RoleRoutes
from reconciler.sandbox.graph.tenant import Tenant
from reconciler.sandbox.graph.users import Users
from reconciler.sandbox.graph.voice import Voice

Handler = Callable[..., Answer]

_DIRECTORY = ("Directory.Read.All", "Directory.ReadWrite.All")
READ_USERS = frozenset({"User.Read.All", "User.ReadWrite.All", *_DIRECTORY})
READ_LICENCES = frozenset(
    {
        "LicenseAssignment.Read.All",
        "LicenseAssignment.ReadWrite.All",
        "User.Read.All",
        "User.ReadWrite.All",
        *_DIRECTORY,
    }
)
READ_SKUS = frozenset(
    {"LicenseAssignment.Read.All", "LicenseAssignment.ReadWrite.All", "Organization.Read.All", *_DIRECTORY}
)
WRITE_LICENCES = frozenset({"LicenseAssignment.ReadWrite.All", "User.ReadWrite.All", "Directory.ReadWrite.All"})
WRITE_GROUP_LICENCES = frozenset({"LicenseAssignment.ReadWrite.All", "Group.ReadWrite.All", "Directory.ReadWrite.All"})
WRITE_USERS = frozenset({"User.ReadWrite.All", "Directory.ReadWrite.All"})
READ_GROUPS = frozenset(
    {"Group.Read.All", "Group.ReadWrite.All", "GroupMember.Read.All", "GroupMember.ReadWrite.All", *_DIRECTORY}
)
READ_MEMBERS = READ_GROUPS | {"GroupMember.ReadBasic.All"}
WRITE_MEMBERS = frozenset({"GroupMember.ReadWrite.All", "Group.ReadWrite.All", "Directory.ReadWrite.All"})
READ_MEMBERSHIPS = READ_USERS | {"GroupMember.Read.All", "Group.Read.All"}
READ_PARENTS = READ_GROUPS
READ_APP_ROLES = frozenset({"AppRoleAssignment.ReadWrite.All", *_DIRECTORY})
READ_ERRORS = frozenset({"Group.Read.All", "Group.ReadWrite.All", *_DIRECTORY})
READ_ORGANIZATION = frozenset({"Organization.Read.All", "User.Read.All", "User.ReadWrite.All", *_DIRECTORY})
READ_OBJECTS = frozenset(_DIRECTORY)
READ_VOICE = frozenset({"TeamsUserConfiguration.Read.All"})
READ_ROLES = frozenset(
    {
        "RoleManagement.Read.Directory",
        "RoleManagement.ReadWrite.Directory",
        "RoleManagement.Read.All",
        *_DIRECTORY,
    }
)
READ_ELIGIBLE = frozenset(
    {
        "RoleEligibilitySchedule.Read.Directory",
        "RoleEligibilitySchedule.ReadWrite.Directory",
        "RoleManagement.Read.Directory",
        "RoleManagement.ReadWrite.Directory",
        "RoleManagement.Read.All",
    }
)
READ_MAILBOXES = frozenset({"MailboxSettings.Read", "MailboxSettings.ReadWrite"})
READ_AUDITS = frozenset({"AuditLog.Read.All"})


ROLES = "/roleManagement/directory"


class Route(NamedTuple):
    """One address and method."""

    method: str
    template: str
    handler: Handler
    permissions: frozenset[str]
    """Any one of them opens the route."""
    units: int
    """Resource units before modifiers."""
    writes: int = 0
    is_licence_write: bool = False
    is_audit: bool = False

    @property
    def name(self) -> str:
        """What fault rules name: method and template."""
        return f"{self.method} {self.template}"


def routes(properties: Properties) -> list[Route]:
    """Every route, the more particular ones first."""
    users, groups = Users(properties), Groups(properties)
    licences, tenant, delta = Licences(properties), Tenant(properties), Delta(properties)
    roles, mailboxes = RoleRoutes(properties), Mailboxes()
    member_of, transitive_of = groups.member_of, groups.transitive_member_of
    return [
        Route("GET", "/users", users.search, READ_USERS, 2),
        Route("GET", "/users/$count", users.count, READ_USERS, 1),
        Route("GET", "/users/delta", delta.users, READ_USERS, 1),
        Route("GET", "/users/{id}", users.get, READ_USERS, 1),
        Route("PATCH", "/users/{id}", users.patch, WRITE_USERS, 1, 1),
        Route("POST", "/users/{id}/assignLicense", licences.assign_to_user, WRITE_LICENCES, 1, 1, True),
        Route("POST", "/users/{id}/reprocessLicenseAssignment", licences.reprocess, WRITE_USERS, 1, 1, True),
        Route("GET", "/users/{id}/licenseDetails", licences.details, READ_LICENCES, 2),
        Route("GET", "/users/{id}/licenseDetails/{detail}", licences.detail, READ_LICENCES, 1),
        Route("GET", "/users/{id}/manager", users.manager, READ_USERS, 1),
        Route("POST", "/users/{id}/sendMail", Mailing().send, frozenset({"Mail.Send"}), 1),
        Route("GET", "/users/{id}/mailboxSettings", mailboxes.settings, READ_MAILBOXES, 1),
        Route("GET", "/users/{id}/mailboxSettings/userPurpose", mailboxes.user_purpose, READ_MAILBOXES, 1),
        Route("GET", "/users/{id}/memberOf", member_of, READ_MEMBERSHIPS, 2),
        Route("GET", "/users/{id}/memberOf/{cast}", member_of, READ_MEMBERSHIPS, 2),
        Route("GET", "/users/{id}/transitiveMemberOf", transitive_of, READ_MEMBERSHIPS, 2),
        Route("GET", "/users/{id}/transitiveMemberOf/{cast}", transitive_of, READ_MEMBERSHIPS, 2),
        Route("GET", "/subscribedSkus", tenant.skus, READ_SKUS, 3),
        Route("GET", "/subscribedSkus/{id}", tenant.sku, READ_SKUS, 1),
        Route("GET", "/groups", groups.search, READ_GROUPS, 1),
        Route("GET", "/groups/delta", delta.groups, READ_GROUPS, 1),
        Route("GET", "/groups/{id}", groups.get, READ_GROUPS, 1),
        Route("PATCH", "/groups/{id}", groups.patch, WRITE_MEMBERS, 1, 1),
        Route("POST", "/groups/{id}/assignLicense", licences.assign_to_group, WRITE_GROUP_LICENCES, 1, 1, True),
        Route("GET", "/groups/{id}/members", groups.members, READ_MEMBERS, 3),
        Route("GET", "/groups/{id}/members/$ref", groups.member_refs, READ_MEMBERS, 1),
        Route("POST", "/groups/{id}/members/$ref", groups.add_member, WRITE_MEMBERS, 1, 1),
        Route("GET", "/groups/{id}/members/{cast}", groups.members, READ_MEMBERS, 3),
        Route("DELETE", "/groups/{id}/members/{object}/$ref", groups.remove_member, WRITE_MEMBERS, 1, 1),
        Route("GET", "/groups/{id}/transitiveMembers", groups.transitive_members, READ_MEMBERS, 5),
        Route("GET", "/groups/{id}/transitiveMembers/{cast}", groups.transitive_members, READ_MEMBERS, 5),
        Route("GET", "/groups/{id}/memberOf", groups.parents, READ_PARENTS, 2),
        Route("GET", "/groups/{id}/memberOf/{cast}", groups.parents, READ_PARENTS, 2),
        Route("GET", "/groups/{id}/appRoleAssignments", groups.app_roles, READ_APP_ROLES, 1),
        Route("GET", "/groups/{id}/membersWithLicenseErrors", groups.members_in_error, READ_ERRORS, 1),
        Route("GET", "/organization", tenant.organization, READ_ORGANIZATION, 1),
        Route("GET", "/organization/{id}", tenant.organization_by_id, READ_ORGANIZATION, 1),
        Route("GET", "/directoryRoles", roles.roles, READ_ROLES, 1),
        Route("GET", "/directoryRoles/{id}", roles.role, READ_ROLES, 1),
        Route("GET", "/directoryRoles/{id}/members", roles.members, READ_ROLES, 1),
        Route("GET", f"{ROLES}/roleDefinitions", roles.definitions, READ_ROLES, 1),
        Route("GET", f"{ROLES}/roleDefinitions/{{id}}", roles.definition, READ_ROLES, 1),
        Route("GET", f"{ROLES}/roleAssignments", roles.assignments, READ_ROLES, 1),
        Route("GET", f"{ROLES}/roleEligibilityScheduleInstances", roles.eligibilities, READ_ELIGIBLE, 1),
        Route("POST", "/directoryObjects/getByIds", tenant.by_ids, READ_OBJECTS, 3),
        Route("GET", "/admin/teams/userConfigurations/{id}", Voice().get, READ_VOICE, 1),
        Route("GET", "/auditLogs/directoryAudits", tenant.audits, READ_AUDITS, 1, is_audit=True),
        Route("GET", "/auditLogs/directoryAudits/{id}", tenant.audit, READ_AUDITS, 1, is_audit=True),
    ]


class Router:
    """Finds the route of a call. Names in paths are compared without regard to case."""

    def __init__(self, table: list[Route]) -> None:
        self._table: dict[tuple[str, int], list[tuple[Route, tuple[str | None, ...]]]] = {}
        for route in table:
            pattern = _pattern(route.template)
            self._table.setdefault((route.method, len(pattern)), []).append((route, pattern))

    def find(self, method: str, segments: tuple[str, ...]) -> tuple[Route, tuple[str, ...]] | None:
        """The route and the variable parts of the path, or None. `segments` leave the version out."""
        for route, pattern in self._table.get((method, len(segments)), ()):
            parts = []
            for wanted, actual in zip(pattern, segments, strict=True):
                if wanted is None:
                    parts.append(actual)
                elif wanted != _bare(actual):
                    break
            else:
                return route, tuple(parts)
        return None


def _pattern(template: str) -> tuple[str | None, ...]:
    return tuple(None if s.startswith("{") else s.lower() for s in template.strip("/").split("/"))


def _bare(segment: str) -> str:
    """A segment without the namespace that callers may write before the name of an action."""
    return re.sub(r"^microsoft\.graph\.", "", segment.lower())
