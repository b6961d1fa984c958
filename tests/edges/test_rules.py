"""Rules from the command line and in the shipped tenant: examples, samples, decisions judged again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from desired_state.rules import KINDS, Rules
from reconciler.cli.main import run
from reconciler.config import load
from reconciler.sandbox.state import SandboxState
from reconciler.store import journal, rulings
from reconciler.store.database import open_database

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples" / "rules.toml"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RECONCILER_STATE_DIR", str(tmp_path / "var"))
    monkeypatch.delenv("RECONCILER_CONFIG", raising=False)
    monkeypatch.chdir(ROOT)
    return tmp_path / "var"


def asked(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, dict[str, Any]]:
    code = run(list(argv))
    return code, json.loads(capsys.readouterr().out)


def test_the_documented_examples_are_what_the_shipped_rules_say(state, capsys):
    code, told = asked(capsys, "rules", "test", str(EXAMPLES), "--output", "json")

    assert (code, told["failed"], told["passed"]) == (0, 0, len(told["examples"]))
    assert told["passed"] > 5
    for example in told["examples"]:
        assert [rule["rule"] for rule in example["rules"]][:2] == ["contractor-end-date", "high-cost"]
    assert not state.exists()  # nothing is opened for it


def test_an_example_that_is_not_as_expected_says_what_the_rules_say_instead(state, capsys, tmp_path):
    file = tmp_path / "examples.toml"
    file.write_text(
        '[[examples]]\nname = "E5"\nproduct = "m365-e5"\nemployee_type = "Employee"\nexpect = "clear"\n'
        'hits = ["switch-plan-on"]\nstages = ["manager"]\n',
        encoding="utf-8",
    )

    code = run(["rules", "test", str(file)])

    said = capsys.readouterr().out
    assert code == 1
    assert "FAIL E5: staged" in said
    assert "expected is 'clear', and the rules say 'staged'" in said
    assert "rule 'switch-plan-on' should be hit" in said
    assert "expected are the stages manager, and the rules ask for manager, cost_center_owner" in said
    assert "hit: high-cost (require stage), price 57.0" in said
    assert "missed: switch-plan-on (auto approve)" in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = [1,,2]", ["is not TOML", "line 1"]),
        ("", ["needs the key 'examples'"]),
        ("examples = []", ["examples"]),
        ('[[examples]]\nname = "a"\nproduct = "teams"', ["line 1", "example 'a' needs the key 'expect'"]),
        (
            '[[examples]]\nname = "a"\nproduct = "teams"\nexpekt = "clear"',
            ["line 4", "'expekt'", "did you mean 'expect'?"],
        ),
        ('[[examples]]\nname = "a"\nproduct = "teams"\nexpect = "cleared"', ["line 4", "did you mean 'clear'?"]),
        ('[[examples]]\nname = "a"\nproduct = "teems"\nexpect = "clear"', ["line 3", "did you mean 'teams'?"]),
        (
            '[[examples]]\nname = "a"\nproduct = "teams"\nexpect = "clear"\nhits = ["high-kost"]',
            ["line 5", "the rule 'high-kost'", "did you mean 'high-cost'?"],
        ),
        (
            '[[examples]]\nname = "a"\nproduct = "teams"\nexpect = "clear"\ngroups = ["Leavers"]',
            ["line 5", "the group 'Leavers', which no rule does"],
        ),
        (
            '[[examples]]\nname = "a"\nproduct = "teams"\nexpect = "clear"\ndays = 0',
            ["line 5", "example 'a', days is 0", "at least 1"],
        ),
    ],
)
def test_a_bad_file_of_examples_is_one_sentence(state, capsys, tmp_path, text, words):
    file = tmp_path / "examples.toml"
    file.write_text(text, encoding="utf-8")

    code = run(["rules", "test", str(file)])

    said = capsys.readouterr().err
    assert code == 2
    assert [word for word in words if word not in said] == []
    assert "examples.toml" in said
    assert said.count("\n") == 1
    assert run(["rules", "test", str(tmp_path / "none.toml")]) == 2


def configured(tmp_path: Path, *changes: tuple[str, str], more: str = "") -> str:
    """The shipped configuration with some text changed and some added."""
    text = (ROOT / "config.toml").read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    file = tmp_path / "config.toml"
    file.write_text(text + more, encoding="utf-8")
    return str(file)


def test_decisions_of_the_first_day_are_judged_again_from_the_store_and_digests_stay(state, capsys):
    _, first = asked(capsys, "reconcile", "--output", "json")
    _, second = asked(capsys, "reconcile", "--output", "json")

    with open_database(state / "reconciler.db", read_only=True) as database, database.read() as session:
        every = journal.rows_of_cycle(session, "contoso", first["cycle"])
        ruled = [row for row in every if row.body.get("ruling")]
        for row in ruled:
            again = rulings.replayed(session, row)
            told = [(j["rule"], j["outcome"], j["effect"], j["inputs"]) for j in row.body["rules"]]
            assert [(h.rule, h.outcome, h.effect, dict(h.inputs)) for h in again.hits] == told
            assert again.says == row.body["ruling"]["says"]
    intents = [row for row in every if row.kind == "intent" and row.body["system"] == "graph"]
    assert len(ruled) > 10
    shown = {row["digest"] for row in first["tickets"]}
    assert all(row.body["digest"] in row.body["what"]["requests"] for row in intents)
    assert {len(row.body["plan"]) for row in intents} == {64}
    assert {d for row in intents for d in row.body["what"]["requests"]} <= shown
    # Waiting for a seat, for a person: told in the ticket meanwhile, and the same request as before.
    waiting = {"RITM0010008", "RITM0010024", "RITM0010031", "RITM0010033", "RITM0010009", "RITM0010027"}
    digests = [
        {r["number"]: r["digest"] for r in told["tickets"] if r["number"] in waiting} for told in (first, second)
    ]
    still = [n for n in waiting if first_phase(first, n) in ("waiting_for_seat", "awaiting_approval")]
    assert len(still) >= 3
    assert {n: digests[0][n] for n in still} == {n: digests[1][n] for n in still}


def first_phase(report: dict[str, Any], number: str) -> str:
    return next(row["phase"] for row in report["tickets"] if row["number"] == number)


def test_a_group_that_a_rule_names_is_looked_into_and_a_mistyped_one_is_asked_about(state, capsys, tmp_path):
    deny = '\n[[rules]]\nid = "staff"\nkind = "deny"\ngroups = ["M365-E3-Staff"]\nsentence = "Staff has E3."\n'
    rows = {}
    for name in ("M365-E3-Staff", "M365-E3-Stuff"):
        file = configured(tmp_path, more=deny.replace("M365-E3-Staff", name))
        _, told = asked(capsys, "--config", file, "reconcile", "--dry-run", "--output", "json")
        rows[name] = {r["number"]: r["phase"] for r in told["tickets"] if r["number"] in ("RITM0010004", "RITM0010009")}

    assert rows["M365-E3-Stuff"] == {"RITM0010004": "awaiting_approval", "RITM0010009": "awaiting_approval"}
    assert set(rows["M365-E3-Staff"].values()) <= {"held", "approved", "granted", "converging"}


def test_a_form_without_approval_is_served_by_a_rule_counted_sampled_and_looked_at(state, capsys, tmp_path):
    rule = {"id": "cheap", "kind": "auto_approve", "products": ["teams-phone"], "price_max": 10, "sample_percent": 100}
    unasked = ('name = "Microsoft 365 licence"\n', 'name = "Microsoft 365 licence"\napproval = "none"\n')
    plain = configured(tmp_path, unasked)
    with SandboxState(state / "sandbox").open(story="contoso") as owned:
        desk = owned.world.instance
        (ticket,) = desk.records("sc_req_item", number="RITM0010004")
        for row in desk.records("sysapproval_approver", sysapproval=ticket["sys_id"]):
            desk.change("sysapproval_approver", row["sys_id"], state="not_required")
    one = ["reconcile", "--ticket", "RITM0010004", "--output", "json"]

    _, without = asked(capsys, "--config", plain, *one)
    file = configured(
        tmp_path, unasked, more="\n[[rules]]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in rule.items())
    )
    _, told = asked(capsys, "--config", file, *one)
    listed = asked(capsys, "--config", file, "rules", "sample", "--output", "json")[1]["sample"]
    looked = ["rules", "reviewed", "RITM0010004", "--by", "Nina Schulz", "--note", "as it should be"]
    codes = [run(["--config", file, *looked]), run(["--config", file, *looked])]
    capsys.readouterr()
    left = asked(capsys, "--config", file, "rules", "sample", "--output", "json")[1]["sample"]

    assert [row["phase"] for row in without["tickets"]] == ["awaiting_approval"]
    assert [row["phase"] for row in told["tickets"]] == ["granted"]
    assert [(a["line"], a["rule"], a["cost_monthly"]) for a in listed] == [("RITM0010004/1", "cheap", "9.4")]
    assert (codes, left) == ([0, 1], [])


@pytest.mark.parametrize("line", ["", "RITM0010004/²", f"RITM0010004/{'9' * 5000}", "RITM 1", "\x1b[31m"])
def test_a_line_that_is_none_is_one_sentence(state, capsys, line):
    code = run(["rules", "reviewed", line, "--by", "Nina Schulz", "--note", "fine"])

    said = capsys.readouterr().err
    assert code == 2
    assert "is no line" in said
    assert "\x1b" not in said


@pytest.mark.parametrize("text", ["examples = 3", "examples = [3]", "[examples]\nname = 1", "[[examples]]\n[[x]]\n"])
def test_a_file_of_another_shape_is_one_sentence(state, capsys, tmp_path, text):
    (tmp_path / "examples.toml").write_text(text, encoding="utf-8")

    assert run(["rules", "test", str(tmp_path / "examples.toml")]) == 2
    assert "defect" not in capsys.readouterr().err


def test_the_rules_that_the_shipped_configuration_shows_in_comments_are_rules(tmp_path):
    text = (ROOT / "config.toml").read_text(encoding="utf-8")
    shown = text[text.index("# [[rules]]") : text.index("# --- a real tenant")]
    (tmp_path / "config.toml").write_text(
        text + "\n" + "\n".join(line.removeprefix("#").strip() for line in shown.splitlines()), encoding="utf-8"
    )

    rules = load(tmp_path / "config.toml", {}).rules_for("contoso").rules

    assert {rule.kind for rule in rules} == set(KINDS)
    assert json.loads(Rules(rules=rules).text())["rules"][0]["id"] == "contractor-end-date"
