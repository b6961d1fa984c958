"""Figure 8: a drain of tickets whose process is killed again and again, against the same drain left alone.

Both remote systems are the sandbox, in this process. Who works the tickets off is a forked child with the shipped cycle
and a store on the disk; it speaks to the sandbox through a pipe, and says there too when it is about to commit. At some
of these points, drawn by lot, it is sent SIGKILL: before a request is served, after it was served and before the reply
arrives, before a commit, or a little later, whatever it does then. Another child goes on from the store alone.

In the end tenant, tickets and phases have to be those of the undisturbed run, no ticket has been told anything twice,
and no write was sent more often than the figure allows. In the environment, `KILLS` says how many kills in all, `FROM`
with which lot they begin.
"""

from __future__ import annotations

import gc
import os
import random
import re
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import event

from reconciler.clients.wire import make_http
from reconciler.config import load
from reconciler.lifecycle import Phase
from reconciler.loop.observe import Pace, Scope
from reconciler.once import once
from reconciler.sandbox import hosts
from reconciler.sandbox.stories import empty
from reconciler.sandbox.stories.forms import FORMS, LICENCE, TEAM
from reconciler.sandbox.stories.people import START
from reconciler.sandbox.transport import SandboxTransport
from reconciler.store import journal, lines, outbox
from reconciler.store.database import open_database
from reconciler.wiring import App
from tests.bench.durable import FOLDER
from tests.make_systems import systems_of
from tests.simulation.make_products import FULFILLER, QUEUE, Site

TENANT = "contoso"
TICKETS, KILLS_A_DRAIN, WRITES_MAX = 300, 10, 1.02
CYCLES_MAX = 60
PRODUCT, SKU = "visio-plan-2", "VISIOCLIENT"
PAUSE_S, LATENCY_S = 300.0, 0.25  # of the sandbox's time: between cycles, and of each request
READ_MAX = 0.5  # of all tickets, that a restart may list again; an overlap of the watermark is no full read


def run(scale: float) -> list[str]:
    """Print what became of the drains; return a sentence for each that ended otherwise than it has to."""
    wanted = int(os.environ.get("KILLS", round(40 * scale) or 10))
    tickets = max(40, round(TICKETS * scale))
    began = time.perf_counter()
    _warm()
    plain = _drained(tickets, random.Random(0), 0)
    print(
        f"undisturbed: {tickets} tickets in {plain.cycles} cycles, {plain.writes} writes, {plain.reads} reads, "
        f"{plain.rows} rows of tickets and {plain.people} people read, {plain.points} points, "
        f"{time.perf_counter() - began:.0f} s",
        flush=True,
    )
    missed = [f"undisturbed: {w}" for w in plain.wrong]
    kills, drains, most, where = 0, 0, 0.0, Counter[str]()
    rows, people = [], []
    first = int(os.environ.get("FROM", "1"))
    while kills < wanted:
        lot, drains = first + drains, drains + 1
        found = _drained(tickets, random.Random(lot), min(KILLS_A_DRAIN, wanted - kills), plain.points)
        kills += found.kills
        where += found.where
        most = max(most, found.writes / plain.writes)
        rows.append((found.rows - plain.rows) / max(found.kills, 1))
        people.append((found.people - plain.people) / max(found.kills, 1))
        missed += [f"figure 8, lot {lot}: {w}" for w in (*found.wrong, *_unlike(plain, found))]
        print(
            f"  {kills:,} kills in {drains} drains, {time.perf_counter() - began:.0f} s: {len(missed)} wrong",
            flush=True,
        )
        if not found.kills:
            break
    print(f"{kills:,} kills in {drains} drains: {dict(sorted(where.items()))}")
    print(f"writes to those of the undisturbed run: {most:.3f} at most")
    if max(rows) > READ_MAX * tickets:
        missed.append(f"figure 8: {max(rows):.1f} rows of tickets are read again for each kill, of {tickets}")
    if max(people) > plain.people / plain.cycles:
        missed.append(f"figure 8: {max(people):.1f} people are read again for each kill, more than a cycle reads")
    print(f"read again for each kill: {max(rows):.1f} rows of tickets and {max(people):.1f} people at most")
    return missed


def _unlike(plain: Drain, found: Drain) -> list[str]:
    wrong = [f"{name} ended otherwise: {_first(plain.final[name], found.final[name])}" for name in plain.final
             if plain.final[name] != found.final[name]]  # fmt: skip
    if found.writes > WRITES_MAX * plain.writes:
        wrong.append(f"{found.writes} writes, the undisturbed run has {plain.writes}")
    return wrong


def _first(plain: dict[str, Any], found: dict[str, Any]) -> str:
    key = next(k for k in sorted({*plain, *found}) if plain.get(k) != found.get(k))
    return f"{key} is {found.get(key)} and not {plain.get(key)}"


