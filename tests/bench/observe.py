"""Observation that follows change: figures 1, 2, 3 and 6 of docs/performance.md, peers in the same run.

What ships (`Graph.scan`, `sweep_again`, `Moves`, `News`) runs in this process over plain HTTP from a server in another;
CPU is that of this process. Peers: decoding the same pages from memory, a script as administrators write it (httpx
and dictionaries), and msgraph-sdk on fewer users, its figure scaled. At SCALE=10 the tenant has a million users.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import operator
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from desired_state.catalogue import load_builtin
from desired_state.model import UserId
from desired_state.says import TicketWords
from reconciler.clients.graph import Graph
from reconciler.clients.servicenow import SERVICENOW_DIALECT, ServiceNow
from reconciler.loop.moved import Moves, News
from reconciler.loop.reader import SOURCE, Reader
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
POLLS, ROUNDS = 20, 40
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
    wanted: dict[str, list[tuple[str, str]]] = {}
    for want in tenant.wants():
        wanted.setdefault(want.user, []).append((want.skus[0], want.proof_plans[0]))
    names = ("decode only: gunzip, every selected field", "1 first pass: HTTP, decode, compare, remember")
    decoding, first = map(Spread, names)
    second, script = (
        Spread("2 second pass, a thousandth changed"),
        Spread("a script: httpx, json, lists and dictionaries"),
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
                said = list[tuple[dict[str, Hint], Counter[str]]]()
                script.run(lambda: said.append(_script(port, wanted)))  # noqa: B023
                if said[0] != (expected, found[0].licences):
                    raise Missed("the script found something else than the pass")
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


def _script(port: int, wanted: Mapping[str, Sequence[tuple[str, str]]]) -> tuple[dict[str, Hint], Counter[str]]:
    """The same answer as administrators write it: every user is read and kept, then those who should have something
    are compared. `wanted` are the SKUs of each user and the plan that proves it; to write that down is not part of
    the figure."""
    people: list[dict[str, Any]] = []
    url: str | None = f"http://127.0.0.1:{port}/v1.0/users?$top=999"
    with httpx.Client(timeout=60, trust_env=False) as client:
        while url:
            page = client.get(url).json()
            people.extend(page["value"])
            link = page.get("@odata.nextLink")
            url = link and link.replace("https:", "http:")
    by_id = {user["id"]: user for user in people}
    licences = Counter(
        sku
        for user in people
        for sku in {s["skuId"] for s in user["licenseAssignmentStates"] if s["state"] in ("Active", "ActiveWithError")}
    )
    found: dict[str, Hint] = {}
    for who, products in wanted.items():
        user = by_id.get(who)
        if user is None:
            found[who] = Hint.NOT_SEEN
            continue
        hints = []
        if "accountEnabled" not in user or "usageLocation" not in user:
            hints.append(Hint.UNKNOWN)
        if user.get("accountEnabled") is False:
            hints.append(Hint.ACCOUNT_OFF)
        if user.get("usageLocation", "?") is None:
            hints.append(Hint.NO_LOCATION)
        for sku, plan in products:
            held = [s for s in user["licenseAssignmentStates"] if s["skuId"] == sku]
            in_force = [s for s in held if s["state"] in ("Active", "ActiveWithError")]
            if any(s["state"] in ("Error", "ActiveWithError") for s in held):
                hints.append(Hint.ERROR)
            if not in_force:
                hints.append(Hint.MISSING)
            elif all(plan in s["disabledPlans"] for s in in_force):
                hints.append(Hint.PLAN_OFF)
        if hints:
            found[who] = functools.reduce(operator.or_, hints)
    return found, licences


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
    spent = {size: list[float]() for size in sizes}
    sent, written = dict.fromkeys(sizes, 0), dict.fromkeys(sizes, False)
    with ExitStack() as stack:
        tenants = {size: stack.enter_context(_polled(size)) for size in sizes}
        for _ in range(ROUNDS):  # in turn, so that what else the machine does meets all of them
            for size, tenant in tenants.items():
                spent[size].append(_timed(lambda: tenant.poll(POLLS)) / POLLS)  # noqa: B023
        for size, tenant in tenants.items():
            sent[size], written[size] = tenant.sent() - tenant.sent_before, tenant.version() != tenant.version_before
    for size in sizes:
        least, middle = 1e3 * min(spent[size]), 1e3 * median(spent[size])
        told = f"{sent[size] / (ROUNDS * POLLS):g} requests, {'commits' if written[size] else 'no commit'}"
        print(f"figure 3, {size:,} users: {least:.3f} CPU ms a poll (median {middle:.3f}), {told}")
    ratios = {"3 poll of the largest tenant to that of 1,000": (min(spent[users]) / min(spent[1_000]), POLL_MAX, True)}
    wrong = [size for size in sizes if sent[size] != 2 * ROUNDS * POLLS or written[size]]
    return _judged(ratios) + [f"figure 3: a poll of {s:,} users is not two requests without a write" for s in wrong]


@dataclass
class _Polled:
    """A tenant that can be polled, and how much was sent and written before it was."""

    poll: Callable[[int], None]
    sent: Callable[[], int]
    version: Callable[[], Any]

    def __post_init__(self) -> None:
        self.poll(3)
        self.sent_before, self.version_before = self.sent(), self.version()


@contextmanager
def _polled(users: int) -> Iterator[_Polled]:
    """A tenant of so many users is remembered in this process, and has as many lines, up to 100,000."""
    memory = Memory()
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

        def poll(times: int) -> None:
            for _ in range(times):
                if news.ask(reader) or not moves.ask(graph, "tenant") or moves.people:
                    raise Missed("a poll of a tenant in which nothing moved has news")

        yield _Polled(
            poll,
            lambda: graph.wire.counts.requests + wire.counts.requests,
            lambda: other.execute("PRAGMA data_version").fetchone(),
        )
        assert len(memory) >= users


def _timed(work: Callable[[], object]) -> float:
    gc.collect()
    began = cpu_s()
    work()
    return cpu_s() - began


if __name__ == "__main__":
    main()
