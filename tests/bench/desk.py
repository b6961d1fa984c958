"""An instance with very many tickets for a benchmark: the Table API as far as reading tickets in bulk needs it.

Tickets are kept sorted by their key, so a page costs its rows and not the table. Time is virtual: each request takes a
third of a second, and tickets change meanwhile. Every request is counted by table, with the rows that were sent.
"""

from __future__ import annotations

import random
import re
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import msgspec

from reconciler.clock import ManualClock

ITEM, BEGAN = "c" * 32, datetime(2024, 1, 1, tzinfo=UTC)
LATENCY_S = 1 / 3
WALK = "sc_item_option.item_option_new"
_LOWEST = re.compile(r"sys_updated_on>=([0-9: -]{19})")
_BEHIND = re.compile(
    r"sys_updated_on>([0-9: -]{19})\^OR(?:request_item\.)?sys_id>([0-9a-f]{32})(?:\^ORsys_id>([0-9a-f]{32}))?"
)
_HIGHEST = re.compile(r"sys_updated_on<=([0-9: -]{19})")
_AHEAD = re.compile(r"sys_updated_on<([0-9: -]{19})\^ORsys_id<([0-9a-f]{32})")
_LISTED = re.compile(r"(\w+)IN([0-9a-f,]+)")

_LAST = re.compile(r"\^sys_id>([0-9a-f]{32})")

Key = tuple[str, str]
Rows = list[dict[str, str]]


def _own(row: dict[str, str]) -> str:
    return row["sys_id"]


def stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S")


