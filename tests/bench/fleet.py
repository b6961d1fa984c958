"""How many tenants workers serve in a second, and how soon somebody has the tenants of one that was killed (figure 11).

Every tenant has had its first cycles, answers to tickets included; those are told of and not judged. Then a cycle is
asked of all at once, as after an outage, of a fleet whose stores are kept; the clock runs until each has had a turn
with one. The two systems answer after a delay that is the same for all, so one worker with four places (one of them is
kept for tenants in trouble) waits most of its time and more of them do more, until what they share binds: the cores of
the machine, or the database, which commits to the disk here.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from reconciler.config import Settings
from reconciler.fleet.schema import conninfo_of, make_queue
from reconciler.holding import FREE_AFTER_S
from reconciler.sandbox.world import World
from reconciler.store import leases, looks
from reconciler.store.database import connect
from tests.bench.fleet_worker import names
from tests.bench.measure import machine
from tests.make_postgres import NoServer, Server, a_server
from tests.simulation.make_tenant import Made
from tests.simulation.play import Game, begun, play

TENANTS, TENANTS_MIN, LATENCY_S, SEED = 1000, 12, 0.03, 12
GROWS = 1.3  # at least, from one worker to two, unless something binds
BOUND_FROM = 0.85  # of all cores' time, whoever takes it
SEEN_AFTER_S = 15.0  # of a death on the own machine: until somebody asks whose time has come, and has a place free
ELSEWHERE = "elsewhere"  # a machine whose processes nobody else sees: their leases have to run out
PATIENCE_S = 900.0
LATER = timedelta(hours=6)
SCHEDULE = '[schedule]\nevery = "1d"\npull_every = "1h"\nfull_scan_every = "30d"\n'  # nobody is due who was not called


def run(scale: float) -> list[str]:
    """Print what one, two and four workers do, and what becomes of the tenants of a dead one."""
    count = max(TENANTS_MIN, int(TENANTS * scale))
    try:
        server = a_server(fsync="on", synchronous_commit="on", full_page_writes="on", max_connections="200")
    except NoServer as error:
        return [f"nothing was measured: {error}"]
    print(machine())
    print(f"{count} tenants, each system answers after {LATENCY_S * 1000:.0f} ms")
    try:
        with tempfile.TemporaryDirectory() as folder:
            _converge(Path(folder))
            return _measure(server, Path(folder), count)
    finally:
        server.stop()


def _measure(server: Server, folder: Path, count: int) -> list[str]:
    with _a_store(server, count) as url:
        return _measured(server, url, folder, count)


def _measured(server: Server, url: str, folder: Path, count: int) -> list[str]:
    first = _drain(server, url, folder, count, 2, worlds="own")
    print(f"first cycles: {first.line()}", flush=True)
    (folder / "world-answered.json").replace(folder / "world.json")
    again = _drain(server, url, folder, count, 2, called=count)  # what came of their own writes is seen, and over then
    print(f"later ones, before the measurement: {again.line()}", flush=True)
    found = []
    for workers in (1, 2, 4):
        found.append(_drain(server, url, folder, count, workers, called=count))
        print(found[-1].line(), flush=True)
    missed = [sentence for drain in found for sentence in drain.wrong]
    for fewer, more in pairwise(found):
        ratio = more.per_s / fewer.per_s
        if ratio < GROWS and more.busy < BOUND_FROM:
            missed.append(f"{more.workers} workers do {ratio:.2f} times what {fewer.workers} do, and nothing binds")
    missed += first.wrong + again.wrong
    some = max(TENANTS_MIN, count // 4)
    places = ["", ELSEWHERE] if os.geteuid() == 0 and shutil.which("unshare") else [""]
    for where in places:
        drain = _drain(server, url, folder, count, 2, called=some, kills=True, first_on=where)
        print(drain.line(), flush=True)
        missed += drain.wrong
    if ELSEWHERE not in places:
        print("what becomes of the tenants of a machine that is gone was not measured: that needs unshare, and root")
    return missed


@dataclass
class Drain:
    """What so many workers came to."""

    workers: int
    tenants: int
    wall_s: float = 0.0
    workers_s: float = 0.0  # CPU
    database_s: float = 0.0  # CPU
    busy: float = 0.0  # share of the time of all cores that anybody took
    turns: int = 0
    requests: int = 0
    turns_s: float = 0.0  # of all turns together, by the clock
    killed: str = ""
    resumed_s: tuple[float, ...] = ()
    wrong: list[str] = field(default_factory=list)

    @property
    def per_s(self) -> float:
        return self.tenants / self.wall_s

    def line(self) -> str:
        ours_s, theirs_s = self.workers_s / max(1, self.turns), self.database_s / max(1, self.turns)
        taken = (self.workers_s + self.database_s) / self.wall_s
        turn_s, requests = self.turns_s / max(1, self.turns), self.requests / max(1, self.turns)
        parts = [
            f"{self.workers} workers{self.killed}: {self.per_s:.2f} tenants a second",
            f"a turn takes {turn_s:.1f} s with {requests:.0f} requests",
            f"CPU of a turn {1000 * ours_s:.0f} ms, of the database for it {1000 * theirs_s:.0f} ms",
            f"all cores taken {self.busy:.0%}, by these {taken:.2f} of a core",
        ]
        if self.resumed_s:
            span = f"{min(self.resumed_s):.1f} to {max(self.resumed_s):.1f} s"
            parts.append(f"the {len(self.resumed_s)} tenants that it had went on after {span}")
        return "; ".join(parts)


class _Workers:
    """Processes, and what they tell in the order in which it arrives."""

    def __init__(self, url: str, folder: Path, tenants: int, count: int, worlds: str, first_on: str) -> None:
        """`first_on`: the name of the machine that the first of them runs on, "" for this one."""
        self.told: queue.Queue[tuple[int, dict[str, Any] | None]] = queue.Queue()
        said = [url, str(folder), str(tenants), str(LATENCY_S if worlds == "shared" else 0), worlds]
        self.processes = [self._begin(n, said, first_on if n == 0 else "") for n in range(count)]

    def _begin(self, n: int, said: list[str], machine: str) -> subprocess.Popen[str]:
        there = ["unshare", "--uts", "sh", "-c", f'hostname {machine} && exec "$@"', "sh"] if machine else []
        process = subprocess.Popen(
            [*there, sys.executable, "-m", "tests.bench.fleet_worker", *said],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

        def read() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                self.told.put((n, json.loads(line)))
            self.told.put((n, None))

        threading.Thread(target=read, daemon=True).start()
        return process

    def next(self) -> tuple[int, dict[str, Any] | None]:
        return self.told.get(timeout=PATIENCE_S)

    def go(self) -> None:
        ready = 0
        while ready < len(self.processes):
            _, what = self.next()
            assert what is not None, "a worker ended before it began"
            ready += "ready" in what
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()

    def end(self) -> float:
        """Stop those that run; the CPU that they took."""
        left = {n for n, process in enumerate(self.processes) if process.poll() is None}
        for n in left:
            stdin = self.processes[n].stdin
            assert stdin is not None
            stdin.close()
        taken_s = 0.0
        while left:
            n, what = self.next()
            taken_s += what.get("cpu_s", 0.0) if what is not None else 0.0
            if what is None:
                left.discard(n)
        for process in self.processes:
            process.wait(PATIENCE_S)
        return taken_s


def _drain(
    server: Server,
    url: str,
    folder: Path,
    count: int,
    workers: int,
    *,
    called: int = 0,
    worlds: str = "shared",
    kills: bool = False,
    first_on: str = "",
) -> Drain:
    """Have so many workers serve whoever is due: the first `called` tenants are asked for a cycle, none for all."""
    due = called or count
    drain = Drain(workers, due)
    if called:
        _turn_clock(folder)
        _call(url, names(called))
    crew = _Workers(url, folder, count, workers, worlds, first_on)
    crew.go()
    taken, database_s, began = _cores(), _database_s(server), time.time()
    missing, open_turns = set(names(due)), defaultdict(set)
    turns: dict[str, list[tuple[float, float, int]]] = defaultdict(list)
    killed_at, waiting, resumed = 0.0, set(), []
    while missing or waiting:
        n, what = crew.next()
        if what is None:
            if n == 0 and killed_at:
                continue
            drain.wrong.append(f"worker {n} ended by itself")
            break
        if tenant := what.get("has"):
            open_turns[n].add(tenant)
        if tenant := what.get("ended"):
            open_turns[n].discard(tenant)
            if what["asked"]:
                turns[tenant].append((*what["asked"], n))
            if what["outcome"] == "DONE":
                missing.discard(tenant)
                drain.turns += 1
                drain.requests += what["requests"]
                drain.turns_s += what["at"] - what["since"]
                if tenant in waiting and n != 0 and what["at"] > killed_at:
                    waiting.discard(tenant)
                    resumed.append(what["since"] - killed_at)
        if kills and not killed_at and len(missing) < 2 * due / 3 and len(open_turns[0]) > 1:
            crew.processes[0].kill()
            crew.processes[0].wait(PATIENCE_S)  # until its parent has asked for it, a process still exists
            killed_at, waiting = time.time(), set(open_turns[0])
    drain.wall_s = time.time() - began
    drain.busy = _share(taken, _cores())
    drain.database_s = _database_s(server) - database_s
    drain.workers_s = crew.end()
    drain.resumed_s = tuple(resumed)
    drain.killed = (f", one on {first_on or 'this machine'} killed") if kills else ""
    most_s = FREE_AFTER_S if first_on else SEEN_AFTER_S
    if kills and not resumed:
        drain.wrong.append("no worker died while it had a tenant that another one could go on with")
    drain.wrong += [f"two workers had {tenant} at once" for tenant, found in turns.items() if _overlap(found)]
    if kills and max(resumed, default=0.0) > most_s:
        drain.wrong.append(f"a tenant of the dead worker waited {max(resumed):.0f} s, at most {most_s:.0f} is meant")
    return drain


def _overlap(turns: list[tuple[float, float, int]]) -> bool:
    ordered = sorted(turns)
    return any(later[0] < earlier[1] for earlier, later in pairwise(ordered))


@contextmanager
def _a_store(server: Server, count: int) -> Iterator[str]:
    """An empty store with its queue, in which every tenant is due."""
    server.run("CREATE DATABASE bench")
    url = server.url("bench")
    try:
        with connect(url) as database:
            database.upgrade()
            with database.write() as session:
                looks.know(session, names(count))
        make_queue(conninfo_of(url))
        yield url
    finally:
        server.run("DROP DATABASE IF EXISTS bench WITH (FORCE)")


def _turn_clock(folder: Path) -> None:
    """Some hours later: what was written lately is read again for a while, whoever wrote it."""
    saved = folder / "world.json"
    world = World.from_json(json.loads(saved.read_text("utf-8")))
    world.clock.advance(LATER)
    saved.write_text(json.dumps(world.to_json()), "utf-8")


def _call(url: str, tenants: Collection[str]) -> None:
    with connect(url) as database, database.write() as session:
        for tenant in tenants:
            leases.ask(session, tenant)


def _converge(folder: Path) -> None:
    """A customer whose tickets are all served: their world and configuration in `folder`."""
    worlds: list[World] = []

    def begin(tenant: Made, where: Path, settings: Settings, held: ExitStack) -> Game:
        worlds.append(tenant.world)
        config = (where / "config.toml").read_text("utf-8")
        (folder / "config.toml").write_text(SCHEDULE + config, "utf-8")
        return begun(tenant, where, settings, held)

    played = play(SEED, begin=begin)
    assert not played.wrong, played.wrong
    (folder / "world.json").write_text(json.dumps(worlds[0].to_json()), "utf-8")


# --- meters -----------------------------------------------------------------------------------------------------------


def _cores() -> tuple[int, int]:
    """The time that the cores of the machine were taken, and all of it, in ticks."""
    ticks = [int(n) for n in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def _share(before: tuple[int, int], after: tuple[int, int]) -> float:
    return (after[0] - before[0]) / max(1, after[1] - before[1])


def _database_s(server: Server) -> float:
    """CPU of the server with all its processes, those that ended too."""
    first = int((server.folder / "data" / "postmaster.pid").read_text().split()[0])
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(stat.parent.name) == first:
                ticks += sum(int(n) for n in fields[11:15])
            elif int(fields[1]) == first:
                ticks += sum(int(n) for n in fields[11:13])
    return ticks / os.sysconf("SC_CLK_TCK")
