"""Every behaviour that sources leave open, or that a test may want otherwise, as one value.

Field comments cite the section of graph.md or servicenow.md that asks for the switch; the defaults are the documented
ones, with all delays in seconds of virtual time. `docs/sandbox-graph.md` has the table for Graph.
"""

from __future__ import annotations

import difflib
from typing import Any, Literal

import msgspec


def set_switch(switches: msgspec.Struct, name: str, value: Any) -> None:
    """Set one switch to a JSON-plain value.

    Raises:
        ValueError: there is no such switch, or it takes no such value.
    """
    fields = {field.name: field.type for field in msgspec.structs.fields(type(switches))}
    if name not in fields:
        near = difflib.get_close_matches(name, fields, 1)
        raise ValueError(f"there is no switch {name!r}{f'; is {near[0]} meant?' if near else ''}")
    try:
        setattr(switches, name, msgspec.convert(value, fields[name]))
    except msgspec.ValidationError as wrong:
        raise ValueError(f"{name}: {wrong}") from None


class Switches(msgspec.Struct):
    """Set a field to change what the sandbox does from the next request on."""

    # --- Graph: writes of licences (graph.md sections 6, 7, 13)
    licence_lock: bool = True
    """One licence write per tenant at a time; a second one during it is 409."""
    licence_lock_tail_s: float = 0.0
    """How long the lock stays after a licence write, virtual seconds."""
    licence_lock_as_400: bool = False
    """One client expects the conflict as 400 with the same text."""
    assign_reply_has_licences: bool = False
    """The 200 of assignLicense and reprocess also holds licence properties."""
    none_error_is_null: bool = False
    """licenseAssignmentStates.error of a healthy entry: null instead of the string "None"."""
    warning_units_assignable: bool = False
    """Units in grace can be given to new people."""
    repeat_needs_seat: bool = False
    """Repeating an identical add at zero free seats is refused."""
    deleted_users_hold_seats: bool = False
    """A soft-deleted user still counts in consumedUnits."""
    advisory_rules: bool = False
    """Enforce the plan rules that the reference data only calls advisory."""
    audit_is_complete: bool = False
    """Licence entries name what changed; off, only their sibling "Update user" entries do (section 5)."""

    # --- Graph: groups (section 8)
    group_delay_s: float = 600.0
    """From a change of members or group licences until it is in force."""
    group_sets_usage_location: bool = False
    """A group licence writes the tenant's country into an empty usageLocation, not only uses it."""
    group_removal_turns_direct: bool = False
    """A group licence that a direct one depends on turns direct when the group lets go, instead of staying in error."""
    group_audit_actor: str = "Microsoft Entra group-Based Licensing"
    licence_error_filter: Literal["plain", "advanced", "both"] = "plain"
    """Which form of `$filter=hasMembersWithLicenseErrors eq true` works; the other one is refused."""

    # --- Graph: roles (no section; see docs/sandbox-graph.md)
    directory_roles_readable: bool = True
    """Off, every reading of directory roles is refused, whatever the token may."""

    graph_date_skew_s: float | None = 0.0
    """How far the Date header is ahead; None: there is none (the contracts do not say that there always is)."""

    # --- Graph: provisioning (section 5)
    provisioning_s: float = 30.0
    """From PendingInput to the end of the walk."""

    # --- Graph: replicas (sections 3, 8)
    replica_lag_s: float = 0.0
    """Longest time for which reads may not show a write."""
    advanced_lag_s: float = 0.0
    """The same for the index behind advanced queries."""

    # --- Graph: delta (section 4)
    delta_page_size: int = 200
    delta_duplicates: float = 0.05
    """Share of rows that come twice in a round."""
    delta_replays: float = 0.05
    """Share of rounds that repeat an object which did not change."""
    delta_delay_s: float = 0.0
    """Changes younger than this are missing from a round."""
    delta_token_days: float = 7.0
    delta_force_resync: bool = False
    """Every delta token is answered with 410."""
    delta_tracks_licences: bool = True
    """Changes of assignedLicenses and assignedPlans show in users/delta (no source states it)."""

    # --- Graph: limits (section 10)
    throttling: bool = True
    page_size_default: int = 100
    empty_pages: float = 0.0
    """Share of list pages that come empty, with a nextLink."""
    unknown_select: Literal["ignored", "refused"] = "refused"
    """What an unknown name in $select does."""

    # --- sign-in (section 12)
    token_lifetime_s: float = 3599.0
    client_secret_expired: bool = False
    permissions_withdrawn: tuple[str, ...] = ()
    """Application permissions that no new token carries, whatever its registration was granted."""
    redirect_uris: tuple[str, ...] = ()
    """Addresses, beside any on loopback, to which sign-in may send its answer."""
    single_sign_on: bool = False
    """A browser that is signed in is not asked again who it is; off, people choose each time."""
    code_lifetime_s: float = 600.0
    sign_in_clock_skew_s: float = 0.0
    """How far the clock of sign-in is off, in every time of an ID token."""
    sign_in_unavailable: tuple[Literal["discovery", "authorize", "token", "keys", "logout"], ...] = ()
    """Endpoints that answer 503."""
    sign_in_auth_time: Literal["asked", "always", "never"] = "asked"
    """When `auth_time` is there; whether `max_age` always brings it is UNCONFIRMED (approvals.md section 8)."""
    sign_in_optional_claims: tuple[Literal["acct", "sid"], ...] = ("acct", "sid")
    sign_in_fault: Literal[
        "none",
        "bad_signature",
        "wrong_iss",
        "wrong_aud",
        "wrong_tid",
        "expired",
        "not_yet_valid",
        "missing_oid",
        "nonce_mismatch",
        "alg_none",
        "alg_hs256",
        "unknown_kid",
        "guest",
        "role_missing",
    ] = "none"
    """What is wrong with each ID token (approvals.md section 3.3)."""

    # --- Teams (approvals.md section 1.2)
    teams_run_s: float = 5.0
    """From the 202 to the end of the flow's run."""
    teams_run_fails: str = ""
    """Why every run fails; "" for those that have no reason to."""
    teams_response_variant: bool = False
    """Every flow ends with a Response action: 200 and the message's id, or 502."""
    teams_bad_sig_status: int = 401
    """A wrong or missing `sig` (UNCONFIRMED)."""
    teams_size_max: int = 28 * 1024
    """Bytes of a whole message; a library measured 21 000 in practice."""
    teams_rate_per_s: int | None = 4
    """Requests a second to one flow (UNCONFIRMED for this trigger); None is no limit."""
    teams_slow_s: float = 30.0
    """What a slow answer takes."""
    teams_renderer: tuple[str, ...] = ()
    """Script files in the order in which the picture of a card needs them: a Markdown processor, adaptivecards.js."""

    # --- mail (approvals.md section 5)
    mail_size_max: int = 36_700_160
    """Bytes of one message by SMTP."""
    mail_rate_per_min: int | None = 30
    """Messages a minute from one mailbox; None is no limit."""
    mail_send_mailboxes: tuple[str, ...] | None = None
    """Mailboxes as which Graph lets the application send; None is any, as `Mail.Send` alone has it."""
    mail_may_send_as: tuple[str, ...] = ()
    """Further addresses, in lower case, that the signed-in account may put into From."""
    mail_unknown_recipients: tuple[str, ...] = ()
    """Addresses, in lower case, that SMTP refuses for good."""
    smtp_starttls: bool = True
    smtp_basic_auth: bool = True
    """User name and password; Exchange Online turns it off for existing tenants after 2026."""
    smtp_oauth: bool = True
    smtp_relay: bool = False
    """Mail is taken from whoever connects, as an internal relay does."""
    smtp_refuses: tuple[Literal["connect", "starttls", "auth", "mail", "rcpt", "data"], ...] = ()
    """Steps that are refused for now (4xx)."""
