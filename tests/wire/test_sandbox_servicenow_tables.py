"""The sandbox's Table API: rows in and out, their shapes, and the words of each refusal."""

from __future__ import annotations

from datetime import timedelta

import pytest

from reconciler.sandbox.servicenow.schema import Column
from tests.make_instance import ALL, BASE, MONDAY, NO_RECORD, RAW, TABLE, Desk, error

# --- reading


def test_every_scalar_is_text_and_references_carry_links() -> None:
    desk = Desk()
    ticket = desk.ticket()

    row = desk.get(f"{TABLE}/sc_req_item/{ticket}").json()["result"]

    assert (row["number"], row["state"], row["active"], row["assigned_to"]) == ("RITM0010001", "3", "false", "")
    assert row["sys_mod_count"] == "1"
    assert row["requested_for"] == {"link": f"{BASE}/api/now/table/sys_user/{desk.ana}", "value": desk.ana}
    assert row["sys_domain"] == {"link": f"{BASE}/api/now/table/sys_user_group/global", "value": "global"}
    assert row["work_notes"] == ""


def test_display_values_replace_values_under_true_and_join_them_under_all() -> None:
    desk = Desk(time_zone="America/Los_Angeles")
    ticket = desk.ticket(closed_at=MONDAY)
    names = "state,requested_for,assigned_to,closed_at,stage,active,sla_due,work_notes"

    def read(**params: str) -> dict[str, object]:
        answer = desk.get(f"{TABLE}/sc_req_item/{ticket}", {"sysparm_fields": names, **params})
        return dict(answer.json()["result"])

    assert read(sysparm_display_value="true") == {
        "state": "Closed Complete",
        "requested_for": {"display_value": "Ana Ruiz", "link": f"{BASE}/api/now/table/sys_user/{desk.ana}"},
        "assigned_to": "",
        "closed_at": "2026-11-02 01:00:00",
        "stage": "Completed",
        "active": "false",
        "sla_due": "UNKNOWN",
        "work_notes": "",
    }
    assert read(**ALL) == {
        "state": {"display_value": "Closed Complete", "value": "3"},
        "requested_for": {"display_value": "Ana Ruiz", "value": desk.ana},
        "assigned_to": {"display_value": "", "value": ""},
        "closed_at": {"display_value": "2026-11-02 01:00:00", "value": "2026-11-02 09:00:00"},
        "stage": {"display_value": "Completed", "value": "complete"},
        "active": {"display_value": "false", "value": "false"},
        "sla_due": {"display_value": "UNKNOWN", "value": ""},
        "work_notes": {"display_value": "", "value": ""},
    }
    assert read(**RAW)["requested_for"] == desk.ana
    assert read(sysparm_display_value="true", **RAW)["requested_for"] == "Ana Ruiz"


def test_all_with_links_shows_value_display_and_link() -> None:
    desk = Desk()
    ticket = desk.ticket()

    row = desk.get(f"{TABLE}/sc_req_item/{ticket}", {"sysparm_display_value": "all"}).json()["result"]

    link = f"{BASE}/api/now/table/sys_user/{desk.ana}"
    assert row["requested_for"] == {"display_value": "Ana Ruiz", "link": link, "value": desk.ana}


def test_an_empty_choice_displays_null_beside_its_value_only() -> None:
    desk = Desk()
    ticket = desk.ticket(stage="")
    url = f"{TABLE}/sc_req_item/{ticket}"

    assert desk.get(url, ALL).json()["result"]["stage"] == {"display_value": None, "value": ""}
    assert desk.get(url, {"sysparm_display_value": "true"}).json()["result"]["stage"] == ""

    desk.instance.switches.empty_choice_is_null = True

    assert desk.get(url, {"sysparm_display_value": "true"}).json()["result"]["stage"] is None


def test_a_reference_to_nothing_keeps_its_value_and_has_no_display() -> None:
    desk = Desk()
    ticket = desk.open_ticket()
    assert desk.patch("sc_req_item", ticket, assignment_group="f" * 32).status_code == 200

    row = desk.get(f"{TABLE}/sc_req_item/{ticket}", ALL).json()["result"]

    assert row["assignment_group"] == {"display_value": "", "value": "f" * 32}


