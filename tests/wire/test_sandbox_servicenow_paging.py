"""Pages, counts and links of the sandbox's lists, and what paging by key or by offset makes of a live table."""

from __future__ import annotations

import random
import re
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.sandbox.servicenow.stamps import stamp
from tests.make_instance import BASE, MONDAY, RAW, TABLE, Desk

ORDERED = "ORDERBYsys_updated_on^ORDERBYsys_id"


def put_items(desk: Desk, minutes: list[int]) -> list[str]:
    """Items updated that many minutes before Monday; returns their sys_ids."""
    return [
        desk.open_ticket(f"RITM{n:07d}", opened_at=MONDAY - timedelta(minutes=age)) for n, age in enumerate(minutes, 1)
    ]


def links(answer: Any) -> dict[str, str]:
    """The Link header as relation -> URL."""
    return {rel: url for url, rel in re.findall(r'<([^>]*)>;rel="([a-z]+)"', answer.headers.get("link", ""))}


def test_links_are_absolute_and_lead_through_every_page() -> None:
    desk = Desk()
    ids = put_items(desk, list(range(5)))
    url = f"{BASE}{TABLE}/sc_req_item"
    params = {"sysparm_limit": "2", "sysparm_query": "ORDERBYsys_id", "sysparm_fields": "sys_id"}

    first = desk.get(f"{TABLE}/sc_req_item", params)

    query = "sysparm_limit=2&sysparm_query=ORDERBYsys_id&sysparm_fields=sys_id&sysparm_offset="
    assert first.headers["x-total-count"] == "5"
    assert first.headers["link"] == (
        f'<{url}?{query}0>;rel="first",<{url}?{query}2>;rel="next",<{url}?{query}4>;rel="last"'
    )
    middle = desk.get(links(first)["next"])
    assert {rel: link.rpartition("=")[2] for rel, link in links(middle).items()} == {
        "first": "0",
        "prev": "0",
        "next": "4",
        "last": "4",
    }
    last = desk.get(links(middle)["next"])
    assert "next" not in links(last)
    read = [row["sys_id"] for page in (first, middle, last) for row in page.json()["result"]]
    assert read == sorted(ids)


def test_a_list_that_fits_one_page_has_no_link() -> None:
    desk = Desk()
    put_items(desk, [1, 2])

    answer = desk.get(f"{TABLE}/sc_req_item")

    assert "link" not in answer.headers
    assert answer.headers["x-total-count"] == "2"


def test_headers_of_paging_can_be_left_out() -> None:
    desk = Desk()
    put_items(desk, [1, 2, 3])

    no_link = desk.get(f"{TABLE}/sc_req_item", {"sysparm_limit": 1, "sysparm_suppress_pagination_header": "true"})
    no_count = desk.get(f"{TABLE}/sc_req_item", {"sysparm_limit": 1, "sysparm_no_count": "true"})

    assert ("link" in no_link.headers, no_link.headers["x-total-count"]) == (False, "3")
    assert ("x-total-count" in no_count.headers, set(links(no_count))) == (False, {"first", "next"})


def test_the_first_page_may_carry_a_prev_that_leads_nowhere() -> None:
    desk = Desk()
    put_items(desk, [1, 2, 3])
    desk.instance.switches.first_page_prev = True

    answer = desk.get(f"{TABLE}/sc_req_item", {"sysparm_limit": 1})

    assert links(answer)["prev"].endswith("sysparm_offset=-1")
    assert desk.get(links(answer)["prev"]).status_code == 400


def test_limits_count_before_rights_so_a_page_can_be_empty_while_more_follow() -> None:
    desk = Desk()
    ids = sorted(put_items(desk, [1, 2, 3, 4]))
    for sys_id in ids[:2]:
        desk.instance.add_acl("sc_req_item", "read", row=sys_id)
    params = {**RAW, "sysparm_limit": "2", "sysparm_query": "ORDERBYsys_id"}

    first = desk.get(f"{TABLE}/sc_req_item", params)
    second = desk.get(links(first)["next"])

    assert (first.json()["result"], first.headers["x-total-count"]) == ([], "4")
    assert [row["sys_id"] for row in second.json()["result"]] == ids[2:]


