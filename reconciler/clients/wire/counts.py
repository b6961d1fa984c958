"""What was sent, for reports, metrics and logs. Safe for threads."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime

from reconciler.clients.wire.words import http_date


@dataclass(frozen=True, slots=True)
class Exchange:
    """One try of a request and what came of it. `status` 0: no reply. Holds no address, body or secret.

    `is_sent` False: nothing of it left this machine, so it counts for the system's health and not as a request.
    """

    system: str
    operation: str
    method: str
    status: int
    seconds: float
    request_id: str
    client_request_id: str
    attempt: int
    is_write: bool
    is_sent: bool = True


class Counts:
    """Requests sent to one system, and how many of them were writes. A retry counts again; what never left does not."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests = 0
        self._writes = 0
        self._said: tuple[datetime, float] | None = None

    @property
    def requests(self) -> int:
        return self._requests

    @property
    def writes(self) -> int:
        return self._writes

    def dated(self, date: str, monotonic: float) -> None:
        """An answer has just come that says when it was made (RFC 9110, 6.6.1); what is no date says nothing."""
        at = http_date(date)
        if at is not None:
            self._said = at, monotonic

    def skew_s(self, now: datetime, monotonic: float) -> float | None:
        """Seconds that the system's clock is ahead of `now`; None before an answer was dated.

        Its time goes on by the monotonic clock, so a clock of ours that jumps shows before the next answer.
        """
        if self._said is None:
            return None
        at, then = self._said
        return (at - now).total_seconds() + (monotonic - then)

    def add(self, *, is_write: bool) -> None:
        with self._lock:
            self._requests += 1
            self._writes += is_write
