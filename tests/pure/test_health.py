"""What is wrong is said when it begins and when it is over, and never in between."""

from __future__ import annotations

from datetime import timedelta

import pytest

from reconciler import health as words
from reconciler.health import STALLED_AFTER_S, Health
from tests.make import MONDAY
from tests.make_logs import into

HOUR = timedelta(hours=1)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def health(said) -> Health:
    return Health(into(said), lambda: 0.0)


def test_a_system_that_is_down_for_a_day_is_two_lines(health, said):
    for hour in range(24):
        health.bad(words.GRAPH, "it failed", MONDAY + hour * HOUR, why=f"try {hour}", next_in_s=15)
    health.good(words.GRAPH, MONDAY + 24 * HOUR)
    health.good(words.GRAPH, MONDAY + 25 * HOUR)

    assert said == [
        "it failed condition=graph why=try 0 next_in_s=15",
        "Microsoft Graph answers again condition=graph after=24 h",
    ]


def test_a_condition_keeps_its_beginning_and_its_newest_words(health):
    health.bad(words.STORE, "not started yet", MONDAY, why="it is locked")
    health.bad(words.STORE, "it cannot be read", MONDAY + HOUR, why="it is full")

    (found,) = health.pulse().conditions
    assert (found.since, found.message, found.why) == (MONDAY, "it cannot be read", "it is full")


def test_every_condition_can_end_in_words(health, said):
    for name in words.CONDITIONS:
        health.bad(name, name, MONDAY)
        health.good(name, MONDAY + HOUR)

    assert len(said) == 2 * len(words.CONDITIONS)
    assert health.pulse().conditions == ()


def test_what_cycles_report_again_and_again_is_said_once_until_it_is_gone(health, said):
    for problems in (("a", "b"), ("a", "b"), ("b",), ("a", "b")):
        health.note(problems, MONDAY)

    assert said == [f"a person should know sentence={sentence}" for sentence in ("a", "b", "a")]


def test_a_loop_that_shows_no_sign_of_life_is_not_alive():
    now = [0.0]
    health = Health(into([]), lambda: now[0])

    now[0] = STALLED_AFTER_S - 1
    assert health.pulse().is_alive
    now[0] += 2
    assert not health.pulse().is_alive
    health.beat()
    assert health.pulse().is_alive


def test_failures_are_counted_in_a_row(health):
    health.failed()
    assert health.failed() == 2
    health.succeeded(MONDAY)

    pulse = health.pulse()
    assert (pulse.cycles, pulse.failures, pulse.last_success_at) == (1, 0, MONDAY)


def test_an_unknown_system_is_a_defect_and_the_known_ones_have_names():
    assert words.condition_of("ServiceNow sign-in") == words.SIGN_IN
    assert words.condition_of("something else") == words.DEFECT
