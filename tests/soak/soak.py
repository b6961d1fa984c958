"""A soak: a customer who orders, systems that fail, a process that is killed, and what must hold all the same.

The sandbox lives in this process and its time runs by itself, but waits for the service where the machine is slow. The
service is a process of its own that reaches it over TLS on loopback ports, as it would reach the real ones. There may
be several of them on one store, of which one at a time has the tenant. A person looks at what guards stopped and lets
ends through that are due: there may be more of them in a day than the limits allow. In the end nothing fails any more,
and after a few quiet hours every ticket has to be where an undisturbed service would have brought it.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from reconciler.clock import SystemClock
from reconciler.loop.releasing import overview, release
from reconciler.sandbox.held import Owned
from reconciler.sandbox.state import SandboxState
from reconciler.store import journal
from reconciler.store.database import open_database
from tests.soak.customer import Customer
from tests.soak.process import Life, Process

TENANT, OPERATOR = "contoso", "thomas.brandt@contoso.example"
LOOK_S = 0.25
WAIT_S = 12.0  # without a cycle, until time goes on all the same: one that fails
PATIENCE_S = 60.0  # a start on a busy machine: until its first cycle is done, the world waits so long
QUIET_H = 8.0  # at most; it ends as soon as everything has come to rest
RSS_MAX_MB, FILES_MAX, THREADS_MAX = 400.0, 80, 60
WARM_CYCLES = 4
GROWTH_MAX = 1.25  # of memory between the first and the last quarter of the longest life
LOOKS_AFTER_H = 2.0  # the person who looks at the guards
RESTLESS = ("received", "approved", "converging", "verifying", "expiring", "revoking")


@dataclass(frozen=True)
class Plan:
    """`hours` of virtual time at `speed` virtual seconds a second. An order comes every `order_min` minutes or so.
    `services` are the processes that run at the same time, on one store."""

    hours: float
    speed: float
    kills: int
    seed: int
    order_min: float = 30.0
    every_min: int = 10
    pull_min: int = 3
    services: int = 1

    @property
    def interval(self) -> timedelta:
        return timedelta(minutes=self.every_min)

    @classmethod
    def of(cls, hours: float, *, speed: float = 0.0, kills: int = 0, seed: int = 1, services: int = 1) -> Plan:
        """Short ones are slower, so that a start does not take most of the time."""
        if hours <= 24:
            return cls(hours, speed or 360.0, kills or max(3, round(hours / 1.5)), seed, services=services)
        return cls(hours, speed or 900.0, kills or round(hours / 8), seed, 110.0, 30, 10, services)


@dataclass
class Found:
    """What came of it."""

    plan: Plan
    wrong: list[str] = field(default_factory=list)
    lives: list[Life] = field(default_factory=list)
    met: Counter[str] = field(default_factory=Counter)
    outages: list[str] = field(default_factory=list)
    orders: int = 0
    answers: int = 0
    intents: int = 0
    released: int = 0
    unresolved: int = 0
    phases: Counter[str] = field(default_factory=Counter)
    hours: float = 0.0
    took_s: float = 0.0

    def told(self) -> str:
        """The figures, for people."""
        longest = max(self.lives, key=lambda life: len(life.samples))
        first, last = _quarters(longest)
        every = [s for life in self.lives for s in life.samples]
        lines = [
            f"virtual hours {self.hours:.1f} in {self.took_s:.0f} s, seed {self.plan.seed}",
            f"processes {len(self.lives)}, at a time {self.plan.services}, killed {self.plan.kills}, "
            f"cycles {sum(life.cycles for life in self.lives)}",
            f"faults met {sum(self.met.values())}: " + ", ".join(f"{k} {n}" for k, n in sorted(self.met.items())),
            f"outages {len(self.outages)}: " + ", ".join(f"{k} x{n}" for k, n in Counter(self.outages).items()),
            f"orders {self.orders}, answers {self.answers}, writes announced {self.intents}, "
            f"of them without a known result {self.unresolved}, plans let through {self.released}",
            "lines: " + ", ".join(f"{k} {n}" for k, n in sorted(self.phases.items())),
            f"log lines beside those of cycles {sum(len(life.troubles) for life in self.lives)}",
            f"memory at most {max(s.rss_mb for s in every):.0f} MiB; longest life ({len(longest.samples)} samples, "
            f"{longest.cycles} cycles): first quarter {first:.0f} MiB, last {last:.0f} MiB",
            f"open files at most {max(s.files for s in every)}, threads at most {max(s.threads for s in every)}",
        ]
        return "\n".join(
            [*lines, *(f"WRONG: {sentence}" for sentence in self.wrong)] + ([] if self.wrong else ["fine"])
        )


def soak(plan: Plan, folder: Path, *, tell: Callable[[str], None] = lambda _: None) -> Found:
    """Run one; what was wrong is in the result."""
    folder.mkdir(parents=True, exist_ok=True)
    customer, found, wall = Customer(plan.seed), Found(plan), SystemClock()
    began_s = wall.monotonic()
    with SandboxState(folder / "var" / "sandbox").open(story="empty", fresh=True) as owned:
        owned.world, owned.story = customer.world, "contoso"
        owned.save()

        with owned.serving():
            _Soak(plan, folder, customer, owned, found, tell).run()
    found.took_s = wall.monotonic() - began_s
    return found


class _Soak:
    def __init__(
        self, plan: Plan, folder: Path, customer: Customer, owned: Owned, found: Found, tell: Callable[[str], None]
    ) -> None:
        self.plan, self.folder, self.customer, self.owned = plan, folder, customer, owned
        self.found, self.tell = found, tell
        self.rng = random.Random(f"kills-{plan.seed}")
        self.began_at = owned.now()
        self.processes: list[Process] = []
        self.started_s = self.counted_s = 0.0  # the last start, and when the last cycle was new
        self.looked_h = 0.0  # when the person looked at the guards
        self.before = 0  # cycles until the last start
        self.counted, self.counted_at = -1, self.began_at  # cycles since then

    @property
    def hours(self) -> float:
        return (self.owned.now() - self.began_at).total_seconds() / 3600

    def run(self) -> None:
        plan = self.plan
        kills = sorted(self.rng.uniform(0.02, 0.75) * plan.hours for _ in range(plan.kills))  # a long last life
        orders = [h * plan.order_min / 60 for h in range(1, int(plan.hours * 60 / plan.order_min))]
        outages = sorted(self.rng.uniform(0.05, 0.9) * plan.hours for _ in range(max(3, int(plan.hours / 6))))
        for _ in range(plan.services):
            self._start()
        while self.hours < plan.hours:
            while orders and self.hours >= orders[0]:
                orders.pop(0)
                with self.owned.world.lock:
                    self.customer.order()
            if outages and self.hours >= outages[0]:
                outages.pop(0)
                self.found.outages.append(self.customer.go_down(timedelta(minutes=self.rng.choice((10, 25, 60)))))
            if kills and self.hours >= kills[0]:
                kills.pop(0)
                time.sleep(self.rng.uniform(0, 2))  # in the middle of whatever it does
                self._kill(self.rng.choice(self.processes))
            self._look()
        self.found.met = self.customer.calm()
        self._settle()
        self._judge()

    def _start(self) -> None:
        life = Life(len(self.found.lives) + 1)
        self.found.lives.append(life)
        self.started_s = time.monotonic()
        self.counted, self.before = -1, self._cycles()
        self.processes.append(
            Process(
                life,
                self.folder,
                {
                    "RECONCILER_STATE_DIR": str(self.folder / "var"),
                    "RECONCILER_WEB__PORT": "0",
                    "RECONCILER_SANDBOX__SPEED": str(self.plan.speed),
                    "RECONCILER_SANDBOX__FAULTS": "true",
                    "RECONCILER_SCHEDULE__EVERY": f"{self.plan.every_min}m",
                    "RECONCILER_SCHEDULE__PULL_EVERY": f"{self.plan.pull_min}m",
                },
            )
        )

    def _kill(self, process: Process) -> None:
        self.tell(f"{self.hours:.1f} h: killed, after {process.life.cycles} cycles")
        process.kill()
        self.processes.remove(process)
        self._start()

    def _cycles(self) -> int:
        return sum(life.cycles for life in self.found.lives)

    def _look(self) -> None:
        before = time.monotonic()
        time.sleep(LOOK_S)
        self._let_time_pass(time.monotonic() - before)
        if self.hours - self.looked_h >= LOOKS_AFTER_H and any(life.cycles for life in self.found.lives):
            self._look_at_guards()
        for process in list(self.processes):
            process.measure(self.hours)
            if not process.is_running:
                self.found.wrong.append(f"the process ended by itself: {process.life.said[-3:]}")
                self.processes.remove(process)
                self._start()

    def _look_at_guards(self) -> None:
        """As an operator does: the newest plan of removals that was stopped and nobody let through yet."""
        self.looked_h, at = self.hours, self.owned.now()
        with open_database(self.folder / "var" / "reconciler.db") as database, database.write() as session:
            stopped = [plan for plan in overview(session, TENANT, at).plans if plan.lane == "removals"]
            if stopped and stopped[0].used_at is None and not stopped[0].is_released(at):
                release(session, TENANT, stopped[0].digest, by=OPERATOR, reason="Known ends, looked at.", at=at)
                self.found.released += 1

    def _let_time_pass(self, real_s: float) -> None:
        """As much as `speed` says, but no more than two intervals without a cycle: a machine that is busy with other
        things has as many cycles in a day as an idle one. The cycles are those of whoever has the tenant."""
        now, cycles = time.monotonic(), self._cycles() - self.before
        if cycles != self.counted:
            self.counted, self.counted_s, self.counted_at = cycles, now, self.owned.now()
        is_ahead = self.owned.now() - self.counted_at > 2 * self.plan.interval
        patience_s = WAIT_S if cycles else PATIENCE_S  # for one that fails, or has just been started
        if (cycles and not is_ahead) or now - max(self.counted_s, self.started_s) > patience_s:
            by_s = min(real_s, 2 * LOOK_S) * self.plan.speed
            self.owned.world.clock.advance(timedelta(seconds=by_s))

    def _settle(self) -> None:
        """Nothing fails any more: everything comes to rest, and the service says that it is well."""
        until, ours = self.hours + QUIET_H, {order.number for order in self.customer.orders}
        while self.hours < until:
            for _ in range(8):
                self._look()
            restless = [n for n, line in self._lines().items() if line["phase"] in RESTLESS and n in ours]
            if not restless and len(self._lines()) >= len(self.customer.orders) and not self._conditions():
                break
        if self._conditions():
            self.found.wrong.append(f"all is well with the systems, and the service says {self._conditions()}")

    def _conditions(self) -> list[str]:
        found: list[str] = []
        with httpx.Client(trust_env=False, timeout=30) as http:
            for process in self.processes:
                if not process.url:
                    found.append("starting")
                    continue
                said = http.get(f"{process.url}/readyz").json()
                found += [c["name"] for c in said["conditions"]] if said["ready"] else [said["why"]]
        return found

    def _lines(self) -> dict[str, dict[str, Any]]:
        place = self.folder / "var" / "reconciler.db"
        if not place.exists():
            return {}
        with closing(sqlite3.connect(f"{place.as_uri()}?mode=ro", uri=True, timeout=30)) as store:
            rows = store.execute("select ticket, phase, cause, note, ends_at from line").fetchall()
        return {
            ticket: {"phase": phase, "cause": cause, "note": note, "ends_at": _instant(ends_at)}
            for ticket, phase, cause, note, ends_at in rows
        }

    def _judge(self) -> None:
        found, customer = self.found, self.customer
        found.hours = self.hours
        for life in found.lives:
            (self.folder / f"log-{life.number}.txt").write_text("\n".join(life.said) + "\n", "utf-8")
        for process in self.processes:
            if (code := process.stop()) != 0:
                found.wrong.append(f"the process ended with {code}: {process.life.said[-3:]}")
        lines = self._lines()
        found.orders = len(customer.orders)
        found.phases = Counter(line["phase"] for line in lines.values())
        found.wrong += customer.faults_of_answers()
        found.wrong += customer.faults_of_lines(lines)
        with open_database(self.folder / "var" / "reconciler.db") as database, database.read() as session:
            rows = list(journal.export(session))
            verified = journal.verify(iter(rows))
        results = {row["body"]["intent"] for row in rows if row["kind"] == "result"}
        intents = [row["seq"] for row in rows if row["kind"] == "intent"]
        found.intents, found.unresolved = len(intents), sum(1 for seq in intents if seq not in results)
        found.answers = sum(1 for row in rows if row["kind"] == "intent" and row["body"]["lane"] == "answers")
        if not verified.ok:
            found.wrong.append(f"the audit log does not verify: {verified}")
        found.wrong += self._bounds()

    def _bounds(self) -> list[str]:
        every = [s for life in self.found.lives for s in life.samples]
        wrong = []
        for what, most, limit in (
            ("MiB of memory", max(s.rss_mb for s in every), RSS_MAX_MB),
            ("open files", max(s.files for s in every), FILES_MAX),
            ("threads", max(s.threads for s in every), THREADS_MAX),
        ):
            if most > limit:
                wrong.append(f"{most:.0f} {what}, more than {limit:.0f}")
        first, last = _quarters(max(self.found.lives, key=lambda life: len(life.samples)))
        if last > first * GROWTH_MAX:
            wrong.append(f"memory grew from {first:.0f} to {last:.0f} MiB within one life")
        return wrong


def _quarters(life: Life) -> tuple[float, float]:
    """Mean memory in the first quarter of a life, counted from when it has warmed up, and in the last one."""
    samples = [s for s in life.samples if s.cycles >= WARM_CYCLES] or life.samples[-1:]
    n = max(1, len(samples) // 4)
    early, late = samples[:n], samples[-n:]
    return sum(s.rss_mb for s in early) / len(early), sum(s.rss_mb for s in late) / len(late)


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    at = datetime.fromisoformat(text)
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
