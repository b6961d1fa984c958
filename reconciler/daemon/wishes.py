"""What is wanted of the service from outside its loop: to stop, to look, to read its configuration again.

Signals, pages and tests all come through here. Nothing in it takes a lock, so a signal may arrive at any moment; the
loop waits on a pipe, which a single byte ends.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

GRACE_S = 6.0  # after a stop was asked for, a request that is under way may end by itself for so long


class Stopping(BaseException):
    """The service ends here: between two writes, or in a wait. Nothing is half done."""


class Wishes:
    """Flags that are only ever read and set, and a bell."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.is_stopping = False
        self._look = self._reload = False

    def stop(self) -> None:
        """End as soon as nothing is under way."""
        self.is_stopping = True
        self._ring()

    def look(self) -> None:
        """Tickets may have moved."""
        self._look = True
        self._ring()

    def reload(self) -> None:
        """The configuration may be another one."""
        self._reload = True
        self._ring()

    def take_look(self) -> bool:
        """Whether somebody wants us to look; they are answered by this."""
        wanted, self._look = self._look, False
        return wanted

    def take_reload(self) -> bool:
        """The same for the configuration."""
        wanted, self._reload = self._reload, False
        return wanted

    @property
    def is_wanted(self) -> bool:
        """Whether anything waits to be taken."""
        return self._look or self._reload

    def wait(self, seconds: float) -> None:
        """Return after so long, or as soon as something is wanted."""
        if seconds > 0:
            select.select([self._read], [], [], seconds)
        with suppress(BlockingIOError):
            while os.read(self._read, 512):
                pass

    def check(self) -> None:
        """Raise Stopping when the service has to end."""
        if self.is_stopping:
            raise Stopping

    def close(self) -> None:
        """Give the pipe back."""
        os.close(self._read)
        os.close(self._write)

    def _ring(self) -> None:
        with suppress(BlockingIOError, OSError):  # full: it rings already
            os.write(self._write, b"!")


@contextmanager
def signals(wishes: Wishes, hard: Callable[[], BaseException]) -> Iterator[None]:
    """For this block, SIGTERM and SIGINT stop, SIGHUP reloads. Only in the main thread.

    A second signal, or GRACE_S after the first, ends what is under way by raising `hard()`, through every `finally`.
    """

    def on_stop(_number: int, _frame: FrameType | None) -> None:
        if wishes.is_stopping:
            raise hard()
        signal.setitimer(signal.ITIMER_REAL, GRACE_S)
        wishes.stop()

    def on_alarm(_number: int, _frame: FrameType | None) -> None:
        raise hard()

    def on_hangup(_number: int, _frame: FrameType | None) -> None:
        wishes.reload()

    handlers = {
        signal.SIGTERM: on_stop,
        signal.SIGINT: on_stop,
        signal.SIGHUP: on_hangup,
        signal.SIGALRM: on_alarm,
    }
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
