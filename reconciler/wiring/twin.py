"""The sandbox under the service: owned by this process, on its ports, with its clock running."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta

from reconciler.clock import SystemClock
from reconciler.config import Settings
from reconciler.errors import UserError
from reconciler.sandbox.ticker import running
from reconciler.wiring.systems import prepare_twin, sandbox_world


@contextmanager
def served_sandbox(settings: Settings, *, port: int = 0) -> Iterator[Mapping[str, str]]:
    """Serve the sandbox for a block; its addresses and credentials by name. Everything else reaches it over TLS.

    Raises UserError when the world is in use or damaged, or a port is taken.
    """
    with sandbox_world(settings, story=None) as owned:
        prepare_twin(owned, settings)

        def turn(by: timedelta) -> datetime:
            owned.world.clock.advance(by)
            return owned.now()

        try:
            with owned.serving(port=port) as ports, running(turn, speed=settings.sandbox.speed, wall=SystemClock()):
                yield ports.line()
        except OSError as error:
            raise UserError(f"the sandbox's ports cannot be used: {error.strerror or error}", exit_code=1) from None
