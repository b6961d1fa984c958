"""Remote systems of a few lines for tests of the clients: they answer what a test tells them to, from the documents.

`Remote` keeps every request, so that a test can assert what the other side has seen, not what our objects did.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from reconciler.clients.graph import GRAPH_DIALECT, Graph
from reconciler.clients.servicenow import SERVICENOW_DIALECT, ServiceNow
from reconciler.clients.wire import Budget, Dialect, Exchange, Patience, Wire, make_http
from reconciler.clients.wire.exchange import Heard
from reconciler.clock import ManualClock

MONDAY = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
DATE = "Mon, 23 Nov 2026 09:00:00 GMT"
GRAPH = "https://graph.microsoft.com/v1.0"
INSTANCE = "https://contoso.service-now.com"
TOKEN = "eyJ0eXAiOiJKV1QifQ.c2VjcmV0LXRva2VuLW9mLW91cnM.c2ln"

Reply = httpx.Response | Exception
Handler = Callable[[httpx.Request], Reply]


def reply(
    status: int = 200, body: Any = None, headers: Mapping[str, str] | None = None, *, date: str = DATE
) -> httpx.Response:
    """One answer: JSON from anything, HTML or raw text from str, nothing from None."""
    sent = {"Date": date, **(headers or {})}
    if isinstance(body, str):
        kind = "text/html" if body.lstrip().startswith("<") else "application/json;charset=UTF-8"
        return httpx.Response(status, text=body, headers={"Content-Type": kind, **sent})
    if body is None:
        return httpx.Response(status, headers=sent)
    return httpx.Response(status, json=body, headers=sent)


class Remote(httpx.BaseTransport):
    """Answers one request after the other from a list, the last one for ever; or by a function of the request."""

    def __init__(self, *replies: Reply | Handler) -> None:
        self.seen: list[httpx.Request] = []
        self._replies = list(replies)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.seen.append(request)
        given = self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]
        answer = given(request) if callable(given) else given
        if isinstance(answer, Exception):
            raise answer
        # a fresh copy, since a response can be read once
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    def bodies(self) -> list[Any]:
        return [json.loads(request.content) if request.content else None for request in self.seen]

    def queries(self) -> list[dict[str, str]]:
        return [query(request) for request in self.seen]


def query(request: httpx.Request) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(str(request.url)).query).items()}


class Keys:
    """A sign-in whose tokens can be renewed: counts how often."""

    def __init__(self, *, renewable: bool = True) -> None:
        self.renewed, self._renewable = 0, renewable

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {TOKEN}{self.renewed}"}

    def fresh(self, refused: Mapping[str, str] | None = None) -> bool:
        self.renewed += self._renewable
        return self._renewable


def a_wire(
    remote: httpx.BaseTransport,
    *,
    clock: ManualClock | None = None,
    base_url: str = GRAPH,
    dialect: Dialect = GRAPH_DIALECT,
    keys: Keys | None = None,
    patience: Patience | None = None,
    exchanges: list[Exchange] | None = None,
    size_max: int = 1_000_000,
    heard: Heard | None = None,
    why_not_again: Callable[[], str] = lambda: "",
    budget: Budget | None = None,
) -> Wire:
    signed = keys or Keys()
    return Wire(
        "graph",
        make_http(remote),
        base_url,
        signed.headers,
        signed.fresh,
        clock or ManualClock(MONDAY),
        random.Random(7),
        budget,
        dialect=dialect,
        patience=patience or Patience(),
        on_exchange=None if exchanges is None else exchanges.append,
        size_max=size_max,
        heard=heard,
        why_not_again=why_not_again,
    )


def a_graph(remote: httpx.BaseTransport, *, clock: ManualClock | None = None, **more: Any) -> Graph:
    clock = clock or ManualClock(MONDAY)
    return Graph(a_wire(remote, clock=clock, **more), clock)


def a_servicenow(remote: httpx.BaseTransport, *, clock: ManualClock | None = None, **more: Any) -> ServiceNow:
    clock = clock or ManualClock(MONDAY)
    wire = a_wire(remote, clock=clock, base_url=INSTANCE, dialect=SERVICENOW_DIALECT, **more)
    return ServiceNow(wire, clock)


# --- Graph, as written in graph.md -------------------------------------------------------------------------


def refused(code: str, message: str) -> dict[str, Any]:
    inner = {"date": "2026-11-23T09:00:00", "request-id": "r-1", "client-request-id": "c-1"}
    return {"error": {"code": code, "message": message, "innerError": inner}}


def guid(n: int) -> str:
    return f"00000000-0000-4000-8000-{n:012d}"


def a_user(n: int, **more: Any) -> dict[str, Any]:
    return {"id": guid(n), "userPrincipalName": f"user{n}@contoso.com", **more}


def batch(answer: Callable[[str], tuple[int, Any, dict[str, str]]]) -> Handler:
    """A $batch endpoint: each item's URL to (status, body, headers), given back in another order."""

    def handle(request: httpx.Request) -> Reply:
        responses = []
        for item in json.loads(request.content)["requests"]:
            status, body, headers = answer(item["url"])
            responses.append({"id": item["id"], "status": status, "headers": headers, "body": body})
        return reply(200, {"responses": responses[::-1]})

    return handle


