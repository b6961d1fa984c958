"""Which way each key of the configuration is wider: what is not in this table counts as wider when it changes. Pure.

A pattern is a path in the document of one tenant (`compare`): "*" stands for one step, "**" at the end for the rest.
The first one that fits counts. A key that somebody adds to the configuration needs no entry here to be safe; with one,
a change that allows less asks nobody.
"""

from __future__ import annotations

from reconciler.governance.judges import (
    ABSENT,
    FALSE_IS_WIDER,
    NARROWER,
    NEITHER,
    TRUE_IS_WIDER,
    WIDER,
    Judge,
    anything,
    denied,
    less,
    listed,
    listed_or_any,
    more,
    nothing,
    only_fewer,
    ranked,
    text_or_none,
)

MODES = ("observe", "suggest", "enforce")
ANSWERS = ("silent", "note", "task", "full")


def _since(before: object, after: object) -> str:
    """Which tickets may cause anything: from an earlier day on is more, "all" is everything."""
    if after == "all" or not isinstance(before, str) or not isinstance(after, str):
        return WIDER
    return NARROWER if before == "all" or after > before else WIDER


def _price(before: object, after: object) -> str:
    """A product that costs less needs fewer stages, and what has no price passes every cost cap."""
    return more(after, before) if isinstance(before, str) and isinstance(after, str) else WIDER


def _drift(_before: object, after: object) -> str:
    return NARROWER if after in (None, ABSENT, "ask") else WIDER


def _cap(before: object, after: object) -> str:
    """A limit beside another one: where there was none and is none, nothing has changed."""
    return NEITHER if {before, after} <= {None, ABSENT} else more(before, after)


def _entry(_before: object, after: object) -> str:
    return NARROWER if after is ABSENT else WIDER


def _freezes(before: object, after: object) -> str:
    """More windows without writes are narrower; whatever else changes, or is about allowed windows, may be wider."""
    if not (isinstance(before, list) and isinstance(after, list)):
        return WIDER
    more_of_them = [w for w in after if w not in before]
    if any(w not in after for w in before) or any(
        not isinstance(w, dict) or w.get("kind") != "deny" for w in more_of_them
    ):
        return WIDER
    return NARROWER if more_of_them else NEITHER


