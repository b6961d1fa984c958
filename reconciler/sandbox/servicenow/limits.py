"""What the instance lets in: hourly rules, semaphores, and one transaction at a time per session.

Source: servicenow.md section 13. Requests of one session queue up behind each other; what finds the queue full is
dropped with 202. Requests of all sessions share the semaphores; what finds those full is refused with a bare 429.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from reconciler.sandbox.servicenow import trouble
from reconciler.sandbox.servicenow.instance import Instance

Refusal = Literal["202_drop", "429_semaphore"]
_API_NAMES = {
    "table": "Table API",
    "stats": "Aggregate API",
    "attachment": "Attachment API",
    "batch": "Batch API",
    "servicecatalog": "Service Catalog API",
}


class Doors:
    """Counts requests that are inside, by session. It has a lock of its own: whoever waits must be countable."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_session: Counter[str] = Counter()
        self._inside = 0

    def inside(self, session: str = "") -> int:
        """Requests at work or waiting, of one session or of all."""
        with self._lock:
            return self._by_session[session] if session else self._inside

    @contextmanager
    def enter(self, session: str, instance: Instance) -> Iterator[Refusal | None]:
        """Step inside; yields why there was no room, or None. An empty session shares nothing."""
        switches = instance.switches
        with self._lock:
            refusal: Refusal | None = None
            if session and self._by_session[session] >= 1 + switches.session_queue:
                refusal = "202_drop"
            elif self._inside >= switches.semaphores + switches.semaphore_queue:
                refusal = "429_semaphore"
            if refusal is None:
                self._inside += 1
                self._by_session[session] += 1
        try:
            yield refusal
        finally:
            if refusal is None:
                with self._lock:
                    self._inside -= 1
                    self._by_session[session] -= 1
                    if not self._by_session[session]:
                        del self._by_session[session]


def count_request(instance: Instance, user_name: str, api: str) -> dict[str, str]:
    """Count a request against the hourly rule and return the headers of its answer; none without a rule.

    Raises:
        ApiError: 429 once the rule is used up.
    """
    limit = instance.switches.rate_limit_per_hour
    if limit is None:
        return {}
    hour = int(instance.now().timestamp()) // trouble.HOUR_S
    key = f"{user_name} {api}"
    counted = instance.rate_counts.get(key, [hour, 0])
    used = counted[1] if counted[0] == hour else 0
    if used >= limit:
        raise trouble.rate_limited(instance, limit=limit, api=_API_NAMES.get(api, api))
    instance.rate_counts[key] = [hour, used + 1]
    return trouble.rate_headers(instance, limit=limit)
