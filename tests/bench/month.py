"""Figure 4 of docs/performance.md: a month of a service in virtual time, beside an oracle that knows what happens.

What ships (`Service`, its cycles and polls) runs over the sandbox's two systems by a clock that is turned an hour at a
time; every request is counted where it leaves our process, with the resource units that Graph charges for it, those
inside a $batch too. The oracle knows the script, so it asks nothing in vain: the least that the same facts can be had
for is written down beside each part (`_oracle`). A tenth of the size unless SCALE says otherwise.
"""

from __future__ import annotations

import json
import random
import re
import tempfile
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import timedelta
from math import ceil
from pathlib import Path
from typing import Any

import httpx

from reconciler.clients.wire import make_http
from reconciler.config import load
from reconciler.daemon import Service
from reconciler.loop.guards.canary import Canary
from reconciler.loop.sweep import Desired, sweep_again
from reconciler.loop.waking import MANY
from reconciler.sandbox import hosts
from reconciler.sandbox.stories import empty
from reconciler.sandbox.stories.forms import FORMS, LICENCE, TEAM
from reconciler.sandbox.transport import SandboxTransport
from reconciler.sandbox.world import World
from reconciler.wiring import App
from tests.bench.measure import cpu_s, machine
from tests.make_database import a_database
from tests.make_systems import systems_of
from tests.simulation.make_products import AGENT, FULFILLER, QUEUE, Site

USERS, GRANTS, NAMED, HOURS = 10_000, 1_000, 100, 720  # a tenth of the figure's; hours are a month's
ORDERS, MOVES = 30, 10  # so many times in a month tickets come, and people move
PRODUCT, SKU = "visio-plan-2", "VISIOCLIENT"
TENANT = "contoso"
RATIO_MAX = 1.02
LOOKS = 6  # of the service at its timetable, an hour
LATENCY = timedelta(milliseconds=100)
PAGE, BATCH, FILTER, LISTED, LISTED_TWICE = 999, 20, 15, 200, 100
ROWS, VARIABLES = 1000, 8  # of a page, of a ticket's form
SEATED, SEATED_UNITS = 3, 7  # reads of the seats and of who is an administrator, and what they cost
LOOSE = {
    "grants_per_cycle": 20_000,
    "grants_per_day": 200_000,
    "answers_per_cycle": 20_000,
    "answers_per_day": 200_000,
    "answers_per_group": 200_000,
    "cost_per_cycle": 1_000_000,
    "cost_per_day": 10_000_000,
}
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32}")


@dataclass
class Counted:
    """What left our process. `units` are Graph's resource units, of the requests inside a $batch as well."""

    clock: Any
    requests: Counter[str] = field(default_factory=Counter)
    units: Counter[str] = field(default_factory=Counter)
    writes: Counter[str] = field(default_factory=Counter)
    refused: int = 0

    def wrap(self, inner: httpx.BaseTransport) -> httpx.BaseTransport:
        counted = self

        class Edge(httpx.BaseTransport):
            def handle_request(self, request: httpx.Request) -> httpx.Response:
                request.read()
                counted.clock.advance(LATENCY)
                response = inner.handle_request(request)
                counted.see(request, response)
                return response

        return Edge()

    def see(self, request: httpx.Request, response: httpx.Response) -> None:
        host, path = request.url.host, _ID.sub("ID", request.url.path)
        if host not in (hosts.GRAPH_HOST, hosts.SERVICENOW_HOST):
            return
        system = "graph" if host == hosts.GRAPH_HOST else "servicenow"
        inside = path.endswith("$batch")
        name = f"{system} {request.method} {path}"
        if inside:
            asked = {r["id"]: r for r in json.loads(request.content)["requests"]}
            kinds = sorted({_ID.sub("ID", r["url"].split("?")[0]) for r in asked.values()})
            kinds = ["/users/UPN"] if "%40" in kinds[0] else kinds
            name = f"{system} $batch {' '.join(kinds)}"
            for item in json.loads(response.read()).get("responses", ()):  # none where the token had expired
                headers = {key.lower(): value for key, value in item.get("headers", {}).items()}
                self._one(name, asked[item["id"]]["method"], item["status"], headers)
        else:
            self._one(name, request.method, response.status_code, response.headers)
        self.requests[name] += 1

    def _one(self, name: str, method: str, status: int, headers: Any) -> None:
        self.units[name] += int(headers.get("x-ms-resource-unit", 0))
        self.refused += status in (409, 429)
        if method != "GET":
            self.writes[name] += 1

    def of(self, system: str) -> tuple[int, int]:
        """Requests and units of one system."""
        return (
            sum(n for name, n in self.requests.items() if name.startswith(system)),
            sum(n for name, n in self.units.items() if name.startswith(system)),
        )


