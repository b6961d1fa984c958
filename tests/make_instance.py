"""An instance of the sandbox with a few people and one item, and a caller that speaks plain HTTP to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from reconciler.sandbox.faults import FaultRule
from reconciler.sandbox.servicenow import Instance, ServiceNowService
from reconciler.sandbox.world import World

MONDAY = datetime(2026, 11, 2, 9, 0, 0, tzinfo=UTC)
BASE = "https://desk.example"
USER, PASSWORD = "svc.desk", "pretend"
TABLE = "/api/now/table"
RAW = {"sysparm_exclude_reference_link": "true"}
ALL = {"sysparm_display_value": "all", "sysparm_exclude_reference_link": "true"}


class Desk:
    """One world, one item, three people; `svc.desk` may read and write requests."""

    def __init__(self, *, time_zone: str = "GMT") -> None:
        self.world = World(MONDAY)
        self.instance: Instance = self.world.instance
        self.service = ServiceNowService(self.world)
        add = self.instance.add_person
        self.ana = add("ana", email="ana@contoso.example", name="Ana Ruiz", department="Sales", cost_center="CC-1")
        self.ben = add("ben", email="ben@contoso.example", name="Ben Ode", roles=("sn_request_read",))
        self.root = add("root", email="root@contoso.example", name="Root", roles=("admin",))
        self.instance.set_password(self.ben, PASSWORD)
        self.instance.set_password(self.root, PASSWORD)
        self.svc = self.instance.add_integration_user(USER, PASSWORD, roles=("sn_request_write",), time_zone=time_zone)
        self.queue = self.instance.add_group("M365 Licence Desk")
        self.item = self.instance.add_item(
            "Microsoft 365 licence",
            price="30",
            variables=[
                {"name": "", "question_text": "Options", "type": "19"},
                {"name": "user", "question_text": "For whom", "type": "8", "reference": "sys_user"},
                {"name": "product", "question_text": "Licence", "type": "5", "mandatory": "true"},
            ],
            rows=[{"name": "person", "type": "8", "reference": "sys_user"}, {"name": "sku", "type": "5"}],
            rows_name="licences",
        )

    def ticket(self, number: str = "RITM0010001", **given: Any) -> str:
        """An order of one licence for Ana, closed complete unless told otherwise; returns the item's sys_id."""
        values: dict[str, Any] = {
            "item": self.item,
            "requested_for": self.ana,
            "variables": {"user": self.ana, "product": "e5"},
            "opened_at": MONDAY - timedelta(days=3),
            "closed_at": MONDAY - timedelta(days=1),
        }
        return self.instance.order(number, **{**values, **given})

    def open_ticket(self, number: str = "RITM0010001", **given: Any) -> str:
        """An approved order that nobody has worked on yet."""
        return self.ticket(number, **{"state": "1", "stage": "fulfillment", "closed_at": None, **given})

    def call(self, method: str, path: str, *, user: str | None = USER, **rest: Any) -> httpx.Response:
        """One request, signed in as `user` with Basic authentication; None signs nobody in."""
        with httpx.Client(trust_env=False, base_url=BASE, transport=httpx.MockTransport(self.service)) as client:
            return client.request(method, path, auth=(user, PASSWORD) if user else None, **rest)

    def get(self, path: str, params: dict[str, Any] | None = None, **rest: Any) -> httpx.Response:
        return self.call("GET", path, params=params, **rest)

    def rows(self, table: str, query: str = "", **params: str) -> list[dict[str, Any]]:
        """The result of a list, plain values, links left out."""
        answer = self.get(f"{TABLE}/{table}", {**RAW, "sysparm_query": query, **params})
        assert answer.status_code == 200, answer.text
        result = answer.json()["result"]
        assert isinstance(result, list)
        return result

    def numbers(self, query: str = "", **params: str) -> list[str]:
        """Numbers of the items that a query finds, in its order, else sorted."""
        found = [str(row["number"]) for row in self.rows("sc_req_item", query, **params)]
        return found if "ORDERBY" in query else sorted(found)

    def patch(self, table: str, sys_id: str, /, user: str = USER, **values: Any) -> httpx.Response:
        return self.call("PATCH", f"{TABLE}/{table}/{sys_id}", user=user, json=values, params=RAW)

    def post(self, table: str, /, user: str = USER, **values: Any) -> httpx.Response:
        return self.call("POST", f"{TABLE}/{table}", user=user, json=values, params=RAW)

    def truth(self, sys_id: str, table: str = "sc_req_item") -> dict[str, str]:
        """A row as it is, whatever anybody may see of it."""
        row = self.instance.record(table, sys_id)
        assert row is not None
        return row

    @contextmanager
    def failing(self, fault: str, route: str = "", times: int | None = None) -> Iterator[None]:
        """While inside, matching requests meet this fault."""
        self.world.faults.add(FaultRule(fault, route=route, times=times))
        yield
        self.world.faults.clear()


def error(message: str, detail: str | None) -> dict[str, Any]:
    """The envelope of a refusal (servicenow.md section 5)."""
    return {"error": {"message": message, "detail": detail}, "status": "failure"}


NO_RECORD = error("No Record found", "Record doesn't exist or ACL restricts the record retrieval")
