"""Waits that end when the service has to: a clock that also shows that the loop moves, and a wait for the store."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from reconciler.backoff import delay
from reconciler.clock import Clock, SystemClock
from reconciler.daemon.wishes import Wishes
from reconciler.errors import StoreUnusable
from reconciler.health import STORE, Health

T = TypeVar("T")
BEAT_EVERY_S = 5.0
STORE_MAX_S = 30.0  # between two looks at a store that cannot be used


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


def once_usable(
    opened: Callable[[], T],
    health: Health,
    wishes: Wishes,
    wall: Clock,
    *,
    meanwhile: Callable[[], None] = lambda: None,
) -> T:
    """What `opened` gives, as soon as the store can be used; `meanwhile` is called before each wait.

    Raises:
        Stopping: the service has to end before that. What cannot mend itself is raised as it is.
    """
    attempt = 0
    while True:
        try:
            found = opened()
        except StoreUnusable as error:
            attempt += 1
            health.bad(STORE, "not started yet", wall.now(), why=str(error))
            meanwhile()
            wishes.wait(delay(attempt, cap_s=STORE_MAX_S))
            wishes.check()
            continue
        health.good(STORE, wall.now())
        return found