@dataclass
class Script:
    """What happens in the month: how many tickets come and how many people move in which hour."""

    users: int
    orders: dict[int, int]  # one ticket is there from the beginning: where there is none, each poll is news
    moves: dict[int, int]


def run(scale: float) -> list[str]:
    """Play the month, and say in sentences which figures were missed."""
    print(machine())
    users, grants, named = (max(1, round(n * scale)) for n in (USERS, GRANTS, NAMED))
    rng = random.Random(1)
    hours = rng.sample(range(2, HOURS - 30), ORDERS + MOVES - 1)
    orders, moves = [0, *hours[: ORDERS - 1]], hours[ORDERS - 1 :]
    script = Script(users, _split(grants, orders), _split(named, moves))
    began = cpu_s()
    counted, granted, settled = _play(script)
    print(f"{users:,} users, {grants:,} grants in {ORDERS} hours, {named:,} people who moved in {MOVES}; {HOURS} hours")
    print(f"{cpu_s() - began:.0f} CPU s; {granted} granted, {settled} tasks closed, {counted.refused} requests refused")
    print(f"{'what was sent':<96}{'requests':>9}{'units':>8}{'writes':>8}")
    for name, count in sorted(counted.requests.items()):
        print(f"{name[:95]:<96}{count:>9}{counted.units[name]:>8}{counted.writes[name]:>8}")
    missed = [] if granted == settled == grants else [f"{grants - granted} grants are missing"]
    return missed + _judged(script, counted)