def test_without_a_unique_order_pages_repeat_and_lose_rows() -> None:
    desk = Desk()
    put_items(desk, [5] * 30)

    def read(query: str) -> list[str]:
        pages = [desk.rows("sc_req_item", query, sysparm_limit="5", sysparm_offset=str(n)) for n in range(0, 30, 5)]
        return [row["number"] for page in pages for row in page]

    assert len(set(read(""))) < 30
    assert len(set(read("ORDERBYsys_updated_on"))) < 30
    assert len(set(read(ORDERED))) == 30


def test_offsets_lose_a_row_that_moves_up_while_it_is_touched() -> None:
    desk = Desk()
    put_items(desk, [30, 20, 10, 5])
    params = {"sysparm_limit": "2"}

    with desk.failing("row_moves_while_paging", times=1):
        first = desk.rows("sc_req_item", ORDERED, **params)
    second = desk.rows("sc_req_item", ORDERED, sysparm_offset="2", **params)

    read = [row["number"] for row in [*first, *second]]
    assert read == ["RITM0000001", "RITM0000002", "RITM0000004", "RITM0000001"]  # the third was never read


def by_key(desk: Desk, *, limit: int, filters: str = "") -> list[str]:
    """Read every row by key as servicenow.md section 4 has it; the numbers in the order in which they came."""
    read: list[str] = []
    key: tuple[str, str] | None = None
    while True:
        query = filters
        if key is not None:
            query += f"^sys_updated_on>={key[0]}^sys_updated_on>{key[0]}^ORsys_id>{key[1]}"
        params = {**RAW, "sysparm_query": f"{query}^{ORDERED}", "sysparm_limit": str(limit)}
        answer = desk.get(f"{TABLE}/sc_req_item", params)
        while not answer.json()["result"] and "next" in links(answer):  # rights emptied the page: the key cannot move
            answer = desk.get(links(answer)["next"])
        rows = answer.json()["result"]
        if not rows:
            return read
        read += [row["number"] for row in rows]
        key = (rows[-1]["sys_updated_on"], rows[-1]["sys_id"])


@settings(deadline=None, max_examples=30)
@given(
    ages=st.lists(st.integers(0, 4), max_size=14),
    hidden=st.sets(st.integers(0, 13)),
    closed=st.sets(st.integers(0, 13)),
    limit=st.integers(1, 5),
)
def test_paging_by_key_reads_each_readable_row_exactly_once(
    ages: list[int], hidden: set[int], closed: set[int], limit: int
) -> None:
    desk = Desk()
    ids = put_items(desk, ages)
    for n, sys_id in enumerate(ids):
        if n in hidden:
            desk.instance.add_acl("sc_req_item", "read", row=sys_id)
        if n in closed:
            at = MONDAY - timedelta(minutes=ages[n])
            desk.instance.truth.update("sc_req_item", sys_id, {"state": "3"}, by="ben", at=at)
    readable = {desk.truth(sys_id)["number"] for n, sys_id in enumerate(ids) if n not in hidden and n not in closed}

    read = by_key(desk, limit=limit, filters="active=true")

    assert sorted(read) == sorted(readable)


@settings(deadline=None, max_examples=20)
@given(ages=st.lists(st.integers(0, 90), min_size=1, max_size=20), seed=st.integers(0, 9))
def test_a_key_read_from_a_second_on_finds_what_was_touched_since(ages: list[int], seed: int) -> None:
    desk = Desk()
    ids = put_items(desk, ages)
    since = stamp(desk.world.clock.now())
    desk.world.clock.advance(timedelta(seconds=random.Random(seed).randrange(3)))
    touched = random.Random(seed).sample(ids, len(ids) // 2)
    for sys_id in touched:
        desk.instance.truth.touch("sc_req_item", sys_id)

    read = by_key(desk, limit=3, filters=f"sys_updated_on>={since}")

    fresh = {desk.truth(sys_id)["number"] for n, sys_id in enumerate(ids) if sys_id in touched or ages[n] == 0}
    assert sorted(read) == sorted(fresh)


def test_the_end_of_a_large_table_is_found_without_reading_its_beginning() -> None:
    desk = Desk()
    put_items(desk, [n % 700 for n in range(2000)])
    table = desk.instance.truth.store.table("sc_req_item")

    read = by_key(desk, limit=500)
    last = desk.rows("sc_req_item", ORDERED, sysparm_limit="10", sysparm_offset="1990")

    assert len(read) == 2000
    assert max(len(table.since("sys_updated_on", row["sys_updated_on"])) for row in last) < 60
