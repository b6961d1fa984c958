"""Observation that follows change: figures 1, 2, 3 and 6 of docs/performance.md, peers in the same run.

What ships (`Graph.scan`, `sweep_again`, `Moves`, `News`) runs in this process over plain HTTP from a server in another;
CPU is that of this process. Peers: decoding the same pages from memory, a script as administrators write it (httpx
and dictionaries), and msgraph-sdk on fewer users, its figure scaled. At SCALE=10 the tenant has a million users.
"""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import UTC
from pathlib import Path
from typing import Any

import httpx

from desired_state.catalogue import load_builtin
from desired_state.model import UserId
from desired_state.says import TicketWords
from reconciler.clients.graph import Graph
from reconciler.clients.servicenow import SERVICENOW_DIALECT, ServiceNow
from reconciler.loop.moved import Moves, News
from reconciler.loop.pull import SOURCE, Reader
from reconciler.loop.sweep import Desired, Hint, SweepResult, sweep_again
from reconciler.observed import Memory
from reconciler.observed.memory import Rows
from reconciler.store import watermarks
from tests.bench.fullpass import SEED, Missed, decode_all, plain_graph, plain_wire, replies_of, served
from tests.bench.lines import many_lines
from tests.bench.measure import HEADER, Spread, cpu_s, machine, rss_bytes, rss_peak_bytes
from tests.bench.tenant import SKU_PLANS, Tenant, user_id
from tests.make import MONDAY

USERS = 100_000
REPEATS, SCRIPTS = 5, 2
SDK_USERS = 10_000
POLLS = 100
TENANT, ITEM = "contoso", "a" * 32
DECODE_MAX, SECOND_MAX, SCRIPT_MIN, SDK_MIN, POLL_MAX = 2.0, 0.6, 4.0, 500.0, 1.05
RESIDENT_MAX, GROWTH_MAX = 64.0, 8e6


def run(scale: float) -> list[str]:
    """Measure, and say in sentences which figures were missed."""
    users = max(1, round(USERS * scale))
    print(machine())
    try:
        missed = [*_passes(users), *_memory(users), *_polls(users)]
    except Missed as error:
        return [str(error)]
    return missed


# --- figures 1 and 2: a first and a second pass ------------------------------------------------------------------


def _passes(users: int) -> list[str]:
    tenant, later = Tenant(users, SEED), Tenant(users, SEED, is_later=True)
    desired, expected = Desired.compile(tenant.wants(), SKU_PLANS), tenant.expected
    names = ("decode only: gunzip, every selected field", "1 first pass: HTTP, decode, compare, remember")
    decoding, first = map(Spread, names)
    second, script = (
        Spread("2 second pass, a thousandth changed"),
        Spread("a script: httpx, json, dictionaries of sets"),
    )
    with served(users, is_later=True) as port, plain_graph(port) as graph, plain_graph(port, is_later=True) as after:
        replies = list(replies_of(port))
        for n in range(REPEATS):
            memory, found = Memory(), list[SweepResult]()
            decoding.run(lambda: decode_all(replies))
            first.run(lambda: found.append(_pass(graph, desired, memory)))  # noqa: B023
            second.run(lambda: found.append(_pass(after, desired, memory)))  # noqa: B023
            for result in found:
                _check(result, expected)
            changed = frozenset(user_id(who) for who in later.changed)
            if found[1].changed != changed or found[1].written != len(changed):
                raise Missed(f"the second pass named {len(found[1].changed or ())} of {len(changed)} who changed")
            if n < SCRIPTS:
                script.run(lambda: _script(port, tenant))
    some = min(SDK_USERS, users)
    sdk_s = _sdk(some) * users / some
    print(
        f"{users:,} users; {REPEATS} runs in turn, {SCRIPTS} of the script; {len(changed):,} rows changed and written"
    )
    print("\n".join([HEADER, *(s.line() for s in (decoding, first, second, script))]))
    ratios = {
        "1 first pass to decode": (first.least / decoding.least, DECODE_MAX, True),
        "1 script to first pass": (script.least / first.least, SCRIPT_MIN, False),
        "1 SDK to first pass": (sdk_s / first.least, SDK_MIN, False),
        "2 second pass to first": (second.least / first.least, SECOND_MAX, True),
    }
    print(f"msgraph-sdk: {sdk_s:.1f} CPU s, scaled from {some:,} users")
    return _judged(ratios)


