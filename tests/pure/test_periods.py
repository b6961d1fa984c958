"""When a grant ends: durations, dates, weekends, time zones, and when the ticket is reminded."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from desired_state.model import Period
from desired_state.periods import ends_at, reminds_at, zone_of

MONDAY = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
DAY = timedelta(days=1)
BERLIN, AUCKLAND = ZoneInfo("Europe/Berlin"), ZoneInfo("Pacific/Auckland")


def test_a_duration_runs_from_the_verified_grant_to_the_second():
    assert ends_at(Period(duration_days=30), MONDAY, BERLIN) == MONDAY + 30 * DAY


def test_a_duration_that_was_not_granted_yet_has_no_end():
    assert ends_at(Period(duration_days=30), None, BERLIN) is None


def test_what_is_open_has_no_end():
    assert ends_at(Period(), MONDAY, BERLIN) is None


def test_a_date_ends_with_that_day_where_the_person_lives():
    wednesday = date(2026, 11, 4)

    assert ends_at(Period(ends_on=wednesday), None, BERLIN) == datetime(2026, 11, 4, 22, 59, 59, tzinfo=UTC)
    assert ends_at(Period(ends_on=wednesday), None, AUCKLAND) == datetime(2026, 11, 4, 10, 59, 59, tzinfo=UTC)


@pytest.mark.parametrize("day", [date(2026, 11, 7), date(2026, 11, 8)])
def test_a_date_on_a_weekend_moves_to_the_end_of_monday(day):
    assert ends_at(Period(ends_on=day), None, UTC) == datetime(2026, 11, 9, 23, 59, 59, tzinfo=UTC)


def test_a_duration_that_ends_on_a_weekend_moves_to_the_end_of_monday():
    assert ends_at(Period(duration_days=5), MONDAY, UTC) == datetime(2026, 11, 9, 23, 59, 59, tzinfo=UTC)


def test_it_is_the_persons_weekend_that_counts():
    friday_noon_in_london = datetime(2026, 11, 6, 12, 0, tzinfo=UTC)  # Saturday in Auckland

    assert ends_at(Period(duration_days=7), friday_noon_in_london - 7 * DAY, UTC) == friday_noon_in_london
    moved = ends_at(Period(duration_days=7), friday_noon_in_london - 7 * DAY, AUCKLAND)
    assert moved == datetime(2026, 11, 9, 10, 59, 59, tzinfo=UTC)


def test_of_a_date_and_a_duration_the_earlier_counts():
    both = Period(ends_on=date(2026, 11, 25), duration_days=7)

    assert ends_at(both, MONDAY, UTC) == MONDAY + 7 * DAY
    assert ends_at(both, None, UTC) == datetime(2026, 11, 25, 23, 59, 59, tzinfo=UTC)


@given(
    st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),
    st.integers(1, 800),
    st.sampled_from([UTC, BERLIN, AUCKLAND]),
)
def test_no_end_is_on_a_weekend_and_none_comes_early(granted, days, zone):
    end = ends_at(Period(duration_days=days), granted, zone)

    assert end is not None
    assert end.astimezone(zone).weekday() < 5
    assert timedelta(0) <= end - (granted + days * DAY) < timedelta(days=3, hours=2)


def test_the_ticket_is_reminded_a_while_before_the_end_and_never_in_the_first_half_of_a_short_grant():
    week = 7 * 86400.0

    assert reminds_at(MONDAY + 30 * DAY, MONDAY, week) == MONDAY + 23 * DAY
    assert reminds_at(MONDAY + 4 * DAY, MONDAY, week) == MONDAY + 2 * DAY
    assert reminds_at(MONDAY + 30 * DAY, None, week) == MONDAY + 23 * DAY


@pytest.mark.parametrize("name", [None, "", "  ", "Nowhere/Land", "Europe", "../../etc/passwd", "a" * 300])
def test_a_time_zone_that_nobody_knows_is_the_tenants(name):
    assert zone_of(name, BERLIN) is BERLIN


def test_a_known_time_zone_is_the_persons_own():
    assert zone_of("US/Pacific", BERLIN) == ZoneInfo("US/Pacific")
