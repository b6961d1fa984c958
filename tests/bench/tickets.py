"""Tickets in bulk: requests of a first load and of what changed while it went on, against full pages of its rows.

The client that ships reads an instance of generated tickets (`desk`) in virtual time. The limit is what any reader by
pages needs: ceil(tickets x variables / page). Nothing may be missed, doubled or mixed up. At SCALE=50 there are a
million tickets.
"""

from __future__ import annotations

import math
import random
from array import array
from collections import Counter
from datetime import UTC, datetime

from reconciler.clients.servicenow import LARGEST, SERVICENOW_DIALECT, ServiceNow, Watermark
from reconciler.clients.wire import Wire, make_http
from reconciler.clock import ManualClock
from tests.bench.desk import ITEM, Desk
from tests.bench.measure import cpu_s, machine, rss_bytes, rss_peak_bytes

TICKETS, VARIABLES = 20_000, 8
MOVED = 0.01  # of the tickets, while all of them are read
RATIO_MAX = 1.02
MB_MAX = 100
NEVER = -1
BEGAN = datetime(2031, 1, 1, 9, tzinfo=UTC)


def run(scale: float) -> list[str]:
    """Read, count, and say in sentences what was missed."""
    tickets = max(200, round(TICKETS * scale))
    print(machine())
    limit = math.ceil(tickets * VARIABLES / LARGEST)
    clock = ManualClock(BEGAN)
    desk = Desk(tickets, VARIABLES, clock, moved_share=MOVED, requests=3 * limit)
    client, missed = _client(desk, clock), list[str]()
    versions = array("i", [NEVER]) * tickets
    before, began = rss_bytes(), cpu_s()
    mark = _read(client, None, versions, missed)
    took_s, grown = cpu_s() - began, rss_peak_bytes() - before
    load, moved, rows = Counter(desk.requests), sum(desk.changes.values()), Counter(desk.rows)
    desk.moving = False
    clock.advance(minutes=5)
    _read(client, mark, versions, missed)
    wrong = sum(versions[_number(ticket)] != desk.changes[ticket] for ticket in desk.now)
    print(f"{tickets:,} tickets with {VARIABLES} variables, pages of {LARGEST:,}; {moved:,} changes meanwhile")
    print(f"first load: {took_s:.1f} CPU s with the instance in the same process, {grown / 1e6:.0f} MB above the start")
    for table, count in sorted(load.items()):
        full = max(1, math.ceil(rows[table] / LARGEST))
        print(f"  {table:<30}{count:>8,} requests, {full:>8,} full pages of its rows: {count / full:.3f}")
    after = {t: desk.requests[t] - load[t] for t in desk.requests}
    print(f"what changed, read afterwards: {sum(after.values()):,} requests, {after['sc_item_option_mtom']} for forms")
    ratio = load["sc_item_option_mtom"] / limit
    print(f"figure 10: {ratio:.4f} of ceil(N x V / page) = {limit:,} requests (at most {RATIO_MAX}); {wrong} wrong")
    if ratio > RATIO_MAX:
        missed.append(f"figure 10 is {ratio:.4f}, the target is {RATIO_MAX}")
    if wrong:
        missed.append(f"figure 10: {wrong} of {tickets} tickets are not as the instance has them")
    if grown > MB_MAX * 1e6:
        missed.append(f"a first load took {grown / 1e6:.0f} MB more, the target is {MB_MAX}")
    return missed


def _read(client: ServiceNow, mark: Watermark | None, versions: array[int], missed: list[str]) -> Watermark | None:
    """One run: the newest version of each ticket, and a sentence for what came twice or with another's form."""
    doubled = mixed = 0
    last = array("i", [NEVER]) * len(versions)  # what this run saw of each: four bytes a ticket, so that ours are few
    for page in client.tickets(items=[ITEM], watermark=mark, page_size=LARGEST):
        for t in page.tickets:
            n = _number(t.sys_id)
            doubled += last[n] == t.mod_count
            last[n] = t.mod_count
            mixed += t.variables != {f"variable_{v}": f"{t.sys_id}-{v}" for v in range(VARIABLES)}
            versions[n] = max(versions[n], t.mod_count)
        mark = page.watermark or mark
    if doubled or mixed:
        missed.append(f"figure 10: {doubled} tickets came twice in a run, {mixed} with a form that is not theirs")
    return mark


def _number(sys_id: str) -> int:
    return int(sys_id[16:], 16)


def _client(desk: Desk, clock: ManualClock) -> ServiceNow:
    wire = Wire(
        "servicenow",
        make_http(desk),
        "https://desk.example",
        authorize=lambda: {"Authorization": "Bearer static"},
        refresh=lambda _: False,
        clock=clock,
        rng=random.Random(0),
        dialect=SERVICENOW_DIALECT,
    )
    return ServiceNow(wire, clock)
