"""The sandbox's world between commands: kept on disk, owned by one process, reachable by the others.

`world.json` is written whole to a temporary file, synced and renamed, so a crash leaves the old world or the new one.
A lock on `world.lock` says which process owns it. While the owner serves, `control.json` (0600) tells others where;
they then work on the owner's world through its ports. A write that a client was told of is kept before the answer
leaves; a large world is saved less often (`SAVE_SHARE`), which is for load tests only.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from reconciler.clock import Clock, SystemClock
from reconciler.sandbox import hosts
from reconciler.sandbox.control import ControlClient, ControlService, RemoteClock
from reconciler.sandbox.server import SAFE_METHODS, Services, Serving
from reconciler.sandbox.status import status
from reconciler.sandbox.stories import build
from reconciler.sandbox.tls import client_context
from reconciler.sandbox.transport import SandboxTransport
from reconciler.sandbox.world import World
from reconciler.sandbox.world_file import DamagedWorld, keep_world, read_world, write_atomically

PATIENCE_S = 15.0
SAVE_SHARE = 0.2  # at most this share of the time goes into saving after single writes


class WorldBusy(RuntimeError):
    """Another process owns the world and does not serve it."""


@dataclass(frozen=True)
class Addresses:
    """Where a client finds each system. `graph` ends in /v1.0."""

    graph: str
    login: str
    servicenow: str
    teams: str
    mail: str


IN_PROCESS = Addresses(
    graph=f"{hosts.GRAPH_URL}/v1.0",
    login=hosts.LOGIN_URL,
    servicenow=hosts.SERVICENOW_URL,
    teams="https://teams.contoso.invalid",
    mail="https://mail.contoso.invalid",
)


class Owned:
    """A world that this process owns. `clock` is the world's."""

    def __init__(self, directory: Path, world: World, story: str, *, wall: Clock) -> None:
        self.world = world
        self.story = story
        self.addresses = IN_PROCESS
        self.writes = 0
        self._directory = directory
        self._wall = wall
        self._saving = threading.Lock()
        self._services: Services | None = None
        self._saved_at = wall.monotonic()
        self._save_took_s = 0.0

    @property
    def clock(self) -> Clock:
        return self.world.clock

    def transport(self) -> httpx.BaseTransport:
        """The services in this process, by the hosts of `addresses`; each write is kept before it is answered."""
        return _Keeping(self)

    def now(self) -> datetime:
        return self.world.clock.now()

    def advance(self, by: timedelta) -> datetime:
        """Turn the clock, let what is due happen, keep the world. Raises ValueError when `by` is negative."""
        self.world.clock.advance(by)
        self.save()
        return self.now()

    def status(self) -> dict[str, Any]:
        """The figures of `status.status`, and the story and the write requests this process has seen."""
        return {"story": self.story, **status(self.world), "writes": self.writes}

    def reset(self, story: str | None = None) -> None:
        """Start over, with another story when one is named. Raises ValueError for an unknown story."""
        self.story = story or self.story
        self.world = build(self.story)
        if self._services is not None:
            self._services.replace(self.world)
        self.save()

    def save(self) -> None:
        """Keep the world as it is now."""
        with self._saving:
            began = self._wall.monotonic()
            keep_world(self._directory / "world.json", self.world, self.story)
            self._saved_at = self._wall.monotonic()
            self._save_took_s = self._saved_at - began

    def written(self) -> None:
        """A client wrote something: keep it, unless keeping is so slow that it would take over (`SAVE_SHARE`)."""
        self.writes += 1
        if self._wall.monotonic() - self._saved_at >= self._save_took_s / SAVE_SHARE or self._save_took_s < 0.05:
            self.save()

    @contextmanager
    def serving(self, *, port: int = 0) -> Iterator[Serving]:
        """Serve the world on loopback ports, and let other processes control it, until the block ends.

        Raises OSError when a port is taken.
        """
        token = secrets.token_urlsafe(32)
        self._services = Services(self.world, on_write=self.written)
        control_file = self._directory / "control.json"
        extra = {"control": ControlService(self, token)}
        try:
            with Serving(self._services, directory=self._directory, port=port, extra=extra) as ports:
                known = {**ports.line(), "control": ports.extra["control"], "token": token, "pid": os.getpid()}
                write_atomically(control_file, json.dumps(known).encode())
                yield ports
        finally:
            control_file.unlink(missing_ok=True)
            self._services = None


