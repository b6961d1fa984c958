"""The client that ships, in front of an instance of the sandbox: each request is counted and may have a sequel."""

from __future__ import annotations

import random
from collections.abc import Callable

import httpx

from reconciler.clients.auth import Basic
from reconciler.clients.servicenow import SERVICENOW_DIALECT, ServiceNow, Sizes
from reconciler.clients.wire import Wire, make_http
from tests.make_instance import BASE, PASSWORD, TABLE, USER, Desk


class Line(httpx.BaseTransport):
    """Counts requests by table, lets something happen after each of them, and loses headers where it is told to."""

    def __init__(self, desk: Desk, after: Callable[[str], object]) -> None:
        self.desk, self.after = desk, after
        self.loses: tuple[str, ...] = ()
        self.asked: list[tuple[str, str]] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        table = request.url.path.removeprefix(f"{TABLE}/")
        self.asked.append((table, request.url.params.get("sysparm_query", "")))
        response = self.desk.service(request)
        response.request = request
        for name in self.loses:
            response.headers.pop(name, None)
        self.after(table)
        return response

    def count(self, table: str) -> int:
        return sum(asked == table for asked, _ in self.asked)

    def listed(self, table: str) -> int:
        """Requests that named ids."""
        return sum(asked == table and "request_itemIN" in query for asked, query in self.asked)


def a_client(
    desk: Desk, *, page: int = 1000, few: int = 0, after: Callable[[str], object] = lambda _: None
) -> tuple[ServiceNow, Line]:
    line = Line(desk, after)
    wire = Wire(
        "servicenow",
        make_http(line),
        BASE,
        Basic(USER, PASSWORD).headers,
        lambda _: False,
        desk.world.clock,
        random.Random(1),
        dialect=SERVICENOW_DIALECT,
    )
    return ServiceNow(wire, desk.world.clock, sizes=Sizes(page, few=few)), line
