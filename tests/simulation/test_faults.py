"""Bad days, one a seed: nothing unsafe at any moment, and once the weather clears the same end as on a good day.

`make endure` plays 24 of them, `EVERY_SEED=200` as many days more.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import httpx
import pytest

from reconciler.sandbox.faults import FaultRule
from tests.simulation.make_day import Day, a_day
from tests.simulation.make_weather import Before, clear_up, final, unsafe, weather

pytestmark = pytest.mark.long

WAITS_IN_BAD_WEATHER = (1, 2, 5, 15, 3, 40)  # minutes after each cycle
# A new hire's account appears on the way; what was given hours late on a bad day fails hours late.
WAITS_AFTERWARDS = (5, 30, 70, 130, 20 * 60, 60, 600, 60, 600)
SEEDS = tuple(range(4))
SEEDS += tuple(range(4, 24)) if "EVERY_SEED" in os.environ else ()
SEEDS += tuple(range(1000, 1000 + int(os.environ.get("EVERY_SEED", "0"))))


def play(day: Day, waits: tuple[int, ...], before: Before) -> None:
    for minutes in waits:
        day.cycle()
        assert unsafe(day, before) == [], (minutes, day.troubles)
        day.wait(minutes)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    with a_day(tmp_path_factory.mktemp("undisturbed")) as day:
        play(day, WAITS_IN_BAD_WEATHER + WAITS_AFTERWARDS, Before.of(day))
        assert day.troubles == []
        return final(day)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_bad_day_is_never_unsafe_and_ends_where_a_good_one_does(seed: int, undisturbed: Any, tmp_path: Path) -> None:
    with a_day(tmp_path) as day:
        before, told = Before.of(day), weather(day, seed)
        play(day, WAITS_IN_BAD_WEATHER, before)
        clear_up(day)
        play(day, WAITS_AFTERWARDS, before)

        assert final(day) == undisturbed, told


def test_the_weather_is_bad_enough_to_be_felt(tmp_path: Path) -> None:
    felt = 0
    for seed in SEEDS[:4]:
        state = tmp_path / str(seed)
        state.mkdir()
        with a_day(state) as day:
            weather(day, seed)
            day.cycle()
            felt += bool(day.troubles or day.reports[-1].problems or day.reports[-1].requests["servicenow"] > 40)
    assert felt >= 2


def test_a_good_day_repeated_sends_nothing_more(undisturbed: Any, tmp_path: Path) -> None:
    with a_day(tmp_path) as day:
        play(day, WAITS_IN_BAD_WEATHER + WAITS_AFTERWARDS, Before.of(day))
        sent = len(day.watch.writes)

        report = day.cycle()

        assert len(day.watch.writes) == sent
        assert report is not None
        assert report.writes == {"graph": 0, "servicenow": 0}


@pytest.mark.parametrize("fault", ["reply_lost", "done_then_500"])
@pytest.mark.parametrize("route", ["PATCH /users", "PATCH /api/now/table", "POST /api/now/table"])
def test_a_write_whose_reply_never_came_is_done_once(fault: str, route: str, undisturbed: Any, tmp_path: Path) -> None:
    with a_day(tmp_path) as day:
        before = Before.of(day)
        day.world.faults.add(FaultRule(fault, route=route, times=3))
        play(day, WAITS_IN_BAD_WEATHER + WAITS_AFTERWARDS, before)

        assert final(day) == undisturbed


@pytest.mark.parametrize("seats", ["PROJECTPROFESSIONAL", "MCOEV"])
def test_a_reply_that_is_lost_at_the_last_seat_spends_one_seat(seats: str, tmp_path: Path) -> None:
    with a_day(tmp_path) as day:
        sku = day.world.directory.sku(seats)
        owned = day.world.directory.store.skus[sku]
        owned.enabled -= day.world.directory.seats_free(seats) - 1
        day.world.faults.add(FaultRule("reply_lost", route="POST /users", times=2))
        for minutes in WAITS_IN_BAD_WEATHER:
            day.cycle()
            assert day.world.directory.store.seats_free(sku) >= 0
            day.wait(minutes)

        assert day.world.directory.store.seats_free(sku) == 0


def test_a_system_that_is_down_all_day_changes_nothing(tmp_path: Path) -> None:
    for system in ("GET /users", "GET /subscribedSkus", "GET /api/now/table/sc_req_item"):
        state = tmp_path / system.rpartition("/")[2]
        state.mkdir()
        with a_day(state) as day:
            before = Before.of(day)
            day.world.faults.add(FaultRule("unavailable", route=system))
            for minutes in WAITS_IN_BAD_WEATHER:
                day.cycle()
                day.wait(minutes)

            assert unsafe(day, before) == []
            assert [w for w in day.watch.writes if "/users/" in w] == []


def strike(day: Day, number: str, fault: str, nth: int) -> None:
    """Let a fault befall the nth write to a ticket, a task under it included, and no other request."""
    ticket, seen = day.ticket(number)["sys_id"], 0

    def meddle(request: httpx.Request) -> None:
        nonlocal seen
        day.world.faults.clear()
        about = request.url.path.endswith(ticket) or ticket.encode() in request.content
        if request.method in ("PATCH", "POST") and about and not request.url.path.endswith("/batch"):
            seen += 1
            if seen == nth:
                day.world.faults.add(FaultRule(fault, times=1))

    day.watch.meddle = meddle


@pytest.mark.parametrize(
    ("fault", "nth"),
    [*(("403_but_done", n) for n in (1, 2, 3, 4)), *(("200_not_applied", n) for n in (1, 2, 4))],
)
def test_a_ticket_gets_each_answer_once_whatever_befell_one_of_them(fault: str, nth: int, tmp_path: Path) -> None:
    with a_day(tmp_path) as day:
        strike(day, "RITM0010011", fault, nth)
        for _ in range(4):
            day.cycle()
            day.wait(5)

        assert len(day.notes("RITM0010011")) == 1
        assert len(day.tasks("RITM0010011")) == 1
        assert day.ticket("RITM0010011")["active"] == "true"


def test_a_reopening_whose_mark_was_not_kept_makes_no_new_work(tmp_path: Path) -> None:
    with a_day(tmp_path) as day:
        strike(day, "RITM0010011", "200_not_applied", 3)
        for _ in range(4):
            day.cycle()
            day.wait(5)

        found, said = day.notes("RITM0010011")
        assert "NO access" in found
        assert "could not be opened again" in said
        assert len(day.tasks("RITM0010011")) == 1
