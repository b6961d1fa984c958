"""The audit log at the keyboard: keys, verification of a file alone, proofs, exports, erasure and removal."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from reconciler.cli.main import run

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def one_day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The state after a first cycle in which persons are pseudonyms and heads go elsewhere."""
    folder = tmp_path_factory.mktemp("audited")
    text = (ROOT / "config.toml").read_text("utf-8").replace('persons = "plain"', 'persons = "pseudonym"')
    (folder / "config.toml").write_text(text, "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECONCILER_STATE_DIR", str(folder / "var"))
        patch.setenv("RECONCILER_CONFIG", str(folder / "config.toml"))
        assert run(["reconcile", "--ticket", "RITM0010001", "--ticket", "RITM0010018"]) in (0, 3)
    yield folder


@pytest.fixture
def here(one_day: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that state, for one test."""
    shutil.copytree(one_day, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("RECONCILER_STATE_DIR", str(tmp_path / "var"))
    monkeypatch.setenv("RECONCILER_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def say(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = run(list(argv))
    said = capsys.readouterr()
    return code, said.out, said.err


def key_and_export(here: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Path, Path]:
    (here / "key").write_text(say(capsys, "--tenant", "contoso", "audit", "key")[1], "utf-8")
    assert run(["audit", "checkpoint"]) == 0
    assert run(["audit", "export", "--file", str(here / "log.jsonl")]) == 0
    return here / "key", here / "log.jsonl"


def alter(here: Path, *statements: str) -> None:
    """What somebody with the file can do: drop what hinders them, and change what they like."""
    with closing(sqlite3.connect(here / "var" / "reconciler.db")) as store:
        names = store.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for statement in (*(f"DROP TRIGGER {name}" for (name,) in names), *statements):
            store.execute(statement)
        store.commit()


def test_an_export_verifies_with_the_public_key_and_nothing_else(here, capsys, monkeypatch):
    key, export = key_and_export(here, capsys)
    elsewhere = here / "auditor"
    elsewhere.mkdir()
    for file in (key, export):
        shutil.move(file, elsewhere)
    monkeypatch.setenv("RECONCILER_CONFIG", "/nowhere/config.toml")
    monkeypatch.setenv("RECONCILER_STATE_DIR", "/nowhere/var")

    given = ("audit", "verify", "--file", str(elsewhere / "log.jsonl"), "--key", str(elsewhere / "key"))
    code, said, _ = say(capsys, *given)

    assert code == 0
    assert "each follows the one before it" in said
    assert "signed, holds" in said
    assert "1 rows are behind the last signed checkpoint" in said, "the export itself is the newest row"
    found = json.loads(say(capsys, *given, "--output", "json")[1])
    assert (found["ok"], found["unsigned"], found["signatures_checked"], found["findings"]) == (True, 1, True, [])


def test_all_keys_may_be_given_as_one_file_as_they_were_printed(here, capsys):
    _, export = key_and_export(here, capsys)
    (here / "keys").write_text(say(capsys, "audit", "key")[1], "utf-8")

    code, said, _ = say(capsys, "audit", "verify", "--file", str(export), "--key", str(here / "keys"))

    assert (code, "signed, holds" in said) == (0, True), said


def test_an_export_whose_checkpoints_were_taken_out_is_nobodys_word(here, capsys):
    key, export = key_and_export(here, capsys)
    rows = [line for line in export.read_text("utf-8").splitlines() if '"seq"' in line]
    (here / "bare.jsonl").write_text("\n".join(rows), "utf-8")

    code, said, _ = say(capsys, "audit", "verify", "--file", str(here / "bare.jsonl"), "--key", str(key))

    assert (code, "FOUND unsigned" in said) == (1, True), said


@pytest.mark.parametrize(
    ("attack", "said"),
    [
        ("UPDATE audit SET actor = 'x' WHERE seq = 3", "BROKEN at row 3"),
        ("DELETE FROM audit WHERE seq = 3", "BROKEN at row 3"),
        ("DELETE FROM audit WHERE seq > 3", "the end was cut off"),
        ("UPDATE audit_checkpoint SET note = replace(note, 'head ', 'head 0')", "FOUND forged"),
    ],
)
def test_what_somebody_did_to_the_store_is_said_and_exits_with_1(here, capsys, attack, said):
    alter(here, attack)

    code, out, _ = say(capsys, "audit", "verify")

    assert (code, said in out) == (1, True), out


def test_an_older_copy_is_found_by_the_checkpoint_that_was_kept(here, capsys):
    store = here / "var" / "reconciler.db"
    older = store.read_bytes()
    (here / "kept").write_text(say(capsys, "audit", "checkpoint")[1], "utf-8")
    run(["audit", "export", "--file", str(here / "x")])
    (here / "newer").write_text(say(capsys, "audit", "checkpoint")[1], "utf-8")
    for name in ("-wal", "-shm"):
        store.with_name(store.name + name).unlink(missing_ok=True)
    store.write_bytes(older)

    assert say(capsys, "audit", "verify", "--since", str(here / "kept"))[0] == 0
    code, said, _ = say(capsys, "audit", "verify", "--since", str(here / "newer"))
    assert (code, "the end was cut off" in said) == (1, True)


def test_a_row_is_proved_in_a_file_of_its_own_and_the_growth_of_the_log_too(here, capsys):
    key, _ = key_and_export(here, capsys)
    (here / "old").write_text(say(capsys, "audit", "checkpoint")[1], "utf-8")
    assert run(["audit", "prove", "5", "--file", str(here / "proof")]) == 0
    assert run(["audit", "prove", "--since", str(here / "old"), "--file", str(here / "growth")]) == 0

    for name in ("proof", "growth"):
        code, said, _ = say(capsys, "audit", "check", str(here / name), "--key", str(key))
        assert (code, said.startswith("HOLDS")) == (0, True)
        (here / name).write_text((here / name).read_text("utf-8").replace("a", "b", 1), "utf-8")
        assert say(capsys, "audit", "check", str(here / name), "--key", str(key))[0] == 1
    code, _, said = say(capsys, "audit", "prove", "9999")
    assert (code, "row 9999 of contoso is not there" in said) == (1, True)
    assert say(capsys, "audit", "prove")[0] == 2


def test_whoever_takes_a_copy_or_a_proof_is_in_the_log_by_name(here, capsys, monkeypatch):
    monkeypatch.setenv("SUDO_USER", "eve")
    run(["audit", "export", "--format", "csv", "--kind", "intent", "--file", str(here / "x")])
    run(["audit", "prove", "2", "--file", str(here / "x")])
    lines = say(capsys, "audit", "export", "--kind", "audit.exported", "--kind", "audit.read")[1].splitlines()

    noted = [json.loads(line) for line in lines]
    assert [(n["kind"], n["body"]["what"]) for n in noted[:2]] == [
        ("audit.exported", "csv, kind intent"),
        ("audit.read", "the proof of row 2"),
    ]
    assert noted[0]["actor"].startswith("p_"), "and behind a sign, where persons are pseudonyms"


def test_no_person_stands_in_the_export_and_one_who_is_erased_is_not_explained_any_more(here, capsys):
    _, export = key_and_export(here, capsys)
    assert "@contoso" not in export.read_text("utf-8")
    upn = json.loads(say(capsys, "explain", "RITM0010001", "--output", "json")[1])["lines"][0]["user"]
    assert upn in say(capsys, "explain", "RITM0010001")[1]

    code, said, _ = say(capsys, "audit", "erase", upn, "--reason", "asked for it, case 12")

    assert code == 0, said
    bound = [
        e["facts"]["upn"]
        for e in json.loads(say(capsys, "explain", "RITM0010001", "--output", "json")[1])["lines"][0]["events"]
        if e["kind"] == "bound"
    ]
    assert [name.startswith("p_") for name in bound] == [True]
    assert say(capsys, "audit", "verify")[0] == 0
    assert say(capsys, "audit", "erase", "nobody@contoso.example", "--reason", "x")[0] == 1


def test_a_machine_without_the_keys_of_a_log_writes_no_cycle_into_it_and_tells_nobody_that_it_knows_no_one(
    here, capsys, monkeypatch
):
    """Another machine that shares the store makes keys of its own."""
    upn = json.loads(say(capsys, "explain", "RITM0010001", "--output", "json")[1])["lines"][0]["user"]
    size = len(say(capsys, "audit", "export")[1].splitlines())
    folder = here / "var"
    monkeypatch.setenv("RECONCILER_WEB__PORT", "0")
    for name in ("audit-persons.key", "audit-key.pem"):
        (folder / name).rename(folder / f"first-{name}")

    for command in (["reconcile"], ["run"], ["audit", "erase", upn, "--reason", "case 12"]):
        code, _, said = say(capsys, *command)
        assert (code, "a key that is not in" in said) == (1, True), (command, said)
    assert say(capsys, "status")[0] in (0, 3)

    monkeypatch.setenv("RECONCILER_AUDIT__PERSONS_KEY_FILE", str(folder / "audit-persons.key"))  # meant to be so
    code, said, trouble = say(capsys, "audit", "erase", upn, "--reason", "case 12")
    assert (code, "it is not known whether that was all" in trouble) == (1, True), said

    monkeypatch.setenv("RECONCILER_AUDIT__PERSONS_KEY_FILE", str(folder / "first-audit-persons.key"))
    assert say(capsys, "audit", "verify")[0] == 0
    code, said, trouble = say(capsys, "audit", "erase", upn, "--reason", "case 12")
    assert "keys were destroyed" in said + trouble
    (folder / "first-audit-key.pem").rename(folder / "audit-key.pem")
    assert len(say(capsys, "audit", "export")[1].splitlines()) > size
    assert say(capsys, "audit", "verify")[0] == 0


def test_nothing_goes_while_a_legal_hold_stands_or_before_its_term(here, capsys):
    assert "has outlived its term" in say(capsys, "audit", "remove", "--apply")[1]
    text = (here / "config.toml").read_text("utf-8")
    (here / "config.toml").write_text(text.replace('keep_decisions = "2557d"', 'keep_decisions = "1h"'), "utf-8")
    run(["sandbox", "advance", "1d"])

    assert "Remove them with --apply" in say(capsys, "audit", "remove")[1]
    held = (here / "config.toml").read_text("utf-8")
    (here / "config.toml").write_text(held.replace('legal_hold = ""', 'legal_hold = "case 7"'), "utf-8")
    for command in (["audit", "remove", "--apply"], ["audit", "erase", "x", "--reason", "y"]):
        code, _, said = say(capsys, *command)
        assert (code, "case 7" in said) == (1, True)
    (here / "config.toml").write_text(held, "utf-8")
    assert "their checkpoint stays" in say(capsys, "audit", "remove", "--apply")[1]
    code, said, _ = say(capsys, "audit", "verify")
    assert (code, "removed by retention" in said) == (0, True)


def test_the_key_is_made_for_this_account_only_and_never_shown(here, capsys):
    for name in ("audit-key.pem", "audit-persons.key"):
        assert (here / "var" / name).stat().st_mode & 0o777 == 0o600
    said = "".join(say(capsys, "audit", "key")[1:]) + "".join(say(capsys, "audit", "checkpoint")[1:])
    assert "license-reconciler/contoso+" in said
    assert "PRIVATE" not in said


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["audit", "verify", "--key", "nonsense"], "cannot be read"),
        (["audit", "verify", "--key", "a+b+c"], "audit key"),
        (["audit", "verify", "--since", "missing"], "cannot be read"),
        (["audit", "verify", "--since", "config.toml"], "no checkpoint"),
        (["audit", "verify", "--head", "x"], "TENANT SIZE HASH"),
        (["audit", "verify", "--file", "missing"], "cannot be read"),
        (["audit", "export", "--since", "yesterday"], "--since"),
    ],
)
def test_a_wrong_argument_is_one_sentence(here, capsys, argv, said):
    code, _, error = say(capsys, *argv)

    assert code == 2
    assert said in error
    assert error.count("\n") == 1


def test_a_key_file_that_is_no_key_is_one_sentence_without_its_contents(here, capsys):
    (here / "var" / "audit-key.pem").write_text("hush", "utf-8")

    code, _, error = say(capsys, "audit", "key")

    assert (code, "holds no Ed25519 key" in error, "hush" in error) == (2, True, False)
