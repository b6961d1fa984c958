"""A service over a day at Contoso whose time is turned by hand, and systems that go down, slow or strange at will."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import httpx

from reconciler.daemon import Service
from reconciler.health import Health
from reconciler.sandbox import hosts
from reconciler.sandbox.world import World
from reconciler.sandbox.world_file import keep_world
from tests.make_database import Place, a_database
from tests.make_folder import Folder, folder_of, put
from tests.make_logs import into
from tests.simulation.make_day import Day, a_day, contoso_with

SERVICENOW, GRAPH, LOGIN = hosts.SERVICENOW_HOST, hosts.GRAPH_HOST, hosts.LOGIN_HOST
STORIES = {f"RITM00100{n:02d}" for n in (1, 4, 9, 12, 17, 18, 21, 27)}
Answer = Callable[[httpx.Request], httpx.Response]


@dataclass
class Network:
    """What stands between the service and the two systems. `instead` answers for a host, `asked` counts requests."""

    instead: dict[str, Answer] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)

    def wrap(self, inner: httpx.BaseTransport) -> httpx.BaseTransport:
        network = self

        class Between(httpx.BaseTransport):
            def handle_request(self, request: httpx.Request) -> httpx.Response:
                host = request.url.host
                network.asked[host] += 1
                answer = network.instead.get(host)
                return answer(request) if answer is not None else inner.handle_request(request)

        return Between()

    def down(self, *names: str) -> None:
        def refuse(request: httpx.Request) -> httpx.Response:
            raise httpx.ConnectError("connection refused", request=request)

        self.instead = dict.fromkeys(names, refuse)

    def back(self) -> None:
        self.instead = {}


@dataclass
class Served:
    """A service in its day. `said` is its log."""

    day: Day
    service: Service
    network: Network
    said: list[str]

    @property
    def health(self) -> Health:
        assert self.service.health is not None
        return self.service.health

    def go(self, minutes: float, *, step_s: float = 30.0) -> None:
        """Let so much time go by while the service looks now and then."""
        until = self.day.world.clock.now() + timedelta(minutes=minutes)
        self.service.turn()
        while (left := (until - self.day.world.clock.now()).total_seconds()) > 0:
            self.day.wait(min(step_s, left) / 60)
            self.service.turn()

    def conditions(self) -> list[str]:
        return [condition.name for condition in self.health.pulse().conditions]

    def of_cycles(self) -> list[str]:
        return [line for line in self.said if line.startswith("cycle ended ")]

    def of_trouble(self) -> list[str]:
        return [line for line in self.said if not line.startswith("cycle ended ")]


def a_small_customer(state: Path, *numbers: str) -> Path:
    """Leave a few tickets of Contoso and an empty store in a state folder: who begins there begins with its work, which
    is short. The store's file.
    """
    (state / "sandbox").mkdir(parents=True)
    keep_world(state / "sandbox" / "world.json", contoso_with(*(numbers or STORIES)), "contoso")
    a_database(state / "reconciler.db").close()
    return state / "reconciler.db"


@contextmanager
def a_service(
    state: Path, *, busy_timeout_s: float = 10.0, place: Place | None = None, world: World | None = None
) -> Iterator[Served]:
    """A service over Contoso with a handful of its tickets, or over another world."""
    with a_day(state, world or contoso_with(*STORIES), busy_timeout_s=busy_timeout_s, place=place) as day:
        network = Network()
        for http in (day.app.systems.graph_http, day.app.systems.servicenow_http):
            http._transport = network.wrap(http._transport)  # the outermost edge of our process
        said: list[str] = []
        yield Served(day, Service(day.app, into(said)), network, said)


@cache
def _settled() -> tuple[str, Folder]:
    with tempfile.TemporaryDirectory() as name:
        with a_service(Path(name)) as served:
            served.go(40)
            world = json.dumps(served.day.world.to_json())
        return world, folder_of(Path(name))


@contextmanager
def a_settled_service(state: Path, **how: Any) -> Iterator[Served]:
    """A service that is started again where another one had served for forty minutes, which is played once in each
    test process. It has looked at nothing yet, and its first cycle finds little to do.
    """
    world, folder = _settled()
    put(folder, state)
    with a_service(state, world=World.from_json(json.loads(world)), **how) as served:
        yield served
