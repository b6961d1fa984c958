"""The sandbox under the service: owned by this process, on its ports, with its clock running."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from reconciler.clock import Clock, SystemClock
from reconciler.config import Settings
from reconciler.errors import UserError
from reconciler.sandbox.ticker import running
from reconciler.wiring.systems import prepare_twin, sandbox_world


@dataclass(frozen=True)
class ServedTwin:
    """The sandbox's addresses and credentials by name, and its clock, which this process reads without a request."""

    line: Mapping[str, str]
    clock: Clock


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
