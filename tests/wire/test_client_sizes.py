"""Pages that are as large as the instance serves: smaller when one does not get through, slowly larger again."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.clients.servicenow.sizes import BYTES_MAX, GROW_AFTER, SMALLEST, Size, Sizes
from reconciler.clients.servicenow.tables import Tables
from reconciler.clients.wire import Patience
from reconciler.errors import Forbidden, RemoteError, Unavailable
from tests.wire.make_replies import INSTANCE, SERVICENOW_DIALECT, Remote, a_wire, failure, listed, reply

CANCELLED = failure("Transaction cancelled: maximum execution time exceeded")
LATE = httpx.ReadTimeout("no answer came in time")


def some_tables(remote: Remote, largest: int = 1000, **more: object) -> Tables:
    return Tables(a_wire(remote, base_url=INSTANCE, dialect=SERVICENOW_DIALECT, **more), Sizes(largest))


def limits(remote: Remote) -> list[str]:
    return [asked["sysparm_limit"] for asked in remote.queries()]


def page(tables: Tables, limit: int | None = None):
    return tables.page("sc_task", "active=true", ("number",), limit=limit, operation="tasks")


@pytest.mark.parametrize(
    "trouble",
    [
        LATE,
        httpx.DecodingError("the reply is larger than 33554432 bytes"),
        reply(500, CANCELLED),
        reply(200, {"result": [], **CANCELLED}),
        reply(200, {"result": [""]}),
        reply(504, "<html>Gateway timeout</html>"),
        reply(408),
        reply(413, failure("Payload too large")),
    ],
    ids=["late", "endless", "cancelled", "cancelled in the stream", "cut", "gateway", "408", "413"],
)
def test_a_page_that_does_not_get_through_is_asked_for_in_half_and_remembered(trouble):
    remote = Remote(trouble, listed())
    tables = some_tables(remote)

    page(tables)
    page(tables)

    assert limits(remote) == ["1000", "500", "500"]
    assert tables.sizes.of("sc_task") == 500
    assert tables.sizes.of("sys_user") == 1000


def test_a_page_that_is_smaller_than_what_is_dared_says_nothing_about_larger_ones():
    remote = Remote(listed())
    tables = some_tables(remote)

    for _ in range(GROW_AFTER):
        page(tables, limit=5)

    assert set(limits(remote)) == {"5"}
    assert tables.sizes.of("sc_task") == 1000


def test_an_instance_that_serves_nothing_is_asked_a_bounded_number_of_times():
    remote = Remote(LATE)

    with pytest.raises(Unavailable):
        page(some_tables(remote, patience=Patience(attempts=2)))

    assert limits(remote) == ["1000", "500", "250", "125", "125"]


@pytest.mark.parametrize("trouble", [reply(403, failure("no")), reply(503, failure("x"))])
def test_trouble_that_fewer_rows_do_not_mend_leaves_the_size_alone(trouble):
    remote = Remote(trouble)
    tables = some_tables(remote, patience=Patience(attempts=2))

    with pytest.raises((Forbidden, Unavailable)):
        page(tables)

    assert set(limits(remote)) == {"1000"}
    assert tables.sizes.of("sc_task") == 1000


def test_one_record_is_asked_for_again_as_it_was():
    remote = Remote(LATE, reply(504, "<html>"), reply(200, {"result": {"sys_id": "0" * 32}}))

    some_tables(remote).one("sc_task", "0" * 32, (), operation="task")

    assert len(remote.seen) == 3


def test_a_size_grows_back_slowly_and_never_beyond_what_is_configured():
    size, seen = Size(10), []
    for _ in range(40 * GROW_AFTER):
        size = size.after(body_bytes=1000, largest=1000)
        seen.append(size.rows)

    assert seen[GROW_AFTER - 2] == 10
    assert seen[GROW_AFTER - 1] == 12
    assert seen[-1] == 1000
    assert seen == sorted(seen)


def test_a_reply_near_the_limit_of_a_response_makes_the_next_one_smaller():
    assert Size(1000).after(body_bytes=2 * BYTES_MAX, largest=1000) == Size(500)
    assert Size(1000).after(body_bytes=BYTES_MAX, largest=1000) == Size(1000)


@given(st.lists(st.sampled_from(["late", "served", "huge"]), max_size=200), st.integers(SMALLEST, 10_000))
def test_a_size_stays_between_the_smallest_and_the_configured_one(events, largest):
    sizes = Sizes(largest)
    for event in events:
        if event == "late":
            sizes.less("t", sizes.of("t"))
        else:
            sizes.served("t", 10 * BYTES_MAX if event == "huge" else 10)
        assert SMALLEST <= sizes.of("t") <= largest


def test_a_page_size_below_the_smallest_stays_as_configured():
    remote = Remote(LATE, listed())
    with pytest.raises(RemoteError):
        page(some_tables(Remote(LATE), largest=3, patience=Patience(attempts=1)))
    page(some_tables(remote, largest=3))

    assert limits(remote) == ["3", "3"]
