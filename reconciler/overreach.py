"""What an application's permissions let it write beyond what this software is told to. Pure.

Our scope lists bind us, not whoever else holds the credentials: an application permission is for the whole tenant.
Source: graph.md section 12 and the permissions reference of Graph v1.0; how to shut it: docs/operating.md.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType

# permission -> what it can change, and what keeps it from that
WRITES: Mapping[str, str] = MappingProxyType(
    {
        "LicenseAssignment.ReadWrite.All": "give and take licences of every person and group; instead: the role "
        "License Administrator, scoped to an administrative unit",
        "User.ReadWrite.All": "change the properties of every person, also the "
        "location; leave it out where locations are not to be set",
        "GroupMember.ReadWrite.All": "fill and empty every group that is not role-assignable, whatever it opens; "
        "instead: make the application the owner of the licence groups",
        "Mail.Send": "send mail as every mailbox; limit it to one by RBAC for Applications in Exchange",
    }
)
# Nothing here needs these, and each is worth more than what it would be used for.
NEVER: Mapping[str, str] = MappingProxyType(
    {
        "Directory.ReadWrite.All": "change nearly everything in the directory",
        "Group.ReadWrite.All": "make, change and delete every group",
        "RoleManagement.ReadWrite.Directory": "make anybody, itself too, a Global Administrator",
        "AppRoleAssignment.ReadWrite.All": "give itself every permission",
        "Application.ReadWrite.All": "act as every application",
        "Organization.ReadWrite.All": "change the tenant's own settings",
        "MailboxSettings.ReadWrite": "change rules and forwarding of every mailbox",
    }
)


def overreach(roles: Collection[str]) -> dict[str, str]:
    """Permission -> what the credentials could write outside the scope with it, for those that can write at all."""
    found = {}
    for role in sorted(roles):
        if role in WRITES:
            found[role] = f"{role} can {WRITES[role]}"
        elif role in NEVER:
            found[role] = f"{role} can {NEVER[role]}, and nothing here needs it: take it away"
        elif "Write" in role or ".Send" in role or role.endswith((".Manage", ".FullControl.All")):
            found[role] = f"{role} can write, and nothing here needs it: take it away"
    return found
