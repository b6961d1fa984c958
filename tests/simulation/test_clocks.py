"""Our clock against those of both systems: a jump ahead ends nothing early, and one system alone proves nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from reconciler.approvals.values import State
from reconciler.clock import Clock
from reconciler.doctor import Health, examine
from reconciler.errors import UserError
from reconciler.loop.observe import Scope
from reconciler.once import once
from reconciler.store import approvals, journal, switches
from tests.simulation.make_day import TENANT, Day, a_day

E5, MISSING = "RITM0010012", "RITM0010001"
WEEK = timedelta(days=7)


class Off(Clock):
    """The world's clock as a machine shows it whose own may be wrong: what passes, passes for it as well."""

    def __init__(self, true: Clock) -> None:
        self.true, self.by = true, timedelta(0)

    def now(self) -> datetime:
        return self.true.now() + self.by

    def monotonic(self) -> float:
        return self.true.monotonic()

    def sleep(self, seconds: float) -> None:
        self.true.sleep(seconds)


@pytest.fixture
def day(tmp_path: Path) -> Iterator[Day]:
    with a_day(tmp_path) as opened:
        wrong = Off(opened.world.clock)
        opened.app = replace(opened.app, systems=replace(opened.app.systems, clock=wrong))
        yield opened


def jump(day: Day, by: timedelta) -> None:
    assert isinstance(day.app.clock, Off)
    day.app.clock.by = by


def look(day: Day, number: str):
    return once(day.app, Scope(frozenset({number})))


def tripped(day: Day) -> list[bool]:
    with day.app.database.read() as session:
        rows = [r for r in journal.export(session, TENANT) if r["kind"] == "guard.tripped"]
    return [r["body"]["open"] for r in rows if r["subject"] == "clock"]


def test_a_clock_that_jumped_ahead_ends_no_freeze_and_no_request(day):
    look(day, E5)
    with day.app.database.write() as session:
        now = day.world.clock.now()
        until = now + timedelta(days=1)
        switches.freeze(session, TENANT, "audit", reason="The auditors are here.", by="ada", at=now, until_at=until)
    jump(day, WEEK)

    for _ in range(2):
        with pytest.raises(
            UserError, match=r"10080 minutes fast by graph and .* by servicenow, and both agree"
        ) as said:
            look(day, MISSING)
        assert said.value.exit_code == 4
    with pytest.raises(UserError, match="both agree"):
        look(day, E5)

    assert day.watch.writes == []
    with day.app.database.read() as session:
        (asked,) = approvals.pending(session, TENANT)
    assert asked.state is State.PENDING
    assert tripped(day) == [True]
    clock = next(f for f in examine(day.app) if f.name == "clock")
    assert (clock.health, "-604800 s" in clock.sentence) == (Health.FAULT, True)


def test_once_the_clock_is_right_again_work_goes_on(day):
    jump(day, timedelta(hours=2))
    with pytest.raises(UserError):
        look(day, MISSING)
    jump(day, timedelta(0))

    look(day, MISSING)

    assert any("assignLicense" in w for w in day.watch.writes)
    assert tripped(day) == [True, False]
    clock = next(f for f in examine(day.app) if f.name == "clock")
    assert (clock.health, "graph +0 s, servicenow +0 s" in clock.sentence) == (Health.WELL, True)


def test_a_clock_that_jumps_while_a_cycle_runs_lets_no_write_out(day):
    done = False

    def meddle(request) -> None:
        nonlocal done
        if not done and b"userPurpose" in request.content:  # read for the guards, once the lines are judged
            done = True
            jump(day, timedelta(hours=2))

    day.watch.meddle = meddle

    report = look(day, MISSING)

    assert done
    assert day.watch.writes == []
    assert "clock" in {t.guard for t in report.trips}
    assert report.exit_code == 4


@pytest.mark.parametrize("system", ["graph", "servicenow"])
def test_one_system_alone_is_a_warning(day, system):
    day.world.switches.graph_date_skew_s = -7200.0 if system == "graph" else 0.0
    day.world.instance.switches.date_skew_s = -7200.0 if system == "servicenow" else 0.0

    report = look(day, MISSING)

    assert any("assignLicense" in w for w in day.watch.writes)
    assert f"120 minutes fast by {system}, and no other" in report.warnings[0]
    assert tripped(day) == []


def test_systems_that_do_not_say_when_they_answered_prove_nothing(day):
    day.world.switches.graph_date_skew_s = day.world.instance.switches.date_skew_s = None

    report = look(day, MISSING)

    assert any("assignLicense" in w for w in day.watch.writes)
    assert report.warnings == ()
