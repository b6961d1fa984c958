"""Every behaviour that sources leave open, or that a test may want otherwise, as one value.

Field comments cite the section of graph.md or servicenow.md that asks for the switch; the defaults are the documented
ones, with all delays in seconds of virtual time. `docs/sandbox-graph.md` has the table for Graph.
"""

from __future__ import annotations

from typing import Literal

import msgspec


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
