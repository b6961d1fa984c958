"""What systemd is told: that we are ready, that we move, what we do. One datagram each, nothing where nobody listens.

Source: sd_notify(3) and sd_watchdog_enabled(3), the protocol and the variables NOTIFY_SOCKET, WATCHDOG_USEC,
WATCHDOG_PID.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

TELL_S = 0.5


class Systemd:
    """The manager of this service, if there is one."""

    def __init__(self, env: Mapping[str, str]) -> None:
        address = env.get("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        usec, pid = env.get("WATCHDOG_USEC", ""), env.get("WATCHDOG_PID", "")
        is_ours = pid in ("", str(os.getpid()))
        self.watchdog_s = int(usec) / 1_000_000 if usec.isdigit() and is_ours else 0.0

    def tell(self, *lines: str) -> None:
        """Send these assignments, as "READY=1". What cannot be sent is not missed."""
        if not self._address:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as to:
            to.settimeout(TELL_S)  # a manager that does not read would hold us for ever
            to.sendto("\n".join(lines).encode(), self._address)

    @contextmanager
    def watched(self, is_alive: Callable[[], bool]) -> Iterator[None]:
        """For this block, say that we move, while `is_alive` says so: a loop that hangs is started anew."""
        if not self.watchdog_s:
            yield
            return
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(self.watchdog_s / 3):
                if is_alive():
                    self.tell("WATCHDOG=1")

        thread = threading.Thread(target=watch, name="watchdog", daemon=True)
        self.tell("WATCHDOG=1")
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(5)
