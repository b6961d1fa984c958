"""What a client can see of rows of forms that are hidden from it, over the instance of the sandbox."""

from __future__ import annotations

from collections import Counter

import httpx
import pytest

from desired_state.model import Ticket
from tests.make_desk_client import Line, a_client
from tests.make_instance import USER, Desk, error

MTOM, OPTION, CELL, STATS = "sc_item_option_mtom", "sc_item_option", "sc_multi_row_question_answer", "/api/now/stats/"


def put(desk: Desk, count: int) -> list[str]:
    people = [{"person": desk.ana, "sku": "E3"}, {"person": desk.ben, "sku": "E5"}]
    return [desk.open_ticket(f"RITM{n:07d}", rows=people) for n in range(1, count + 1)]


def read(desk: Desk, **more: int) -> tuple[dict[str, Ticket], Line]:
    client, line = a_client(desk, **more)
    pages = list(client.tickets(items=[desk.item], page_size=200))
    return {t.sys_id: t for page in pages for t in page.tickets}, line


def hide(desk: Desk, table: str, n: int, **values: str) -> None:
    for row in desk.instance.records(table, **values)[:n]:
        desk.instance.hide(table, row["sys_id"], USER)


@pytest.mark.parametrize("few", [0, 1000], ids=["in order", "by lists"])
def test_rows_that_are_counted_and_not_shown_are_hidden_of_their_ticket_and_no_other(few: int):
    desk = Desk()
    ids = put(desk, 30)
    hide(desk, MTOM, 2, request_item=ids[4])
    hide(desk, CELL, 3, parent_id=ids[7])

    found, line = read(desk, few=few)

    assert {i: t.hidden_answers for i, t in found.items() if t.hidden_answers} == {ids[4]: 2}
    assert {i: t.hidden_cells for i, t in found.items() if t.hidden_cells} == {ids[7]: 3}
    assert all(t.variables is not None for t in found.values())
    assert Counter(asked for asked, _ in line.asked if asked.startswith(STATS)) == {
        f"{STATS}{MTOM}": 1,
        f"{STATS}{CELL}": 1,
    }


def test_where_nobody_groups_counts_the_tickets_are_found_by_halves():
    desk = Desk()
    ids = put(desk, 64)
    hide(desk, MTOM, 1, request_item=ids[40])

    served = desk.service

    def without_stats(request: httpx.Request) -> httpx.Response:
        is_closed = request.url.path.startswith(STATS)
        return httpx.Response(403, json=error("User Not Authorized", None)) if is_closed else served(request)

    desk.service = without_stats
    found, line = read(desk)

    assert {i: t.hidden_answers for i, t in found.items() if t.hidden_answers} == {ids[40]: 1}
    asked = sum(table == MTOM for table, _ in line.asked)
    assert asked <= 3 + 1 + 2 * 6  # the pages of the rows, how many there are, and two halves six times


def test_nothing_is_counted_where_everything_is_shown():
    desk = Desk()
    put(desk, 30)

    _, line = read(desk)

    assert not [asked for asked, _ in line.asked if asked.startswith(STATS)]


def test_a_row_whose_answer_is_hidden_is_a_hidden_one_also_where_nothing_is_counted():
    desk = Desk()
    desk.instance.switches.counts_hidden_rows = False
    ids = put(desk, 3)
    named = next(r for r in desk.instance.records(MTOM, request_item=ids[1]) if is_named(desk, r, "product"))
    desk.instance.hide(OPTION, named["sc_item_option"], USER)

    found, _ = read(desk)

    assert {i: t.hidden_answers for i, t in found.items() if t.hidden_answers} == {ids[1]: 1}


def is_named(desk: Desk, tie: dict[str, str], name: str) -> bool:
    option = desk.truth(tie["sc_item_option"], OPTION)
    return desk.truth(option["item_option_new"], "item_option_new")["name"] == name


def test_where_hidden_rows_are_not_counted_the_list_says_nothing_of_them():
    desk = Desk()
    desk.instance.switches.counts_hidden_rows = False
    ids = put(desk, 3)
    hide(desk, MTOM, 1, request_item=ids[0])
    hide(desk, CELL, 1, parent_id=ids[0])

    found, _ = read(desk)

    assert {(t.hidden_answers, t.hidden_cells) for t in found.values()} == {(0, 0)}


def test_the_catalogue_says_what_a_form_asks_and_what_has_to_be_answered():
    desk = Desk()
    client, _ = a_client(desk)

    assert client.questions(desk.item) == {"user": False, "product": True, "licences": False}
    assert client.questions("0" * 32) is None
