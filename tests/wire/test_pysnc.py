"""ServiceNow's own client, unchanged, against the sandbox over TLS (servicenow.md section 16).

What it cannot do here is a defect of the sandbox. pysnc lets REQUESTS_CA_BUNDLE overrule the authority it is given, and
its client-credentials flow reads nothing else, so the environment names the sandbox's authority.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from pysnc import ServiceNowClient
from pysnc.auth import ServiceNowClientCredentialsFlow
from pysnc.exceptions import AuthenticationException
from requests.exceptions import HTTPError

from reconciler.sandbox import hosts
from reconciler.sandbox.server import Serving, serve
from reconciler.sandbox.world import World
from tests.make_world import contoso

pytestmark = pytest.mark.tls


@pytest.fixture
def world() -> World:
    return contoso()


@pytest.fixture
def sandbox(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serving]:
    with serve(world) as ports:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(ports.ca_file))
        monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
        yield ports


@pytest.fixture
def snow(sandbox: Serving) -> Iterator[ServiceNowClient]:
    line = sandbox.line()
    client = ServiceNowClient(
        line["servicenow"], (line["servicenow_user"], line["servicenow_password"]), verify=line["ca_file"]
    )
    yield client
    client.session.close()


def the_ticket(snow: ServiceNowClient, number: str) -> object:
    ticket = snow.GlideRecord("sc_req_item")
    assert ticket.get("number", number)
    return ticket


def test_a_wrong_password_is_refused(sandbox: Serving) -> None:
    client = ServiceNowClient(sandbox.servicenow, (hosts.SERVICENOW_USER, "guessed"), verify=str(sandbox.ca_file))

    with pytest.raises(AuthenticationException):
        client.GlideRecord("sc_req_item").query()

    client.session.close()


def test_client_credentials_sign_in(sandbox: Serving) -> None:
    flow = ServiceNowClientCredentialsFlow(hosts.SERVICENOW_CLIENT_ID, hosts.SERVICENOW_CLIENT_SECRET)
    client = ServiceNowClient(sandbox.servicenow, flow, verify=str(sandbox.ca_file))

    tickets = client.GlideRecord("sc_req_item")
    tickets.query()

    assert tickets.get_row_count() == 34
    client.session.close()


def test_every_ticket_is_read_once_over_all_pages(snow: ServiceNowClient) -> None:
    tickets = snow.GlideRecord("sc_req_item", batch_size=7)
    tickets.query()

    numbers = [ticket.get_value("number") for ticket in tickets]

    assert tickets.get_row_count() == 34
    assert sorted(numbers) == [f"RITM{10_000 + n:07}" for n in range(1, 35)]


def test_conditions_and_alternatives_select_tickets(snow: ServiceNowClient) -> None:
    tickets = snow.GlideRecord("sc_req_item")
    tickets.add_query("approval", "requested").add_or_condition("stage", "Request Cancelled")
    tickets.add_query("opened_at", ">", "2026-10-01 00:00:00")
    tickets.order_by_desc("number")
    tickets.query()

    assert [t.get_value("number") for t in tickets] == ["RITM0010023", "RITM0010015", "RITM0010012"]


def test_values_and_what_people_see_of_them_are_both_there(snow: ServiceNowClient) -> None:
    ticket = the_ticket(snow, "RITM0010001")

    assert (ticket.get_value("state"), ticket.get_display_value("state")) == ("3", "Closed Complete")
    assert ticket.get_display_value("requested_for") == "Anna Berger"
    assert len(ticket.get_value("requested_for")) == 32


def test_fields_of_referenced_records_are_read_along(snow: ServiceNowClient) -> None:
    tickets = snow.GlideRecord("sc_req_item")
    tickets.fields = "number,requested_for.email,request.number,cat_item.name"
    tickets.add_query("number", "RITM0010009")
    tickets.query()
    assert tickets.next()

    assert tickets.get_value("requested_for.email") == "ivan.petrov@contoso.example"
    assert tickets.get_value("cat_item.name") == "Microsoft Project"
    assert tickets.get_value("request.number").startswith("REQ")


def test_a_record_that_is_not_there_is_not_found(snow: ServiceNowClient) -> None:
    assert snow.GlideRecord("sc_req_item").get("0" * 32) is False


def test_an_unknown_table_is_an_error(snow: ServiceNowClient) -> None:
    with pytest.raises(Exception, match="Invalid table") as refused:
        snow.GlideRecord("no_such_table").query()

    assert not isinstance(refused.value, HTTPError)


def test_a_note_is_appended_and_read_in_the_journal(snow: ServiceNowClient, world: World) -> None:
    ticket = the_ticket(snow, "RITM0010001")
    ticket.work_notes = "[m365r:op:1] Location set to DE."
    ticket.update()
    ticket.work_notes = "[m365r:op:2] Assigned."
    ticket.update()

    journal = snow.GlideRecord("sys_journal_field")
    journal.add_query("element_id", ticket.get_value("sys_id"))
    journal.add_query("element", "work_notes")
    journal.query()

    assert {entry.get_value("value") for entry in journal} == {
        "[m365r:op:1] Location set to DE.",
        "[m365r:op:2] Assigned.",
    }
    assert ticket.get_value("work_notes") == ""
    assert {entry.get_value("sys_created_by") for entry in journal} == {hosts.SERVICENOW_USER}


def test_a_follow_up_task_is_inserted_found_again_and_deleted(snow: ServiceNowClient, world: World) -> None:
    ticket = the_ticket(snow, "RITM0010034")
    group = snow.GlideRecord("sys_user_group")
    assert group.get("name", "Telecom")

    task = snow.GlideRecord("sc_task")
    task.initialize()
    task.set_value("request_item", ticket.get_value("sys_id"))
    task.set_value("assignment_group", group.get_value("sys_id"))
    task.set_value("short_description", "No number is assigned")
    task.set_value("correlation_id", "m365r:op:7")
    task.insert()
    found = snow.GlideRecord("sc_task")
    found.get("correlation_id", "m365r:op:7")

    assert found.get_value("number").startswith("SCTASK")
    assert found.get_display_value("assignment_group") == "Telecom"
    assert (found.get_value("active"), found.get_value("state")) == ("true", "1")


def test_a_ticket_is_reopened_and_read_back(snow: ServiceNowClient) -> None:
    ticket = the_ticket(snow, "RITM0010007")
    ticket.set_value("state", "1")
    ticket.set_value("active", "true")
    ticket.update()

    again = the_ticket(snow, "RITM0010007")
    assert (again.get_value("state"), again.get_value("active")) == ("1", "true")


def test_many_records_are_changed_in_one_batch(snow: ServiceNowClient) -> None:
    tickets = snow.GlideRecord("sc_req_item")
    tickets.add_query("approval", "requested")
    tickets.query()
    for ticket in tickets:
        ticket.set_value("correlation_display", "m365-reconciler")

    assert tickets.update_multiple()

    marked = snow.GlideRecord("sc_req_item")
    marked.add_query("correlation_display", "m365-reconciler")
    marked.query()
    assert sorted(t.get_value("number") for t in marked) == ["RITM0010012", "RITM0010023"]


def test_a_query_too_long_for_an_address_goes_through_the_batch(snow: ServiceNowClient) -> None:
    people = snow.GlideRecord("sys_user")
    people.query()
    ids = [person.get_value("sys_id") for person in people]
    padded = ids + ["0" * 32] * 320

    found = snow.GlideRecord("sys_user")
    found.add_query("sys_id", "IN", ",".join(padded))
    found.query()

    assert found.get_row_count() == len(ids)


def test_evidence_is_attached_listed_and_read_back(snow: ServiceNowClient) -> None:
    ticket = the_ticket(snow, "RITM0010025")
    evidence = json.dumps({"status": 500}).encode()

    ticket.add_attachment("evidence.json", evidence, "application/json")

    [attached] = list(ticket.get_attachments())
    assert (str(attached.file_name), attached.read()) == ("evidence.json", evidence)


def test_records_are_deleted_one_by_one(snow: ServiceNowClient) -> None:
    task = snow.GlideRecord("sc_task")
    task.initialize()
    task.set_value("short_description", "Made by mistake")
    sys_id = str(task.insert())

    assert task.delete()

    assert snow.GlideRecord("sc_task").get(sys_id) is False