# --- ServiceNow, as written in servicenow.md ---------------------------------------------------------------


def sys_id(n: int) -> str:
    return f"{n:032x}"


def failure(message: str, detail: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "detail": detail}, "status": "failure"}


def cells(row: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """A row as `sysparm_display_value=all` without links gives it; "value|shown" gives a display value of its own."""
    return {
        name: {"value": text.partition("|")[0], "display_value": text.partition("|")[2] or text}
        for name, text in row.items()
    }


def a_row(n: int, updated: str = "2026-11-20 08:00:00", **more: str) -> dict[str, str]:
    """A requested item that was closed complete."""
    return {
        "sys_id": sys_id(n),
        "number": f"RITM{n:07d}",
        "cat_item": f"{sys_id(900)}|Microsoft 365 licence",
        "state": "3|Closed Complete",
        "stage": "complete",
        "approval": "approved",
        "active": "false",
        "request": f"{sys_id(800 + n)}|REQ{n:07d}",
        "request.approval": "approved",
        "requested_for": sys_id(701),
        "opened_at": "2026-11-01 08:00:00",
        "opened_by": sys_id(702),
        "sys_updated_on": updated,
        "sys_mod_count": "6",
        "sys_updated_by": "fulfil.flow",
        "closed_at": updated,
        "closed_by": sys_id(702),
        "price": "30.00",
        "recurring_price": "0",
        "correlation_id": "",
        **more,
    }


Rows = list[dict[str, str]]


class Instance:
    """An instance that returns prepared pages of `sc_req_item` and all prepared rows of the other tables."""

    def __init__(self, pages: list[httpx.Response], **tables: Rows) -> None:
        self._pages, self._tables = list(pages), tables

    def __call__(self, request: httpx.Request) -> Reply:
        table = request.url.path.split("/")[4] if request.url.path.startswith("/api/now/table/") else ""
        if table == "sc_req_item":
            return self._pages.pop(0) if len(self._pages) > 1 else self._pages[0]
        return listed(*self._tables.get(table, []))


def listed(*rows: Mapping[str, str], total: int | None = None, link: str = "", date: str = DATE) -> httpx.Response:
    """A list as the Table API gives it."""
    headers = {"X-Total-Count": str(len(rows) if total is None else total)}
    if link:
        headers["Link"] = f'<{INSTANCE}/api/now/table/x?sysparm_offset=0>;rel="first",<{link}>;rel="next"'
    return reply(200, {"result": [cells(row) for row in rows]}, headers, date=date)


def one(row: Mapping[str, str], status: int = 200) -> httpx.Response:
    return reply(status, {"result": cells(row)})
