"""The requests of an hour, kept in the store: whoever asks an instance spends of the same ones."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from reconciler.clock import ManualClock
from reconciler.config import load
from reconciler.errors import Spent, Throttled
from reconciler.store import directories, quota, requests, swaps
from reconciler.wiring import open_app
from reconciler.wiring.spending import Spending
from tests.make import MONDAY
from tests.make_desk_client import a_client
from tests.make_instance import MONDAY as DESK_MONDAY
from tests.make_instance import Desk

HOST = "contoso.service-now.com"


def spend(one: Spending, operation: str = "tickets", *, is_write: bool = False) -> int:
    """How many requests of a kind there are."""
    count = 0
    while one.wait_s(operation, is_write=is_write) == 0.0:
        count += 1
    return count


def test_two_processes_spend_of_one_budget_and_answers_keep_their_part(database):
    clock = ManualClock(MONDAY + timedelta(minutes=15))
    first, second = (Spending(database, HOST, 1000, clock) for _ in range(2))

    assert [first.wait_s("tickets", is_write=False) for _ in range(300)] == [0.0] * 300
    assert spend(second) == 600
    assert second.wait_s("people", is_write=False) == 45 * 60
    assert spend(second, "note", is_write=True) + spend(first, "has_note") == 100
    assert first.remaining_ratio() == 0.0


def test_what_was_counted_outlives_the_process_and_ends_with_the_hour(database):
    clock = ManualClock(MONDAY)
    spend(Spending(database, HOST, 1000, clock))

    assert spend(Spending(database, HOST, 1000, clock)) == 0
    clock.advance(hours=1)
    assert spend(Spending(database, HOST, 1000, clock)) == 900


def test_another_instance_has_a_budget_of_its_own(database):
    clock = ManualClock(MONDAY)
    spend(Spending(database, HOST, 1000, clock))

    assert spend(Spending(database, "fabrikam.service-now.com", 1000, clock)) == 900


def test_counting_costs_few_writes(database):
    one = Spending(database, HOST, 10_000, ManualClock(MONDAY))
    versions = set()
    for _ in range(500):
        one.wait_s("tickets", is_write=False)
        versions.add(one._hour)

    assert len(versions) == 10


def test_what_one_cycle_has_taken_and_not_sent_is_sent_by_the_next(tmp_path):
    shipped = (Path(__file__).parents[2] / "config.toml").read_text("utf-8")
    config = tmp_path / "config.toml"
    config.write_text(shipped.replace("requests_per_hour = 0 ", "requests_per_hour = 10_000 "), "utf-8")

    with open_app(load(config, {"RECONCILER_STATE_DIR": str(tmp_path / "var")}), "contoso") as app:
        for _ in range(40):  # each cycle has clients of its own
            replace(app, progress=app.progress).servicenow.tickets_by_number(["RITM9999999"])
        host = urlsplit(app.systems.servicenow_base).netloc
        with app.database.write() as session:
            hour, granted = requests.take(session, host, 10_000, at=app.clock.now(), can_wait=False)

    assert hour.taken - granted == 50


def test_what_the_directory_said_of_the_last_write_of_a_cycle_holds_for_the_first_one_of_the_next(tmp_path):
    with open_app(load(None, {"RECONCILER_STATE_DIR": str(tmp_path / "var")}), "contoso") as app:
        replace(app, progress=app.progress).pacer.heard({}, retry_after_s=60.0)

        with app.database.write() as session:
            assert replace(app, progress=app.progress).pacer.take(session, 1) == pytest.approx(60.0, abs=0.1)


def test_another_name_of_a_directory_counts_from_the_next_cycle_on(tmp_path):
    settings = load(None, {"RECONCILER_STATE_DIR": str(tmp_path / "var")})
    with open_app(settings, "contoso") as app, app.database.write() as session:
        directories.note(session, "contoso", "d", app.clock.now())
        replace(app, progress=app.progress).pacer.take(session, 1)
        directories.note(session, "a-name", "d", app.clock.now())
        replace(app, progress=app.progress).pacer.take(session, 1)

        assert swaps.kept(session, "a-name", quota.FACT) is not None


def test_an_answer_does_not_open_the_last_tenth_to_reading(database):
    one = Spending(database, HOST, 1000, ManualClock(MONDAY))
    spend(one)
    assert one.wait_s("note", is_write=True) == 0.0

    assert one.wait_s("tickets", is_write=False) > 0


def test_a_read_beyond_the_budget_is_not_sent_and_says_until_when(database):
    desk = Desk()
    desk.ticket()
    client, line = a_client(desk)
    one = Spending(database, HOST, 10, ManualClock(DESK_MONDAY + timedelta(minutes=50)))
    client.wire._spend = one.wait_s

    with pytest.raises(Spent, match="spent: the next ones leave in 10 minutes") as caught:
        for _ in range(20):
            list(client.tickets(items=[desk.item]))

    assert isinstance(caught.value, Throttled)
    assert caught.value.retry_after_s == 600
    assert len(line.asked) == 9