def _judged(ratios: Mapping[str, tuple[float, float, bool]]) -> list[str]:
    missed = []
    for name, (value, limit, is_most) in ratios.items():
        print(f"figure {name}: {value:.2f} ({'at most' if is_most else 'at least'} {limit})")
        if (value > limit) if is_most else (value < limit):
            missed.append(f"figure {name} is {value:.2f}, the target is {limit}")
    return missed


def _pass(graph: Graph, desired: Desired, memory: Memory) -> SweepResult:
    return sweep_again(lambda begin: graph.scan(begin=begin), desired, memory)


def _check(result: SweepResult, expected: Mapping[UserId, Hint]) -> None:
    if result.looks != expected or not result.is_complete or result.restarts:
        wrong = len(set(result.looks.items()) ^ set(expected.items()))
        raise Missed(f"a pass found {len(result.looks)} of {len(expected)} differences, {wrong} of them wrongly")


def _script(port: int, tenant: Tenant) -> None:
    """Who lacks what they should have, as administrators write it. What should be is not part of the figure."""
    held: dict[str, frozenset[str]] = {}
    url: str | None = f"http://127.0.0.1:{port}/v1.0/users?$top=999"
    with httpx.Client(timeout=60, trust_env=False) as client:
        while url:
            page = client.get(url).json()
            for user in page["value"]:
                states = user["licenseAssignmentStates"]
                held[user["id"]] = frozenset(s["skuId"] for s in states if s["state"] == "Active")
            link = page.get("@odata.nextLink")
            url = link and link.replace("https:", "http:")
    if not held:
        raise Missed("the script read nobody")


def _sdk(users: int) -> float:
    """CPU seconds of msgraph-sdk for so many users, read in pages of 999 and dropped, imports not counted."""
    from kiota_abstractions.authentication import AnonymousAuthenticationProvider
    from msgraph import GraphRequestAdapter, GraphServiceClient

    async def read(port: int) -> int:
        adapter = GraphRequestAdapter(AnonymousAuthenticationProvider(), client=httpx.AsyncClient(timeout=300))
        adapter.base_url, count = f"http://127.0.0.1:{port}/v1.0", 0
        people = GraphServiceClient(request_adapter=adapter).users
        page: Any = await people.with_url(f"http://127.0.0.1:{port}/v1.0/users?$top=999").get()
        while True:
            count += len(page.value)
            if not page.odata_next_link:
                return count
            page = await people.with_url(page.odata_next_link.replace("https:", "http:")).get()

    with served(users) as port:
        began = cpu_s()
        count = asyncio.run(read(port))
        took_s = cpu_s() - began
    if count < 0.99 * users:
        raise Missed(f"msgraph-sdk read {count} of {users} users")
    return took_s


# --- figure 6: memory --------------------------------------------------------------------------------------------


