"""What the faults of servicenow.md section 17 do, apart from those that a single answer settles.

A fault that is not meant for a request does nothing, so a schedule may name any route.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import httpx

from reconciler.sandbox.servicenow.answers import ApiError, answer, envelope, html
from reconciler.sandbox.servicenow.instance import Instance
from reconciler.sandbox.servicenow.selecting import Found
from reconciler.sandbox.servicenow.stamps import plus, stamp

HOUR_S: Final = 3600
THROTTLED_S: Final = 30

WRITES = frozenset({"POST", "PATCH", "PUT"})


def instead(instance: Instance, fault: str) -> httpx.Response | None:
    """The answer of a fault that keeps the request from being done, or None."""
    match fault:
        case "429_rule":
            return rate_limited(instance, limit=100, api="Table API").answer()
        case "throttled":  # the common fault: the same words, and a wait that does not last for most of an hour
            refused = rate_limited(instance, limit=100, api="Table API")
            refused.headers["Retry-After"] = str(THROTTLED_S)
            return refused.answer()
        case "429_semaphore":
            return answer(429)
        case "202_drop":
            return answer(202)
        case "200_html_hibernate":
            return html(200, "Instance Hibernating page", "Your instance is hibernating")
        case "503_html":
            return html(503, "Service unavailable", "The instance is under maintenance")
        case "unavailable":
            return answer(503, envelope("Service unavailable", "The instance has no capacity"))
        case "server_error":
            return answer(500, envelope("Internal server error", "Unexpected exception"))
        case "bad_gateway":
            return html(502, "Bad gateway", "Bad gateway")
        case _:
            return None


def afterwards(fault: str, method: str, response: httpx.Response) -> httpx.Response:
    """The answer of a fault that strikes once the request is done.

    Raises:
        httpx.TransportError: the answer never arrives.
    """
    match fault:
        case "403_but_done" if method in WRITES and response.is_success:
            detail = f"ACL Exception {'Insert' if method == 'POST' else 'Update'} Failed due to security constraints"
            return answer(403, envelope("Operation Failed", detail))
        case "done_then_500":
            return answer(500, envelope("Internal server error", "Unexpected exception"))
        case "done_then_504":
            return html(504, "Gateway timeout", "Gateway timeout")
        case "reply_lost":
            raise httpx.RemoteProtocolError("the connection was closed before an answer came")
        case "reply_timeout":
            raise httpx.ReadTimeout("no answer came in time")
        case _:
            return response


def rate_limited(instance: Instance, *, limit: int, api: str) -> ApiError:
    """429 of a rate-limit rule: the counter starts again with the hour (section 13)."""
    now = int(instance.now().timestamp())
    reset = (now // HOUR_S + 1) * HOUR_S
    detail = f"Rate limit of {limit} requests per hour for {api} exceeded"
    headers = {**rate_headers(instance, limit=limit), "Retry-After": str(reset - now)}
    return ApiError(429, "Rate limit exceeded", detail, headers=headers)


def rate_headers(instance: Instance, *, limit: int) -> dict[str, str]:
    """Headers of every answer under a rule; there is no header with what remains."""
    now = int(instance.now().timestamp())
    return {
        "X-RateLimit-Limit": str(limit),
        "X-RateLimit-Reset": str((now // HOUR_S + 1) * HOUR_S),
        "X-RateLimit-Rule": "5b1c4ac6c0a8016400b6f2a1d0c3e7f9",
    }


def disturb_before(instance: Instance, found: Found, faults: Collection[str]) -> bool:
    """Let rows change before a page is cut; whether any did, so that the query must run again."""
    before = instance.truth.version, len(instance.hidden_until)
    if "same_second_burst" in faults:
        for table, row in found[: instance.switches.burst_rows]:
            instance.truth.touch(table, row["sys_id"])
    if "late_visible_row" in faults:
        _commit_late(instance, found)
    return (instance.truth.version, len(instance.hidden_until)) != before


def disturb_after(instance: Instance, page: Found, faults: Collection[str]) -> None:
    """Let the first row of a page be touched once it was read: what follows moves up by one (section 4)."""
    if "row_moves_while_paging" in faults and page:
        table, row = page[0]
        instance.truth.touch(table, row["sys_id"])


def _commit_late(instance: Instance, found: Found) -> None:
    """Hold back one row whose transaction may still be open; it will show with the stamp it has now (section 6)."""
    late_s = instance.switches.late_visible_s
    now = stamp(instance.now())
    recent = [row for _, row in found if row.get("sys_updated_on") and plus(row["sys_updated_on"], late_s) > now]
    for row in sorted(recent, key=lambda row: (row["sys_updated_on"], row["sys_id"]))[:1]:
        instance.hidden_until[row["sys_id"]] = plus(row["sys_updated_on"], late_s)
