"""The write quota of a directory is one, for all names, processes and workers that write to it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from reconciler.loop.pacer import Pacer
from reconciler.loop.send import Stopped, Told, Write
from reconciler.model import Reply
from reconciler.pacing import Bucket
from reconciler.store import directories, quota
from tests.make import MONDAY
from tests.make_store import TENANT
from tests.store.test_guarding import Point, a_write

SMALL = Bucket(10, 5)  # two a second


def take(database, name: str, count: int, *, after_s: float = 0.0) -> float:
    with database.write() as session:
        return quota.take(session, name, count, bucket=SMALL, at=MONDAY + timedelta(seconds=after_s))


def test_a_process_that_starts_again_goes_on_from_the_level_that_was_kept(database):
    assert take(database, TENANT, 10) == 0.0

    assert take(database, TENANT, 2) == pytest.approx(1.0)
    assert take(database, TENANT, 2, after_s=2) == 0.0


def test_two_names_of_one_directory_share_what_it_takes(database):
    with database.write() as session:
        for name in ("contoso", "contoso-new"):
            directories.note(session, name, "d", MONDAY)
        directories.note(session, "fabrikam", "f", MONDAY)
        assert [quota.whose(session, n) for n in ("contoso", "contoso-new", "fabrikam")] == [
            "contoso",
            "contoso",
            "fabrikam",
        ]


def test_who_asks_for_much_is_not_overtaken_by_those_who_ask_for_little(database):
    take(database, TENANT, 10)

    waits = [take(database, TENANT, count) for count in (8, 1, 1)]

    assert waits == pytest.approx([4.0, 4.5, 5.0])


def test_a_rehearsal_of_a_transaction_that_is_not_kept_takes_nothing(database):
    with pytest.raises(RuntimeError), database.write() as session:
        quota.take(session, TENANT, 10, bucket=SMALL, at=MONDAY)
        raise RuntimeError

    assert take(database, TENANT, 10) == 0.0


def accepted(writes: Sequence[Write]) -> Sequence[Told]:
    return [Reply("r", "c") for _ in writes]


def paced(database) -> tuple[Point, Pacer]:
    point = Point(database, users=40)
    pacer = Pacer(TENANT, point.clock, SMALL)
    point.sender.pace = pacer
    return point, pacer


def test_writes_wait_for_the_quota_before_they_are_announced(database):
    point, _ = paced(database)
    announced: list[tuple[float, int]] = []

    for user in point.people[:14]:
        point.sender.send_together([a_write(user)], accepted)
        announced.append((point.clock.monotonic(), point.announced))

    assert announced[9] == (0.0, 10)
    assert announced[10:] == [(pytest.approx(0.5 * n), 10 + n) for n in range(1, 5)]


def test_members_of_one_request_are_one_write_of_the_quota_and_items_of_a_batch_are_each(database):
    point, _ = paced(database)

    point.sender.send_together([a_write(user) for user in point.people[:20]], accepted, is_one=True)
    assert point.clock.monotonic() == 0.0
    point.sender.send_together([a_write(user) for user in point.people[20:]], accepted)

    assert point.clock.monotonic() == pytest.approx(5.5)


def test_what_was_sent_again_within_a_call_is_taken_with_the_next_write(database):
    point, pacer = paced(database)

    def refused_in_parts(writes: Sequence[Write]) -> Sequence[Told]:
        for _ in range(12):
            pacer.heard({}, retry_after_s=None)
        return accepted(writes)

    point.sender.send_together([a_write(user) for user in point.people[:20]], refused_in_parts, is_one=True)
    point.sender.send_together([a_write(point.people[0])], accepted)

    assert point.clock.monotonic() == pytest.approx(1.5)  # 1, then 11 more and 1: three above ten


def test_a_server_that_says_wait_is_left_alone_for_as_long(database):
    point, pacer = paced(database)

    def throttled(writes: Sequence[Write]) -> Sequence[Told]:
        pacer.heard({}, retry_after_s=7.0)
        return accepted(writes)

    point.sender.send_together([a_write(point.people[0])], throttled)
    point.sender.send_together([a_write(point.people[1])], accepted)

    assert point.clock.monotonic() == pytest.approx(7.0)


def test_a_server_that_wants_more_time_than_a_look_keeps_ends_the_cycle_and_nothing_is_announced(database):
    point, pacer = paced(database)

    def throttled(writes: Sequence[Write]) -> Sequence[Told]:
        pacer.heard({}, retry_after_s=7200.0)
        return accepted(writes)

    point.sender.send_together([a_write(point.people[0])], throttled)
    (told,) = point.sender.send_together([a_write(point.people[1])], accepted)

    assert isinstance(told, Stopped)
    assert "the next cycle goes on" in str(told)
    assert told.trip is None
    assert (point.announced, point.clock.monotonic()) == (1, 0.0)
    for _ in range(9):  # other cycles ask again meanwhile, and use nothing up by it
        point.sender.send_together([a_write(point.people[1])], accepted)
    point.clock.advance(seconds=7200.0)
    (told,) = point.sender.send_together([a_write(point.people[1])], accepted)
    assert isinstance(told, Reply)
    assert point.clock.monotonic() == 7200.0
