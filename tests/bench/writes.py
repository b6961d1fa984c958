"""Writes at the pace of the quotas: figure 5 of docs/performance.md, in virtual time.

What ships (`diff`, `plan`, `execute`, `Sender`, `Post`, `Pacer`, the client and its wire, the store with its audit log)
writes to a directory that only counts (`writes_directory`). Nothing sleeps: each request turns the clock by the
latency. The limit is the larger of writes x latency on one slot and what the published bucket allows. At SCALE=10
100,000 people join a group.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from desired_state.model import GroupId, LineKey, Product, UserId
from desired_state.model import Path as By
from reconciler.allowance import Allowance
from reconciler.clients.graph import GRAPH_DIALECT, Graph
from reconciler.clients.wire import Wire, make_http
from reconciler.clock import ManualClock
from reconciler.line import Decision, Gated, Lane, Line, Observed, Weight
from reconciler.loop.diff import Windows, diff
from reconciler.loop.execute import SLICE, Between, Hands, execute
from reconciler.loop.guarding import Guarding, Post
from reconciler.loop.guards.budgets import Limits
from reconciler.loop.guards.scope import EVERYBODY
from reconciler.loop.guards.watch import Watch
from reconciler.loop.look import Eyes, look
from reconciler.loop.pacer import Pacer
from reconciler.loop.plan import Bounds, plan
from reconciler.loop.rereading import Beside, when_asked
from reconciler.loop.send import Sender
from reconciler.model import Outcome, Result, SubscribedSku
from reconciler.store.database import Database
from tests.bench.measure import cpu_s, machine
from tests.bench.writes_directory import GROUP, WINDOW_S, WRITES, Directory, Lanes
from tests.make import MONDAY, VISIO, a_line, a_product, a_sku
from tests.make_database import a_database

PEOPLE, TENANT, REACH = 10_000, "contoso", 1.02
MEMORY = Path("/dev/shm")
DIRECT = a_product()
BY_GROUP = a_product("visio-plan-2", name="Visio Plan 2", path=By.GROUP, group=GroupId(GROUP))


@dataclass
class Drain:
    """What one plan took, in virtual seconds from its first write to its last."""

    name: str
    directory: Directory
    seconds: float
    lost: int
    cpu_s: float

    @property
    def limit_s(self) -> float:
        slot = self.directory.calls["write"] * self.directory.latency_s
        return max(slot, (self.directory.quota - WRITES) * WINDOW_S / WRITES)

    @property
    def ratio(self) -> float:
        return self.seconds / self.limit_s

    @property
    def bare(self) -> float:
        """The ratio without the reads that happened in between."""
        waited_s = self.directory.clock.waited_s if isinstance(self.directory.clock, Lanes) else 0.0
        return (self.seconds - self.directory.read_s - waited_s) / self.limit_s


def run(scale: float) -> list[str]:
    """Measure, and say in sentences which figures were missed."""
    print(machine())
    print(f"{'':<34}{'writes':>8}{'limit s':>10}{'taken s':>10}{'ratio':>8}{'no reads':>10}{'409':>5}{'429':>5}"
          f"{'lost':>6}{'reads':>8}{'CPU s':>8}")  # fmt: skip
    few = max(50, round(PEOPLE * min(scale, 1.0)))
    missed = []
    for name, product, count, latency_s in (
        (f"{few:,} direct, 80 ms", DIRECT, few, 0.08),
        (f"{few:,} direct, 20 ms: quota-bound", DIRECT, few, 0.02),
        (f"{few:,} by group, 80 ms", BY_GROUP, few, 0.08),
        *([(f"{few * 10:,} by group, 10 ms: quota", BY_GROUP, few * 10, 0.01)] if scale >= 10 else []),
        *([(f"{few * 10:,} by group, 80 ms", BY_GROUP, few * 10, 0.08)] if scale >= 10 else []),
    ):
        done = drained(name, product, count, latency_s)
        d = done.directory
        print(f"{name:<34}{d.quota:>8}{done.limit_s:>10.1f}{done.seconds:>10.1f}{done.ratio:>8.3f}{done.bare:>10.3f}"
              f"{d.refused[409]:>5}{d.refused[429]:>5}{done.lost:>6}{d.calls['read']:>8}{done.cpu_s:>8.1f}",
              flush=True)  # fmt: skip
        missed += _missed(done)
    return missed


def _missed(done: Drain) -> list[str]:
    found = []
    if done.ratio > REACH:
        found.append(
            f"{done.name}: {done.ratio:.3f} times its limit, not {REACH}; {done.bare:.3f} without the reads in between"
        )
    refused = done.directory.refused
    if refused[409] or refused[429] or done.lost:
        found.append(f"{done.name}: {refused[409]} times 409, {refused[429]} times 429, {done.lost} lost")
    return found


@dataclass
class Site:
    """A directory, a store, and what ships between them."""

    directory: Directory
    database: Database
    slice_requests: int = SLICE
    beside: Beside = when_asked  # where the clock has no lane for it

    def carry_out(
        self, lines: Sequence[Line], free: int, skus: Sequence[SubscribedSku] = ()
    ) -> dict[LineKey, tuple[Outcome, ...]]:
        """Look, plan as the cycle does, let everything go, and carry it out."""
        return self.plan_and_execute(lines, "c1", free, skus)[1]

    def plan_and_execute(
        self,
        lines: Sequence[Line],
        cycle: str,
        free: int = 10**6,
        skus: Sequence[SubscribedSku] = (),
        between: Callable[[Observed], Between] | None = None,
    ) -> tuple[list[Gated], dict[LineKey, tuple[Outcome, ...]]]:
        """The same by the name of a cycle, with what was let go; `between` is told what the plan was made from."""
        clock = self.directory.clock
        pacer = Pacer(TENANT, clock)
        eyes = Eyes(graph_of(self.directory, clock, pacer))
        observed = look(eyes, lines, skus or [a_sku(enabled=free, consumed=0)], at=clock.now())
        findings = diff(lines, observed, at=clock.now(), windows=Windows())
        proposals = plan(findings, observed, Bounds()).proposals
        gated = [Gated(p, Decision.CLEARED, weights=(Weight(gains=1),) * len(p.actions)) for p in proposals]
        post = _post(self.database, clock, eyes.graph)
        sender = Sender(self.database, TENANT, cycle, clock, lambda *_: None, lambda _: "", post, pace=pacer)
        beside = clock.beside if isinstance(clock, Lanes) else self.beside
        hands = Hands(eyes, sender, clock, Windows(), {}, post, self.slice_requests, beside)
        interrupts = between(observed) if between is not None else None
        done = execute(gated, observed, hands, plan_digest="d", progress=lambda _: None, between=interrupts)
        return gated, done


def people(count: int) -> list[UserId]:
    """So many object ids."""
    return [UserId(f"{n:08x}-0000-4000-8000-000000000000") for n in range(count)]


def drained(name: str, product: Product, count: int, latency_s: float) -> Drain:
    """Plan and carry out one change for each of so many people."""
    users = people(count)
    directory = Directory(Lanes(MONDAY), latency_s, str(VISIO), {user: set() for user in users})
    lines = [a_line(f"RITM{n:07d}", user=user, product=product) for n, user in enumerate(users)]
    before = cpu_s()
    with a_store() as database:
        outcomes = Site(directory, database).carry_out(lines, count)
    cpu = cpu_s() - before
    got = directory.members if product.path is By.GROUP else {u for u, skus in directory.held.items() if skus}
    told = sum(all(o.result is Result.APPLIED for o in done) for done in outcomes.values())
    assert told == len(got), f"{told} were told and {len(got)} have it"
    assert directory.first_write_at is not None and directory.last_write_at is not None
    seconds = (directory.last_write_at - directory.first_write_at).total_seconds()
    return Drain(name, directory, seconds, count - len(got), cpu)


@contextmanager
def a_store() -> Iterator[Database]:
    """A store that is gone afterwards, in memory where the machine has room there."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        database = a_database(Path(folder) / "reconciler.db")
        try:
            yield database
        finally:
            database.close()


def graph_of(directory: Directory, clock: ManualClock, pacer: Pacer) -> Graph:
    """The client, as it reaches this directory."""
    wire = Wire(
        "graph",
        make_http(directory),
        "https://graph.microsoft.com/v1.0",
        lambda: {"Authorization": "Bearer a-token"},
        lambda _: False,
        clock,
        random.Random(7),
        dialect=GRAPH_DIALECT,
        heard=pacer.heard,
    )
    return Graph(wire, clock)


def _post(database: Database, clock: ManualClock, graph: Graph) -> Post:
    endless = Limits(dict.fromkeys(Lane, Allowance(10**9)), dict.fromkeys(Lane, Allowance(10**9)))
    guarding = Guarding(TENANT, database, clock, graph, scope=EVERYBODY, limits=endless)
    return Post(guarding, Watch(MONDAY, limits=endless), "c1", marks={}, used={})