TABLE: tuple[tuple[tuple[str, ...], Judge], ...] = tuple(
    (tuple(pattern.split(".")), judge)
    for pattern, judge in (
        # the tenant
        ("tenant.mode", ranked(*MODES)),
        ("tenant.answers", ranked(*ANSWERS)),
        ("tenant.enforce_share", more),
        # what counts as evidence for a step: less of it is wider
        ("tenant.promotion.decided_min", less),
        ("tenant.promotion.agreement_min", less),
        ("tenant.promotion.canary_share", nothing),
        *((f"tenant.promotion.{span}", nothing) for span in ("wait", "window", "keep")),
        ("tenant.act_on_tickets_since", _since),
        ("tenant.act_max_age", more),
        ("tenant.retry_window", more),
        ("tenant.user_sync_window", nothing),
        ("tenant.watch", nothing),
        ("tenant.servicenow.agents", denied),
        ("tenant.servicenow.our_groups", listed),
        ("tenant.servicenow.page_size", nothing),
        ("tenant.servicenow.requests_per_hour", nothing),
        ("tenant.graph.resource_units", nothing),
        # where a secret of the same application or account is kept
        *((f"tenant.servicenow.{key}_file", nothing) for key in ("client_secret", "password", "api_key")),
        *((f"tenant.graph.{key}_file", nothing) for key in ("client_secret", "certificate", "federated_token")),
        *((f"tenant.sign_in.{key}_file", nothing) for key in ("client_secret", "certificate")),
        *((f"tenant.{section}.credential_expires", nothing) for section in ("servicenow", "graph", "sign_in")),
        ("tenant.sign_in.guests", TRUE_IS_WIDER),
        ("tenant.sign_in.fresh_within", more),
        ("tenant.sign_in.fresh_above", more),
        # guards
        ("tenant.guards.allow_domains", listed),
        ("tenant.guards.allow_users", listed),
        ("tenant.guards.allow_groups", listed),
        ("tenant.guards.deny_domains", denied),
        ("tenant.guards.deny_users", denied),
        ("tenant.guards.deny_groups", denied),
        ("tenant.guards.break_glass", denied),
        ("tenant.guards.shared_accounts", denied),
        ("tenant.guards.deny_role_holders", FALSE_IS_WIDER),
        ("tenant.guards.mailbox_purpose", ranked("required", "where_readable", "off")),
        ("tenant.guards.countries", listed_or_any),
        *((f"tenant.guards.{lane}_per_{span}", more) for lane in (
            "grants", "removals", "usage_locations", "cost", "answers"
        ) for span in ("cycle", "day")),
        ("tenant.guards.products.*.*", _cap),
        ("tenant.guards.answers_per_group", more),
        ("tenant.guards.answers_per_ticket_per_day", more),
        ("tenant.guards.stale_after", more),
        ("tenant.guards.breaker_pause", less),
        ("tenant.guards.flip_window", less),
        ("tenant.guards.clock_tolerance", more),
        ("tenant.guards.second_person", FALSE_IS_WIDER),
        ("tenant.guards.freezes", _freezes),
        ("tenant.guards.use_grace_seats", TRUE_IS_WIDER),
        ("tenant.guards.held_tickets.*", only_fewer),
        ("tenant.guards.priorities.*", nothing),
        ("tenant.guards.urgent_priorities", nothing),
        # approvals: who is asked may not change unseen, whichever way
        ("tenant.approvals.channels", listed),
        ("tenant.approvals.opener_may_approve", TRUE_IS_WIDER),
        ("tenant.approvals.recent_config_change", less),
        ("tenant.approvals.delegate_at_most", more),
        ("tenant.approvals.void_on_lost_role", FALSE_IS_WIDER),
        ("tenant.approvals.comment_min", less),
        ("tenant.approvals.remind_percent", nothing),
        ("tenant.approvals.escalate_after", nothing),
        ("tenant.approvals.expire_after", more),
        ("tenant.approvals.valid_for", more),
        ("tenant.approvals.working_days", nothing),
        ("tenant.approvals.holidays", nothing),
        ("tenant.approvals.**", anything),
        # products and items
        ("products.*.mode", ranked(*MODES, None)),
        ("products.*.answers", ranked(*ANSWERS, None)),
        ("products.*.enforce_share", _cap),
        ("products.*.price", _price),
        ("products.*.held", text_or_none),
        ("products.*.replaces", listed),
        ("products.*.on_drift", _drift),
        ("products.*.on_drift_by.*", _drift),
        ("products.*.remind", nothing),
        ("products.*.name", nothing),
        ("items.*.approval", ranked("required", "none")),
        ("items.*.close", ranked("none", "task", "item")),
        ("items.*.reopen", TRUE_IS_WIDER),
        ("items.*.attach_evidence", TRUE_IS_WIDER),
        ("items.*", _entry),
        # what only decides when and where this program runs
        ("schedule.**", nothing),
        ("web.port", nothing),
        ("web.tls_certificate_file", nothing),
        ("web.tls_key_file", nothing),
        ("web.proxies", listed),
        ("web.open_to", listed),
        ("web.open_pages", listed),
        ("audit.key_file", nothing),
        ("sandbox.**", nothing),
    )
)  # fmt: skip


def judge_of(path: tuple[str, ...]) -> Judge | None:
    """The judge of a key, None where the table knows none."""
    return next((judge for pattern, judge in TABLE if fits(pattern, path)), None)


def fits(pattern: tuple[str, ...], path: tuple[str, ...]) -> bool:
    """Whether a path is one that the pattern stands for."""
    if pattern[-1] == "**":
        return len(path) >= len(pattern) and fits(pattern[:-1], path[: len(pattern) - 1])
    return len(pattern) == len(path) and all(a in ("*", b) for a, b in zip(pattern, path, strict=True))
