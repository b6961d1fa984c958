"""The limits of "identity and access" as token buckets on the sandbox's clock (graph.md section 10).

Holds, always: a request that is refused costs nothing; levels rise with virtual time only, so a caller that waits as
told gets through.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import NamedTuple

from reconciler.sandbox.graph.answers import Problem

S_USERS_BELOW, M_USERS_UP_TO = 50, 500
RESOURCE_UNITS = {"S": 3_500, "M": 5_000, "L": 8_000}
RESOURCE_WINDOW_S = 10
WRITES, WRITE_WINDOW_S = 3_000, 150
TENANT_WRITES, TENANT_WRITE_WINDOW_S = 18_000, 300
AUDIT_REQUESTS, AUDIT_WINDOW_S = 5, 10
PERCENTAGE_SHOWN_FROM = 0.8


class Cost(NamedTuple):
    """What a request is charged."""

    resource_units: int
    writes: int
    is_audit: bool = False


class Bucket:
    """Tokens that come back evenly."""

    def __init__(self, capacity: float, window_s: float, at: datetime) -> None:
        self.capacity = capacity
        self._rate = capacity / window_s
        self._level = capacity
        self._at = at

    def wait_s(self, amount: float, at: datetime) -> float:
        """Seconds until `amount` is there; 0 is now."""
        self._level = min(self.capacity, self._level + (at - self._at) / timedelta(seconds=1) * self._rate)
        self._at = at
        return max(0.0, (amount - self._level) / self._rate)

    def take(self, amount: float) -> None:
        self._level -= amount

    @property
    def used(self) -> float:
        """Share of the limit that is spent, 0 to 1."""
        return 1 - self._level / self.capacity


class Throttle:
    """The buckets of one tenant."""

    def __init__(self, tenant_id: str) -> None:
        self._tenant_id = tenant_id
        self._buckets: dict[str, Bucket] = {}

    def _bucket(self, name: str, capacity: float, window_s: float, at: datetime) -> Bucket:
        bucket = self._buckets.get(name)
        if bucket is None or bucket.capacity != capacity:  # the tenant outgrew its size
            bucket = self._buckets[name] = Bucket(capacity, window_s, at)
        return bucket

    def charge(self, app_id: str, cost: Cost, *, users: int, at: datetime) -> dict[str, str]:
        """Take the cost from every bucket it belongs to; headers that the answer carries.

        Raises:
            Problem: 429 with Retry-After, nothing taken.
        """
        size = "S" if users < S_USERS_BELOW else "M" if users <= M_USERS_UP_TO else "L"
        units = self._bucket(f"{app_id}/units", RESOURCE_UNITS[size], RESOURCE_WINDOW_S, at)
        charges = [(units, float(cost.resource_units), "Tenant_Application/ReadWrite", "ResourceUnitLimitExceeded")]
        if cost.writes:
            mine = self._bucket(f"{app_id}/writes", WRITES, WRITE_WINDOW_S, at)
            everyone = self._bucket("writes", TENANT_WRITES, TENANT_WRITE_WINDOW_S, at)
            charges.append((mine, float(cost.writes), "Tenant_Application/Write", "WriteLimitExceeded"))
            charges.append((everyone, float(cost.writes), "Tenant/Write", "WriteLimitExceeded"))
        if cost.is_audit:
            audits = self._bucket(f"{app_id}/audits", AUDIT_REQUESTS, AUDIT_WINDOW_S, at)
            charges.append((audits, 1.0, "Tenant_Application/Read", "ResourceUnitLimitExceeded"))
        for bucket, amount, scope, reason in charges:
            if (wait_s := bucket.wait_s(amount, at)) > 0:
                raise throttled(wait_s, scope=f"{scope}/{app_id}/{self._tenant_id}", reason=reason)
        for bucket, amount, _, _ in charges:
            bucket.take(amount)
        headers = {"x-ms-resource-unit": str(cost.resource_units)}
        used = max(bucket.used for bucket, _, _, _ in charges)
        if used > PERCENTAGE_SHOWN_FROM:
            headers["x-ms-throttle-limit-percentage"] = f"{used:.2f}"
        return headers


def throttled(wait_s: float, *, scope: str, reason: str) -> Problem:
    """429, with the seconds to wait, rounded up."""
    return Problem(
        429,
        "TooManyRequests",
        "Too many requests. Please retry after the time in the Retry-After header.",
        headers={
            "Retry-After": str(max(1, math.ceil(wait_s))),
            "x-ms-throttle-scope": scope,
            "x-ms-throttle-information": reason,
        },
    )


def cost_of(base_units: int, writes: int, query: dict[str, str], *, is_audit: bool = False) -> Cost:
    """The charge after modifiers: `$select` -1, `$top` under 20 -1, `$expand` +1, never under 1."""
    units = base_units - ("$select" in query) + ("$expand" in query)
    top = query.get("$top", "")
    if top.isdigit() and int(top) < 20:
        units -= 1
    return Cost(max(1, units), writes, is_audit)
