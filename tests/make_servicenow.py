"""The sandbox's ServiceNow for tests: an instance with a few records, and clients that sign in to it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx

from reconciler.sandbox import hosts
from reconciler.sandbox.transport import SandboxTransport
from reconciler.sandbox.world import World

START = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
ROLES = ("itil", "sn_request_read", "sn_request_write")
ITEMS = "/api/now/table/sc_req_item"


class Desk:
    """A world with an integration user, one person, one catalog item; `get`, `post`, … speak as that user."""

    def __init__(self, *, seed: int = 1) -> None:
        self.world = World(START, seed=seed)
        self.instance = self.world.instance
        self.user = self.instance.add_integration_user(hosts.SERVICENOW_USER, hosts.SERVICENOW_PASSWORD, roles=ROLES)
        self.instance.add_oauth_client(
            hosts.SERVICENOW_CLIENT_ID, hosts.SERVICENOW_CLIENT_SECRET, hosts.SERVICENOW_USER
        )
        self.instance.add_api_key(hosts.SERVICENOW_API_KEY, hosts.SERVICENOW_USER)
        self.ana = self.instance.add_person(
            "ana.ruiz", email="ana.ruiz@contoso.example", name="Ana Ruiz", department="Sales"
        )
        self.item = self.instance.add_item(
            "Microsoft 365 licence",
            price="38.40",
            variables=[
                {"name": "product", "question_text": "Product", "type": "5", "order": "100"},
                {"name": "user", "question_text": "For whom", "type": "8", "order": "200", "reference": "sys_user"},
            ],
        )
        self.http = self.client(auth=(hosts.SERVICENOW_USER, hosts.SERVICENOW_PASSWORD))

    def client(self, **options: Any) -> httpx.Client:
        """A client of the instance, without credentials unless `options` has them."""
        return httpx.Client(
            transport=SandboxTransport(self.world), base_url=hosts.SERVICENOW_URL, trust_env=False, **options
        )

    def order(self, n: int, **told: Any) -> str:
        """Put ticket number `n` into the past; returns the sys_id of its item."""
        known: dict[str, Any] = {
            "item": self.item,
            "requested_for": self.ana,
            "variables": {"product": "SPE_E3", "user": self.ana},
            "opened_at": datetime(2026, 10, 1, 8, 0, tzinfo=UTC),
            "closed_at": datetime(2026, 10, 2, 8, 0, tzinfo=UTC),
        }
        return str(self.instance.order(f"RITM{n:07}", **(known | told)))

    def get(self, path: str, **params: str | int) -> httpx.Response:
        """GET as the integration user; parameters may leave out `sysparm_`."""
        return self.http.get(path, params={f"sysparm_{name}": value for name, value in params.items()})

    def rows(self, table: str, query: str = "", **params: str | int) -> list[dict[str, Any]]:
        """The rows of a list that must succeed, without links."""
        reply = self.get(f"/api/now/table/{table}", query=query, exclude_reference_link="true", **params)
        assert reply.status_code == 200, reply.text
        return list(reply.json()["result"])

    def numbers(self, query: str) -> list[str]:
        """Numbers of the items that a query selects, sorted unless the query sorts."""
        found = [row["number"] for row in self.rows("sc_req_item", query, fields="number")]
        return found if "ORDERBY" in query else sorted(found)

    def strike(self, fault: str, *, route: str = "", times: int | None = None) -> None:
        """Let matching requests meet `fault` from now on."""
        kept = self.world.faults.to_json()
        rule = {"fault": fault, "route": route, "times": times}
        self.world.faults.load(
            {
                **kept,
                "rules": [*kept["rules"], rule],
                "struck": [*kept["struck"], 0],
                "bursts": [*kept["bursts"], 0],
            }
        )


__all__ = ["ITEMS", "ROLES", "START", "Desk"]
