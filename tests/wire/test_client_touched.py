"""Whether anything was written to a ticket or a task, as one request can tell."""

from __future__ import annotations

from datetime import timedelta

import pytest

from reconciler.clients.servicenow import Watermark
from reconciler.errors import Forbidden
from tests.wire.make_replies import MONDAY, Remote, a_servicenow, query, reply

ROW = {"sys_id": "1" * 32, "sys_updated_on": "2026-11-23 08:59:00", "sys_mod_count": "3"}


def rows(*found: dict[str, str], total: int | None = None) -> object:
    count = len(found) if total is None else total
    return reply(200, {"result": list(found)}, {"X-Total-Count": str(count)})


def test_equal_answers_are_equal_and_a_change_in_the_same_second_is_not():
    remote = Remote(rows(ROW), rows(ROW), rows(ROW | {"sys_mod_count": "4"}))
    client = a_servicenow(remote)

    first, second, third = (client.touched(MONDAY).rows for _ in range(3))

    assert first == second != third
    assert first is not None
    asked = query(remote.seen[0])["sysparm_query"]
    assert asked.startswith("sys_class_nameINsc_req_item,sc_task^sys_updated_on>=2026-11-23 08:58:00")


COUNTLESS = {"sys_id": ROW["sys_id"], "sys_updated_on": ROW["sys_updated_on"]}  # a column is hidden, too


@pytest.mark.parametrize("answer", [rows(), rows(ROW, total=2), rows(COUNTLESS, total=2)])
def test_an_empty_or_partly_hidden_answer_tells_nothing(answer):
    assert a_servicenow(Remote(answer)).touched(MONDAY).rows is None


def test_what_was_told_is_not_asked_for_again_and_a_record_that_was_shown_is_always_among_the_rows():
    remote = Remote(rows(ROW), rows(ROW))
    client = a_servicenow(remote)

    for told_at in (MONDAY - timedelta(hours=1), MONDAY + timedelta(hours=1)):
        client.touched(MONDAY, Watermark(told_at, ROW["sys_id"]))

    classes = "sys_class_nameINsc_req_item,sc_task^sys_updated_on>="
    assert [query(request)["sysparm_query"].removeprefix(classes) for request in remote.seen] == [
        "2026-11-23 08:58:00^ORDERBYsys_id",
        f"2026-11-23 09:58:00^ORsys_id={ROW['sys_id']}^ORDERBYsys_id",
    ]


def test_a_user_who_may_not_read_the_parent_table_is_told_so():
    with pytest.raises(Forbidden):
        a_servicenow(Remote(reply(403, {"error": {"message": "no", "detail": ""}, "status": "failure"}))).touched(
            MONDAY
        )
