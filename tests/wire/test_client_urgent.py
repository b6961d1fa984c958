"""Which urgent tickets changed, in one request, whatever of the question the server leaves out."""

from __future__ import annotations

import pytest

from reconciler.clients.servicenow.urgent import ROWS_MAX
from reconciler.errors import Malformed
from tests.wire.make_replies import MONDAY, Remote, a_servicenow, query, reply, sys_id

ITEM, NAMED = sys_id(900), "RITM0000007"
AT = "2026-11-23 08:59:00"


def row(n: int, priority: str | None = "1", *, item: str = ITEM, at: str = AT) -> dict[str, str]:
    shown = {} if priority is None else {"priority": priority}
    told = {"sys_id": sys_id(n), "number": f"RITM{n:07}", "cat_item": item, "sys_updated_on": at, "sys_mod_count": "3"}
    return told | shown


def asked(*rows: dict[str, str], total: int | None = None, **more: object) -> tuple[list[str], Remote]:
    count = len(rows) if total is None else total
    remote = Remote(reply(200, {"result": list(rows)}, {"X-Total-Count": str(count)}))
    given = {"items": [ITEM], "since": MONDAY, "priorities": ["1"], "numbers": [NAMED, "not a number"]} | more
    return [sign.number for sign in a_servicenow(remote).urgent(**given)], remote


def test_one_request_asks_for_priorities_and_numbers_that_changed():
    found, remote = asked(row(1), row(7, "4"))

    assert found == ["RITM0000001", NAMED]
    (request,) = remote.seen
    told = query(request)["sysparm_query"]
    assert told.startswith(
        f"cat_itemIN{ITEM}^sys_updated_on>=2026-11-23 08:58:00^priorityIN1^ORnumberIN{NAMED}^ORDERBY"
    )


@pytest.mark.parametrize("other", [row(1, "4"), row(1, None), row(1, ""), row(1, item=sys_id(901))])
def test_a_row_that_was_not_asked_for_or_hides_its_priority_is_not_urgent(other):
    assert asked(other)[0] == []


def test_nothing_is_asked_where_nothing_can_be_urgent():
    found, remote = asked(priorities=[], numbers=[])

    assert (found, remote.seen) == ([], [])


def test_of_a_long_answer_the_rest_comes_with_the_next_question():
    rows = [row(n + 10, at=f"2026-11-23 08:58:{n // 2:02}") for n in range(ROWS_MAX)]

    signs = asked(*rows, total=ROWS_MAX + 5)[0]

    assert signs == [r["number"] for r in rows]


def test_a_row_that_hides_when_it_changed_is_an_error():
    hidden = {key: value for key, value in row(1).items() if key != "sys_updated_on"}

    with pytest.raises(Malformed):
        asked(hidden)
