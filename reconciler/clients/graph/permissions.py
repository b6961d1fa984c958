"""Which application permission each of our Graph operations needs, for `doctor`. Pure.

Any one of the listed names is enough. Source: graph.md section 12.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_READ_USERS = ("User.Read.All", "User.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All")
_READ_LICENSES = (
    "LicenseAssignment.Read.All",
    "LicenseAssignment.ReadWrite.All",
    "User.Read.All",
    "User.ReadWrite.All",
    "Organization.Read.All",
    "Directory.Read.All",
    "Directory.ReadWrite.All",
)
_READ_GROUPS = ("Group.Read.All", "Group.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All")
_WRITE_MEMBERS = ("GroupMember.ReadWrite.All", "Group.ReadWrite.All", "Directory.ReadWrite.All")

PERMISSIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "users": _READ_USERS,
        "scan_users": _READ_USERS,
        "license_details": _READ_LICENSES,
        "subscribed_skus": _READ_LICENSES,
        "organization": (
            "Organization.Read.All",
            "Organization.ReadWrite.All",
            "User.Read.All",
            "User.ReadWrite.All",
            "Directory.Read.All",
            "Directory.ReadWrite.All",
        ),
        "group": _READ_GROUPS,
        "groups": _READ_GROUPS,
        "groups_by_name": _READ_GROUPS,
        "groups_in_error": _READ_GROUPS,
        "user_groups": ("GroupMember.Read.All", "GroupMember.ReadWrite.All", *_READ_GROUPS, *_READ_USERS),
        "group_members": ("GroupMember.Read.All", "GroupMember.ReadWrite.All", *_READ_GROUPS),
        "group_parents": ("GroupMember.Read.All", "GroupMember.ReadWrite.All", *_READ_GROUPS),
        # "List appRoleAssignments granted to a group", Graph v1.0 reference; not in graph.md
        "group_app_roles": ("Directory.Read.All", "Directory.ReadWrite.All", "AppRoleAssignment.ReadWrite.All"),
        "transitive_groups": ("GroupMember.Read.All", "GroupMember.ReadWrite.All", *_READ_GROUPS, *_READ_USERS),
        # "List unifiedRoleAssignments", Graph v1.0 reference; not in graph.md
        "role_holders": (
            "RoleManagement.Read.Directory",
            "RoleManagement.Read.All",
            "RoleManagement.ReadWrite.Directory",
            "Directory.Read.All",
            "Directory.ReadWrite.All",
        ),
        # "List roleEligibilityScheduleInstances", Graph v1.0 reference; not in graph.md
        "eligible_role_holders": (
            "RoleManagement.Read.Directory",
            "RoleManagement.Read.All",
            "RoleManagement.ReadWrite.Directory",
            "RoleEligibilitySchedule.Read.Directory",
            "RoleEligibilitySchedule.ReadWrite.Directory",
        ),
        # "mailboxSettings", Graph v1.0 reference; not in graph.md
        "mailbox_purposes": ("MailboxSettings.Read", "MailboxSettings.ReadWrite"),
        "licensed_people": _READ_USERS,
        "add_group_member": _WRITE_MEMBERS,
        "remove_group_member": _WRITE_MEMBERS,
        "reprocess_user": ("User.ReadWrite.All", "Directory.ReadWrite.All"),
        "directory_audits": ("AuditLog.Read.All",),
        "voice": ("TeamsUserConfiguration.Read.All",),  # Graph v1.0 reference, "teamsUserConfiguration: get"
        "assign_license": ("LicenseAssignment.ReadWrite.All", "User.ReadWrite.All", "Directory.ReadWrite.All"),
        "set_usage_location": ("User.ReadWrite.All", "Directory.ReadWrite.All"),  # no finer one exists
    }
)
OBSERVE = ("users", "scan_users", "license_details", "subscribed_skus", "organization", "group")
ROLES = ("role_holders", "eligible_role_holders")  # without it nobody is known to hold no role, and nobody is served
EVIDENCE = ("directory_audits",)  # without it nothing fails, and who changed a grant later stays unknown
ENFORCE = (*OBSERVE, "assign_license", "set_usage_location")
# What a product that reaches people through a group needs on top.
OBSERVE_GROUPS = ("groups", "group_members", "user_groups", "group_parents", "group_app_roles")
ENFORCE_GROUPS = (*OBSERVE_GROUPS, "add_group_member", "remove_group_member", "reprocess_user")


def missing(roles: frozenset[str], operations: tuple[str, ...] = ENFORCE) -> dict[str, str]:
    """Operations that a token with these roles cannot do, each with the least permission that is missing."""
    return {name: PERMISSIONS[name][0] for name in operations if not roles.intersection(PERMISSIONS[name])}