def _split(count: int, hours: list[int]) -> dict[int, int]:
    return {hour: count * (n + 1) // len(hours) - count * n // len(hours) for n, hour in enumerate(hours)}


def _play(script: Script) -> tuple[Counted, int, int]:
    """The month. What was sent, how many users hold what was asked for, how many of their tickets are closed."""
    world, people, upns = _world(script.users)
    counted = Counted(world.clock)
    with tempfile.TemporaryDirectory() as name, ExitStack() as held:
        folder = Path(name)
        config = folder / "config.toml"
        config.write_text(_config(), encoding="utf-8")
        database = a_database(folder / "reconciler.db")
        held.callback(database.close)
        settings = load(config, {"RECONCILER_STATE_DIR": str(folder)})
        transport = SandboxTransport(world)
        http = [held.enter_context(make_http(counted.wrap(transport))) for _ in range(2)]
        reached = systems_of(world.clock, http[0], http[1])
        app = App(TENANT, settings, settings.tenants[TENANT], reached, database)
        service = Service(app, lambda *_, **__: None, rng=random.Random(1), stopwatch=world.clock.monotonic)
        queue, ordered, moved = world.instance.add_group(QUEUE), 0, 0
        item, _ = (world.instance.add_item(name, **FORMS[name]) for name in (LICENCE, TEAM))
        _load_all(app)
        service.turn()
        for hour in range(HOURS):
            for _ in range(script.orders.get(hour, 0)):
                _order(world, item, queue, people[ordered], ordered)
                ordered += 1
            for _ in range(script.moves.get(hour, 0)):  # of those who were granted something, while there are any
                _move(world, upns[moved % max(1, ordered)])
                moved += 1
            for _ in range(LOOKS):
                world.clock.advance(timedelta(hours=1) / LOOKS)
                service.turn()
        sku = world.directory.sku(SKU)
        held_by = (world.directory.assign_states(world.directory.user(upn).user_id) for upn in upns[:ordered])
        granted = sum(any(a.sku_id == sku and a.state == "Active" for a in states) for states in held_by)
        closed = sum(row["state"] == "3" for row in world.instance.records("sc_task"))
    return counted, granted, closed


def _load_all(app: App) -> None:
    """The first pass over everybody, as the service's full scan makes it once it has people at rest."""
    memory = app.kept.observed.memory
    result = sweep_again(lambda begin: app.graph.scan(begin=begin), Desired.compile((), {}), memory)
    assert result.is_complete


def _config() -> str:
    """A site that sells one product and stops at no budget; it is asked and asks every hour."""
    text = Site((PRODUCT,), ()).toml().replace('window = "2h"', 'window = "2h"\ntier = "V2"')
    text = text.replace("page_size = 500", f"page_size = {ROWS}")
    named = "\n[tenants.contoso.guards]\n"
    before, _, rest = text.partition(named)
    own, rest = rest.split("\n\n", 1)
    kept = [row for row in own.splitlines() if row.partition(" ")[0] not in LOOSE]
    loose = [f"{name} = {value}" for name, value in LOOSE.items()]
    often = 'every = "30d"\npull_every = "1h"\nfull_scan_every = "365d"'
    return f"[schedule]\n{often}\n{before}{named}" + "\n".join([*kept, *loose]) + f"\n\n{rest}"


def _world(users: int) -> tuple[World, list[str], list[str]]:
    """A tenant in which everybody has a suite and a country; people's ids in ServiceNow and names of sign-in."""
    world = empty()
    switches = world.switches
    switches.token_lifetime_s = 1e7  # what signs in counts by the machine's clock
    switches.provisioning_s = switches.delta_duplicates = switches.delta_replays = 0.0
    directory, desk = world.directory, world.instance
    for part_number in ("SPE_E3", SKU):
        directory.add_sku(part_number, enabled=users + 10)
    desk.add_person(FULFILLER, email=f"{FULFILLER}@contoso.example", name="Oliver Grant")
    desk.add_person(AGENT, email=f"{AGENT}@contoso.example", name="Agent Assistant")
    people, upns = [], []
    for n in range(users):
        upn = f"person.{n:06}@contoso.example"
        known = directory.add_user(upn, display_name=f"Person {n}", usage_location="DE", employee_type="Employee")
        directory.grant(known, "SPE_E3")
        upns.append(upn)
        people.append(desk.add_person(f"person.{n:06}", email=upn, name=f"Person {n}", country="DE"))
    world.clock.advance(timedelta(0))
    return world, people, upns


def _order(world: World, item: str, queue: str, person: str, n: int) -> None:
    now = world.clock.now()
    world.instance.order(
        f"RITM{n:07}",
        item=item,
        requested_for=person,
        variables={"user": person, "product": PRODUCT, "justification": "Needed for my daily work."},
        opened_at=now,
        state="2",
        stage="fulfillment",
        approvers=[(world.instance.truth.user_id(FULFILLER), "approved", now)],
        task={"state": "1", "assignment_group": queue},
        price="14.10",
    )


def _move(world: World, upn: str) -> None:
    """Somebody's account is written to."""
    user = world.directory.user(upn)
    user.usage_location = "FR" if user.usage_location == "DE" else "DE"
    world.directory.store.touch(user, "usageLocation")


# --- the oracle --------------------------------------------------------------------------------------------------


def _judged(script: Script, counted: Counted) -> list[str]:
    missed = []
    polls = counted.requests["servicenow GET /api/now/table/task"]
    print(f"{polls} polls")
    safe = _safe(script)
    for system, (requests, units, writes) in _oracle(script, polls).items():
        sent, spent = counted.of(system)
        wrote = sum(n for name, n in counted.writes.items() if name.startswith(system))
        print(f"{system}: {sent} requests, {spent} units, {wrote} writes; the oracle {requests}, {units}, {writes}")
        more = safe[system]
        for what, found, least, safely in (
            ("requests", sent, requests, requests + more[0]),
            ("resource units", spent, units, units + more[1]),
        ):
            if not least:
                continue
            print(f"  {what}: {found / least:.3f} of the oracle's, {found / safely:.3f} of {safely:,} with our rules")
            if found > RATIO_MAX * least:
                missed.append(
                    f"figure 4 {what} of {system} are {found / least:.2f} times the oracle's, not {RATIO_MAX}; of one "
                    f"that keeps to our rules about looking, {found / safely:.3f} times"
                )
        if wrote != writes:
            missed.append(f"figure 4 writes of {system} are {wrote}, the oracle's are {writes}")
    return missed


def _safe(script: Script) -> dict[str, tuple[int, int]]:
    """Requests and units more of an oracle that obeys the rules which it has no need of.

    Mailboxes are asked for once it is judged who is written to, accounts again just before a write, and each group of
    canaries is looked at before the next one leaves, all in requests of their own. A cycle that only reads people reads
    seats, and who is an administrator, with them. Tasks are looked at before they are closed; notes and closed tasks
    afterwards.
    """
    graph = units = servicenow = 0
    for count in script.orders.values():
        graph += _batches(count + SEATED) + 3 * _batches(count) - _batches(3 * count + SEATED) - _batches(2 * count)
        canary, left = Canary(count), count
        while left:
            group = min(canary.size, left)
            graph += _batches(group)
            canary, left = replace(canary, open=group).looked(), left - group
        servicenow += 3 * -(-count // LISTED)
    for count in script.moves.values():
        graph += _batches(2 * count + SEATED) - _batches(2 * count) if count < MANY else 1
        units += SEATED_UNITS
    return {"graph": (graph + 1, units + 3), "servicenow": (servicenow, 0)}  # the first cycle has seats to look at


def _tables(tickets: int) -> int:
    """Requests for so many whole tickets: pages of rows, and where a table has no way but ids (docs/performance.md,
    tickets in bulk) as many ids as an address holds. Approvals hang on a ticket or on its order, in either column."""
    walked = (tickets, tickets * VARIABLES, tickets)  # tickets, variables, tasks
    listed = (tickets / LISTED, tickets / LISTED, 2 * tickets / LISTED_TWICE)  # multi-row sets, people, approvals
    return sum(-(-rows // ROWS) for rows in walked) + sum(ceil(requests) for requests in listed)


def _batches(reads: int) -> int:
    return -(-reads // BATCH)


def _oracle(script: Script, polls: int) -> dict[str, tuple[int, int, int]]:
    """Requests, units and writes of somebody who polls as often and knows in which hour what happens and when it shows.

    Facts have to be had by the read that decides (docs/adr/0038): accounts, plans and mailboxes by id in batches of 20,
    once before a write and once after it, who moved by filters where they are many. Seats and roles are read for a
    decision, not for a look, and travel with it. Tickets are read from their six tables, and answered with a note and a
    closed task.
    """
    requests, units = Counter[str](), Counter[str]()

    def ask(what: str, times: int, cost: int = 1) -> None:
        requests[what] += times
        units[what] += times * cost

    def batch(reads: int, cost: int | None = None) -> None:
        requests["graph"] += _batches(reads)
        units["graph"] += reads if cost is None else cost

    ask("graph", -(-script.users // PAGE))
    ask("graph", polls)
    ask("servicenow", polls, 0)
    for count in script.orders.values():
        batch(count)  # names to object ids
        batch(3 * count + SEATED, 3 * count + SEATED_UNITS)  # account, plans, mailbox; seats, who is an administrator
        ask("graph", count)
        batch(2 * count)  # account and plans, as they are then
        ask("servicenow", _tables(count) + 2 * count, 0)
    for count in script.moves.values():
        batch(2 * count if count < MANY else -(-count // FILTER))
    grants = sum(script.orders.values())
    return {
        "graph": (requests["graph"], units["graph"], grants),
        "servicenow": (requests["servicenow"], 0, 2 * grants),
    }