def test_dot_walked_fields_come_back_as_flat_keys() -> None:
    desk = Desk()
    ticket = desk.ticket()
    fields = "request.number,requested_for.email,requested_for.department,request.requested_for.name,assigned_to.email"

    row = desk.get(f"{TABLE}/sc_req_item/{ticket}", {**ALL, "sysparm_fields": fields}).json()["result"]

    department = desk.truth(desk.ana, "sys_user")["department"]
    assert row == {
        "request.number": {"display_value": "REQ0010001", "value": "REQ0010001"},
        "requested_for.email": {"display_value": "ana@contoso.example", "value": "ana@contoso.example"},
        "requested_for.department": {"display_value": "Sales", "value": department},
        "request.requested_for.name": {"display_value": "Ana Ruiz", "value": "Ana Ruiz"},
        "assigned_to.email": {"display_value": "", "value": ""},
    }


def test_unknown_fields_are_left_out_without_a_word() -> None:
    desk = Desk()
    desk.ticket()

    rows = desk.rows("sc_req_item", sysparm_fields="number,bunk_field,request.bunk,variables.product")

    assert rows == [{"number": "RITM0010001"}]


def test_a_customers_column_is_read_and_listed_once_it_exists() -> None:
    desk = Desk()
    ticket = desk.open_ticket()
    desk.instance.add_column("sc_req_item", Column("u_result", label="Result", length=10))

    assert desk.patch("sc_req_item", ticket, u_result="granted to all").status_code == 200

    assert desk.rows("sc_req_item", sysparm_fields="u_result") == [{"u_result": "granted to"}]
    assert desk.rows("sys_dictionary", "name=sc_req_item^element=u_result", sysparm_fields="max_length") == [
        {"max_length": "10"}
    ]


def test_the_task_table_shows_requests_items_and_tasks() -> None:
    desk = Desk()
    desk.open_ticket(task={"state": "1", "assignment_group": desk.queue})

    rows = desk.rows("task", "ORDERBYnumber", sysparm_fields="number,sys_class_name,cat_item")

    assert [row["sys_class_name"] for row in rows] == ["sc_request", "sc_req_item", "sc_task"]
    assert all("cat_item" not in row or row["sys_class_name"] == "sc_req_item" for row in rows)


def test_choices_and_dictionary_answer_what_a_client_probes() -> None:
    desk = Desk()

    states = desk.rows("sys_choice", "name=sc_req_item^element=state^ORDERBYsequence", sysparm_fields="value,label")
    column = desk.rows("sys_dictionary", "name=task^element=correlation_id", sysparm_fields="internal_type,max_length")

    assert {"value": "3", "label": "Closed Complete"} in states
    assert {"value": "7", "label": "Closed Skipped"} in states
    assert column == [{"internal_type": "string", "max_length": "100"}]


# --- versions, methods, headers


def test_a_query_without_rows_is_404_in_v1_and_empty_in_v2_and_the_latest() -> None:
    desk = Desk()
    query = {"sysparm_query": "number=RITM0999999"}

    old = desk.get("/api/now/v1/table/sc_req_item", query)

    assert (old.status_code, old.json()) == (404, NO_RECORD)
    for version in ("v2/", ""):
        new = desk.get(f"/api/now/{version}table/sc_req_item", query)
        assert (new.status_code, new.json(), new.headers["x-total-count"]) == (200, {"result": []}, "0")


def test_an_unknown_table_is_told_to_everybody_who_is_signed_in() -> None:
    desk = Desk()

    for user in ("svc.desk", "root"):
        answer = desk.get(f"{TABLE}/sc_bunk", user=user)
        assert (answer.status_code, answer.json()) == (400, error("Invalid table sc_bunk", None))


