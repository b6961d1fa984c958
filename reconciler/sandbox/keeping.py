"""Watches over a world that is kept on disk: what may have changed it is followed by keeping it."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

import httpx

from reconciler.sandbox import hosts
from reconciler.sandbox.transport import SandboxTransport
from reconciler.sandbox.world import World

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def may_change(method: str) -> bool:
    """Whether a request of this method may leave the world another than it was."""
    return method not in SAFE_METHODS


class Watch:
    """Tells, after a request to a service, whether the world may be another than before it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._signed_in = world.signins.changes

    def saw_change(self, method: str, *, is_login: bool) -> bool:
        """Sign-in counts its changes: most of its POSTs (tokens for programs) leave nothing, and a GET may."""
        return self._world.signins.changes != self._signed_in if is_login else may_change(method)


class Kept(Protocol):
    """A world that can be replaced, and who keeps it."""

    world: World

    def written(self) -> None: ...
    def changed(self) -> None: ...


class KeptClock:
    """The clock of the world that is owned now, also after a reset."""

    def __init__(self, owned: Kept) -> None:
        self._owned = owned

    def now(self) -> datetime:
        return self._owned.world.clock.now()

    def monotonic(self) -> float:
        return self._owned.world.clock.monotonic()

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            self._owned.world.clock.sleep(seconds)
            self._owned.changed()


class KeepingTransport(httpx.BaseTransport):
    """The world in this process, kept after each request that may have changed it."""

    def __init__(self, owned: Kept) -> None:
        self._owned = owned
        self._world = owned.world
        self._inner = SandboxTransport(owned.world)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if self._world is not self._owned.world:
            self._world = self._owned.world
            self._inner = SandboxTransport(self._world)
        watch = Watch(self._world)
        try:
            return self._inner.handle_request(request)
        finally:  # a reply that is lost on purpose leaves a change too
            is_login = request.url.host in {hosts.LOGIN_HOST, hosts.IMDS_HOST}
            if watch.saw_change(request.method, is_login=is_login):
                self._owned.written()
