"""`reconciler drift`: what only a person may decide, listed and answered from the terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli.main import run
from tests.edges.make_contoso import after_a_first_cycle

LOST, EXPIRED = "RITM0010017", "RITM0010027"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RECONCILER_STATE_DIR", str(tmp_path / "var"))
    monkeypatch.delenv("RECONCILER_CONFIG", raising=False)
    monkeypatch.chdir(Path(__file__).parents[2])
    after_a_first_cycle(tmp_path / "var")
    return tmp_path / "var"


def said(capsys: pytest.CaptureFixture[str], *argv: str, code: int = 0) -> Any:
    assert run([*argv, "--output", "json"]) == code
    return json.loads(capsys.readouterr().out)


def line_of(capsys: pytest.CaptureFixture[str], number: str) -> dict[str, Any]:
    run(["reconcile", "--ticket", number, "--output", "json"])
    found = json.loads(capsys.readouterr().out)
    return next(t for t in found["tickets"] if t["number"] == number)


def test_an_expired_licence_that_was_not_given_by_us_is_taken_back_after_it_was_adopted(state, capsys):
    listed = said(capsys, "drift", "list")["questions"]
    assert [(q["line"], sorted(q["choices"])) for q in listed] == [
        (f"{LOST}/1", ["adopt", "leave", "revert"]),
        (f"{EXPIRED}/1", ["adopt", "leave"]),
    ]

    done = said(
        capsys, "drift", "decide", EXPIRED, "--adopt", "--by", "Nina Schulz", "--reason", "the contract is over"
    )
    assert (done["state"], done["decision"]["by"], done["decision"]["word"]) == ("decided", "Nina Schulz", "adopt")
    found = line_of(capsys, EXPIRED)

    assert (found["phase"], [(a["kind"], a["result"]) for a in found["actions"]]) == (
        "revoked",
        [("remove_license", "applied")],
    )
    assert [q["line"] for q in said(capsys, "drift", "list")["questions"]] == [f"{LOST}/1"]
    assert run(["explain", EXPIRED]) == 0
    out = capsys.readouterr().out
    assert "Nina Schulz decided: adopt" in out and "the contract is over" in out
    assert run(["audit", "verify"]) == 0


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["decide", EXPIRED, "--revert", "--reason", "r"], "--revert is no answer"),
        (["decide", EXPIRED, "--reason", "r"], "say one of"),
        (["decide", "RITM0010001", "--adopt", "--reason", "r"], "nothing is asked about RITM0010001"),
        (["decide", EXPIRED, "--adopt", "--reason", " "], "--reason TEXT says why"),
        (["decide", EXPIRED, "--adopt", "--reason", "r", "--digest", "00000000"], "is now about"),
    ],
)
def test_what_is_no_answer_is_refused_in_one_sentence_and_changes_nothing(state, capsys, argv, sentence):
    assert run(["drift", *argv]) in (1, 2)

    assert sentence in capsys.readouterr().err
    assert all(q["decision"] is None for q in said(capsys, "drift", "list")["questions"])


def test_why_not_names_the_command_that_decides(state, capsys):
    assert run(["why-not", LOST]) == 3

    assert f"reconciler drift decide {LOST}/1" in capsys.readouterr().out
