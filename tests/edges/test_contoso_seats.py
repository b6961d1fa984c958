"""Contoso's stories of too few seats, through the shipped loop: the tenant, the tickets and the log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from reconciler.cli.main import run
from reconciler.store import journal, seats
from tests.simulation.make_day import TENANT, Day, a_day, a_played_day

VISIO, POWER_BI = "VISIOONLINE_PLAN1", "POWER_BI_PRO"
ONE, TEAM = "RITM0010008", "RITM0010032"


@pytest.fixture
def day(tmp_path: Path) -> Iterator[Day]:
    with a_day(tmp_path) as found:
        yield found


@pytest.fixture
def played(tmp_path: Path) -> Iterator[Day]:
    """A day after its first cycle."""
    with a_played_day(tmp_path) as found:
        yield found


def told(day: Day) -> dict[str, tuple[str, str]]:
    """Phase and sentence by line."""
    return {str(e.state.key): (e.state.phase.value, e.state.note) for e in day.reports[-1].endings}


def moves(day: Day, key: str) -> list[tuple[str, str]]:
    with day.app.database.read() as session:
        rows = journal.rows_for(session, TENANT, key)
    return [(str(r.body["from"]), str(r.body["to"])) for r in rows if r.kind == "line_moved"]


def kept(day: Day) -> dict[str, Any]:
    with day.app.database.read() as session:
        return {book.part_number: book for book in seats.load(session, TENANT).values()}


def holds(day: Day, name: str, part_number: str) -> bool:
    sku = day.world.directory.sku(part_number)
    return any(held == sku for held, _, _ in day.licences(f"{name}@contoso.example"))


def test_a_closed_ticket_without_a_seat_waits_in_the_queue_and_is_served_when_one_frees(played: Day) -> None:
    day = played
    phase, note = told(day)[f"{ONE}/1"]
    assert phase == "waiting_for_seat"
    assert note == (
        "No licence of Visio Plan 1 is free. All 3 are in use. Place 1 of 1 in the queue since 2026-11-02. "
        "When one comes free is not known."
    )
    assert not holds(day, "henrik.olsen", VISIO)
    (told_once,) = day.notes(ONE)
    assert "Place 1 of 1 in the queue" in told_once

    day.wait(19 * 24 * 60)
    day.cycle()
    assert told(day)[f"{ONE}/1"] == (phase, note)
    assert day.notes(ONE) == [told_once]

    day.wait(25 * 60)
    day.cycle()
    assert told(day)[f"{ONE}/1"][0] == "granted"
    assert holds(day, "henrik.olsen", VISIO)
    assert "granted" in day.notes(ONE)[-1]
    assert moves(day, f"{ONE}/1") == [
        ("None", "waiting_for_seat"),
        ("waiting_for_seat", "converging"),
        ("converging", "granted"),
    ]


def test_three_people_and_two_seats_are_one_answer_and_the_third_is_served_when_one_is_bought(played: Day) -> None:
    day = played
    assert [told(day)[f"{TEAM}/{n}"][0] for n in (1, 2, 3)] == ["granted", "granted", "waiting_for_seat"]
    assert [holds(day, n, POWER_BI) for n in ("dora.meier", "emil.koch", "fiona.byrne")] == [True, True, False]
    (note,) = day.notes(TEAM)
    for name in ("dora.meier", "emil.koch", "fiona.byrne"):
        assert name in note
    assert "Place 1 of 1" in note
    assert all(task["active"] == "true" for task in day.tasks(TEAM))

    at = day.world.clock.now() + timedelta(hours=1)
    day.world.at(at, {"kind": "buy_seats", "part_number": POWER_BI, "seats": 1})
    day.wait(90)
    day.cycle()

    assert told(day)[f"{TEAM}/3"][0] == "granted"
    assert holds(day, "fiona.byrne", POWER_BI)
    assert len(day.notes(TEAM)) == 2
    assert [task["active"] for task in day.tasks(TEAM)] == ["false"]


def test_a_queue_in_which_nothing_happens_writes_nothing_and_looks_for_idle_seats_once(day: Day) -> None:
    looks: list[str] = []

    def watch(request: httpx.Request) -> None:
        wanted = str(request.url.params.get("$filter"))
        if wanted.startswith("accountEnabled eq"):
            looks.append(wanted)

    day.watch.meddle = watch
    day.cycle()
    assert {VISIO, POWER_BI} <= {n for n in (VISIO, POWER_BI) if any(day.world.directory.sku(n) in w for w in looks)}
    before = [moves(day, f"{ONE}/1"), moves(day, f"{TEAM}/3"), day.notes(TEAM), day.notes(ONE)]

    for hours in (1, 30, 60):
        day.wait(hours * 60)
        day.cycle()

    assert [moves(day, f"{ONE}/1"), moves(day, f"{TEAM}/3"), day.notes(TEAM), day.notes(ONE)] == before
    assert len(looks) == len(set(looks))


def test_a_seat_in_the_hands_of_a_disabled_account_is_proposed_and_never_taken(day: Day) -> None:
    holder = _holder(day, VISIO, of_engineering=True)
    holder.enabled = False

    day.cycle()

    _, note = told(day)[f"{ONE}/1"]
    assert f"for a person to decide: {holder.upn} (the account is disabled)" in note
    assert holds(day, holder.upn.partition("@")[0], VISIO)
    assert [i.upn for i in kept(day)[VISIO].idle] == [holder.upn]


def test_an_idle_seat_of_another_cost_centre_is_not_proposed_to_who_waits(day: Day) -> None:
    holder = _holder(day, VISIO, of_engineering=False)
    holder.enabled = False

    day.cycle()

    assert holder.upn not in told(day)[f"{ONE}/1"][1]
    assert [i.upn for i in kept(day)[VISIO].idle] == [holder.upn]


def _holder(day: Day, part_number: str, *, of_engineering: bool) -> Any:
    sku = day.world.directory.sku(part_number)
    holders = [u for u in day.world.directory.store.users.values() if any(a.sku_id == sku for a in u.assignments)]
    return next(u for u in holders if (u.department == "Engineering") is of_engineering)


def test_status_shows_the_seats_the_queue_and_what_was_used_today(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RECONCILER_STATE_DIR", str(tmp_path / "var"))
    monkeypatch.chdir(Path(__file__).parents[2])
    run(["reconcile", "--output", "json"])
    capsys.readouterr()

    run(["status", "--output", "json"])
    found = json.loads(capsys.readouterr().out)
    run(["status"])
    table = capsys.readouterr().out

    visio = next(s for s in found["seats"] if s["part_number"] == VISIO)
    assert {k: visio[k] for k in ("owned", "consumed", "grace", "free", "waiting")} == {
        "owned": 3,
        "consumed": 3,
        "grace": 0,
        "free": 0,
        "waiting": 1,
    }
    assert [(p["line"], p["place"], p["likely_on"]) for p in visio["queue"]] == [(f"{ONE}/1", 1, None)]
    assert found["budgets"]["grants"]["used"] > 0
    assert f"1. {ONE}/1 since 2026-11-02, nothing known" in table
