"""`reconciler obligations`: what a person has to keep on the day this software is gone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli.main import run
from tests.edges.make_contoso import after_a_first_cycle


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RECONCILER_STATE_DIR", str(tmp_path / "var"))
    monkeypatch.delenv("RECONCILER_CONFIG", raising=False)
    monkeypatch.chdir(Path(__file__).parents[2])
    return tmp_path / "var"


def owed(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert run(["obligations", "--output", "json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_before_the_first_cycle_nothing_is_owed(state, capsys):
    assert owed(capsys) == {"tenant": "contoso", "ends": [], "promises": [], "reviews": []}


def test_every_end_is_listed_soonest_first_with_what_was_given_and_who_approved(state, capsys):
    after_a_first_cycle(state)

    found = owed(capsys)

    ends = [row["ends_at"] for row in found["ends"]]
    assert ends == sorted(ends)
    (ivan,) = [row for row in found["ends"] if row["ticket"] == "RITM0010009"]
    assert (ivan["phase"], ivan["by_us"], ivan["approvers"]) == ("granted", True, ["Priya Raman"])
    assert [g["kind"] for g in ivan["given"]] == ["license"]
    assert ivan["reminds_at"] < ivan["ends_at"]
    (yusuf,) = [row for row in found["ends"] if row["ticket"] == "RITM0010027"]
    assert (yusuf["phase"], yusuf["by_us"], yusuf["given"]) == ("held", False, [])


def test_what_was_taken_back_or_never_ends_is_owed_to_nobody(state, capsys):
    after_a_first_cycle(state)

    numbers = {row["ticket"] for rows in (owed(capsys)["ends"], owed(capsys)["promises"]) for row in rows}

    assert not numbers & {"RITM0010018", "RITM0010001", "RITM0010019"}
    assert {"RITM0010008", "RITM0010012", "RITM0010010"} <= numbers


def test_people_read_it_as_sentences(state, capsys):
    after_a_first_cycle(state)

    assert run(["obligations"]) == 0

    told = capsys.readouterr().out
    assert "RITM0010009/1 ends 2026-12-02" in told
    assert "given by us: Planner and Project Plan 3; approved by Priya Raman" in told


def test_a_dry_run_says_what_cannot_be_undone_before_it_is_done(state, capsys):
    run(["reconcile", "--dry-run"])

    assert "The usage location DE stays" in capsys.readouterr().out
