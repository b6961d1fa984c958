"""The Aggregate API: counts and sums, grouped or not.

Source: servicenow.md section 11: every number is text; nothing is computed without `sysparm_count` or
`sysparm_<aggregate>_fields`; groups come as a list with `groupby_fields`. Rows are counted before access rules, like
`X-Total-Count`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx

from reconciler.sandbox.servicenow.answers import ApiError, Call, answer, invalid_table
from reconciler.sandbox.servicenow.instance import Instance
from reconciler.sandbox.servicenow.listing import counted_of, matching
from reconciler.sandbox.servicenow.paths import resolve
from reconciler.sandbox.servicenow.selecting import Found, Selector

_AGGREGATES: dict[str, Callable[[list[float]], float]] = {
    "min": min,
    "max": max,
    "sum": sum,
    "avg": lambda values: sum(values) / len(values),
}


class StatsApi:
    """Handles `/stats/{table}`."""

    def __init__(self, instance: Instance, selector: Selector) -> None:
        self._instance = instance
        self._selector = selector

    def handle(self, call: Call) -> httpx.Response:
        """Answer one call.

        Raises:
            ApiError: 400 for an unknown table, 405 for anything but a read.
        """
        if call.method not in {"GET", "HEAD"}:
            raise ApiError(405, "Method not supported", call.method)
        if len(call.path) != 1 or not self._instance.schema.has(call.path[0]):
            raise invalid_table("/".join(call.path))
        table = call.path[0]
        found = counted_of(self._instance, call, matching(self._selector, self._instance, table, call))
        names = [name.strip() for name in call.param("sysparm_group_by").split(",") if name.strip()]
        paths = [path for name in names if (path := resolve(self._instance.truth, table, name)) is not None]
        if not paths:
            return answer(200, {"result": {"stats": self._stats(call, table, found)}})
        groups: dict[tuple[str, ...], Found] = {}
        for pair in found:
            groups.setdefault(tuple(path.value(pair[1]) for path in paths), []).append(pair)
        result = [
            {
                "stats": self._stats(call, table, rows),
                "groupby_fields": [
                    {"field": path.text, "value": value} for path, value in zip(paths, key, strict=True)
                ],
            }
            for key, rows in sorted(groups.items())
        ]
        return answer(200, {"result": result})

    def _stats(self, call: Call, table: str, found: Found) -> dict[str, Any]:
        stats: dict[str, Any] = {}
        if call.flag("sysparm_count"):
            stats["count"] = str(len(found))
        for aggregate, compute in _AGGREGATES.items():
            fields = [name.strip() for name in call.param(f"sysparm_{aggregate}_fields").split(",") if name.strip()]
            for field in fields:
                path = resolve(self._instance.truth, table, field)
                if path is None:
                    continue
                values = [number for _, row in found if (number := _number(path.value(row))) is not None]
                stats.setdefault(aggregate, {})[field] = f"{compute(values):g}" if values else ""
        return stats


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
