"""Lets a sandbox's clock run by itself, for a service that is watched rather than told to advance.

The world's clock is turned by the machine's time times `speed`, a few times a second; nothing else waits on this.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from reconciler.clock import Clock

STEP_S = 0.25


@contextmanager
def running(turn: Callable[[timedelta], object], *, speed: float, wall: Clock) -> Iterator[None]:
    """For this block, turn the clock by calling `turn` (`World.clock.advance`); `speed` 1 is real time, 0 stands still.

    Raises ValueError when `speed` is negative.
    """
    if speed < 0:
        raise ValueError("a clock is never turned back: speed is 0 or more")
    stopped = threading.Event()

    def tick() -> None:
        seen = wall.monotonic()
        while not stopped.wait(STEP_S):
            now = wall.monotonic()
            turn(timedelta(seconds=(now - seen) * speed))
            seen = now

    thread = threading.Thread(target=tick, name="sandbox-clock", daemon=True)
    if speed:
        thread.start()
    try:
        yield
    finally:
        stopped.set()
        if speed:
            thread.join()