class Desk(httpx.BaseTransport):
    """`tickets` tickets with `variables` answers each; every fourth has a task, each was approved by one person."""

    def __init__(self, tickets: int, variables: int, clock: ManualClock, *, moved_share: float, requests: int) -> None:
        self.variables, self.clock, self._chance = variables, clock, random.Random(1)
        self.now: dict[str, str] = {}  # when each ticket changed
        self.changes: Counter[str] = Counter()
        for n in range(tickets):
            self.now[f"{self._chance.getrandbits(64):016x}{n:016x}"] = stamp(BEGAN + timedelta(seconds=7 * n))
        self.keys: list[Key] = sorted((at, ticket) for ticket, at in self.now.items())
        self._ids = [ticket for _, ticket in self.keys]
        self._moves_a_request = moved_share * tickets / requests
        self._due = 0.0
        self.moving = True
        self.requests: Counter[str] = Counter()
        self.rows: Counter[str] = Counter()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        table, params = request.url.path.rpartition("/")[2], request.url.params
        query, limit = params["sysparm_query"], int(params["sysparm_limit"])
        match table:
            case "sc_req_item":
                found, total = self._tickets(query, limit)
            case "sc_item_option_mtom":
                found, total = self._hanging(query, limit, self.variables, self._answer)
            case "sc_task":
                found, total = self._hanging(query, limit, 1, self._task)
            case _:
                found = [row for listed in self._listed(query) for row in self._other(table, listed)][:limit]
                total = len(found)
        self.requests[table] += 1
        self.rows[table] += len(found)
        sent = {"result": [{k: {"value": v, "display_value": v} for k, v in row.items()} for row in found]}
        headers = {"X-Total-Count": str(total), "Date": format_datetime(self.clock.now(), usegmt=True)}
        body = msgspec.json.encode(sent)
        self.clock.advance(seconds=LATENCY_S)
        self._move()
        return httpx.Response(
            200, headers={**headers, "Content-Type": "application/json"}, content=body, request=request
        )

    def _move(self) -> None:
        self._due += self._moves_a_request if self.moving else 0.0
        while self._due >= 1:
            self._due -= 1
            ticket = self._chance.choice(self._ids)
            del self.keys[bisect_left(self.keys, (self.now[ticket], ticket))]
            self.now[ticket] = stamp(self.clock.now())
            self.changes[ticket] += 1
            insort(self.keys, (self.now[ticket], ticket))

    def _range(self, query: str) -> tuple[int, int, Key, str]:
        """Places of the first ticket and of the first that is too far; the last ticket that was read, and its row."""
        behind, lowest = _BEHIND.findall(query), _LOWEST.search(query)
        last, own = ((behind[-1][0], behind[-1][1]), behind[-1][2]) if behind else (("", ""), "")
        if behind:
            low = bisect_left(self.keys, (last[0], last[1] + ("" if own else "0")))
        else:
            low = bisect_left(self.keys, (lowest[1], "")) if lowest else 0
        ahead, highest = _AHEAD.search(query), _HIGHEST.search(query)
        if ahead:
            return low, bisect_left(self.keys, (ahead[1], ahead[2])), last, own
        return low, bisect_left(self.keys, (highest[1], "g")) if highest else len(self.keys), last, own

    def _tickets(self, query: str, limit: int) -> tuple[Rows, int]:
        low, high, _, _ = self._range(query)
        return [self._ticket(t) for _, t in self.keys[low : min(high, low + limit)]], max(0, high - low)

    def _hanging(self, query: str, limit: int, each: int, make: Callable[[str], Rows]) -> tuple[Rows, int]:
        if "request_itemIN" in query:
            made = sorted((r for t in self._listed(query) for r in make(t)), key=_own)
            after = _LAST.search(query)
            left = [r for r in made if r["sys_id"] > after[1]] if after else made
            return left[:limit], len(left)
        low, high, behind, own = self._range(query)
        found: Rows = []
        skipped = 0
        at = low
        while at < high and len(found) <= limit:
            rows = make(self.keys[at][1])
            if at == low and own and self.keys[at] == behind:
                skipped = sum(r["sys_id"] <= own for r in rows)
                rows = rows[skipped:]
            found += rows
            at += 1
        share = each if each > 1 else 0.25
        total = round((high - low) * share) - skipped if at < high else len(found)
        return found[:limit], max(total, len(found))

    def _listed(self, query: str) -> Iterator[str]:
        match = _LISTED.search(query.replace("sys_idIN", "xIN"))
        yield from match[2].split(",") if match else ()

    def _ticket(self, ticket: str) -> dict[str, str]:
        n = int(ticket[16:], 16)
        return {
            "sys_id": ticket,
            "number": f"RITM{n:07d}",
            "cat_item": ITEM,
            "cat_item.name": "Microsoft 365 licence",
            "state": "3",
            "stage": "complete",
            "approval": "approved",
            "active": "false",
            "price": "14.10",
            "request": f"{n:032x}",
            "request.number": f"REQ{n:07d}",
            "request.approval": "approved",
            "request.requested_for": f"{n // 5:032x}",
            "requested_for": f"{n // 5:032x}",
            "opened_at": stamp(BEGAN),
            "opened_by": f"{n // 5:032x}",
            "sys_created_on": stamp(BEGAN),
            "sys_updated_on": self.now[ticket],
            "sys_updated_by": "flow",
            "closed_at": stamp(BEGAN),
            "sys_mod_count": str(self.changes[ticket]),
            "closed_by": f"{1:032x}",
            "recurring_price": "0",
            "assignment_group": "",
            "assigned_to": "",
            "correlation_id": "",
            "close_notes": "done",
            "short_description": "A licence",
        }

    def _linked(self, ticket: str) -> dict[str, str]:
        return {
            "request_item": ticket,
            "request_item.sys_updated_on": self.now[ticket],
            "request_item.cat_item": ITEM,
        }

    def _answer(self, ticket: str) -> Rows:
        of = self._linked(ticket)
        kind = {f"{WALK}.type": "6", f"{WALK}.reference": ""}
        return [
            {**of, **kind, "sys_id": f"{ticket[16:]}{v:016x}", "sc_item_option.value": f"{ticket}-{v}",
             f"{WALK}.name": f"variable_{v}"}
            for v in range(self.variables)
        ]  # fmt: skip

    def _task(self, ticket: str) -> Rows:
        if int(ticket[16:], 16) % 4:
            return []
        return [{**self._linked(ticket), "sys_id": f"{ticket[16:]}{'f' * 16}", "number": f"SCTASK{ticket[-7:]}"}]

    def _other(self, table: str, listed: str) -> Rows:
        match table:
            case "sysapproval_approver":
                is_ticket = listed in self.now
                return [{"sys_id": listed, "sysapproval": listed, "state": "approved"}] if is_ticket else []
            case "sys_user":
                return [{"sys_id": listed, "user_name": f"u{listed[-7:]}", "active": "true"}]
            case _:
                return []
