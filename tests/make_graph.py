"""A small tenant behind the sandbox's Graph, and callers with chosen permissions."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from reconciler.sandbox import hosts, tokens
from reconciler.sandbox.directory import Assignment
from reconciler.sandbox.graph import GraphService
from reconciler.sandbox.world import World
from tests.wire.openapi import Checked

MONDAY = datetime(2026, 11, 2, 9, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
GROUP_DELAY = timedelta(minutes=10)


class Tenant:
    """A world with a signed-in caller whose every request and answer is checked against the published description."""

    def __init__(self, *, roles: Collection[str] = hosts.ENFORCE_ROLES, seed: int = 1, **switches: Any) -> None:
        self.world = World(MONDAY, seed=seed)
        self.directory = self.world.directory
        self.switches = self.world.switches
        # Chance has no part in a test that does not ask for it.
        self.switches.delta_duplicates = 0.0
        self.switches.delta_replays = 0.0
        for name, value in switches.items():
            setattr(self.switches, name, value)
        self.service = GraphService(self.world)
        self.graph = self.caller(roles)

    def caller(self, roles: Collection[str], *, app_id: str = hosts.CLIENT_ID) -> httpx.Client:
        """A client that may do what these permissions allow."""
        return httpx.Client(
            transport=Checked(httpx.MockTransport(self.service)),
            base_url=f"{hosts.GRAPH_URL}/v1.0",
            headers={"Authorization": f"Bearer {self.token(roles, app_id=app_id)}"},
            trust_env=False,
        )

    def token(self, roles: Collection[str], *, app_id: str = hosts.CLIENT_ID, lifetime_s: float = 10**9) -> str:
        return tokens.issue(
            key=tokens.key_of(self.world.seed),
            tenant_id=hosts.TENANT_ID,
            issuer="https://sts.windows.net/",
            audience=hosts.GRAPH_URL,
            app_id=app_id,
            app_name="License Reconciler",
            roles=list(roles),
            now=self.world.clock.now(),
            lifetime_s=lifetime_s,
            token_id="1",
        )

    # --- shorthands

    def own(self, part_number: str, seats: int = 10, **more: Any) -> str:
        return self.directory.add_sku(part_number, enabled=seats, **more)

    def person(self, name: str = "ada", *, usage_location: str | None = "DE", **more: Any) -> str:
        upn = f"{name}@contoso.example"
        return self.directory.add_user(upn, display_name=name.title(), usage_location=usage_location, **more)

    def wait(self, by: timedelta) -> None:
        self.world.clock.advance(by)

    def assign(
        self, user_id: str, add: Mapping[str, Sequence[str]] | None = None, remove: Sequence[str] = ()
    ) -> httpx.Response:
        """assignLicense; `add` maps part numbers to names of plans to switch off."""
        body = {
            "addLicenses": [
                {"skuId": self.directory.sku(s), "disabledPlans": [self.directory.plan(p) for p in plans]}
                for s, plans in (add or {}).items()
            ],
            "removeLicenses": [self.directory.sku(s) for s in remove],
        }
        return self.graph.post(f"/users/{user_id}/assignLicense", json=body)

    def join(self, group_id: str, user_id: str) -> httpx.Response:
        link = f"{hosts.GRAPH_URL}/v1.0/directoryObjects/{user_id}"
        return self.graph.post(f"/groups/{group_id}/members/$ref", json={"@odata.id": link})

    def leave(self, group_id: str, user_id: str) -> httpx.Response:
        return self.graph.delete(f"/groups/{group_id}/members/{user_id}/$ref")

    def read(self, user_id: str, *names: str) -> Any:
        """One property of a user, or several as a dict."""
        body = self.graph.get(f"/users/{user_id}", params={"$select": ",".join(names)}).raise_for_status().json()
        return body[names[0]] if len(names) == 1 else body

    def licences(self, user_id: str) -> dict[str, set[str]]:
        """assignedLicenses as part number -> names of plans that are off."""
        return {
            self.part_number(row["skuId"]): {self.plan_name(p) for p in row["disabledPlans"]}
            for row in self.read(user_id, "assignedLicenses")
        }

    def states(self, user_id: str) -> list[tuple[str, str, str | None]]:
        """Every assignment as (part number, state, error)."""
        return [(self.part_number(a.sku_id), a.state, a.error) for a in self.assignments(user_id)]

    def assignments(self, user_id: str) -> list[Assignment]:
        return self.directory.assign_states(user_id)

    def consumed(self, part_number: str) -> int:
        return self.directory.store.seats_used(self.directory.sku(part_number))

    def part_number(self, sku_id: str) -> str:
        return self.directory.store.skus[sku_id.lower()].part_number

    def plan_name(self, plan_id: str) -> str:
        return self.directory.catalogue.plans[plan_id].name

    def plan_status(self, user_id: str, plan_name: str) -> str | None:
        """provisioningStatus of a plan in licenseDetails; None when no licence of the user has it."""
        for licence in self.graph.get(f"/users/{user_id}/licenseDetails").raise_for_status().json()["value"]:
            for plan in licence["servicePlans"]:
                if plan["servicePlanName"] == plan_name:
                    return str(plan["provisioningStatus"])
        return None


def message(response: httpx.Response) -> tuple[int, str, str]:
    """Status, code and text of a refusal."""
    error = response.json()["error"]
    return response.status_code, error["code"], error["message"]
