"""How much of a remote system's quota we let ourselves spend, so that a 429 is rare rather than routine.

A bucket of units that refills evenly. Tokens may go negative, which makes waiting a fair queue. When the server
throttles anyway, rate and size shrink at once and grow back slowly. Safe for threads; one bucket per tenant.
"""

from __future__ import annotations

import threading

from reconciler.clock import Clock

SHRINK = 0.7
REGROW = 0.01
FLOOR = 0.05  # never shrink below this share of the ceiling: it has to grow back within a cycle


class Budget:
    """`units` per `window_s` seconds. Graph counts resource units (graph.md section 10), ServiceNow requests."""

    def __init__(self, units: float, window_s: float, clock: Clock) -> None:
        if units <= 0 or window_s <= 0:
            raise ValueError("a budget needs units and a window above zero")
        self._ceiling, self._window_s, self._clock = units, window_s, clock
        self._size = self._left = units
        self._at = clock.monotonic()
        self._closed_until = 0.0
        self._lock = threading.Lock()

    def take(self, cost: float) -> float:
        """Spend `cost` units; seconds to wait before sending, 0.0 when there is room."""
        with self._lock:
            now = self._refill()
            self._left -= cost
            return max(0.0, self._closed_until - now, -self._left * self._window_s / self._size)

    def throttled(self, after_s: float) -> None:
        """The server said wait: nothing is sent for `after_s` seconds, and less from then on."""
        with self._lock:
            now = self._refill()
            self._closed_until = max(self._closed_until, now + after_s)
            self._size = max(self._ceiling * FLOOR, self._size * SHRINK)
            self._left = min(self._left, 0.0)

    def closed_s(self) -> float:
        """For how many seconds the server wants to be left alone, 0.0 when it does not."""
        with self._lock:
            return max(0.0, self._closed_until - self._clock.monotonic())

    def went_well(self) -> None:
        """A request was served: grow back by one per cent of the ceiling."""
        with self._lock:
            self._size = min(self._ceiling, self._size + self._ceiling * REGROW)

    def remaining_ratio(self) -> float:
        """Share of the ceiling that could be spent at once, in [0, 1]."""
        with self._lock:
            self._refill()
            return min(1.0, max(0.0, self._left / self._ceiling))

    def _refill(self) -> float:
        now = self._clock.monotonic()
        self._left = min(self._size, self._left + (now - self._at) * self._size / self._window_s)
        self._at = now
        return now
