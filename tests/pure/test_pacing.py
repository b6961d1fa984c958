"""How fast writes may leave: never more than the bucket gives, in turn, and never faster than the server says."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.pacing import USED, WRITES, Bucket, Level, Said, full, heard, read, refilled, taken
from tests.make import MONDAY

SMALL = Bucket(10, 5)  # two a second
STEPS = st.lists(st.tuples(st.floats(0, 20), st.integers(1, 20)), min_size=1, max_size=40)


def later(seconds: float):
    return MONDAY + timedelta(seconds=seconds)


def test_a_full_bucket_lets_as_many_leave_at_once_and_then_one_after_the_other():
    level, waits = full(WRITES, MONDAY), []
    for _ in range(3002):
        level, wait_s = taken(level, WRITES, 1, MONDAY)
        waits.append(wait_s)

    assert set(waits[:3000]) == {0.0}
    assert waits[3000:] == pytest.approx([0.05, 0.1])


@given(STEPS)
def test_whatever_is_asked_for_no_more_leaves_than_the_bucket_gives(steps: list[tuple[float, int]]):
    level, now, left_at = full(SMALL, MONDAY), 0.0, list[tuple[float, int]]()
    for passed_s, count in steps:
        now += passed_s
        level, wait_s = taken(level, SMALL, count, later(now))
        left_at.append((now + wait_s, count))

    assert left_at == sorted(left_at, key=lambda each: each[0])  # in turn
    # A count is promised when all of it is there, so a burst and what comes back since bound every stretch of time.
    for n, (begun, _) in enumerate(left_at):
        for ended, _ in left_at[n:]:
            went = sum(count for at, count in left_at if begun < at <= ended)
            assert went <= SMALL.size + (ended - begun) * SMALL.per_s + 1e-3


@given(STEPS, st.floats(0, 2), st.floats(0, 600))
def test_what_the_server_says_never_raises_the_level(steps: list[tuple[float, int]], used: float, wait_s: float):
    level = full(SMALL, MONDAY)
    for passed_s, count in steps:
        level, _ = taken(level, SMALL, count, level.at + timedelta(seconds=passed_s))

    after = heard(level, SMALL, Said(level.at, used, wait_s))

    assert after.left <= level.left
    _, waits_s = taken(after, SMALL, 1, after.at)
    assert waits_s >= min(wait_s, 86_400) - 1e-6


def test_a_share_that_is_used_by_others_is_not_spent_again():
    level = heard(full(WRITES, MONDAY), WRITES, Said(MONDAY, used=0.9))

    assert level.left == pytest.approx(300)


def test_a_clock_that_went_back_brings_nothing():
    level = Level(3.0, later(100))

    assert refilled(level, SMALL, later(10)).left == 3.0


@pytest.mark.parametrize("told", ["", "much", "nan", "-1", "1e9"])
def test_a_share_that_is_no_share_says_nothing(told: str):
    assert read({USED: told}, retry_after_s=None, at=MONDAY) is None


def test_an_answer_that_names_both_is_heard_for_both():
    assert read({USED: "1.2"}, retry_after_s=3.5, at=MONDAY) == Said(MONDAY, 1.2, 3.5)
