"""`reconciler promotion`: from a read-only pilot to the lines that go a step further, by the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from desired_state.model import LineKey
from reconciler.cli.main import run
from reconciler.promotion.values import Axis, Outcome, Shadow
from reconciler.store import shadows
from reconciler.store.database import open_database
from tests.make import HOUR, MONDAY

ROOT = Path(__file__).parents[2]
VISIO = "visio-plan-2"
WOULD = {"do": "licence", "sku": "s", "off": [], "name": "VISIOCLIENT"}


@pytest.fixture
def pilot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site that only observes, with its file and an empty store."""
    monkeypatch.setenv("RECONCILER_STATE_DIR", str(tmp_path / "var"))
    file = tmp_path / "config.toml"
    told = (ROOT / "config.toml").read_text(encoding="utf-8")
    told = told.replace('mode = "enforce" ', 'mode = "observe" ', 1).replace(
        'answers = "full" ', 'answers = "silent" ', 1
    )
    file.write_text(told, encoding="utf-8")
    monkeypatch.setenv("RECONCILER_CONFIG", str(file))
    assert run(["db", "upgrade"]) == 0
    return file


def judged(file: Path, agreed: int, differed: int = 0, *, step: str = "observe") -> None:
    """What people made of so many lines."""
    made = [Outcome.AGREED] * agreed + [Outcome.DIFFERED] * differed
    with open_database(file.parent / "var" / "reconciler.db") as database, database.write() as session:
        for number, outcome in enumerate(made):
            key = LineKey(f"RITM{number:07}", 1)
            one = Shadow(
                key, Axis.MODE, f"{number}-{step}", VISIO, step, (WOULD,), MONDAY, user=f"u{number}", outcome=outcome,
                why="The directory came to the same state, by Tom Weber.", by="Tom Weber", acted_at=MONDAY + 2 * HOUR,
                decided_at=MONDAY + 3 * HOUR,
            )  # fmt: skip
            shadows.add(session, "contoso", one)


def said(capsys: pytest.CaptureFixture[str], *argv: str, code: int = 0) -> Any:
    capsys.readouterr()
    assert run([*argv, "--output", "json"]) == code
    return json.loads(capsys.readouterr().out)


def axis_of(found: Any, name: str = "mode", product: str = VISIO) -> Any:
    (one,) = [p for p in found["products"] if p["product"] == product]
    return next(a for a in one["axes"] if a["axis"] == name)


def test_without_evidence_every_product_says_what_is_missing(pilot, capsys):
    found = said(capsys, "promotion")

    assert len(found["products"]) > 5
    mode, answers = axis_of(found), axis_of(found, "answers")
    assert (mode["now"], mode["next"], mode["is_ready"]) == ("observe", "suggest", False)
    assert (answers["now"], answers["next"]) == ("silent", "note")
    assert mode["agreement"]["ratio"] is None
    assert mode["missing"] == ["30 more accounts with a line that people decided"]
    assert run(["promotion"]) == 0
    assert "No step is carried by the evidence yet" in capsys.readouterr().out


def test_the_lines_that_it_says_go_exactly_one_step_further(pilot, capsys):
    judged(pilot, 40)
    mode = axis_of(said(capsys, "promotion"))
    assert mode["is_ready"]
    assert mode["agreement"]["lower_bound"] > 0.9
    assert mode["config"][:2] == ["[tenants.contoso]", 'mode = "suggest"']

    assert run(["promotion", "show", VISIO]) == 0
    out = capsys.readouterr().out
    assert (
        "we would have done: assign VISIOCLIENT directly. The directory came to the same state, by Tom Weber (2 h"
        in out
    )
    assert 'mode = "suggest"' in out


def test_show_names_the_lines_that_differ_first(pilot, capsys):
    judged(pilot, 3, 2)

    found = said(capsys, "promotion", "show", VISIO)

    assert [line["outcome"] for line in found["lines"]] == ["differed"] * 2 + ["agreed"] * 3
    assert found["lines"][0]["by"] == "Tom Weber"
    assert found["lines"][0]["would"] == "assign VISIOCLIENT directly"


def test_a_product_that_is_not_offered_is_one_sentence(pilot, capsys):
    assert run(["promotion", "show", "quantum-suite"]) == 2

    assert "offers no product 'quantum-suite'" in capsys.readouterr().err


def test_what_was_judged_before_the_window_counts_no_more(pilot, capsys, monkeypatch):
    judged(pilot, 40)
    assert run(["sandbox", "advance", "90d"]) == 0

    assert axis_of(said(capsys, "promotion"))["agreement"]["decided"] == 0


def test_a_step_back_is_advised_by_promotion_and_by_doctor(pilot, capsys):
    pilot.write_text(pilot.read_text(encoding="utf-8").replace('mode = "observe" ', 'mode = "enforce" ', 1), "utf-8")
    judged(pilot, 8, 2, step="enforce")

    assert "2 of 10" in axis_of(said(capsys, "promotion"))["step_back"]
    assert run(["promotion"]) == 0
    assert "A step back is advised for visio-plan-2" in capsys.readouterr().out
    run(["doctor"])
    assert "`reconciler promotion show visio-plan-2` says which" in " ".join(capsys.readouterr().out.split())