@dataclass
class Drain:
    """What became of one: its end, and what it took."""

    final: dict[str, dict[str, Any]] = field(default_factory=dict)
    writes: int = 0
    reads: int = 0
    rows: int = 0  # of tickets that were listed
    people: int = 0  # that were read by name
    cycles: int = 1
    points: int = 0  # at which it could have been killed
    kills: int = 0
    where: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def _drained(tickets: int, rng: random.Random, kills: int, points: int = 0) -> Drain:
    """Work off a tenant's tickets, killed so often at points of a run that has about so many of them."""
    result = Drain()
    with tempfile.TemporaryDirectory(dir=os.environ.get(FOLDER)) as folder:
        world = _world(tickets)
        service = _Service(world, result)
        (Path(folder) / "config.toml").write_text(_config(), encoding="utf-8")
        for _ in range(4 * KILLS_A_DRAIN):
            is_killed = result.kills < kills
            at = rng.randint(1, max(1, round(2 * points / (KILLS_A_DRAIN + 1)))) if is_killed else 0
            if _life(Path(folder), service, at, rng.choice(("before", "after", "later")), rng):
                break
        else:
            result.wrong.append("it did not come to an end")
        _judge(Path(folder), world, result)
    return result


# --- the systems, in this process ---------------------------------------------------------------------------------


def _world(tickets: int) -> Any:
    world = empty()
    instance, directory = world.instance, world.directory
    items = {name: instance.add_item(name, **FORMS[name]) for name in (LICENCE, TEAM)}
    queue = instance.add_group(QUEUE)
    instance.add_person(FULFILLER, email=f"{FULFILLER}@contoso.example", name="Oliver Grant")
    approver = instance.truth.user_id(FULFILLER)
    directory.country = "DE"
    directory.add_sku(SKU, enabled=tickets + 10)
    for n in range(tickets):
        login, upn = f"person.{n:04}", f"person.{n:04}@contoso.example"
        sys_id = instance.add_person(
            login, email=upn, name=f"Person {n:04}", employee_number=f"{1000 + n}", country="DE"
        )
        directory.add_user(
            upn,
            display_name=f"Person {n:04}",
            usage_location="DE",
            country="DE",
            employee_id=f"{1000 + n}",
            employee_type="Employee",
        )
        asked = START - timedelta(days=2, minutes=n)
        instance.order(
            f"RITM{30_000 + n:07}",
            item=items[LICENCE],
            requested_for=sys_id,
            opened_by=sys_id,
            variables={"user": sys_id, "product": PRODUCT, "justification": "Needed for my daily work."},
            opened_at=asked,
            state="2",
            stage="fulfillment",
            approval="approved",
            request_approval="approved",
            approvers=[(approver, "approved", asked + timedelta(minutes=30))],
            task={"state": "1", "assignment_group": queue},
            price="14.10",
        )
    world.clock.advance(timedelta(0))
    return world


def _config() -> str:
    """A site whose budgets let everything through at once."""
    return re.sub(
        r"^((?:grants|answers)_per_(?:cycle|day)) = \d+", r"\1 = 9999", Site((PRODUCT,), ()).toml(), flags=re.M
    )


class _Service:
    """Answers what a child sends, and counts."""

    def __init__(self, world: Any, result: Drain) -> None:
        self.world, self.result = world, result
        self._transport = SandboxTransport(world)

    def answer(self, said: tuple[Any, ...]) -> Any:
        match said:
            case ("request", method, url, headers, content):
                self.world.clock.advance(timedelta(seconds=LATENCY_S))
                return self._served(httpx.Request(method, url, headers=headers, content=content))
            case ("sleep", seconds):
                self.world.clock.advance(timedelta(seconds=seconds))
                self.result.cycles += seconds == PAUSE_S
        return None

    def _served(self, request: httpx.Request) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        response = self._transport.handle_request(request)
        content = b"".join(response.iter_raw()) if not response.is_stream_consumed else response.content
        self._count(request, response)
        return response.status_code, response.headers.raw, content

    def _count(self, request: httpx.Request, response: httpx.Response) -> None:
        if request.url.host == hosts.LOGIN_HOST:
            return
        is_batch = request.url.path.endswith("/$batch")
        if request.method == "GET" or is_batch or request.url.path.endswith("/getByIds"):
            self.result.reads += 1
            if "/table/sc_req_item" in request.url.path:
                self.result.rows += response.text.count('"number"')
            if is_batch or "/users" in request.url.path:
                self.result.people += response.text.count('"userPrincipalName"')
        else:
            self.result.writes += 1


# --- the life of a child ------------------------------------------------------------------------------------------


