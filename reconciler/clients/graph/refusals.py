"""Why Graph refused a licence, location or membership change: the one table of message patterns. Pure.

Every business refusal is `400 Request_BadRequest`; only the message tells them apart, and Microsoft may reword it.
What no pattern knows is UNKNOWN: refused, reason unknown, never guessed. Source: graph.md sections 6 and 8.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from desired_state.model import PlanId, SkuId

_GUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)


class RefusalReason(StrEnum):
    USAGE_LOCATION = "usage_location"  # missing, invalid, or set but not replicated yet
    NOT_ALLOWED_THERE = "not_allowed_there"  # `plans`: what the usage location does not allow; another may
    NO_SEAT = "no_seat"
    UNKNOWN_SKU = "unknown_sku"
    NOT_HELD = "not_held"  # to be removed, but not there: the wish is fulfilled
    INHERITED = "inherited"  # from a group; can also hide a dependency
    EMPTY = "empty"
    EXCLUSIVE = "exclusive"  # `plans` are the two that exclude each other
    DEPENDENCY = "dependency"  # `plans`: the dependent one, then those it needs
    LOCK = "lock"  # another licence write of the tenant is running
    BAD_GUID = "bad_guid"
    SYNCED = "synced"  # mastered on-premises
    MAIL_GROUP = "mail_group"  # membership belongs to Exchange
    DYNAMIC_GROUP = "dynamic_group"
    ALREADY_MEMBER = "already_member"  # the wish is fulfilled
    PROXY_ADDRESS = "proxy_address"  # an unrelated conflict of the whole object
    BAD_PLAN = "bad_plan"  # disabledPlans names a plan that the SKU does not have
    NO_PERMISSION = "no_permission"
    NO_OBJECT = "no_object"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refusal as far as it can be read. Ids are in the order of the message, lower case."""

    reason: RefusalReason
    plans: tuple[PlanId, ...] = ()
    sku: SkuId | None = None


R = RefusalReason
# In this order: the first that matches wins.
PATTERNS: tuple[tuple[re.Pattern[str], RefusalReason], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), reason)
    for pattern, reason in (
        (r"concurrent requests being made to the tenant", R.LOCK),
        (r"mutually exclusive", R.EXCLUSIVE),
        (r"depends on the service plan", R.DEPENDENCY),
        # The wire's own word is the state's (section 7); the sentence is not published, so its usual shapes are.
        (r"prohibited ?in ?(?:the |this )?usage ?location", R.NOT_ALLOWED_THERE),
        (
            r"(?:not|n.t|cannot) (?:be )?(?:allowed|available|permitted|supported|offered|valid|assigned|used)"
            r" (?:in|for)[^.]{0,40}(?:usage ?location|country|region)",
            R.NOT_ALLOWED_THERE,
        ),
        (r"(?:restricted|blocked|prohibited) (?:in|for|by)[^.]{0,40}usage ?location", R.NOT_ALLOWED_THERE),
        (r"invalid[^.]{0,60}usage ?location", R.USAGE_LOCATION),
        (r"does not have any available licen[sc]es", R.NO_SEAT),
        (r"does not correspond to a valid company licen[sc]e", R.UNKNOWN_SKU),
        (r"does not have a corresponding licen[sc]e", R.NOT_HELD),
        (r"inherited from a group membership", R.INHERITED),
        (r"no licen[sc]e changes provided", R.EMPTY),
        (r"cannot convert the literal .*edm\.guid", R.BAD_GUID),
        (r"on-premises mastered directory sync objects", R.SYNCED),
        (r"cannot update a mail-enabled security groups?", R.MAIL_GROUP),
        (r"dynamic member", R.DYNAMIC_GROUP),
        (r"added object references already exist", R.ALREADY_MEMBER),
        (r"same value for property proxyaddresses", R.PROXY_ADDRESS),
        (r"(?:disabled ?plans?|service ?plan).*(?:not (?:part of|in|valid for)|does not (?:belong|exist))", R.BAD_PLAN),
        (r"insufficient privileges", R.NO_PERMISSION),
        (r"does not exist or one of its queried reference-property objects", R.NO_OBJECT),
    )
)
_WITH_PLANS = (R.EXCLUSIVE, R.DEPENDENCY, R.BAD_PLAN, R.NOT_ALLOWED_THERE)
_WITH_SKU = (R.NO_SEAT, R.UNKNOWN_SKU)


def read_refusal(status: int, code: str, message: str) -> Refusal:
    """Say why, from the status, `error.code` and `error.message` of a reply. UNKNOWN when nothing is recognised.

    The code decides where it is specific; the message only where it is the sole discriminator.
    """
    if code.lower() == "directory_concurrencyviolation":
        return Refusal(R.LOCK)
    if status == 403 or code.lower() == "authorization_requestdenied":
        return Refusal(R.NO_PERMISSION)
    if status == 404 or code.lower() == "request_resourcenotfound":
        return Refusal(R.NO_OBJECT)
    for pattern, reason in PATTERNS:
        if pattern.search(message):
            ids = tuple(dict.fromkeys(found.lower() for found in _GUID.findall(message)))
            plans = tuple(PlanId(found) for found in ids) if reason in _WITH_PLANS else ()
            sku = SkuId(ids[0]) if reason in _WITH_SKU and ids else None
            return Refusal(reason, plans, sku)
    return Refusal(R.UNKNOWN)
