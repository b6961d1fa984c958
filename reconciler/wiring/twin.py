"""The sandbox under the service: owned by this process, on its ports, with its clock running; or another process's.

Where `reconciler sandbox serve` has it already, the service is one client more, and the clock is turned over there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from reconciler.clock import Clock, SystemClock
from reconciler.config import Settings
from reconciler.errors import UserError
from reconciler.sandbox.ticker import running
from reconciler.wiring.systems import prepare_twin, sandbox_state, sandbox_world

FOLLOW_S = 0.1


@dataclass(frozen=True)
class ServedTwin:
    """The sandbox's addresses and credentials by name, and its clock, which this process reads without a request."""

    line: Mapping[str, str]
    clock: Clock


class FollowedClock:
    """The clock of a world that another process owns, asked a few times a second; a wait turns it there."""

    def __init__(self, inner: Clock, wall: Clock) -> None:
        self._inner, self._wall = inner, wall
        self._start = self._last = inner.now()
        self._asked_s = wall.monotonic()

    def now(self) -> datetime:
        if self._wall.monotonic() - self._asked_s >= FOLLOW_S:
            self._ask()
        return self._last

    def monotonic(self) -> float:
        return (self.now() - self._start).total_seconds()

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            self._inner.sleep(seconds)
            self._ask()

    def _ask(self) -> None:
        self._last, self._asked_s = max(self._last, self._inner.now()), self._wall.monotonic()


@contextmanager
def followed_sandbox(settings: Settings) -> Iterator[ServedTwin | None]:
    """The sandbox that another process serves, for a block; None when nobody does."""
    remote = sandbox_state(settings).served()
    if remote is None:
        yield None
        return
    try:
        yield ServedTwin({}, FollowedClock(remote.clock, SystemClock()))
    finally:
        remote.close()


@contextmanager
def served_sandbox(settings: Settings, *, port: int = 0) -> Iterator[ServedTwin]:
    """Serve the sandbox for a block. Everything but its clock is reached over TLS.

    Raises UserError when the world is in use or damaged, or a port is taken.
    """
    with sandbox_world(settings, story=None) as owned:
        prepare_twin(owned, settings)

        def turn(by: timedelta) -> datetime:
            owned.world.clock.advance(by)
            return owned.now()

        try:
            with owned.serving(port=port) as ports, running(turn, speed=settings.sandbox.speed, wall=SystemClock()):
                yield ServedTwin(ports.line(), owned.clock)
        except OSError as error:
            raise UserError(f"the sandbox's ports cannot be used: {error.strerror or error}", exit_code=1) from None