def _life(folder: Path, service: _Service, at: int, how: str, rng: random.Random) -> bool:
    """One child from its start to its end, or to its point `at` (0: never); True when all was worked off."""
    ours, theirs = Pipe()
    began = service.world.clock.now()
    child = os.fork()
    if not child:
        ours.close()
        _child(folder, theirs, began, rng.randrange(2**32))
    theirs.close()
    result, seen, is_done = service.result, 0, False

    def kill(where: str) -> None:
        os.kill(child, signal.SIGKILL)
        result.kills += 1
        result.where[where] += 1

    try:
        while True:
            try:
                said = ours.recv()
            except EOFError:
                break
            if said[0] == "end":
                is_done = said[1] == ""
                if not is_done:
                    result.wrong.append(said[1])
                    is_done = True
                break
            seen += 1
            result.points += 1
            if seen == at and how == "before":
                kill(f"before a {said[0]}")
                break
            reply = service.answer(said)
            if seen == at and how == "after":
                kill(f"after a {said[0]}")
                break
            ours.send(reply)
            if seen == at:
                ours.poll(rng.random() * 0.01)
                kill(f"later than a {said[0]}")
                break
    finally:
        ours.close()
        os.waitpid(child, 0)
    return is_done


class _Edge(httpx.BaseTransport):
    """Our side: requests, waits and commits, one at a time, and the sandbox's clock, which only they turn."""

    def __init__(self, tell: Callable[[tuple[Any, ...]], Any], began: datetime) -> None:
        self._tell, self._began, self._passed_s = tell, began, 0.0
        self._turn = threading.Lock()

    def say(self, *said: Any, takes_s: float = 0.0) -> Any:
        with self._turn:
            self._passed_s += takes_s
            return self._tell(said)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        told = ("request", request.method, str(request.url), request.headers.raw, request.read())
        status, headers, content = self.say(*told, takes_s=LATENCY_S)
        return httpx.Response(status, headers=headers, stream=httpx.ByteStream(content))

    def now(self) -> datetime:
        return self._began + timedelta(seconds=self._passed_s)

    def monotonic(self) -> float:
        return self._passed_s

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            self.say("sleep", seconds, takes_s=seconds)


def _warm() -> None:
    """A small drain in this process: what it compiled and read once is there in each child."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.toml").write_text(_config(), encoding="utf-8")
        service = _Service(_world(3), Drain())
        trouble = _worked_off(Path(folder), _Edge(service.answer, service.world.clock.now()), 0)
    if trouble:
        raise AssertionError(trouble)
    gc.collect()
    gc.freeze()


def _child(folder: Path, pipe: Connection, began: datetime, seed: int) -> None:
    """Cycles until everything is granted and told. Never returns."""
    trouble = "it did not come to an end"

    def tell(said: tuple[Any, ...]) -> Any:
        pipe.send(said)
        return pipe.recv()

    try:
        trouble = _worked_off(folder, _Edge(tell, began), seed)
    except BaseException as error:  # whatever it is, this process ends here and the bench tells of it
        trouble = f"{type(error).__name__}: {error}"
    finally:
        pipe.send(("end", trouble))
        os._exit(0)


def _worked_off(folder: Path, edge: _Edge, seed: int) -> str:
    settings = load(folder / "config.toml", {"RECONCILER_STATE_DIR": str(folder)})
    with open_database(folder / "reconciler.db") as store, make_http(edge) as http:
        event.listen(store._engine, "commit", lambda _: edge.say("commit"))
        reached = systems_of(edge, http, http, random_bytes=random.Random(seed).randbytes)
        app = App(TENANT, settings, settings.tenants[TENANT], reached, store.of(TENANT))
        for _ in range(CYCLES_MAX):
            report = once(app, Scope(pace=Pace.QUICK))
            with store.read() as session:
                owed = outbox.unsent(session, TENANT)
                known = lines.load(session, TENANT)
            if known and all(s.phase is Phase.GRANTED for s in known.values()) and not owed and not report.problems:
                return ""
            edge.sleep(PAUSE_S)
    return f"after {CYCLES_MAX} cycles not everything is granted"


# --- how it ended -------------------------------------------------------------------------------------------------


def _judge(folder: Path, world: Any, result: Drain) -> None:
    directory, instance = world.directory, world.instance
    with open_database(folder / "reconciler.db") as store, store.read() as session:
        phases = {str(key): state.phase.value for key, state in lines.load(session, TENANT).items()}
        if not journal.verify(journal.export(session)).ok:
            result.wrong.append("the log does not hold")
    items = {r["number"]: r for r in instance.records("sc_req_item")}
    notes = {number: instance.notes(r["sys_id"]) for number, r in items.items()}
    result.final = {
        "phases": phases,
        "licences": {u.upn: sorted(s.sku_id for s in directory.assign_states(u.user_id)) for u in _people(directory)},
        "tickets": {number: (r["state"], r["active"]) for number, r in items.items()},
        "tasks": {
            number: sorted(t["state"] for t in instance.records("sc_task", request_item=r["sys_id"]))
            for number, r in items.items()
        },
        "notes": {number: len(told) for number, told in notes.items()},
    }
    for number, told in notes.items():
        if len(set(told)) != len(told):
            result.wrong.append(f"{number} was told the same twice")


def _people(directory: Any) -> list[Any]:
    return sorted(directory.store.users.values(), key=lambda u: u.upn)
