"""Names, addresses and credentials of the sandbox. Fixed on purpose: they open nothing but the sandbox.

The hosts end in `.invalid`, a name that no resolver will ever answer (RFC 2606), so a request that misses the
in-process transport fails instead of leaving the machine.
"""

# Every "secret" below is public: it signs in to a pretend tenant only.
# ruff: noqa: S105

from __future__ import annotations

from typing import Final

GRAPH_HOST: Final = "graph.contoso.invalid"
LOGIN_HOST: Final = "login.contoso.invalid"
SERVICENOW_HOST: Final = "servicenow.contoso.invalid"
TEAMS_HOST: Final = "teams.contoso.invalid"
MAIL_HOST: Final = "mail.contoso.invalid"
GRAPH_URL: Final = f"https://{GRAPH_HOST}"
LOGIN_URL: Final = f"https://{LOGIN_HOST}"
SERVICENOW_URL: Final = f"https://{SERVICENOW_HOST}"
TEAMS_URL: Final = f"https://{TEAMS_HOST}"
MAIL_URL: Final = f"https://{MAIL_HOST}"

# The managed identity endpoint answers on the sign-in host and on the address it has on Azure machines.
IMDS_HOST: Final = "169.254.169.254"

TENANT_ID: Final = "c0a7050c-5a17-4e3d-9b6a-0c1705000000"
TENANT_DOMAIN: Final = "contoso.example"

# The application with every permission that enforcing needs (graph.md section 12, profile "enforce").
CLIENT_ID: Final = "7d1f0c5e-2b4a-4c58-8a39-5e0d6f4b1a01"
CLIENT_SECRET: Final = "sandbox~enforce~secret"
# The application of a tenant that is only observed (profile "observe").
READER_CLIENT_ID: Final = "7d1f0c5e-2b4a-4c58-8a39-5e0d6f4b1a02"
READER_CLIENT_SECRET: Final = "sandbox~observe~secret"
# The user-assigned managed identity: permissions of "enforce", no secret.
MANAGED_IDENTITY_CLIENT_ID: Final = "7d1f0c5e-2b4a-4c58-8a39-5e0d6f4b1a03"

OBSERVE_ROLES: Final = (
    "User.Read.All",
    "LicenseAssignment.Read.All",
    "Group.Read.All",
    "Directory.Read.All",  # to see what else a licence group gives
    "AuditLog.Read.All",
    "Organization.Read.All",
    "TeamsUserConfiguration.Read.All",  # to prove Teams voice
    "RoleManagement.Read.Directory",  # who holds a directory role, or may take one up
    "MailboxSettings.Read",  # shared and room mailboxes
)
ENFORCE_ROLES: Final = (
    *OBSERVE_ROLES,
    "LicenseAssignment.ReadWrite.All",
    "GroupMember.ReadWrite.All",
    "User.ReadWrite.All",
    "Mail.Send",
)

SERVICENOW_USER: Final = "svc.license.reconciler"
SERVICENOW_PASSWORD: Final = "sandbox-servicenow-password"
SERVICENOW_CLIENT_ID: Final = "5b6c2f8d1e904a7fb3d2c1a09e8f7a61"
SERVICENOW_CLIENT_SECRET: Final = "sandbox-servicenow-secret"
SERVICENOW_API_KEY: Final = "now_sandbox_api_key"

# The mailbox that notices are sent from.
MAIL_USER: Final = f"licences@{TENANT_DOMAIN}"
MAIL_PASSWORD: Final = "sandbox-mail-password"
