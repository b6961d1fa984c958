"""What the service does when: intervals on its stopwatch, instants on the clock, and a growing wait after trouble."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from reconciler.daemon.timetable import RETRY_BASE_S, SPREAD, Duty, Timetable, stepped
from tests.make import MONDAY

HOUR = 3600.0
EVERY = {Duty.FULL: 6 * HOUR, Duty.QUICK: 300.0, Duty.PULL: 60.0, Duty.NOTICES: 15.0, Duty.CHECKPOINT: 900.0}


def at(seconds: float):
    return MONDAY + timedelta(seconds=seconds)


def after_a_start(now: float = 0.0) -> Timetable:
    """A timetable whose first full scan and notices are done."""
    table = Timetable.starting(EVERY, now)
    for duty in (Duty.FULL, Duty.NOTICES, Duty.CHECKPOINT):
        table = table.done(duty, now, 0.5)
    return table


def test_a_start_looks_at_everything_whoever_did_so_a_moment_ago():
    table = Timetable.starting(EVERY, 100.0)

    assert table.due(100.0, MONDAY) is Duty.FULL
    assert not table.is_for_its_time(Duty.FULL, 100.0)


def test_a_start_may_wait_so_that_its_counters_are_seen_before_its_first_cycle():
    table = Timetable.starting(EVERY, 100.0, first_after_s=60.0).called()

    assert table.due(100.0, at(0)) is Duty.NOTICES  # what is owed to people asks no system to be read
    table = table.done(Duty.NOTICES, 100.0, 0.5).done(Duty.CHECKPOINT, 100.0, 0.5)
    assert table.due(112.0, at(12)) is None
    assert table.due(160.0, at(60)) is Duty.FULL


def test_a_full_scan_is_a_cycle_and_a_cycle_is_a_pull():
    table = after_a_start()

    assert table.due(0.0, MONDAY) is None
    assert table.due(61.0, at(61)) is Duty.PULL
    table = table.done(Duty.QUICK, 61.0, 0.5)
    assert table.due(119.0, at(119)) is Duty.NOTICES


def test_a_cycle_goes_before_what_is_told():
    table = after_a_start()

    assert table.due(301.0, at(301)) is Duty.QUICK


@given(st.floats(0, 1, exclude_max=True), st.sampled_from(list(Duty)))
def test_an_interval_is_never_off_by_more_than_a_tenth(chance, duty):
    table = Timetable.starting(EVERY, 0.0).done(duty, 0.0, chance)

    assert EVERY[duty] * (1 - SPREAD) <= table.next_s[duty] <= EVERY[duty] * (1 + SPREAD)


def test_what_somebody_says_is_only_a_reason_to_look():
    table = after_a_start().asked()

    assert table.due(1.0, at(1)) is Duty.PULL
    assert table.done(Duty.PULL, 1.0, 0.5).due(1.0, at(1)) is None


def test_an_end_date_calls_for_a_cycle_at_its_instant():
    table = after_a_start().alarmed(at(50), 0.0)

    assert table.due(49.0, at(49)) is Duty.NOTICES
    assert table.due(50.0, at(50)) is Duty.QUICK
    assert not table.is_for_its_time(Duty.QUICK, 50.0)


def test_many_instants_in_a_row_are_one_cycle():
    table = after_a_start().alarmed(at(1), 0.0)

    assert table.due(1.0, at(1)) is None
    assert table.due(10.0, at(10)) is Duty.QUICK


def test_trouble_closes_the_door_for_longer_and_longer_and_at_most_for_an_interval():
    table, now, waits = after_a_start(), 0.0, []
    for _ in range(10):
        table = table.called().failed(Duty.QUICK, now, 0.5)
        waits.append(table.closed_until_s - now)
        now = table.closed_until_s

    assert waits == sorted(waits)
    assert waits[0] < RETRY_BASE_S
    assert max(waits) <= EVERY[Duty.QUICK]
    assert table.due(now - 1, at(now)) in (Duty.NOTICES, Duty.CHECKPOINT)
    assert table.due(now, at(now)) is Duty.QUICK
    assert table.done(Duty.QUICK, now, 0.5).failed(Duty.QUICK, now, 0.5).closed_until_s - now < RETRY_BASE_S


@given(st.lists(st.sampled_from(["call", "ask", "alarm", "wait"]), max_size=30))
def test_whoever_asked_for_an_hour_is_not_asked_within_it_whatever_happens(events):
    table, now = after_a_start().failed(Duty.QUICK, 0.0, 0.3, retry_after_s=HOUR), 0.0
    for event in events:
        match event:
            case "call":
                table = table.called()
            case "ask":
                table = table.asked()
            case "alarm":
                table = table.alarmed(at(now), now)
            case _:
                now = min(now + 600, HOUR - 1)

        assert table.due(now, at(now)) not in (Duty.FULL, Duty.QUICK, Duty.PULL)
    assert table.called().due(HOUR + 20, at(HOUR + 20)) is Duty.QUICK


def test_what_called_for_a_cycle_still_does_when_it_failed():
    table = after_a_start().called().failed(Duty.QUICK, 0.0, 0.5)

    assert table.due(20.0, at(20)) is Duty.QUICK


def test_people_are_told_while_no_system_may_be_asked():
    table = after_a_start().failed(Duty.QUICK, 0.0, 0.5, retry_after_s=HOUR)

    assert table.due(20.0, at(20)) is Duty.NOTICES


def test_what_another_service_does_is_looked_for_later():
    table = after_a_start().put_off(Duty.QUICK, 300.0, 120.0)

    assert table.due(400.0, at(400)) is Duty.NOTICES
    assert table.due(421.0, at(421)) is Duty.QUICK


def test_shorter_intervals_hold_from_now_on():
    table = after_a_start().paced({**EVERY, Duty.QUICK: 30.0}, 10.0)

    assert table.due(40.0, at(40)) is Duty.QUICK


def test_no_interval_depends_on_the_clock():
    table = after_a_start()

    assert table.due(301.0, at(-86_400)) is table.due(301.0, at(86_400)) is Duty.QUICK


def test_a_clock_that_was_set_is_noticed_and_one_that_drifts_is_not():
    assert stepped(at(0), at(60), 0.0, 60.0) is None
    assert stepped(at(0), at(90), 0.0, 60.0) is None
    assert stepped(at(0), at(3660), 0.0, 60.0) == timedelta(hours=1)
    assert stepped(at(0), at(-3540), 0.0, 60.0) == timedelta(hours=-1)
