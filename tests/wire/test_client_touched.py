"""Whether anything was written to a ticket or a task, as one request can tell."""

from __future__ import annotations

import pytest

from reconciler.errors import Forbidden
from tests.wire.make_replies import MONDAY, Remote, a_servicenow, query, reply

ROW = {"sys_id": "1" * 32, "sys_updated_on": "2026-11-23 08:59:00", "sys_mod_count": "3"}


def rows(*found: dict[str, str], total: int | None = None) -> object:
    count = len(found) if total is None else total
    return reply(200, {"result": list(found)}, {"X-Total-Count": str(count)})


def test_equal_answers_are_equal_and_a_change_in_the_same_second_is_not():
    remote = Remote(rows(ROW), rows(ROW), rows(ROW | {"sys_mod_count": "4"}))
    client = a_servicenow(remote)

    first, second, third = (client.touched(MONDAY) for _ in range(3))

    assert first == second != third
    assert first is not None
    asked = query(remote.seen[0])["sysparm_query"]
    assert asked.startswith("sys_class_nameINsc_req_item,sc_task^sys_updated_on>=2026-11-23 08:58:00")


@pytest.mark.parametrize("answer", [rows(), rows(ROW, total=2)])
def test_an_empty_or_partly_hidden_answer_tells_nothing(answer):
    assert a_servicenow(Remote(answer)).touched(MONDAY) is None


def test_a_user_who_may_not_read_the_parent_table_is_told_so():
    with pytest.raises(Forbidden):
        a_servicenow(Remote(reply(403, {"error": {"message": "no", "detail": ""}, "status": "failure"}))).touched(
            MONDAY
        )
