"""Approvals in the sandbox's ServiceNow: who moved one, under whose name, and what an integration user sees of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from reconciler.sandbox import hosts
from reconciler.sandbox.deciding import decide
from reconciler.sandbox.servicenow import ServiceNowService
from reconciler.sandbox.world import World
from tests.make_world import contoso

LENAS = "RITM0010012"


class Desk:
    """Contoso's instance as its integration user reads it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.http = self._client(hosts.SERVICENOW_USER, hosts.SERVICENOW_PASSWORD)

    def _client(self, user: str, password: str) -> httpx.Client:
        return httpx.Client(
            transport=httpx.MockTransport(ServiceNowService(self.world)),
            base_url=f"{hosts.SERVICENOW_URL}/api/now",
            auth=(user, password),
            headers={"accept": "application/json"},
            trust_env=False,
        )

    def signed_in(self, user_name: str) -> httpx.Client:
        """A person at the API."""
        self.world.instance.set_password(user_name, "secret")
        self.world.instance.credentials.roles[self.world.instance.truth.user_id(user_name)] = ["itil"]
        return self._client(user_name, "secret")

    def rows(self, table: str, query: str = "") -> list[dict[str, Any]]:
        return list(self.http.get(f"/table/{table}", params={"sysparm_query": query}).json()["result"])

    def asked(self, ticket: str = LENAS) -> list[dict[str, Any]]:
        """Approvals of a ticket, in the order in which they were put."""
        rows = self.rows("sysapproval_approver", f"sysapproval.number={ticket}^ORDERBYsys_id")
        names = {row["sys_id"]: row["user_name"] for row in self.rows("sys_user")}
        return [{**row, "approver": names[row["approver"]["value"]]} for row in rows]

    def of(self, user_name: str, ticket: str = LENAS) -> dict[str, Any]:
        return next(row for row in self.asked(ticket) if row["approver"] == user_name)


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk(contoso())
    with made.http:
        yield made


def test_who_approves_is_on_the_record_and_the_next_one_is_asked(desk: Desk):
    assert desk.of("thomas.brandt")["state"] == "not requested"
    desk.world.clock.advance(timedelta(hours=1))

    decide(desk.world, LENAS, "approved", approver="Laura McBride")

    laura = desk.of("laura.mcbride")
    assert (laura["state"], laura["sys_updated_by"]) == ("approved", "laura.mcbride")
    assert laura["sys_updated_on"] == "2026-11-02 10:00:00"
    assert desk.of("thomas.brandt")["state"] == "requested"
    trace = desk.rows("sys_audit", f"documentkey={laura['sys_id']}")[0]
    assert (trace["fieldname"], trace["oldvalue"], trace["newvalue"]) == ("state", "requested", "approved")
    assert trace["user"] == "laura.mcbride"


@pytest.mark.parametrize("by", ["system", "admin", hosts.SERVICENOW_USER, "lena.fischer"])
def test_an_approval_can_be_moved_by_somebody_who_is_not_its_approver(desk: Desk, by: str):
    decide(desk.world, LENAS, "approved", approver="laura.mcbride", by=by)

    assert (desk.of("laura.mcbride")["state"], desk.of("laura.mcbride")["sys_updated_by"]) == ("approved", by)


def test_an_impersonator_is_seen_in_the_events_only(desk: Desk):
    decide(desk.world, LENAS, "approved", approver="laura.mcbride", impersonator="Tom Weber")

    events = desk.rows("sysevent", "nameSTARTSWITHimpersonation")
    assert desk.of("laura.mcbride")["sys_updated_by"] == "laura.mcbride"
    assert {(e["name"], e["parm1"], e["parm2"]) for e in events} == {
        ("impersonation.start", "tom.weber", "laura.mcbride"),
        ("impersonation.end", "tom.weber", "laura.mcbride"),
    }


def test_the_trace_can_be_closed_to_the_integration_user(desk: Desk):
    desk.world.instance.switches.audit_is_readable = False
    decide(desk.world, LENAS, "approved", approver="laura.mcbride", impersonator="Tom Weber")

    assert desk.rows("sys_audit") == []
    assert desk.rows("sysevent") == []


def test_a_due_date_approves_without_anybody(desk: Desk):
    row = desk.of("laura.mcbride")
    event = {"kind": "edit", "table": "sysapproval_approver", "sys_id": row["sys_id"], "by": "system"}
    desk.world.at(desk.world.clock.now() + timedelta(days=3), {**event, "values": {"state": "approved"}})

    desk.world.clock.advance(timedelta(days=3))

    assert desk.of("laura.mcbride")["sys_updated_by"] == "system"


def test_a_delegate_approves_for_an_absent_person_while_it_lasts(desk: Desk):
    instance, now = desk.world.instance, desk.world.clock.now()
    laura, claire = instance.truth.user_id("laura.mcbride"), instance.truth.user_id("claire.dubois")
    instance.add_delegate(laura, claire, starts=now - timedelta(days=1), ends=now + timedelta(days=1))
    row = desk.of("laura.mcbride")
    claires, sofias = desk.signed_in("claire.dubois"), desk.signed_in("sofia.lindqvist")
    path = f"/table/sysapproval_approver/{row['sys_id']}"

    assert sofias.patch(path, json={"state": "approved"}).status_code == 403
    assert claires.patch(path, json={"state": "approved"}).status_code == 200
    assert desk.of("laura.mcbride")["sys_updated_by"] == "claire.dubois"
    delegate = desk.rows("sys_user_delegate", f"user={laura}")[0]
    assert (delegate["delegate"]["value"], delegate["approvals"]) == (claire, "true")
    desk.world.clock.advance(timedelta(days=2))
    assert claires.patch(path, json={"state": "rejected"}).status_code == 403


def test_every_cost_centre_has_an_owner_who_is_not_its_own_head(desk: Desk):
    people = {row["sys_id"]: row["name"] for row in desk.rows("sys_user")}

    owners = {row["code"]: people[row["manager"]["value"]] for row in desk.rows("cmn_cost_center")}

    assert (owners["CC-1100"], owners["CC-4300"]) == ("Elena Rossi", "Thomas Brandt")
    assert len(owners) == 11


@pytest.mark.parametrize(
    ("ticket", "verdict", "approver", "sentence"),
    [
        ("RITM9999999", "approved", "laura.mcbride", "there is no ticket 'RITM9999999'"),
        (LENAS, "maybe", "laura.mcbride", "no such verdict: 'maybe'"),
        (LENAS, "approved", "nobody", "nobody in ServiceNow is called 'nobody'"),
        (LENAS, "approved", "Tom Weber", "Tom Weber is not asked about RITM0010012"),
    ],
)
def test_what_cannot_be_decided_is_said_in_a_sentence(
    desk: Desk, ticket: str, verdict: str, approver: str, sentence: str
):
    with pytest.raises(ValueError, match=sentence):
        decide(desk.world, ticket, verdict, approver=approver)