def test_a_record_that_is_not_there_and_one_that_is_hidden_answer_alike() -> None:
    desk = Desk()
    ticket = desk.ticket()
    desk.instance.add_acl("sc_req_item", "read", row=ticket)

    hidden, missing = (desk.get(f"{TABLE}/sc_req_item/{sys_id}") for sys_id in (ticket, "0" * 32))

    assert (hidden.status_code, hidden.json()) == (missing.status_code, missing.json()) == (404, NO_RECORD)


def test_head_answers_like_get_without_a_body() -> None:
    desk = Desk()
    desk.ticket()

    answer = desk.call("HEAD", f"{TABLE}/sc_req_item")

    assert (answer.status_code, answer.headers["x-total-count"], answer.content) == (200, "1", b"")


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("DELETE", "/api/now/table/sc_req_item", {}, 405),
        ("GET", "/api/now/table/sc_req_item", {"Accept": "text/csv"}, 406),
        ("POST", "/api/now/table/sc_task", {"Content-Type": "text/csv"}, 415),
        ("GET", "/api/now/table", {}, 400),
        ("GET", "/api/now/bunk", {}, 400),
        ("GET", "/api/x_custom/thing", {}, 400),
        ("POST", "/api/now/import/staging", {}, 501),
        ("POST", "/api/now/tinyurl", {}, 501),
    ],
)
def test_what_cannot_be_answered_is_refused_in_the_envelope(
    method: str, path: str, headers: dict[str, str], status: int
) -> None:
    answer = Desk().call(method, path, headers=headers)

    assert answer.status_code == status
    assert answer.json()["status"] == "failure"
    assert set(answer.json()["error"]) == {"message", "detail"}


def test_too_long_an_address_is_answered_by_a_page_for_people() -> None:
    answer = Desk().get(f"{TABLE}/sc_req_item", {"sysparm_query": "sys_idIN" + "0" * 17_000})

    assert (answer.status_code, answer.headers["content-type"]) == (414, "text/html;charset=UTF-8")