def _memory(users: int) -> list[str]:
    with served(users, is_later=True) as port:
        command = [sys.executable, "-m", "tests.bench.observe", str(users), str(port)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    resident, growth, again = (int(number) for number in done.stdout.split())
    print(
        f"a first pass leaves {resident / 1e6:.1f} MB resident; what was desired, which was there before, is not in it"
    )
    print(f"above that, at its peak: {growth / 1e6:.1f} MB in the first pass, {again / 1e6:.1f} MB in the second")
    return _judged(
        {
            "6 resident bytes a user": (resident / users, RESIDENT_MAX, True),
            "6 growth of a second pass, bytes": (float(again), GROWTH_MAX, True),
        }
    )


def main() -> None:
    """Two passes in this process; prints what the first left resident, and the peaks of both above that."""
    users, port = int(sys.argv[1]), int(sys.argv[2])
    memory, warm = Memory(), Memory()
    desired = Desired.compile(Tenant(users, SEED).wants(), SKU_PLANS)
    with plain_graph(port) as graph, plain_graph(port, is_later=True) as later:
        _pass(_Short(graph), desired, warm)  # buffers and caches that any client has once it has read a page
        _trim()
        before = rss_bytes()
        _reset_peak()
        _pass(graph, desired, memory)
        _trim()
        resident, peak = rss_bytes() - before, rss_peak_bytes() - before
        _reset_peak()
        at = rss_bytes()
        _pass(later, desired, memory)
        print(resident, peak - resident, rss_peak_bytes() - at)


class _Short(Graph):
    """The same directory, of which two pages are read."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph.wire, graph.wire.clock)

    def scan(self, *args: Any, **more: Any) -> Any:
        for _, page in zip(range(2), super().scan(*args, **more), strict=False):
            yield page


def _trim() -> None:
    gc.collect()


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


# --- figure 3: a poll in which nothing moved ----------------------------------------------------------------------


def _polls(users: int) -> list[str]:
    sizes = sorted({1_000, max(1_000, users // 10), users})
    spent = {size: _poll(size) for size in sizes}
    for size, (cpu, requests, writes) in spent.items():
        print(f"figure 3, {size:,} users: {1e3 * cpu:.3f} CPU ms a poll, {requests:g} requests, {writes} commits")
    ratios = {"3 poll of the largest tenant to that of 1,000": (spent[sizes[-1]][0] / spent[1_000][0], POLL_MAX, True)}
    wrong = [s for s, (_, requests, writes) in spent.items() if requests != 2 or writes]
    return _judged(ratios) + [f"figure 3: a poll of {s:,} users is not two requests without a write" for s in wrong]


def _poll(users: int) -> tuple[float, float, int]:
    """CPU seconds of a poll (the least of some rounds), requests of one, commits of all."""
    memory = Memory()  # a tenant of so many users is remembered in this process, and has as many lines, up to 100,000
    memory.pages = [Rows.blank(999) for _ in range(0, users, 999)]
    with (
        served(10) as port,
        tempfile.TemporaryDirectory() as folder,
        many_lines(Path(folder) / "reconciler.db", min(users, USERS), TENANT, MONDAY) as database,
        plain_graph(port) as graph,
        plain_wire(port, "servicenow", "", SERVICENOW_DIALECT) as wire,
        closing(sqlite3.connect(Path(folder) / "reconciler.db")) as other,
    ):
        with database.write() as session:
            watermarks.save(session, TENANT, SOURCE, watermarks.Watermark(MONDAY, "1" * 32))
        items: Any = {ITEM: None}
        reader = Reader(
            TENANT, ServiceNow(wire, wire.clock), database, wire.clock, load_builtin(), items, TicketWords(), UTC
        )
        moves, news = Moves(database, TENANT), News()

        def polled(times: int) -> None:
            for _ in range(times):
                if news.ask(reader) or not moves.ask(graph, "tenant") or moves.people:
                    raise Missed("a poll of a tenant in which nothing moved has news")

        polled(3)
        before = graph.wire.counts.requests + wire.counts.requests
        version = other.execute("PRAGMA data_version").fetchone()
        rounds = [_timed(lambda: polled(POLLS)) for _ in range(5)]
        requests = (graph.wire.counts.requests + wire.counts.requests - before) / (5 * POLLS)
        return min(rounds) / POLLS, requests, int(other.execute("PRAGMA data_version").fetchone() != version)


def _timed(work: Callable[[], object]) -> float:
    gc.collect()
    began = cpu_s()
    work()
    return cpu_s() - began


if __name__ == "__main__":
    main()
