"""Every behaviour of the instance that sources leave open, or that customers set, as one value.

Defaults are those of servicenow.md section 19; each comment names the section that asks for the switch.
docs/sandbox-servicenow.md has the whole table.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class InstanceSwitches(msgspec.Struct):
    """Set a field to change what the instance does from the next request on."""

    # --- queries (sections 2, 4, 19)
    invalid_query_returns_no_rows: bool = False
    """Property glide.invalid_query.returns_no_rows: an invalid clause empties the answer instead of being dropped."""
    text_ignores_case: bool = True
    """`=`, `LIKE` and their kin ignore case; `IN` and ids never do."""
    unordered_is_arbitrary: bool = True
    """Rows without a unique sort key come in another order each time; off, oldest id first."""
    first_page_prev: bool = False
    """The first page carries rel="prev" with offset -1."""

    counts_hidden_rows: bool = True
    """`X-Total-Count` and the Aggregate API count rows before access rules take some away; off, afterwards."""

    # --- shapes (sections 3, 19)
    display_format: str = "%Y-%m-%d %H:%M:%S"
    """How date-times are displayed (strftime)."""
    system_time_zone: str = "GMT"
    """The zone of users who have none."""
    empty_choice_is_null: bool = False
    """Display of an empty choice under sysparm_display_value=true: null instead of ""."""
    journal_is_shown: bool = False
    """work_notes and comments display the joined entries under true and all."""

    # --- writes (sections 7, 9, 10, 19)
    journal_bumps: bool = True
    """A journal entry changes sys_updated_on and sys_mod_count of its task."""
    lengths_truncate: bool = True
    """Text longer than its column is cut without a word; off, it is kept."""
    reopen: Literal["allowed", "acl_403", "rule_abort_403", "accepted_then_reverted"] = "allowed"
    """What happens to a write that would reopen a closed item or request."""
    closed_is_read_only: bool = False
    """Every write on an inactive task is refused by ACL, notes included."""
    field_denied: Literal["acl_403", "ignored"] = "acl_403"
    """A write of a column the caller may not write."""
    task_close_mandatory: tuple[str, ...] = ()
    """Columns that must be filled when a catalog task closes."""
    approval_comments_mandatory: bool = False
    """A rejection needs comments."""
    roll_up: bool = False
    """An execution plan closes the item after its tasks and the request after its items (section 8)."""
    approval_rolls_up: bool = True
    """Approver rows settle the approval of their task."""

    unanswered_has_row: bool = True
    """A question that nobody answered has a row on the ticket all the same (section 7)."""

    approval_asks_next: bool = True
    """Once an approver has approved, the next one of the item who was not asked yet is asked."""

    # --- reading rights (sections 7, 12, 19)
    journal_is_readable: bool = True
    """The integration user may read sys_journal_field."""
    variables_are_readable: bool = True
    """The same for the tables of catalog variables."""

    audit_is_readable: bool = True
    """The integration user may read sys_audit and sysevent (UNCONFIRMED; real instances often keep both to admins)."""

    # --- sign-in (section 12)
    basic_auth: bool = True
    api_key_auth: bool = True
    mfa_required: bool = False
    """Basic sign-in is answered 401 with X-MFA_TOKEN."""
    client_credentials_enabled: bool = True
    """Property glide.oauth.inbound.client.credential.grant_type.enabled. The platform's default is off; an instance
    that the reconciler is meant to reach has it on."""
    token_lifetime_s: int = 1800
    refresh_lifetime_s: int = 8_640_000
    attachment_needs_auth_403: bool = True
    """The Attachment API answers 403, not 401, to a request without credentials (Australia and later)."""

    # --- limits (sections 2, 13)
    url_bytes_max: int = 16_384
    """A longer URL is answered with a page for people; the number is inferred (section 2, URL length)."""
    rate_limit_per_hour: int | None = None
    """Requests per hour, user and API; None is no rule."""
    session_queue: int = 10
    """Requests that may wait in one session; further ones are dropped with 202."""
    semaphores: int = 4
    semaphore_queue: int = 50
    batch_seconds: int = 30
    """Virtual seconds after which the rest of a batch is left unserviced."""
    batch_items_max: int | None = None
    """Items of a batch that are serviced at most; None is all that time allows."""
    cancel_before_rows_is_200: bool = False
    """A transaction cancelled before any row was sent answers 200 instead of 500."""

    # --- faults (section 17): how large they are
    slow_s: float = 20.0
    """Virtual seconds that a slow request takes."""
    late_visible_s: float = 60.0
    """Longest time between a row's stamp and its becoming visible."""
    clock_skew_s: float = 300.0
    """How far the Date header is off."""
    date_skew_s: float | None = 0.0
    """The same of every answer, fault or none; None: there is no such header."""
    burst_rows: int = 25
    """Rows that a burst touches within one second."""
