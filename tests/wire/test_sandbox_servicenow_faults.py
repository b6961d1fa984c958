"""What goes wrong on the sandbox's ServiceNow, by schedule and by limit, and what is true afterwards."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta

import httpx
import pytest

from reconciler.sandbox.faults import DONE_BUT_UNSAID, SERVICENOW, FaultRule
from tests.make_instance import TABLE, Desk, error

ITEMS = f"{TABLE}/sc_req_item"


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ("429_rule", 429),
        ("429_semaphore", 429),
        ("202_drop", 202),
        ("200_html_hibernate", 200),
        ("503_html", 503),
        ("throttled", 429),
        ("unavailable", 503),
        ("server_error", 500),
        ("bad_gateway", 502),
    ],
)
def test_a_request_that_is_turned_away_changes_nothing(fault: str, status: int) -> None:
    desk = Desk()
    ticket = desk.open_ticket()
    before = desk.truth(ticket)

    with desk.failing(fault):
        answer = desk.patch("sc_req_item", ticket, work_notes="Granted.")

    assert answer.status_code == status
    assert (desk.truth(ticket), desk.instance.notes(ticket)) == (before, [])


def test_the_two_kinds_of_429_are_told_apart_by_their_headers() -> None:
    desk = Desk()
    desk.world.clock.advance(timedelta(minutes=10))

    with desk.failing("429_rule"):
        ruled = desk.get(ITEMS)
    with desk.failing("429_semaphore"):
        crowded = desk.get(ITEMS)

    assert ruled.headers["retry-after"] == "3000"
    assert ruled.headers["x-ratelimit-reset"] == str(int(desk.world.clock.now().timestamp()) + 3000)
    assert "x-ratelimit-remaining" not in ruled.headers
    assert crowded.content == b""
    assert not any(name.startswith("x-ratelimit") or name == "retry-after" for name in crowded.headers)


@pytest.mark.parametrize("fault", ["200_html_hibernate", "503_html"])
def test_a_page_for_people_is_no_json(fault: str) -> None:
    with (desk := Desk()).failing(fault):
        answer = desk.get(ITEMS)

    assert answer.headers["content-type"].startswith("text/html")
    assert answer.text.startswith("<!DOCTYPE html>")


def test_a_refused_insert_may_have_been_done() -> None:
    desk = Desk()

    with desk.failing("403_but_done", route="POST"):
        answer = desk.post("sc_task", correlation_id="m365r:op:1")

    detail = "ACL Exception Insert Failed due to security constraints"
    assert (answer.status_code, answer.json()) == (403, error("Operation Failed", detail))
    assert [task["correlation_id"] for task in desk.instance.records("sc_task")] == ["m365r:op:1"]


@pytest.mark.parametrize(("fault", "status"), [("done_then_500", 500), ("done_then_504", 504)])
def test_a_failure_may_hide_a_write_that_was_done(fault: str, status: int) -> None:
    desk = Desk()
    ticket = desk.open_ticket()

    with desk.failing(fault):
        answer = desk.patch("sc_req_item", ticket, work_notes="Granted.")

    assert (answer.status_code, desk.instance.notes(ticket)) == (status, ["Granted."])


@pytest.mark.parametrize(
    ("fault", "seen"), [("reply_lost", httpx.RemoteProtocolError), ("reply_timeout", httpx.ReadTimeout)]
)
def test_an_answer_may_never_come_though_the_write_was_done(fault: str, seen: type[Exception]) -> None:
    desk = Desk()
    ticket = desk.open_ticket()

    with desk.failing(fault), pytest.raises(seen):
        desk.patch("sc_req_item", ticket, work_notes="Granted.")

    assert desk.instance.notes(ticket) == ["Granted."]


def test_a_change_may_be_answered_and_not_be_kept() -> None:
    desk = Desk()
    ticket = desk.open_ticket()
    before = desk.truth(ticket)

    with desk.failing("200_not_applied"):
        answer = desk.patch("sc_req_item", ticket, correlation_id="key", work_notes="Granted.")

    assert (answer.status_code, answer.json()["result"]["correlation_id"]) == (200, "key")
    assert (desk.truth(ticket), desk.instance.notes(ticket)) == (before, [])


def test_a_cancelled_list_holds_rows_an_empty_text_and_an_error_under_200() -> None:
    desk = Desk()
    for n in range(1, 5):
        desk.ticket(f"RITM{n:07}")

    with desk.failing("200_cancel_partial"):
        answer = desk.get(ITEMS, {"sysparm_query": "ORDERBYnumber", "sysparm_fields": "number"})

    body = answer.json()
    assert answer.status_code == 200
    assert body["result"] == [{"number": "RITM0000001"}, {"number": "RITM0000002"}, ""]
    assert body["error"]["message"] == "Transaction cancelled: maximum execution time exceeded"
    assert body["status"] == "failure"


def test_a_list_cancelled_before_its_first_row_fails_or_says_200() -> None:
    desk = Desk()

    with desk.failing("200_cancel_partial"):
        failed = desk.get(ITEMS)
        desk.instance.switches.cancel_before_rows_is_200 = True
        late = desk.get(ITEMS)

    assert (failed.status_code, failed.json()["status"]) == (500, "failure")
    assert (late.status_code, late.json()["result"], late.json()["status"]) == (200, [""], "failure")


def test_a_text_may_stand_among_the_rows() -> None:
    desk = Desk()
    desk.ticket()

    with desk.failing("string_in_result"):
        result = desk.get(ITEMS, {"sysparm_fields": "number"}).json()["result"]

    assert result == [{"number": "RITM0010001"}, ""]


def test_a_page_may_be_empty_and_its_count_and_links_as_ever() -> None:
    desk = Desk()
    for n in range(1, 4):
        desk.ticket(f"RITM{n:07}")

    with desk.failing("empty_page_acl"):
        answer = desk.get(ITEMS, {"sysparm_limit": "2", "sysparm_query": "ORDERBYsys_id"})

    assert answer.json() == {"result": []}
    assert answer.headers["x-total-count"] == "3"
    assert 'rel="next"' in answer.headers["link"]


def test_a_row_may_show_late_with_the_stamp_it_had() -> None:
    desk = Desk()
    ticket = desk.open_ticket()
    desk.patch("sc_req_item", ticket, correlation_id="key")

    with desk.failing("late_visible_row", times=1):
        first = desk.rows("sc_req_item")
    second = desk.rows("sc_req_item")
    desk.world.clock.advance(timedelta(seconds=61))
    third = desk.rows("sc_req_item")

    assert (first, second) == ([], [])
    assert [row["sys_updated_on"] for row in third] == ["2026-11-02 09:00:00"]


def test_rows_may_be_touched_within_one_second() -> None:
    desk = Desk()
    for n in range(1, 6):
        desk.ticket(f"RITM{n:07}")

    with desk.failing("same_second_burst"):
        rows = desk.rows("sc_req_item")

    assert {row["sys_updated_on"] for row in rows} == {"2026-11-02 09:00:00"}


def test_a_slow_answer_turns_the_clock_and_a_skewed_one_misdates_itself() -> None:
    desk = Desk()

    with desk.failing("slow"):
        slow = desk.get(ITEMS)
    with desk.failing("clock_skew"):
        skewed = desk.get(ITEMS)

    assert slow.headers["date"] == "Mon, 02 Nov 2026 09:00:20 GMT"
    assert skewed.headers["date"] == "Mon, 02 Nov 2026 09:05:20 GMT"


def test_faults_name_routes_without_versions_and_ids() -> None:
    desk = Desk()
    ticket = desk.ticket()

    with desk.failing("503_html", route="GET /api/now/table/sc_req_item/{sys_id}"):
        one = desk.get(f"/api/now/v2/table/sc_req_item/{ticket}")
        every = desk.get("/api/now/v2/table/sc_req_item")

    assert (one.status_code, every.status_code) == (503, 200)


# --- limits


def test_an_hourly_rule_counts_per_user_and_api_and_begins_again_with_the_hour() -> None:
    desk = Desk()
    desk.instance.switches.rate_limit_per_hour = 2

    allowed = [desk.get(ITEMS) for _ in range(2)]
    refused = desk.get(ITEMS)
    others = [desk.get(ITEMS, user="ben"), desk.get("/api/now/stats/sc_req_item")]
    desk.world.clock.advance(timedelta(hours=1))
    later = desk.get(ITEMS)

    assert [answer.headers["x-ratelimit-limit"] for answer in allowed] == ["2", "2"]
    assert refused.status_code == 429
    assert refused.json() == error("Rate limit exceeded", "Rate limit of 2 requests per hour for Table API exceeded")
    assert refused.headers["retry-after"] == "3600"
    assert [answer.status_code for answer in (*others, later)] == [200, 200, 200]


def test_without_a_rule_no_answer_speaks_of_one() -> None:
    answer = Desk().get(ITEMS)

    assert not any(name.startswith("x-ratelimit") for name in answer.headers)


def inside(desk: Desk, session: str, n: int) -> ExitStack:
    """Hold `n` requests of a session at work until the stack is closed."""
    held = ExitStack()
    for _ in range(n):
        assert held.enter_context(desk.service.doors.enter(session, desk.instance)) is None
    return held


def test_what_finds_the_queue_of_its_session_full_is_dropped_with_202() -> None:
    desk = Desk()
    ticket = desk.open_ticket()
    cookie = {"Cookie": "JSESSIONID=shared"}
    url = f"{ITEMS}/{ticket}"

    with inside(desk, "shared", 11):
        dropped = desk.call("PATCH", url, json={"correlation_id": "key"}, headers=cookie)
        alone = desk.get(url)
    afterwards = desk.get(url, headers=cookie)

    assert (dropped.status_code, dropped.content) == (202, b"")
    assert desk.truth(ticket)["correlation_id"] == ""
    assert (alone.status_code, afterwards.status_code) == (200, 200)


def test_what_finds_all_semaphores_and_their_queue_full_gets_a_bare_429() -> None:
    desk = Desk()
    desk.instance.switches.semaphores, desk.instance.switches.semaphore_queue = 2, 1

    with inside(desk, "", 3):
        refused = desk.get(ITEMS)
    afterwards = desk.get(ITEMS)

    assert (refused.status_code, refused.content, "retry-after" in refused.headers) == (429, b"", False)
    assert afterwards.status_code == 200


def test_only_who_brings_no_cookie_is_given_one() -> None:
    desk = Desk()

    assert desk.get(ITEMS).headers["set-cookie"].startswith("JSESSIONID=")
    assert "set-cookie" not in desk.get(ITEMS, headers={"Cookie": "JSESSIONID=kept"}).headers


def test_the_same_seed_gives_the_same_failures() -> None:
    def run() -> list[int]:
        desk = Desk()
        desk.world.faults.add(FaultRule("202_drop", share=0.3))
        return [desk.get(f"{TABLE}/sc_req_item").status_code for _ in range(30)]

    first = run()

    assert first == run()
    assert set(first) == {200, 202}


@pytest.mark.parametrize("fault", [*SERVICENOW, "throttled", "unavailable", "server_error", *DONE_BUT_UNSAID])
def test_whatever_happened_the_next_list_is_whole_again(fault: str) -> None:
    desk = Desk()
    tickets = [desk.ticket(f"RITM001000{n}") for n in range(5)]
    desk.world.faults.add(FaultRule(fault))
    for method, path in (("GET", ""), ("PATCH", f"/{tickets[0]}"), ("GET", f"/{tickets[0]}")):
        try:
            desk.call(method, f"{TABLE}/sc_req_item{path}", json={"close_notes": fault} if method == "PATCH" else None)
        except httpx.TransportError:
            assert fault in {"reply_lost", "reply_timeout"}

    desk.world.faults.clear()
    desk.world.clock.advance(timedelta(minutes=2))

    assert len(desk.numbers("ORDERBYsys_id")) == 5
