"""Whether changed rules allow more. Pure.

A rule that denies, holds or asks restricts: less of it is wider. A rule that approves by itself, or lets an opener
approve, permits: more of it is wider. A key that is not listed here counts as wider when it changes.
"""

from __future__ import annotations

from reconciler.governance.judges import (
    FALSE_IS_WIDER,
    TRUE_IS_WIDER,
    WIDER,
    Judge,
    denied,
    denied_or_all,
    less,
    listed,
    listed_or_any,
    more,
    nothing,
    ranked,
)


def _threshold(before: object, after: object) -> str:
    """A price from which on somebody is asked; without one the rule is about something else."""
    return more(before, after) if isinstance(before, str) and isinstance(after, str) else WIDER


RESTRICTING = {"eligibility", "role_product", "conflict", "end_date_required", "stage_required", "deny"}
PERMITTING = {"auto_approve", "opener_approves"}
_PEOPLE = ("departments", "cost_centers", "employee_types", "countries", "titles", "groups")
_ABOUT = {"products": denied_or_all, "sentence": nothing}

KEYS: dict[str, dict[str, Judge]] = {
    "eligibility": {**_ABOUT, **dict.fromkeys(_PEOPLE, listed_or_any)},
    "role_product": {"titles": denied, "instead_of": denied},
    "conflict": {"products": denied, "sentence": nothing},
    "end_date_required": {**_ABOUT, "employee_types": denied_or_all, "max_days": more},
    "stage_required": {
        **_ABOUT,
        "price_above": _threshold,
        "quorum": less,
        "ticket_approval_suffices": TRUE_IS_WIDER,
        "assurance": ranked("strong", "medium", "low"),
        "comment": FALSE_IS_WIDER,
    },
    "deny": {**_ABOUT, "users": denied, "domains": denied, "departments": denied, "groups": denied},
    "auto_approve": {
        **dict.fromkeys(_PEOPLE, listed_or_any),
        "products": listed_or_any,
        "changes": listed_or_any,
        "price_max": more,
        "per_day": more,
        "cost_per_day": more,
        "sample_percent": less,
    },
    "opener_approves": {"products": listed_or_any, "openers": listed, "price_max": more},
}


def judge_of_rule(kind: str, key: str) -> Judge | None:
    """The judge of one key of a rule of this kind, None where it is not known."""
    return KEYS.get(kind, {}).get(key)
