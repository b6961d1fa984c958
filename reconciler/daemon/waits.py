"""A clock whose waits end when the service has to, and which shows that the loop moves."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from reconciler.clock import Clock, SystemClock
from reconciler.daemon.wishes import Wishes

BEAT_EVERY_S = 5.0


class Stoppable:
    """The tenant's clock in a cycle. Every request asks it to wait, if only for nothing: so it is asked often."""

    def __init__(self, inner: Clock, wishes: Wishes, beat: Callable[[], None]) -> None:
        self._inner, self._wishes, self._beat = inner, wishes, beat

    def now(self) -> datetime:
        return self._inner.now()

    def monotonic(self) -> float:
        return self._inner.monotonic()

    def sleep(self, seconds: float) -> None:
        """Raises Stopping as soon as the service has to end."""
        self._beat()
        self._wishes.check()
        if not isinstance(self._inner, SystemClock):  # a sandbox's clock is turned by a wait: nothing to interrupt
            self._inner.sleep(seconds)
            return
        until = self._inner.monotonic() + seconds
        while (left := until - self._inner.monotonic()) > 0:
            self._wishes.wait(min(left, BEAT_EVERY_S))
            self._beat()
            self._wishes.check()
