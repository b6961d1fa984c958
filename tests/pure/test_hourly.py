"""Requests of an hour: never more than the budget, and the last of them for what cannot wait."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from reconciler.hourly import Hour, hour_of, lot, may_use, taken
from tests.make import MONDAY

HOUR = timedelta(hours=1)


def test_a_lot_is_taken_of_the_hour_of_the_clock():
    at = MONDAY + timedelta(minutes=20)

    assert taken(hour_of(at), 2000, at=at, can_wait=True) == (Hour(MONDAY, 10), 10)
    assert Hour(MONDAY).ends_in_s(at) == 2400


def test_the_next_hour_begins_with_nothing_taken():
    assert taken(Hour(MONDAY, 2000), 2000, at=MONDAY + HOUR, can_wait=True) == (Hour(MONDAY + HOUR, 10), 10)


def test_a_clock_that_is_set_back_opens_no_hour():
    assert taken(Hour(MONDAY, 2000), 2000, at=MONDAY - 2 * HOUR, can_wait=False) == (Hour(MONDAY, 2000), 0)


def test_an_hour_that_a_clock_far_ahead_has_spent_is_over_with_ours():
    next_year = Hour(MONDAY + timedelta(days=365), 2000)

    assert taken(next_year, 2000, at=MONDAY, can_wait=False) == (Hour(MONDAY, 2000), 0)
    assert taken(Hour(MONDAY, 2000), 2000, at=MONDAY + HOUR, can_wait=False)[1] == 10


def test_the_last_tenth_is_for_what_cannot_wait():
    spent = Hour(MONDAY, 1800)

    assert taken(spent, 2000, at=MONDAY, can_wait=True) == (spent, 0)
    assert taken(spent, 2000, at=MONDAY, can_wait=False) == (Hour(MONDAY, 1810), 10)


def test_the_last_lot_is_what_is_left():
    assert taken(Hour(MONDAY, 1795), 2000, at=MONDAY, can_wait=True) == (Hour(MONDAY, 1800), 5)


@given(st.integers(1, 20_000), st.lists(st.tuples(st.booleans(), st.integers(0, 60)), max_size=300))
def test_no_hour_gets_more_than_the_budget(budget, asked):
    hour, at, of_hour = Hour(MONDAY), MONDAY, 0
    for can_wait, minutes in asked:
        at += timedelta(minutes=minutes)
        before = hour
        hour, granted = taken(hour, budget, at=at, can_wait=can_wait)
        of_hour = granted if hour.began_at > before.began_at else of_hour + granted
        assert 0 <= granted <= lot(budget)
        assert of_hour <= may_use(budget, can_wait=False) == budget
        assert not (can_wait and granted) or hour.taken <= may_use(budget, can_wait=True)