def test_a_body_that_is_no_object_is_a_bad_request() -> None:
    desk = Desk()

    for body in (b"{", b'"text"', b"3"):
        answer = desk.call("POST", f"{TABLE}/sc_task", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400
    assert desk.instance.records("sc_task") == []


def test_every_answer_carries_the_sandbox_date_and_json_its_charset() -> None:
    desk = Desk()
    desk.world.clock.advance(timedelta(days=1, seconds=5))

    answer = desk.get(f"{TABLE}/sc_req_item")

    assert answer.headers["date"] == "Tue, 03 Nov 2026 09:00:05 GMT"
    assert answer.headers["content-type"] == "application/json;charset=UTF-8"


# --- writing


def test_a_task_is_created_with_what_the_server_fills_in() -> None:
    desk = Desk()
    ticket = desk.ticket()

    answer = desk.post(
        "sc_task",
        request_item=ticket,
        parent=ticket,
        short_description="Manual review",
        assignment_group=desk.queue,
        state="1",
        correlation_id="m365r:op:1",
        work_notes="Please look.",
    )

    made = answer.json()["result"]
    assert answer.status_code == 201
    assert answer.headers["location"] == f"{BASE}/api/now/table/sc_task/{made['sys_id']}"
    assert made["number"].startswith("SCTASK")
    assert (made["active"], made["approval"], made["sys_mod_count"]) == ("true", "not requested", "0")
    assert (made["opened_at"], made["opened_by"]) == ("2026-11-02 09:00:00", desk.svc)
    assert made["work_notes"] == ""
    assert desk.instance.notes(made["sys_id"]) == ["Please look."]


def test_a_change_names_who_and_when_and_counts() -> None:
    desk = Desk()
    ticket = desk.open_ticket()
    desk.world.clock.advance(timedelta(minutes=5, milliseconds=900))

    answer = desk.patch("sc_req_item", ticket, correlation_id="key", bunk_field="x", sys_mod_count="99", sys_id="1")

    row = answer.json()["result"]
    assert answer.status_code == 200
    assert (row["sys_updated_on"], row["sys_updated_by"]) == ("2026-11-02 09:05:00", "svc.desk")
    assert (row["correlation_id"], row["sys_id"]) == ("key", ticket)
    assert row["sys_mod_count"] == "1"
    assert "bunk_field" not in row


def test_a_write_that_changes_nothing_leaves_no_trace() -> None:
    desk = Desk()
    ticket = desk.open_ticket()
    before = desk.truth(ticket)
    desk.world.clock.advance(timedelta(minutes=5))

    assert desk.patch("sc_req_item", ticket, state="1", bunk_field="x").status_code == 200

    assert desk.truth(ticket) == before


def test_put_changes_named_fields_only_and_json_scalars_become_text() -> None:
    desk = Desk()
    ticket = desk.open_ticket()

    url = f"{TABLE}/sc_req_item/{ticket}"
    answer = desk.call("PUT", url, json={"quantity": 3, "billable": True, "close_notes": None})

    row = desk.truth(ticket)
    assert answer.status_code == 200
    assert (row["quantity"], row["billable"], row["close_notes"]) == ("3", "true", "")
    assert row["number"] == "RITM0010001"


def test_of_many_records_in_one_write_only_the_first_is_done() -> None:
    desk = Desk()
    ticket = desk.open_ticket()

    answer = desk.call("POST", f"{TABLE}/sc_task", json=[{"request_item": ticket}, {"request_item": ticket}])

    assert answer.status_code == 201
    assert len(desk.instance.records("sc_task")) == 1


def test_too_long_a_text_is_cut_without_a_word() -> None:
    desk = Desk()
    ticket = desk.open_ticket()

    desk.patch("sc_req_item", ticket, correlation_id="k" * 150, short_description="s" * 200)
    cut = desk.truth(ticket)
    desk.instance.switches.lengths_truncate = False
    desk.patch("sc_req_item", ticket, correlation_id="k" * 150)

    assert (len(cut["correlation_id"]), len(cut["short_description"])) == (100, 160)
    assert len(desk.truth(ticket)["correlation_id"]) == 150


def test_display_values_are_read_as_such_when_asked() -> None:
    desk = Desk(time_zone="Europe/Berlin")
    ticket = desk.open_ticket()

    desk.call(
        "PATCH",
        f"{TABLE}/sc_req_item/{ticket}",
        params={"sysparm_input_display_value": "true"},
        json={"assignment_group": "M365 Licence Desk", "state": "Work in Progress", "due_date": "2026-11-05 12:00:00"},
    )

    row = desk.truth(ticket)
    assert (row["assignment_group"], row["state"]) == (desk.queue, "2")
    assert row["due_date"] == "2026-11-05 11:00:00"


def test_no_body_comes_back_when_none_is_wanted() -> None:
    desk = Desk()
    ticket = desk.open_ticket()

    answer = desk.call(
        "PATCH",
        f"{TABLE}/sc_req_item/{ticket}",
        json={"correlation_id": "key"},
        headers={"X-no-response-body": "true"},
    )

    assert (answer.status_code, answer.content) == (200, b"")
    assert desk.truth(ticket)["correlation_id"] == "key"


def test_a_post_can_stand_for_a_patch() -> None:
    desk = Desk()
    ticket = desk.open_ticket()

    url = f"{TABLE}/sc_req_item/{ticket}"
    answer = desk.call("POST", url, json={"correlation_id": "key"}, headers={"X-http-method-override": "PATCH"})

    assert (answer.status_code, desk.truth(ticket)["correlation_id"]) == (200, "key")


def test_deleting_answers_204_and_the_record_is_gone() -> None:
    desk = Desk()
    ticket = desk.ticket()

    refused = desk.call("DELETE", f"{TABLE}/sc_req_item/{ticket}")
    done = desk.call("DELETE", f"{TABLE}/sc_req_item/{ticket}", user="root")

    detail = "ACL Exception Delete Failed due to security constraints"
    assert (refused.status_code, refused.json()) == (403, error("Operation Failed", detail))
    assert (done.status_code, done.content) == (204, b"")
    assert desk.instance.records("sc_req_item") == []
