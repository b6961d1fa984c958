"""A pass that remembers the one before it finds what a pass that remembers nothing finds, and decodes less."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from desired_state.model import UserId, Want
from reconciler.clients.graph import UserPage
from reconciler.clients.graph.scan import left_of_page, scan_page
from reconciler.errors import Unavailable
from reconciler.loop.sweep import Desired, Hint, Scan, SweepResult, sweep, sweep_again
from reconciler.observed import Listing, Memory
from tests.make import E3, MONDAY, SWAY, VISIO
from tests.pure.test_sweep import SKU_PLANS, a_want, accounts, held, shown, wants

JSON = dict[str, Any]
GUIDS = [UserId(f"{n:08x}-0000-4000-8000-00000000000a") for n in range(60)]
PAGE = 20


def body_of(rows: Sequence[JSON], *, tail: str = "") -> bytes:
    context = {"@odata.context": "users", "@odata.nextLink": "https://graph.microsoft.com/v1.0/users?$skiptoken=a"}
    value = ",".join(json.dumps(row, separators=(",", ":")) for row in rows)
    return (json.dumps(context)[:-1] + f',"value":[{value}]{tail}}}').encode()


def listed(pages: Sequence[Sequence[JSON]], decoded: list[str] | None = None, *, cut_at: int = 99) -> Scan:
    """A scan of these pages as they are on the wire. `decoded` gets the ids that were decoded."""

    def scan(begin: Callable[[], Listing]) -> Iterator[UserPage]:
        listing = begin()
        for n, rows in enumerate(pages):
            if n >= cut_at:
                raise Unavailable("Microsoft Graph", "status 503")
            page = left_of_page(body_of(rows), listing)
            if decoded is not None:
                decoded.extend(row.id for row in page.value)
            yield UserPage(page.value, MONDAY, is_last=n == len(pages) - 1, draft=page.draft)

    return scan


def plainly(pages: Sequence[Sequence[JSON]], asked: Sequence[Want], *, cut_at: int = 99) -> SweepResult:
    def read() -> Iterator[UserPage]:
        for n, rows in enumerate(pages):
            if n >= cut_at:
                raise Unavailable("Microsoft Graph", "status 503")
            yield UserPage(scan_page(body_of(rows)).value, MONDAY, is_last=n == len(pages) - 1)

    return sweep(read(), Desired.compile(asked, SKU_PLANS))


def same(found: SweepResult, plain: SweepResult) -> None:
    assert (found.looks, found.rows, found.unknown) == (plain.looks, plain.rows, plain.unknown)
    assert (found.licences, found.is_complete) == (plain.licences, plain.is_complete)


def paged(rows: Sequence[JSON], size: int = PAGE) -> list[list[JSON]]:
    return [list(rows[at : at + size]) for at in range(0, len(rows), size)]


@pytest.fixture
def people() -> list[JSON]:
    return [shown(user, held()) for user in GUIDS]


def everyone(users: Sequence[UserId] = GUIDS) -> list[Want]:
    return [a_want(user) for user in users]


# --- what is read again -------------------------------------------------------------------------------------------


def test_a_second_pass_decodes_the_last_row_of_each_page_and_nobody_else(people):
    memory, desired, decoded = Memory(), Desired.compile(everyone(), SKU_PLANS), list[str]()
    first = sweep_again(listed(paged(people)), desired, memory)
    second = sweep_again(listed(paged(people), decoded), desired, memory)

    assert decoded == [GUIDS[19], GUIDS[39], GUIDS[59]]
    assert (second.looks, second.rows, second.licences) == ({}, 60, {VISIO: 60})
    assert (first.changed, second.changed, second.gone, second.written) == (None, set(), set(), 0)
    same(second, plainly(paged(people), everyone()))


def test_who_changed_came_or_went_is_named_and_as_many_rows_are_written(people):
    memory, desired = Memory(), Desired.compile(everyone(), SKU_PLANS)
    sweep_again(listed(paged(people)), desired, memory)
    people[7] = shown(GUIDS[7])
    people[33]["usageLocation"] = "FR"
    result = sweep_again(listed(paged(people)), desired, memory)

    assert result.changed == {GUIDS[7], GUIDS[33]}
    assert result.written == 2
    assert result.looks == {GUIDS[7]: Hint.MISSING}
    assert sweep_again(listed(paged(people)), desired, memory).looks == {GUIDS[7]: Hint.MISSING}  # as long as it is so


def test_who_is_not_shown_any_more_is_gone_and_those_behind_them_are_not_decoded(people):
    memory, desired, decoded = Memory(), Desired.compile(everyone(), SKU_PLANS), list[str]()
    sweep_again(listed(paged(people)), desired, memory)
    left = [*people[:3], *people[4:]]
    result = sweep_again(listed(paged(left), decoded), desired, memory)

    assert (result.changed, result.gone, result.looks) == (set(), {GUIDS[3]}, {GUIDS[3]: Hint.NOT_SEEN})
    assert len(decoded) == 3  # the last of each page
    back = sweep_again(listed(paged(people)), desired, memory)
    assert (back.changed, back.gone, back.looks) == ({GUIDS[3]}, set(), {})


def test_somebody_whose_desired_state_changed_is_compared_though_their_row_did_not(people):
    memory, before = Memory(), Desired.compile(everyone(GUIDS[1:]), SKU_PLANS)
    sweep_again(listed(paged(people)), before, memory)
    asked = [*everyone(), a_want(GUIDS[2], E3, SWAY)]
    desired = Desired.compile(asked, SKU_PLANS, like=before)
    assert desired.follows is None  # nobody asked for that product before, so everything is read anew
    same(sweep_again(listed(paged(people)), desired, memory), plainly(paged(people), asked))

    people[0]["accountEnabled"] = False
    fewer = Desired.compile(everyone(GUIDS[2:]), SKU_PLANS, like=desired)
    sweep_again(listed(paged(people)), fewer, memory)
    decoded = list[str]()
    again = Desired.compile(everyone(), SKU_PLANS, like=fewer)
    assert again.follows is fewer.mark
    result = sweep_again(listed(paged(people), decoded), again, memory)
    assert result.looks == {GUIDS[0]: Hint.ACCOUNT_OFF}
    assert set(decoded) == {GUIDS[0], GUIDS[1], GUIDS[19], GUIDS[39], GUIDS[59]}


def test_a_listing_that_was_cut_leaves_what_it_did_not_come_to(people):
    memory, desired, decoded = Memory(), Desired.compile(everyone(), SKU_PLANS), list[str]()
    sweep_again(listed(paged(people)), desired, memory)
    cut = sweep_again(listed(paged(people), cut_at=1), desired, memory)
    result = sweep_again(listed(paged(people), decoded), desired, memory)

    assert (cut.is_complete, cut.gone) == (False, None)
    assert len(decoded) == 3
    assert (result.looks, result.changed) == ({}, set())


def test_a_pass_that_never_began_leaves_no_row_for_known_that_is_to_be_compared_anew(people):
    memory, before = Memory(), Desired.compile(everyone(GUIDS[1:]), SKU_PLANS)
    people[0] = shown(GUIDS[0])
    sweep_again(listed(paged(people)), before, memory)
    desired = Desired.compile(everyone(), SKU_PLANS, like=before)

    def down(begin: Callable[[], Listing]) -> Iterator[UserPage]:
        raise Unavailable("Microsoft Graph", "status 503")
        yield

    sweep_again(down, desired, memory)
    assert sweep_again(listed(paged(people)), desired, memory).looks == {GUIDS[0]: Hint.MISSING}


# --- pages that are not as expected ---------------------------------------------------------------------------------


def test_rows_that_do_not_begin_with_their_id_are_read_whole_each_time(people):
    turned = [dict(reversed(row.items())) for row in people]
    memory, desired, decoded = Memory(), Desired.compile(everyone(), SKU_PLANS), list[str]()
    sweep_again(listed(paged(turned)), desired, memory)
    result = sweep_again(listed(paged(turned), decoded), desired, memory)

    assert len(decoded) == 60
    same(result, plainly(paged(turned), everyone()))


def test_an_object_inside_a_row_that_begins_like_one_costs_time_and_nothing_else(people):
    rows = [{"id": row["id"], "manager": {"id": GUIDS[5]}, **row} for row in people]
    memory, desired = Memory(), Desired.compile(everyone(), SKU_PLANS)
    sweep_again(listed(paged(rows)), desired, memory)
    rows[4]["accountEnabled"] = False
    same(sweep_again(listed(paged(rows)), desired, memory), plainly(paged(rows), everyone()))


def test_ids_that_are_no_guids_are_read_each_time(people):
    people[2]["id"] = "somebody-somebody-somebody-somebody1"
    memory, desired = Memory(), Desired.compile(everyone(), SKU_PLANS)
    sweep_again(listed(paged(people)), desired, memory)
    same(sweep_again(listed(paged(people)), desired, memory), plainly(paged(people), everyone()))


def test_an_error_inside_a_page_is_seen_though_no_row_of_it_is_decoded():
    rows = [shown(user, held()) for user in GUIDS[:20]]
    listing = Memory().begin(None, is_same=True, stale=(), fresh=())()
    broken = body_of(rows, tail=',"error":{"code":"UnknownError"}')

    assert b"UnknownError" in bytes(left_of_page(broken, listing).error)


def test_a_tenant_of_a_thousand_users_takes_little_more_than_thirty_bytes_a_user():
    rows = [shown(f"{n:08x}-0000-4000-8000-00000000000b", held()) for n in range(999)]
    memory = Memory()
    sweep_again(listed([rows]), Desired.compile(everyone(), SKU_PLANS), memory)

    (page,) = memory.pages
    columns = (page.prints, page.holdings, page.wanted)
    assert len(page.ids) + sum(column.itemsize * len(column) for column in columns) == 30 * 999


# --- against a pass that remembers nothing ------------------------------------------------------------------------


def changes(rng: random.Random, rows: list[JSON], drawn: Sequence[JSON]) -> list[JSON]:
    """The rows of the next listing: some otherwise, some gone, some new, now and then in another order."""
    rows = [rng.choice(drawn) if rng.random() < 0.2 else row for row in rows]
    rows = [row for row in rows if rng.random() > 0.1]
    for _ in range(rng.randint(0, 2)):
        rows.insert(rng.randint(0, len(rows)), rng.choice(drawn))
    if rng.random() < 0.2:
        rng.shuffle(rows)
    return rows


@given(
    st.lists(accounts(), min_size=1, max_size=8),
    st.lists(st.lists(wants(), max_size=6), min_size=4, max_size=4),
    st.randoms(use_true_random=False),
    st.integers(1, 5),
)
def test_each_of_a_row_of_passes_finds_what_a_pass_without_memory_finds(
    drawn: list[JSON], asked: list[list[Want]], rng: random.Random, size: int
) -> None:
    memory, rows, desired, kept = Memory(), list(drawn), None, asked[0]
    for n in range(6):
        if rng.random() < 0.5:
            kept = asked[n % 4]
        desired = Desired.compile(kept, SKU_PLANS, like=desired)
        pages, cut_at = paged(rows, size), rng.choice([0, 1, 99, 99])
        same(sweep_again(listed(pages, cut_at=cut_at), desired, memory), plainly(pages, kept, cut_at=cut_at))
        rows = changes(rng, rows, drawn) or rows
