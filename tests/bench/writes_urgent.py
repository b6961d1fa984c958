"""Urgent tickets during a backlog: figure 9 of docs/performance.md, in virtual time.

What ships (`Overtaking` between the slices of `execute`) serves tickets that arrive at random instants while a backlog
of direct grants is carried out. The small cycle is the path from look to write as in `writes`; the requests of a whole
one that are not among them (ServiceNow, roles, groups, mailboxes, and the answer) are charged as so many latencies. How
many they are, tests/stories/test_urgent.py counts in the shipped cycle.

Others arrive while that backlog's people are read before there is a plan, or watched (the shipped `look`, with pauses),
and while tickets are answered, in rounds of as many requests as `deliver` sends between two pauses.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import ceil
from statistics import median

from desired_state.model import LineKey
from reconciler.line import Ending, Gated, Line, Observed
from reconciler.loop.deliver import TICKETS_MAX
from reconciler.loop.ending import end
from reconciler.loop.execute import SLICE
from reconciler.loop.look import Eyes, look
from reconciler.loop.overtaking import Overtaking
from reconciler.loop.pacer import Pacer
from reconciler.model import Outcome
from reconciler.report import CycleReport
from tests.bench.measure import cpu_s
from tests.bench.writes import DIRECT, TENANT, Site, a_store, graph_of, people
from tests.bench.writes_directory import Directory, Lanes
from tests.make import DAY, MONDAY, VISIO, a_line, a_sku

BACKLOG, ARRIVALS, LATENCY_S = 10_000, 200, 0.08
BEFORE = 17  # requests of the shipped cycle from the question to the write, the question included
MODELLED = 4  # of those, whichever are sent here: account and plans, twice
AFTER = 15  # looks at what was changed, and an answer with its looks
BATCHES = 2.0


@dataclass
class Desk:
    """Where urgent tickets arrive, and the small cycles that serve them."""

    site: Site
    lines: dict[str, Line]  # urgent, by ticket
    after_s: dict[str, float]  # since the first question
    began_at: datetime | None = None
    served: set[str] = field(default_factory=set)
    others: int = 0  # requests to ServiceNow

    def between(self, observed: Observed) -> Overtaking:
        ahead = self.ahead()
        ahead.plan(None, observed, Counter({VISIO: len(self.lines)}))
        return ahead

    def ahead(self) -> Overtaking:
        return Overtaking(self.ask, self.serve, self.site.directory.clock, self.sent)

    def sent(self) -> int:
        return self.others + self.site.directory.calls.total()

    def arrived_at(self, number: str) -> datetime:
        assert self.began_at is not None
        return self.began_at + timedelta(seconds=self.after_s[number])

    def ask(self) -> frozenset[str]:
        clock = self.site.directory.clock
        self.began_at = self.began_at or clock.now()
        now = clock.now()
        clock.advance(seconds=self.site.directory.latency_s)
        self.others += 1
        return frozenset(n for n in self.lines if n not in self.served and self.arrived_at(n) <= now)

    def serve(self, numbers: frozenset[str], n: int) -> CycleReport:
        clock, latency_s = self.site.directory.clock, self.site.directory.latency_s
        clock.advance(seconds=(BEFORE - MODELLED - 1) * latency_s)
        self.served |= numbers
        gated, outcomes = self.site.plan_and_execute(
            [self.lines[number] for number in sorted(numbers)], f"c1-urgent{n}"
        )
        clock.advance(seconds=AFTER * latency_s)
        at = clock.now()
        return CycleReport(
            f"c1-urgent{n}", TENANT, "enforce", "full", False, at, at, _endings(gated, outcomes, at), "d"
        )


def _endings(gated: Iterable[Gated], outcomes: dict[LineKey, tuple[Outcome, ...]], at: datetime) -> tuple[Ending, ...]:
    told = ((g, g.proposal.finding, outcomes.get(g.proposal.finding.key, ())) for g in gated)
    return tuple(end(g, found, done, at=at, retry_window=DAY, chance=0.5) for g, found, done in told)


def run(scale: float) -> list[str]:
    """Measure, and say in sentences which figures were missed."""
    backlog, arrivals = max(2 * SLICE, round(BACKLOG * scale)), max(20, round(ARRIVALS * scale))
    users = people(backlog + arrivals)
    site_of = Directory(Lanes(MONDAY), LATENCY_S, str(VISIO), {user: set() for user in users})
    lines = [a_line(f"RITM{n:07d}", user=user, product=DIRECT) for n, user in enumerate(users)]
    chance, urgent = random.Random(9), {line.key.ticket: line for line in lines[backlog:]}
    after_s = {number: chance.uniform(0, backlog * LATENCY_S) for number in urgent}
    before = cpu_s()
    with a_store() as database:
        desk = Desk(Site(site_of, database), urgent, after_s)
        desk.site.plan_and_execute(lines[:backlog], "c1", len(users), between=desk.between)
    assert all(site_of.held.values()), "not everybody was given a licence"
    waits = sorted(
        (site_of.given_at[line.account or ""] - desk.arrived_at(n)).total_seconds() for n, line in urgent.items()
    )
    p99, batch_s = _p99(waits), SLICE * LATENCY_S
    ended_at = site_of.last_write_at or MONDAY
    alone = median((ended_at - desk.arrived_at(n)).total_seconds() for n in urgent)
    took_s = (ended_at - (site_of.first_write_at or MONDAY)).total_seconds()
    print(f"{arrivals:,} urgent tickets during a backlog of {backlog:,} direct, {LATENCY_S * 1000:.0f} ms, batches of "
          f"{SLICE} = {batch_s:.0f} s: median {median(waits):.1f} s, p99 {p99:.1f} s = {p99 / batch_s:.2f} batches, "
          f"most {waits[-1]:.1f} s; behind the backlog the median would wait {alone:.0f} s; drained in {took_s:.0f} s; "
          f"{site_of.refused[409]} times 409, {site_of.refused[429]} times 429; CPU {cpu_s() - before:.0f} s",
          flush=True)  # fmt: skip
    found = (
        [f"urgent tickets: p99 is {p99 / batch_s:.2f} batches, not {BATCHES:.0f}"] if p99 > BATCHES * batch_s else []
    )
    found += [f"urgent tickets: {dict(site_of.refused)} were refused"] if site_of.refused else []
    return found + [missed for name in STRETCHES for missed in _stretch(name, backlog, arrivals)]


def _p99(waits: list[float]) -> float:
    return waits[ceil(0.99 * len(waits)) - 1]


def _looks(desk: Desk, lines: list[Line], ahead: Overtaking) -> None:
    directory = desk.site.directory
    eyes = Eyes(graph_of(directory, directory.clock, Pacer(TENANT, directory.clock)), pause=ahead.pause)
    look(eyes, lines, [a_sku(enabled=10**6, consumed=0)], at=directory.clock.now())


def _answers(desk: Desk, lines: list[Line], ahead: Overtaking) -> None:
    """Notes, then closings: of each round every write, and the lists of what was written."""
    clock, latency_s = desk.site.directory.clock, desk.site.directory.latency_s
    for n in range(0, len(lines), TICKETS_MAX):
        for _ in range(2):
            round_ = len(lines[n : n + TICKETS_MAX]) + 2
            clock.advance(seconds=round_ * latency_s)
            desk.others += round_
            ahead.pause()


STRETCHES: dict[str, tuple[Callable[[Desk, list[Line], Overtaking], None], float]] = {
    "are read or watched": (_looks, 0.1),  # requests a person
    "are answered": (_answers, 2.0),
}


def _stretch(name: str, backlog: int, arrivals: int) -> list[str]:
    """What those wait who arrive in a stretch of a cycle that carries out no plan."""
    goes_on, requests = STRETCHES[name]
    size = max(round(4 * SLICE / requests), backlog)  # so that it takes a few batches
    users = people(size + arrivals)
    directory = Directory(Lanes(MONDAY), LATENCY_S, str(VISIO), {user: set() for user in users})
    lines = [a_line(f"RITM{n:07d}", user=user, product=DIRECT) for n, user in enumerate(users)]
    chance, urgent = random.Random(9), {line.key.ticket: line for line in lines[size:]}
    after_s = {number: chance.uniform(0, 0.7 * size * requests * LATENCY_S) for number in urgent}
    with a_store() as database:
        desk = Desk(Site(directory, database), urgent, after_s, MONDAY)
        goes_on(desk, lines[:size], desk.ahead())
    waits = sorted(
        (directory.given_at[line.account or ""] - desk.arrived_at(n)).total_seconds()
        for n, line in urgent.items()
        if line.account in directory.given_at
    )
    took_s, batch_s = (directory.clock.now() - MONDAY).total_seconds(), SLICE * LATENCY_S
    print(f"{arrivals:,} while {size:,} {name}, {took_s:.0f} s in all: median {median(waits):.1f} s, p99 "
          f"{_p99(waits):.1f} s = {_p99(waits) / batch_s:.2f} batches, most {waits[-1]:.1f} s; "
          f"{desk.others:,} requests to ServiceNow", flush=True)  # fmt: skip
    missed = [f"{arrivals - len(waits)} urgent tickets that arrived while others {name} waited for the next cycle"]
    found = missed if len(waits) < arrivals else []
    return found + (
        [f"urgent tickets while others {name}: p99 is not {BATCHES:.0f} batches"]
        if _p99(waits) > BATCHES * batch_s
        else []
    )
