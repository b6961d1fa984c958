"""Many tickets at once: full pages, nothing missed, nothing doubled, no form mixed up, whatever moves meanwhile.

The instance is the sandbox; what it holds is the truth that the tests compare with.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from datetime import datetime, timedelta

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from desired_state.model import Ticket
from reconciler.clients.servicenow import ServiceNow, Watermark
from reconciler.clients.wire import make_http
from reconciler.loop.ours import Known
from reconciler.sandbox.faults import FaultRule
from reconciler.sandbox.servicenow.access import AclRule
from tests.make_desk_client import Line, a_client
from tests.make_instance import MONDAY, TABLE, USER, Desk

VARIABLES, TASKS = "sc_item_option_mtom", "sc_task"


def put(
    desk: Desk, count: int, *, chance: random.Random | None = None, first: int = 1, at: datetime = MONDAY
) -> list[str]:
    """So many tickets, some of them in the same second, some with a task; every form says who it is of."""
    chance = chance or random.Random(3)
    return [
        desk.ticket(
            f"RITM{n:07d}",
            variables={"user": desk.ana, "product": f"product-{n}"},
            opened_at=MONDAY - timedelta(days=3),
            closed_at=at - timedelta(seconds=chance.randrange(30, 30 + 2 * count)),
            approvers=[(desk.ben, "approved", MONDAY - timedelta(days=2))] if chance.random() < 0.3 else (),
            task={"short_description": f"task {n}"} if chance.random() < 0.3 else None,
        )
        for n in range(first, first + count)
    ]


def read(client: ServiceNow, desk: Desk, *, page_size: int = 1000, watermark: Watermark | None = None) -> list[Ticket]:
    pages = client.tickets(items=[desk.item], watermark=watermark, page_size=page_size)
    return [ticket for page in pages for ticket in page.tickets]


def by_lists(desk: Desk, numbers: list[str]) -> dict[str, Ticket]:
    client, _ = a_client(desk)
    return {ticket.number: ticket for ticket in client.tickets_by_number(numbers)}


def all_numbers(desk: Desk) -> list[str]:
    return [row["number"] for row in desk.instance.records("sc_req_item")]


def test_rows_of_forms_fill_their_pages():
    desk = Desk()
    put(desk, 60)
    client, line = a_client(desk, page=50)

    found = read(client, desk)

    forms = len(desk.instance.records(VARIABLES))
    assert [t.number for t in found] == [t.number for t in sorted(found, key=lambda t: (t.updated_at, t.sys_id))]
    assert {t.number: t for t in found} == by_lists(desk, all_numbers(desk))
    assert line.count(VARIABLES) == math.ceil(forms / 50)
    assert line.count(TASKS) == math.ceil(len(desk.instance.records(TASKS)) / 50)


def test_pages_of_tickets_are_full_too():
    desk = Desk()
    put(desk, 60)
    client, line = a_client(desk)

    assert len(read(client, desk, page_size=7)) == 60

    assert line.count("sc_req_item") <= math.ceil(60 / 7) + 2  # the one that says that there are many, and the end


def test_a_few_tickets_are_read_by_their_ids():
    desk = Desk()
    put(desk, 20)
    client, line = a_client(desk, few=20)

    assert len(read(client, desk)) == 20

    assert Counter(table for table, _ in line.asked) == dict.fromkeys(
        ("sc_req_item", VARIABLES, "sc_multi_row_question_answer", "sysapproval_approver", TASKS, "sys_user"), 1
    )
    assert line.listed(VARIABLES) == 1


def test_behind_tickets_that_are_known_only_the_forms_of_others_are_read():
    desk = Desk()
    put(desk, 40)
    client, line = a_client(desk, page=50)
    pages = list(client.tickets(items=[desk.item], page_size=1000))
    known = {ticket.number: ticket for page in pages for ticket in page.tickets}
    forms = len(desk.instance.records(VARIABLES))
    desk.world.clock.advance(timedelta(hours=1))
    put(desk, 30, first=41, at=desk.world.clock.now())
    line.asked.clear()

    copies = Known(known, desk.world.clock.now())
    again = list(client.tickets(items=[desk.item], watermark=pages[-1].watermark, page_size=1000, copies=copies))

    kept = [number for page in again for number in (t.number for t in page.tickets if t.sys_id in page.kept)]
    assert len(kept) > 20
    assert set(kept) <= set(known)
    found = [ticket for page in again for ticket in page.tickets]
    assert {t.number: t for t in found if t.number not in known} == by_lists(
        desk, [f"RITM{n:07d}" for n in range(41, 71)]
    )
    assert len(found) == len(kept) + 30
    assert line.count(VARIABLES) == math.ceil((len(desk.instance.records(VARIABLES)) - forms) / 50)


def test_tickets_that_are_named_come_first_and_once():
    desk = Desk()
    put(desk, 10)
    client, _ = a_client(desk)

    pages = list(client.tickets(items=[desk.item], page_size=1000, numbers=["RITM0000003"]))

    assert [[t.number for t in page.named] for page in pages if page.named] == [["RITM0000003"]]
    assert pages[0].named
    assert sum(len(page.tickets) for page in pages) == 10


def test_a_watermark_is_only_passed_on_and_goes_as_far_as_what_was_read():
    desk = Desk()
    put(desk, 30)
    client, _ = a_client(desk, page=10)

    pages = list(client.tickets(items=[desk.item], page_size=4))
    marks = [page.watermark for page in pages if page.watermark is not None]
    rest = read(client, desk, watermark=marks[3])

    assert marks == sorted(marks)
    done = {t.number for page in pages[:4] for t in page.tickets}
    assert done | {t.number for t in rest} == set(all_numbers(desk))


def test_a_ticket_that_moves_between_its_rows_and_itself_comes_once_and_whole():
    desk = Desk()
    ids = put(desk, 40)
    moving = iter(ids[::4])

    def move(table: str) -> None:
        desk.world.clock.advance(timedelta(seconds=1))
        if table == VARIABLES and (sys_id := next(moving, None)):
            desk.instance.truth.touch("sc_req_item", sys_id)

    client, line = a_client(desk, page=20, after=move)
    first = read(client, desk, page_size=5)
    desk.world.clock.advance(timedelta(minutes=1))
    marks = Watermark(max(t.updated_at for t in first))
    second = read(a_client(desk)[0], desk, watermark=marks)

    latest = {t.number: t for t in (*first, *second)}
    assert max(Counter((t.number, t.mod_count) for t in first).values()) == 1
    assert latest == by_lists(desk, all_numbers(desk))
    assert line.listed(VARIABLES) <= 2  # of those that came behind the others
    assert all(t.variables is not None and t.variables["product"] == f"product-{int(t.number[4:])}" for t in first)


def test_a_task_that_is_hidden_leaves_its_ticket_unread_and_no_other():
    desk = Desk()
    put(desk, 30)
    hidden = desk.instance.records(TASKS)[3]
    desk.instance.hide(TASKS, hidden["sys_id"], USER)
    client, _ = a_client(desk, page=10)

    found = {t.sys_id: t for t in read(client, desk)}

    assert [i for i, t in found.items() if t.variables is None] == [hidden["request_item"]]
    assert {t.number: t for t in found.values()} == by_lists(desk, all_numbers(desk))


def test_tasks_of_which_a_whole_page_is_hidden_are_not_missing():
    desk = Desk()
    put(desk, 60)
    for task in desk.instance.records(TASKS):
        desk.instance.hide(TASKS, task["sys_id"], USER)
    client, _ = a_client(desk, page=5)

    found = {t.sys_id: t for t in read(client, desk)}

    assert {i for i, t in found.items() if t.variables is None} == {
        task["request_item"] for task in desk.instance.records(TASKS)
    }


@pytest.mark.parametrize("few", [0, 100])
def test_where_nobody_says_how_many_there_are_a_short_page_is_not_the_end(few: int):
    desk = Desk()
    put(desk, 40)
    rows = desk.instance.records("sc_req_item")
    for row in sorted(rows, key=lambda r: (r["sys_updated_on"], r["sys_id"]))[2:12:5]:
        desk.instance.hide("sc_req_item", row["sys_id"], USER)
    client, line = a_client(desk, page=10, few=few)
    line.loses = ("X-Total-Count", "Link")

    found = read(client, desk, page_size=10)

    assert len(found) == 38
    assert {t.number: t for t in found} == by_lists(desk, all_numbers(desk))


def test_a_form_that_is_hidden_is_unread_and_asked_about_by_its_id():
    desk = Desk()
    ids = put(desk, 30)
    for row in desk.instance.records(VARIABLES, request_item=ids[4]):
        desk.instance.hide(VARIABLES, row["sys_id"], USER)
    client, line = a_client(desk, page=20)

    found = {t.sys_id: t for t in read(client, desk)}

    assert [i for i, t in found.items() if t.variables is None] == [ids[4]]
    assert {t.hidden_answers for i, t in found.items() if i != ids[4]} == {0}
    assert line.listed(VARIABLES) == 3  # its rows, how many it has, and how many those that were read around it


@pytest.mark.parametrize("table", [VARIABLES, TASKS])
def test_an_instance_that_does_not_sort_by_a_ticket_s_columns_is_read_by_lists_of_ids(table):
    """The list is empty then, without a word."""
    desk = Desk()
    put(desk, 30)
    desk.instance.access.rules.append(AclRule(table, "query_range", column="request_item", user=USER))
    client, line = a_client(desk, page=20)

    assert {t.number: t for t in read(client, desk)} == by_lists(desk, all_numbers(desk))
    assert any(asked == table and "request_itemIN" in query for asked, query in line.asked)


@pytest.mark.parametrize("fault", ["string_in_result", "200_cancel_partial", "reply_timeout", "empty_page_acl"])
def test_trouble_with_a_page_of_rows_costs_requests_and_no_row(fault):
    desk = Desk()
    put(desk, 30)
    client, _ = a_client(desk, page=40)
    desk.world.faults.add(FaultRule(fault, route=f"GET {TABLE}/{VARIABLES}", times=2))

    assert {t.number: t for t in read(client, desk)} == by_lists(desk, all_numbers(desk))


def test_rows_that_are_never_served_in_order_are_read_by_lists_of_ids():
    desk = Desk()
    put(desk, 30)

    class Refusing(Line):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            if "request_item.sys_updated_on" in request.url.params.get("sysparm_query", ""):
                return httpx.Response(400, json={"error": {"message": "no", "detail": None}}, request=request)
            return super().handle_request(request)

    line = Refusing(desk, lambda _: None)
    client, _ = a_client(desk)
    client.wire._http = make_http(line)

    assert {t.number: t for t in read(client, desk, page_size=7)} == by_lists(desk, all_numbers(desk))
    assert line.listed(VARIABLES) == math.ceil(30 / 7)


@settings(deadline=None, max_examples=12)
@given(
    st.integers(0, 2**32), st.integers(1, 60), st.integers(2, 40), st.integers(1, 40), st.floats(0, 0.5), st.booleans()
)
def test_nothing_is_missed_doubled_or_mixed_up_while_tickets_move(seed, count, page, page_size, moves, knows):
    desk, chance = Desk(), random.Random(seed)
    ids = put(desk, count, chance=chance)

    def move(_table: str) -> None:
        desk.world.clock.advance(timedelta(seconds=chance.choice((0, 0, 1, 7))))
        if chance.random() < moves:
            desk.instance.truth.touch("sc_req_item", chance.choice(ids))

    client, _ = a_client(desk, page=page, few=chance.choice((0, 5)), after=move)
    seen: list[Ticket] = []
    mark: Watermark | None = None
    for _run in range(2):
        known = (
            Known({t.number: t for t in seen}, desk.world.clock.now() + timedelta(hours=1)) if knows and _run else None
        )
        for found in client.tickets(items=[desk.item], watermark=mark, page_size=page_size, copies=known):
            seen += found.tickets
            assert mark is None or found.watermark is None or found.watermark >= mark
            mark = found.watermark or mark
        assert set(Counter((t.number, t.mod_count) for t in seen).values()) <= {1, 1 + _run}  # the overlap, once more
        desk.world.clock.advance(timedelta(minutes=1))
        moves = 0.0

    latest = {t.number: t for t in seen}
    assert latest == by_lists(desk, all_numbers(desk))
