"""Customers of one store and the workers that serve them, in one process and by one clock that is turned by hand.

A worker is `Turns` with clients and tokens of its own, as a process has them. `Customer.before` is called before each
request of whoever serves it: there a worker dies, or stands still while another one takes its place.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import httpx
from sqlalchemy import text

from reconciler.clients.wire import make_http
from reconciler.clock import ManualClock
from reconciler.config import Settings, load
from reconciler.daemon import Wishes
from reconciler.fleet.turns import Turns
from reconciler.metrics import UNCOUNTED, Meter
from reconciler.sandbox import hosts
from reconciler.sandbox.transport import SandboxTransport
from reconciler.store import looks
from reconciler.store.database import Database
from reconciler.store.looks import Look
from reconciler.wiring import App
from tests.make_logs import into
from tests.make_systems import systems_of
from tests.simulation.make_day import SIGN_IN
from tests.simulation.make_tenant import Made, made
from tests.simulation.make_writes import parts


class Killed(BaseException):
    """The worker is gone."""


@dataclass
class Customer:
    """One tenant: what it is like, and what was written to it by whom."""

    name: str
    made: Made
    settings: Settings
    before: Callable[[str, httpx.Request], None] = lambda _worker, _request: None
    requests: int = 0
    writes: list[tuple[str, str]] = field(default_factory=list)  # worker and request, to either system

    def transport(self, worker: str) -> httpx.BaseTransport:
        inner, customer = SandboxTransport(self.made.world), self

        class Edge(httpx.BaseTransport):
            def handle_request(self, request: httpx.Request) -> httpx.Response:
                request.read()
                customer.requests += 1
                customer.before(worker, request)
                if is_write(request):
                    customer.writes.append((worker, f"{request.method} {request.url.path}"))
                return inner.handle_request(request)

        return Edge()

    def licences(self) -> dict[str, list[tuple[str, bool, tuple[str, ...]]]]:
        """What each person holds: SKU, direct, plans that are off."""
        directory = self.made.world.directory
        found = {}
        for human in self.made.humans:
            if human.user_id is not None:
                states = directory.assign_states(human.user_id)
                found[human.name] = sorted(
                    (a.sku_id, a.group_id is None, tuple(sorted(a.disabled))) for a in states if a.is_in_force
                )
        return found

    def tickets(self) -> dict[str, tuple[str, int]]:
        """The state of each ticket, and how many notes it has."""
        instance = self.made.world.instance
        return {
            row["number"]: (row["state"], len(instance.notes(row["sys_id"]))) for row in instance.records("sc_req_item")
        }


def is_write(request: httpx.Request) -> bool:
    """Whether it changes something at either system."""
    path = request.url.path
    is_sign_in = request.url.host == hosts.LOGIN_HOST or path.endswith("/token")
    if is_sign_in or any(part in path for part in SIGN_IN):
        return False
    return request.method not in ("GET", "HEAD") and bool(parts(request))


@dataclass
class Fleet:
    """Customers on one store."""

    database: Database
    customers: dict[str, Customer]
    clock: ManualClock
    said: list[str] = field(default_factory=list)
    held: ExitStack = field(default_factory=ExitStack)
    back_s: float = 0.0  # by so much the store's clock was set back
    meter: Meter = UNCOUNTED

    def worker(self, name: str, *, kept_max: int = 64, turn_s: float = 60.0) -> Turns:
        """A new worker of all customers."""
        wishes = Wishes()
        self.held.callback(wishes.close)
        turns = Turns(
            lambda tenant: self.open(name, tenant),
            into(self.said),
            wishes,
            self.clock,
            turn_s,
            kept_max,
            lambda _session: self.now_s(),
            self.database,
            frozenset(self.customers),
            random.Random(name),
        )
        self.held.callback(turns.close)
        return turns

    @contextmanager
    def open(self, worker: str, tenant: str) -> Iterator[App]:
        customer = self.customers[tenant]
        with (
            make_http(customer.transport(worker)) as graph,
            make_http(customer.transport(worker)) as desk,
        ):
            reached = systems_of(customer.made.world.clock, graph, desk)
            yield App(
                tenant, customer.settings, customer.settings.tenants[tenant], reached, self.database, meter=self.meter
            )

    def now_s(self) -> float:
        """The seconds of the store's clock."""
        return self.clock.now().timestamp() - self.back_s

    def due(self) -> tuple[Look, ...]:
        """Whom somebody has to look at now."""
        with self.database.read() as session:
            return looks.due(session, self.customers, now_s=self.now_s())

    def wait(self, minutes: float) -> None:
        self.clock.sleep(minutes * 60)
        for customer in self.customers.values():
            customer.made.world.clock.advance(timedelta(minutes=minutes))

    def expire(self, tenant: str) -> None:
        """The lease of a tenant runs out, whoever has it."""
        with self.database.write() as session:
            session.connection().execute(text("UPDATE lease SET until_s = 0 WHERE tenant = :t"), {"t": tenant})

    def settle(self, *workers: Turns, days: float = 1.0) -> None:
        """Let time go by; whoever is due is served by the workers in turn."""
        n = 0
        for minutes in (0, 1, 5, 30, 60, 180, *[12 * 60] * int(2 * days)):
            self.wait(minutes)
            for _ in range(3):
                for look in self.due():
                    workers[n % len(workers)].take(look.tenant)
                    n += 1
                self.wait(1)


@contextmanager
def a_fleet(database: Database, folder: Path, *seeds: int) -> Iterator[Fleet]:
    """A customer for each seed, none looked at yet."""
    customers = {}
    for n, seed in enumerate(seeds):
        tenant, name = made(seed), f"t{n}"
        config = folder / f"{name}.toml"
        config.write_text(tenant.site.toml().replace("[tenants.contoso", f"[tenants.{name}"), encoding="utf-8")
        settings = load(config, {"RECONCILER_STATE_DIR": str(folder / name)})
        customers[name] = Customer(name, tenant, settings)
    clock = ManualClock(next(iter(customers.values())).made.world.clock.now())
    fleet = Fleet(database, customers, clock)
    with fleet.held:
        with database.write() as session:
            looks.know(session, customers)
        yield fleet
