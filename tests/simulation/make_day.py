"""A day at Contoso in one process: the shipped loop over the sandbox, with every write of ours watched at the wire.

Nothing is kept in files but the store, so a day costs a second. `Watch` sits at the outermost edge of our process: it
sees what leaves, and asks the store, at that very moment, whether the write was announced (I1).
"""

from __future__ import annotations

import json
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

import httpx

from desired_state.model import LineKey, SkuId, UserId
from reconciler.clients.wire import make_http
from reconciler.config import load
from reconciler.errors import RemoteError
from reconciler.loop.handover import PastGrant
from reconciler.loop.observe import Scope
from reconciler.once import once
from reconciler.report import CycleReport
from reconciler.sandbox import hosts
from reconciler.sandbox.server import Serving
from reconciler.sandbox.stories import history
from reconciler.sandbox.transport import SandboxTransport
from reconciler.sandbox.world import World
from reconciler.store.database import BUSY_TIMEOUT_S, Database
from reconciler.wiring import App
from tests.make_database import Place, a_database
from tests.make_folder import Folder, folder_of, put
from tests.make_systems import systems_of
from tests.make_world import contoso
from tests.simulation.make_writes import announced, parts, unannounced

TENANT = "contoso"
MARK = re.compile(r"\[m365r:([A-Za-z0-9:._-]+)\]")
SIGN_IN = ("/oauth2/", "/oauth_token.do")

Meddle = Callable[[httpx.Request], None]


@dataclass
class Watch:
    """What left our process: writes, and those that nothing in the audit log announced. `meddle` runs before each
    request is served, as whatever else goes on in the two systems meanwhile.
    """

    database: Database
    writes: list[str] = field(default_factory=list)
    removals: list[str] = field(default_factory=list)
    unannounced: list[str] = field(default_factory=list)
    hosts_met: Counter[str] = field(default_factory=Counter)
    meddle: Meddle = lambda _: None

    def wrap(self, inner: httpx.BaseTransport) -> httpx.BaseTransport:
        watch = self

        class Edge(httpx.BaseTransport):
            def handle_request(self, request: httpx.Request) -> httpx.Response:
                request.read()
                watch.hosts_met[request.url.host] += 1
                watch.meddle(request)
                watch.see(request)
                return inner.handle_request(request)

        return Edge()

    def see(self, request: httpx.Request) -> None:
        path = request.url.path
        if request.method in ("GET", "HEAD") or any(part in path for part in SIGN_IN):
            return
        for part in parts(request):
            what = f"{part.method} {part.path}"
            self.writes.append(what)
            self.removals += [what] if part.body.get("removeLicenses") else []
            self.unannounced += unannounced(part, announced(self.database))


@dataclass
class Day:
    """A running Contoso. `cycle` is what the service does over and over; what cannot be read ends one early."""

    world: World
    app: App
    watch: Watch
    reports: list[CycleReport] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    def cycle(self) -> CycleReport | None:
        try:
            report = once(self.app, Scope())
        except RemoteError as error:
            self.troubles.append(str(error))
            return None
        self.reports.append(report)
        return report

    def wait(self, minutes: float) -> None:
        self.world.clock.advance(timedelta(minutes=minutes))

    # --- looking at the truth

    def ticket(self, number: str) -> dict[str, str]:
        return self.world.instance.records("sc_req_item", number=number)[0]

    def notes(self, number: str) -> list[str]:
        return self.world.instance.notes(self.ticket(number)["sys_id"])

    def tasks(self, number: str) -> list[dict[str, str]]:
        return self.world.instance.records("sc_task", request_item=self.ticket(number)["sys_id"])

    def licences(self, key: str) -> list[tuple[str, bool, tuple[str, ...]]]:
        """(SKU, direct, plans that are off) of a person's assignments in force."""
        states = self.world.directory.assign_states(self.world.directory.user(key).user_id)
        return sorted((a.sku_id, a.group_id is None, tuple(sorted(a.disabled))) for a in states if a.is_in_force)

    def phase(self, number: str) -> str:
        return next(e.state.phase.value for e in self.reports[-1].endings if e.state.key.ticket == number)

    def phases(self) -> dict[str, str]:
        return {str(e.state.key): e.state.phase.value for e in self.reports[-1].endings}


