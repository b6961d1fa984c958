"""A hold on a sandbox's world: owned by this process, or another's and reached through its ports.

`Owned` and `Remote` speak the same words (`addresses`, `transport`, `clock`, `advance`, `status`, `reset`, `switch`,
`decide`, `add_plan`, `rotate_keys`), so whoever
drives the sandbox need not know which it has. A write that a client was told of is kept before the answer leaves; a
large world is saved less often (`SAVE_SHARE`), which is for load tests only.
"""

from __future__ import annotations

import json
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from reconciler.clock import Clock
from reconciler.sandbox import hosts
from reconciler.sandbox.control import ControlClient, ControlService, RemoteClock
from reconciler.sandbox.deciding import decide
from reconciler.sandbox.keeping import KeepingTransport, KeptClock
from reconciler.sandbox.status import status
from reconciler.sandbox.stories import build
from reconciler.sandbox.switches import set_switch
from reconciler.sandbox.tls import client_context
from reconciler.sandbox.world import World
from reconciler.sandbox.world_file import keep_world, write_atomically

if TYPE_CHECKING:  # a command that neither serves nor is served should not pay for importing a web server
    from reconciler.sandbox.server import Services, Serving

SAVE_SHARE = 0.2  # at most this share of the time goes into saving after single writes
SAVE_CHEAP_BYTES = 2_000_000  # a smaller world is saved after every write, however busy the machine is


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
    teams=hosts.TEAMS_URL,
    mail=hosts.MAIL_URL,
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
        self._size = 0

    @property
    def clock(self) -> Clock:
        """The world's clock; a wait turns it, and is kept too."""
        return KeptClock(self)

    def transport(self) -> httpx.BaseTransport:
        """The services in this process, by the hosts of `addresses`; each write is kept before it is answered."""
        return KeepingTransport(self)

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

    def switch(self, name: str, value: Any) -> None:
        """Set a switch, `servicenow.NAME` for one of ServiceNow's, and keep it. Raises ValueError."""
        is_instance = name.startswith("servicenow.")
        switches = self.world.instance.switches if is_instance else self.world.switches
        with self.world.lock:
            set_switch(switches, name.removeprefix("servicenow."), value)
        self.save()

    def decide(self, ticket: str, verdict: str, **how: str) -> str:
        """Decide an approval in ServiceNow, as `deciding.decide`."""
        said = decide(self.world, ticket, verdict, **how)
        self.save()
        return said

    def add_plan(self, part_number: str, plan: str) -> str:
        """Let Microsoft put a plan (name or id) into a SKU of the tenant; the sentence of what happened.

        Raises:
            ValueError: the sandbox knows no such SKU or plan, or the tenant does not own it.
        """
        directory = self.world.directory
        try:
            owned, added = directory.store.skus.get(directory.sku(part_number)), directory.plan(plan)
        except KeyError as unknown:
            raise ValueError(str(unknown.args[0])) from None
        if owned is None:
            raise ValueError(f"the tenant owns no {part_number}")
        with self.world.lock:
            event = {"kind": "add_plan", "part_number": owned.part_number, "plan": added}
            self.world.at(self.world.clock.now(), event)
            self.world.clock.advance(timedelta(0))
        self.save()
        return f"{owned.part_number} contains {directory.catalogue.plans[added].name} from now on."

    def rotate_keys(self) -> None:
        """Make the next signing key of sign-in the current one."""
        with self.world.lock:
            self.world.signins.rotate()
        self.save()

    def save(self) -> None:
        """Keep the world as it is now."""
        with self._saving:
            began = self._wall.monotonic()
            self._size = keep_world(self._directory / "world.json", self.world, self.story)
            self._saved_at = self._wall.monotonic()
            self._save_took_s = self._saved_at - began

    def written(self) -> None:
        """A client wrote something."""
        self.writes += 1
        self.changed()

    def changed(self) -> None:
        """The world is not what it was: keep it, unless a large one would do nothing else (`SAVE_SHARE`)."""
        waited_s = self._wall.monotonic() - self._saved_at
        if self._size < SAVE_CHEAP_BYTES or waited_s >= self._save_took_s / SAVE_SHARE:
            self.save()

    @contextmanager
    def serving(self, *, port: int = 0) -> Iterator[Serving]:
        """Serve the world on loopback ports, and let other processes control it, until the block ends.

        Raises OSError when a port is taken.
        """
        from reconciler.sandbox.server import Services, Serving

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

    def switch(self, name: str, value: Any) -> None:
        """As `Owned.switch`."""
        self._control.switch(name, value)

    def decide(self, ticket: str, verdict: str, **how: str) -> str:
        """As `Owned.decide`."""
        return self._control.decide(ticket, verdict, **how)

    def add_plan(self, part_number: str, plan: str) -> str:
        """As `Owned.add_plan`."""
        return self._control.add_plan(part_number, plan)

    def rotate_keys(self) -> None:
        """As `Owned.rotate_keys`."""
        self._control.rotate_keys()

    def close(self) -> None:
        self._control.close()
