"""One worker of the benchmark `fleet`: what ships, but for the network. Both systems answer in its process, late.

`python -m tests.bench.fleet_worker URL FOLDER TENANTS LATENCY WORLDS` says that it is ready, waits for a line, works
until its standard input is closed, and tells of each turn when it begins and when it ends. All tenants are the same
customer, whose people have what they should have, each in a directory of its own. WORLDS says whether each has systems
of its own, as for first cycles, which answer tickets, or all have the same, as for later ones, which change nothing;
`own` leaves one of them in FOLDER.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

import httpx

from reconciler.clients.wire import make_http
from reconciler.clock import SystemClock
from reconciler.config import load
from reconciler.daemon import Wishes
from reconciler.fleet.schema import conninfo_of
from reconciler.fleet.turns import Turn, Turns
from reconciler.fleet.worker import Fleet
from reconciler.health import Health
from reconciler.sandbox import hosts
from reconciler.sandbox.transport import SandboxTransport
from reconciler.sandbox.world import World
from reconciler.store.database import open_database
from reconciler.wiring import App
from tests.bench.measure import cpu_s
from tests.make_logs import into
from tests.make_systems import systems_of

CONCURRENCY = 4
TELLING = threading.Lock()


def names(count: int) -> list[str]:
    return [f"t{n:04d}" for n in range(count)]


def directory_of(tenant: str) -> str:
    """What a budget of a day is kept by: tenants of one directory would share it."""
    return str(uuid5(NAMESPACE_URL, tenant))


def tell(**what: object) -> None:
    with TELLING:  # turns end in threads of their own, and each line is one piece
        print(json.dumps({**what, "at": time.time()}), flush=True)


ASKED: dict[str, list[float]] = {}  # when the turn of a tenant began and ended to ask its systems: under its lease
REQUESTS: Counter[str] = Counter()  # of the turn of a tenant


class Told(Turns):
    """Turns that are told of."""

    def take(self, tenant: str) -> Turn:
        begun = time.time()
        outcome = super().take(tenant)
        asked = ASKED.pop(tenant, []) if outcome is not Turn.HELD else []
        tell(ended=tenant, since=begun, outcome=outcome.name, asked=asked, requests=REQUESTS.pop(tenant, 0))
        return outcome


class Delayed(httpx.BaseTransport):
    """The systems, and the way of one tenant to them."""

    def __init__(self, inner: httpx.BaseTransport, lock: threading.Lock, latency_s: float, tenant: str) -> None:
        self._inner, self._lock, self._latency_s, self._tenant = inner, lock, latency_s, tenant

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == hosts.LOGIN_HOST:  # the directories are one
            url = str(request.url).replace(directory_of(self._tenant), hosts.TENANT_ID)
            request = httpx.Request(request.method, url, headers=request.headers, content=request.read())
        if self._tenant not in ASKED:
            tell(has=self._tenant)
        span = ASKED.setdefault(self._tenant, [time.time(), 0.0])
        REQUESTS[self._tenant] += 1
        time.sleep(self._latency_s)
        with self._lock:
            response = self._inner.handle_request(request)
        span[1] = time.time()
        return response


def _stop_at_the_end(wishes: Wishes) -> None:
    sys.stdin.read()
    wishes.stop()


def main() -> None:
    url, folder, count, latency_s, whose = sys.argv[1:]
    saved = (Path(folder) / "world.json").read_text("utf-8")
    shared = World.from_json(json.loads(saved))
    worlds: dict[str, World] = {}
    settings = load(Path(folder) / "config.toml", {"RECONCILER_STATE_DIR": folder})
    tenants = frozenset(names(int(count)))
    settings = settings.model_copy(update={"tenants": dict.fromkeys(sorted(tenants), settings.tenants["contoso"])})
    systems, lock, wall, wishes = SandboxTransport(shared), threading.Lock(), SystemClock(), Wishes()
    said: list[str] = []
    with ExitStack() as held:
        database = held.enter_context(open_database(url, connections=3 * CONCURRENCY + 3))

        @contextmanager
        def opened(tenant: str) -> Iterator[App]:
            world, answering = shared, systems
            if whose == "own":
                world = worlds[tenant] = World.from_json(json.loads(saved))
                answering = SandboxTransport(world)
            with make_http(Delayed(answering, lock, float(latency_s), tenant)) as http:
                reached = replace(systems_of(world.clock, http, http), tenant_id=directory_of(tenant))
                yield App(tenant, settings, settings.tenants[tenant], reached, database.of(tenant))

        turns = Told(opened, into(said), wishes, wall, database=database, ours=tenants)
        held.callback(turns.close)
        health = Health(into(said), wall.monotonic)
        fleet = Fleet(conninfo_of(url), database, turns, lambda: tenants, wall, health, wishes, CONCURRENCY)
        tell(ready=os.getpid())
        sys.stdin.readline()
        threading.Thread(target=_stop_at_the_end, args=(wishes,), daemon=True).start()
        before = cpu_s()
        fleet.run()
        if (first := worlds.get(names(1)[0])) is not None:
            (Path(folder) / "world-answered.json").write_text(json.dumps(first.to_json()), "utf-8")
        tell(cpu_s=cpu_s() - before, said=[line for line in said if "cycle ended" not in line][:3])


if __name__ == "__main__":
    main()