class Remote:
    """A world that another process owns and serves; the same words as `Owned`, over its ports."""

    def __init__(self, known: dict[str, Any]) -> None:
        self._tls = client_context(Path(known["ca_file"]))
        self.addresses = Addresses(**{name: known[name] for name in Addresses.__dataclass_fields__})
        self.ca_file = Path(known["ca_file"])
        self._control = ControlClient(known["control"], known["token"], transport=self.transport())
        self.clock: Clock = RemoteClock(self._control)

    def transport(self) -> httpx.BaseTransport:
        """A transport that trusts the sandbox's authority and nothing else."""
        return httpx.HTTPTransport(verify=self._tls, trust_env=False)

    def now(self) -> datetime:
        return self._control.now()

    def advance(self, by: timedelta) -> datetime:
        """As `Owned.advance`."""
        return self._control.advance(by)

    def status(self) -> dict[str, Any]:
        """As `Owned.status`."""
        return self._control.status()

    def reset(self) -> None:
        """Start the same story over; the serving process chose it."""
        self._control.reset()

    def close(self) -> None:
        self._control.close()


class SandboxState:
    """The state directory of one sandbox."""

    def __init__(self, directory: Path, *, wall: Clock | None = None) -> None:
        """`wall` is the machine's clock, for waiting on another process only."""
        self._directory = directory
        self._wall = wall or SystemClock()

    @contextmanager
    def open(self, *, story: str | None = None, fresh: bool = False, patience_s: float = PATIENCE_S) -> Iterator[Owned]:
        """Own the world for this block; it is kept when the block ends, also by an exception or SIGTERM.

        A world that was kept goes on, unless `story` names another one than it tells: then that one starts.
        `fresh` starts over in any case, also where the file is damaged.
        Raises WorldBusy when another process owns it for longer than `patience_s`, DamagedWorld when the file is no
        world, ValueError when `story` is unknown.
        """
        with self._lock(patience_s), _terminating_as_exit():
            (self._directory / "control.json").unlink(missing_ok=True)  # its process is gone, or we had no lock
            owned = self._load(story, fresh=fresh)
            try:
                yield owned
            finally:
                owned.save()

    @contextmanager
    def connect(self, *, patience_s: float = PATIENCE_S) -> Iterator[Owned | Remote]:
        """The world, wherever it is: owned by this process for the block, or remote while another one serves it.

        Raises WorldBusy, DamagedWorld as `open`.
        """
        deadline = self._wall.monotonic() + patience_s
        with ExitStack() as held:
            found: Owned | Remote | None = self._remote()
            while found is None:
                try:
                    found = held.enter_context(self.open(patience_s=0))
                except WorldBusy:
                    if self._wall.monotonic() >= deadline:
                        raise
                    self._wall.sleep(0.1)
                    found = self._remote()
            if isinstance(found, Remote):
                held.callback(found.close)
            yield found

    def _remote(self) -> Remote | None:
        try:
            known = json.loads((self._directory / "control.json").read_text("utf-8"))
            return Remote(known)
        except (FileNotFoundError, httpx.TransportError):
            return None  # nobody serves, or the one who did was killed
        except (ValueError, KeyError):
            return None

    def _load(self, story: str | None, *, fresh: bool) -> Owned:
        path = self._directory / "world.json"
        kept_story = None
        if path.exists():
            try:
                world, kept_story = read_world(path)
            except DamagedWorld:
                if not fresh:
                    raise
            else:
                if not fresh and story in {None, kept_story}:
                    return Owned(self._directory, world, kept_story, wall=self._wall)
        wanted = story or kept_story or "contoso"
        owned = Owned(self._directory, build(wanted), wanted, wall=self._wall)
        owned.save()
        return owned

    @contextmanager
    def _lock(self, patience_s: float) -> Iterator[None]:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        deadline = self._wall.monotonic() + patience_s
        with (self._directory / "world.lock").open("a+", encoding="ascii") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if self._wall.monotonic() >= deadline:
                        file.seek(0)
                        raise WorldBusy(
                            f"the sandbox in {self._directory} is in use by process {file.read()}"
                        ) from None
                    self._wall.sleep(0.1)
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield


class _Keeping(httpx.BaseTransport):
    """The world in this process, kept after each request that may have changed it."""

    def __init__(self, owned: Owned) -> None:
        self._owned = owned
        self._world = owned.world
        self._inner = SandboxTransport(owned.world)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if self._world is not self._owned.world:
            self._world = self._owned.world
            self._inner = SandboxTransport(self._world)
        try:
            return self._inner.handle_request(request)
        finally:  # a reply that is lost on purpose leaves a change too
            if request.method not in SAFE_METHODS and request.url.host != hosts.LOGIN_HOST:
                self._owned.written()


@contextmanager
def _terminating_as_exit() -> Iterator[None]:
    """SIGTERM ends the block as an exception, so that the world is kept; only where nobody else handles it."""
    unhandled = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if not unhandled or threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(_number: int, _frame: object) -> None:
        raise SystemExit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
