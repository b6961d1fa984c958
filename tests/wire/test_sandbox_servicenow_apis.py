"""The sandbox's other ServiceNow APIs: counts, batches, attachments, the catalog."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import httpx
import pytest

from tests.make_instance import ALL, BASE, NO_RECORD, TABLE, USER, Desk, error

ITEMS = f"{TABLE}/sc_req_item"
STATS = "/api/now/stats/sc_req_item"
BATCH = "/api/now/v1/batch"
FILE = "/api/now/attachment/file"
CATALOG = "/api/sn_sc/servicecatalog/items"

# --- counts


def test_counts_and_sums_are_text_and_only_what_was_asked_for() -> None:
    desk = Desk()
    desk.ticket("RITM0000001", price="10")
    desk.ticket("RITM0000002", price="20.5")

    asked = {"sysparm_count": "true", "sysparm_sum_fields": "price", "sysparm_max_fields": "price"}

    assert desk.get(STATS, {"sysparm_count": "true"}).json() == {"result": {"stats": {"count": "2"}}}
    assert desk.get(STATS, {"sysparm_query": "number=RITM0000001", "sysparm_count": "true"}).json() == {
        "result": {"stats": {"count": "1"}}
    }
    assert desk.get(STATS, asked).json() == {
        "result": {"stats": {"count": "2", "sum": {"price": "30.5"}, "max": {"price": "20.5"}}}
    }
    assert desk.get(STATS).json() == {"result": {"stats": {}}}


def test_groups_of_a_count_are_a_list() -> None:
    desk = Desk()
    desk.ticket("RITM0000001")
    desk.ticket("RITM0000002")
    desk.open_ticket("RITM0000003")

    answer = desk.get(STATS, {"sysparm_count": "true", "sysparm_group_by": "state"})

    assert answer.json()["result"] == [
        {"stats": {"count": "1"}, "groupby_fields": [{"field": "state", "value": "1"}]},
        {"stats": {"count": "2"}, "groupby_fields": [{"field": "state", "value": "3"}]},
    ]


def test_counting_an_unknown_table_or_writing_counts_is_refused() -> None:
    desk = Desk()

    unknown = desk.get("/api/now/stats/sc_bunk", {"sysparm_count": "true"})

    assert (unknown.status_code, unknown.json()) == (400, error("Invalid table sc_bunk", None))
    assert desk.call("POST", STATS, json={}).status_code == 405


# --- batches


def an_item(method: str, url: str, body: Any = None, **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"id": "1", "method": method, "url": url, "headers": []}
    if body is not None:
        made["body"] = base64.b64encode(json.dumps(body).encode()).decode()
        made["headers"] = [{"name": "Content-Type", "value": "application/json"}]
    return made | more


def batch(desk: Desk, *items: dict[str, Any], batch_id: Any = "b1") -> httpx.Response:
    return desk.call("POST", BATCH, json={"batch_request_id": batch_id, "rest_requests": list(items)})


def body_of(item: dict[str, Any]) -> Any:
    return json.loads(base64.b64decode(item["body"]))


def test_each_item_of_a_batch_succeeds_or_fails_by_itself() -> None:
    desk = Desk()
    ticket = desk.open_ticket()

    answer = batch(
        desk,
        an_item("PATCH", f"{ITEMS}/{ticket}", {"correlation_id": "key"}, id="7"),
        an_item("GET", f"{ITEMS}/{'0' * 32}", id="8"),
        an_item("GET", f"{ITEMS}?sysparm_fields=number", id="9"),
        batch_id=1234,
    )

    body = answer.json()
    done, missing, listed = body["serviced_requests"]
    assert (answer.status_code, body["batch_request_id"], body["unserviced_requests"]) == (200, "1234", [])
    assert [(item["id"], item["status_code"]) for item in (done, missing, listed)] == [
        ("7", 200),
        ("8", 404),
        ("9", 200),
    ]
    assert body_of(missing) == NO_RECORD
    assert body_of(listed) == {"result": [{"number": "RITM0010001"}]}
    assert "x-total-count" in {header["name"].lower() for header in listed["headers"]}
    assert desk.truth(ticket)["correlation_id"] == "key"
    assert desk.truth(ticket)["sys_updated_by"] == USER


def test_a_batch_of_nothing_answers_with_empty_lists() -> None:
    assert batch(Desk()).json() == {
        "batch_request_id": "b1",
        "serviced_requests": [],
        "unserviced_requests": [],
    }


def test_what_a_batch_has_no_time_for_is_left_undone_and_named() -> None:
    desk = Desk()
    items = [an_item("POST", f"{TABLE}/sc_task", {"correlation_id": str(n)}, id=str(n)) for n in range(4)]

    with desk.failing("slow", route="POST /api/now/table"):
        body = batch(desk, *items).json()

    assert [item["id"] for item in body["serviced_requests"]] == ["0", "1"]
    assert body["unserviced_requests"] == ["2", "3"]
    assert [task["correlation_id"] for task in desk.instance.records("sc_task")] == ["0", "1"]


def test_a_fault_may_meet_one_item_alone() -> None:
    desk = Desk()
    ticket = desk.open_ticket()

    with desk.failing("503_html", route="PATCH"):
        body = batch(
            desk,
            an_item("PATCH", f"{ITEMS}/{ticket}", {"correlation_id": "key"}),
            an_item("GET", ITEMS, exclude_response_headers=True),
        ).json()

    failed, listed = body["serviced_requests"]
    assert (failed["status_code"], listed["status_code"], listed["headers"]) == (503, 200, [])
    assert desk.truth(ticket)["correlation_id"] == ""


@pytest.mark.parametrize(
    "item",
    [
        an_item("GET", "https://elsewhere.example/api/now/table/sc_req_item"),
        an_item("POST", BATCH, {}),
        an_item("PATCH", ITEMS) | {"body": "not base64!"},
    ],
)
def test_an_item_that_makes_no_sense_fails_alone(item: dict[str, Any]) -> None:
    answer = batch(Desk(), item, an_item("GET", ITEMS))

    assert [item["status_code"] for item in answer.json()["serviced_requests"]] == [400, 200]


def test_a_batch_without_its_parts_is_a_bad_request() -> None:
    desk = Desk()

    assert desk.call("POST", BATCH, json={"rest_requests": []}).status_code == 400
    assert desk.call("POST", BATCH, content=b"{").status_code == 400
    assert desk.call("POST", BATCH, json={"batch_request_id": "1", "rest_requests": ["GET"]}).status_code == 400
    assert desk.get(BATCH).status_code == 405


# --- attachments


def attach(desk: Desk, ticket: str, content: bytes = b'{"status":500}', **rest: Any) -> httpx.Response:
    params = {"table_name": "sc_req_item", "table_sys_id": ticket, "file_name": "evidence.json"}
    headers = {"Content-Type": "application/json"}
    return desk.call("POST", FILE, params=params, content=content, headers=headers, **rest)


def test_a_file_is_attached_with_its_hash_listed_and_read_back() -> None:
    desk = Desk()
    ticket = desk.ticket()
    content = b"\x00\xffevidence"

    made = attach(desk, ticket, content)

    row = made.json()["result"]
    url = f"{BASE}/api/now/attachment/{row['sys_id']}"
    assert (made.status_code, made.headers["location"], row["download_link"]) == (201, url, f"{url}/file")
    assert (row["size_bytes"], row["hash"]) == (str(len(content)), hashlib.sha256(content).hexdigest())
    assert (row["table_sys_id"], row["sys_created_by"], row["state"]) == (ticket, USER, "available")

    listed = desk.get("/api/now/attachment", {"sysparm_query": f"table_sys_id={ticket}"})
    assert listed.json()["result"] == [row]
    assert listed.headers["x-total-count"] == "1"
    file = desk.get(f"{url}/file")
    assert (file.content, file.headers["content-type"]) == (content, "application/json")


def test_a_file_may_come_as_a_form() -> None:
    desk = Desk()
    ticket = desk.ticket()

    made = desk.call(
        "POST",
        "/api/now/attachment/upload",
        data={"table_name": "sc_req_item", "table_sys_id": ticket},
        files={"uploadFile": ("notes.txt", b"line one\r\nline two\n", "text/plain")},
    )

    row = made.json()["result"]
    assert (made.status_code, row["file_name"], row["content_type"]) == (201, "notes.txt", "text/plain")
    assert desk.instance.attachments[row["sys_id"]] == b"line one\r\nline two\n"


def test_a_file_needs_a_record_that_is_there_and_all_its_parameters() -> None:
    desk = Desk()
    ticket = desk.ticket()
    params = {"table_name": "sc_req_item", "table_sys_id": ticket}

    nameless = desk.call("POST", FILE, params=params, content=b"x", headers={"Content-Type": "text/plain"})
    untyped = desk.call("POST", FILE, params={**params, "file_name": "a"}, content=b"x")

    assert (nameless.status_code, untyped.status_code) == (400, 400)
    assert (attach(desk, "0" * 32).status_code, attach(desk, "0" * 32).json()) == (404, NO_RECORD)
    assert attach(desk, ticket, user="ben").status_code == 403
    assert desk.instance.attachments == {}


def test_a_file_is_as_hidden_as_its_record() -> None:
    desk = Desk()
    ticket = desk.ticket()
    row = attach(desk, ticket).json()["result"]

    desk.instance.add_acl("sc_req_item", "read", row=ticket)

    assert desk.get(f"/api/now/attachment/{row['sys_id']}/file").json() == NO_RECORD
    assert desk.get("/api/now/attachment").json() == {"result": []}


def test_a_deleted_file_is_gone_with_its_content() -> None:
    desk = Desk()
    row = attach(desk, desk.ticket()).json()["result"]
    url = f"/api/now/attachment/{row['sys_id']}"

    assert desk.call("DELETE", url).status_code == 204

    assert (desk.get(url).status_code, desk.instance.attachments) == (404, {})


# --- the catalog


def order_now(desk: Desk, **body: Any) -> httpx.Response:
    known = {"sysparm_quantity": 1, "sysparm_requested_for": desk.ana, "variables": {"product": "e5"}}
    return desk.call("POST", f"{CATALOG}/{desk.item}/order_now", json=known | body)


def test_an_order_answers_its_request_and_makes_item_and_answers() -> None:
    desk = Desk()
    rows = [{"person": desk.ana, "sku": "e3"}, {"person": desk.ben, "sku": "e5"}]

    answer = order_now(desk, variables={"product": "e5", "user": desk.ana, "bunk": "x", "licences": rows})

    placed = answer.json()["result"]
    [item] = desk.instance.records("sc_req_item", request=placed["request_id"])
    assert (answer.status_code, placed["table"], placed["number"][:3]) == (200, "sc_request", "REQ")
    assert (item["requested_for"], item["opened_by"], item["quantity"]) == (desk.ana, desk.svc, "1")
    assert (item["state"], item["approval"], item["cat_item"]) == ("1", "requested", desk.item)
    told = desk.rows(
        "sc_item_option_mtom",
        f"request_item={item['sys_id']}",
        sysparm_fields="sc_item_option.item_option_new.name,sc_item_option.value",
    )
    answers = {row["sc_item_option.item_option_new.name"]: row["sc_item_option.value"] for row in told}
    assert (answers["product"], answers["user"], answers["licences"]) == ("e5", desk.ana, "")
    cells = desk.instance.records("sc_multi_row_question_answer", parent_id=item["sys_id"])
    assert sorted(cell["value"] for cell in cells) == sorted([desk.ana, "e3", desk.ben, "e5"])


def test_one_order_for_several_people_makes_an_item_for_each() -> None:
    desk = Desk()

    placed = order_now(desk, sysparm_also_request_for=desk.ben).json()["result"]

    items = desk.instance.records("sc_req_item", request=placed["request_id"])
    assert {item["requested_for"] for item in items} == {desk.ana, desk.ben}


@pytest.mark.parametrize(
    "body",
    [
        {"sysparm_quantity": 0},
        {"sysparm_quantity": "many"},
        {"sysparm_requested_for": "0" * 32},
        {"variables": {}},
        {"variables": "product=e5"},
        {"variables": {"product": "e5", "licences": "[{"}},
        {"variables": {"product": "e5", "licences": ["e3"]}},
        {"sysparm_also_request_for": ",".join(["0" * 32] * 51)},
    ],
)
def test_a_bad_order_orders_nothing(body: dict[str, Any]) -> None:
    desk = Desk()

    assert order_now(desk, **body).status_code == 400

    assert desk.instance.records("sc_request") == []


def test_the_definition_of_an_item_lists_its_questions() -> None:
    desk = Desk()

    asked = desk.get(f"{CATALOG}/{desk.item}/variables").json()["result"]

    by_name = {row["name"]: row for row in asked}
    assert (by_name["product"]["mandatory"], by_name["product"]["type"]) == (True, 5)
    assert by_name["user"]["reference"] == "sys_user"
    assert [child["name"] for child in by_name["licences"]["children"]] == ["person", "sku"]
    assert desk.get(f"{CATALOG}/{'0' * 32}/variables").json() == NO_RECORD


def test_the_undocumented_write_of_variables_says_yes_and_writes_nothing() -> None:
    desk = Desk()
    ticket = desk.open_ticket()
    before = desk.instance.records("sc_item_option")

    answer = desk.call(
        "PUT", f"/api/sn_sc/servicecatalog/variables/sc_req_item/{ticket}", json={"variables": {"product": "e3"}}
    )

    assert answer.status_code == 200
    assert desk.instance.records("sc_item_option") == before


def test_files_are_shaped_like_any_record_when_displays_are_asked_for() -> None:
    desk = Desk()
    row = attach(desk, desk.ticket()).json()["result"]

    shown = desk.get(f"/api/now/attachment/{row['sys_id']}", ALL).json()["result"]

    assert shown["download_link"] == {"display_value": row["download_link"], "value": row["download_link"]}
    assert shown["file_name"] == {"display_value": "evidence.json", "value": "evidence.json"}