def past_of(world: World) -> tuple[PastGrant, ...]:
    return tuple(
        PastGrant(
            LineKey(g["ticket"], g["line"]),
            UserId(g["object_id"].lower()),
            g["upn"],
            datetime.fromisoformat(g["granted_at"]),
            datetime.fromisoformat(g["ends_at"]) if g["ends_at"] else None,
            SkuId(g["sku_id"].lower()),
        )
        for g in history(world)
    )


def contoso_with(*numbers: str) -> World:
    """Contoso with these of its tickets and those that were granted before: a cycle costs a fraction of one over all.

    For what is about these tickets; what has to leave others alone needs the others.
    """
    return World.from_json(json.loads(_with(numbers)))


@cache
def _with(numbers: tuple[str, ...]) -> str:
    world = contoso()
    stay = {*numbers, *(past["ticket"] for past in history(world))}
    gone = {row["sys_id"] for row in world.instance.records("sc_req_item") if row["number"] not in stay}
    for sys_id in gone:
        world.instance.truth.delete("sc_req_item", sys_id)
    kept = world.to_json()
    kept["events"] = [event for event in kept["events"] if event[2].get("sys_id") not in gone]
    return json.dumps(kept)


@contextmanager
def a_day(
    state: Path,
    world: World | None = None,
    *,
    config: Path | None = None,
    served: Serving | None = None,
    may: Callable[[str], bool] = lambda _: True,
    busy_timeout_s: float = BUSY_TIMEOUT_S,
    place: Place | None = None,
) -> Iterator[Day]:
    """Contoso, or another world, with the shipped configuration and a store under `state`, or at `place`.

    `served`: the open ports of that world, which are then talked to over TLS instead of in process. `may`: which of its
    permissions our application still has there.
    """
    world = world or contoso()
    settings = load(config, {"RECONCILER_STATE_DIR": str(state)})
    with ExitStack() as held:
        database = a_database(place or state / "reconciler.db", busy_timeout_s=busy_timeout_s)
        held.callback(database.close)
        database.tenant = TENANT
        watch = Watch(database)

        def http() -> httpx.Client:
            if served is not None:
                return held.enter_context(make_http(ca_file=served.ca_file))
            service = SandboxTransport(world)
            ours = service.login.apps[hosts.CLIENT_ID]
            service.login.apps[hosts.CLIENT_ID] = ours._replace(roles=tuple(filter(may, ours.roles)))
            return held.enter_context(make_http(watch.wrap(service)))

        places = {}
        if served is not None:
            places = {"graph_base": served.graph, "authority": served.login, "servicenow_base": served.servicenow}
        reached = systems_of(world.clock, http(), http(), past=lambda: past_of(world), **places)
        yield Day(world, App(TENANT, settings, settings.tenants[TENANT], reached, database), watch)


@dataclass(frozen=True)
class _Played:
    """Contoso after one cycle: the world and the folder as they are kept between two starts, and what was seen."""

    world: str  # JSON
    folder: Folder
    report: CycleReport
    writes: tuple[str, ...]
    removals: tuple[str, ...]
    unannounced: tuple[str, ...]


@cache
def _played() -> _Played:
    with tempfile.TemporaryDirectory() as name:
        with a_day(Path(name)) as day:
            report = day.cycle()
        assert report is not None
        watch = day.watch
        seen = tuple(watch.writes), tuple(watch.removals), tuple(watch.unannounced)
        return _Played(json.dumps(day.world.to_json()), folder_of(Path(name)), report, *seen)


@contextmanager
def a_played_day(state: Path) -> Iterator[Day]:
    """`a_day` whose first cycle is over: played once in each test process, and started again from what was kept.

    Nothing was touched before that cycle; where a test touches something, it plays it itself.
    """
    played = _played()
    put(played.folder, state)
    with a_day(state, World.from_json(json.loads(played.world))) as day:
        day.reports.append(played.report)
        day.watch.writes += played.writes
        day.watch.removals += played.removals
        day.watch.unannounced += played.unannounced
        yield day
