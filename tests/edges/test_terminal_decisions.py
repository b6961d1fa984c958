"""Requests decided from the terminal by signature, when the pages cannot be used: who may, and what it never skips."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from reconciler.approvals.values import Delegation, Human
from reconciler.cli.main import run
from reconciler.governance.payloads import APPROVAL
from reconciler.sandbox.state import SandboxState
from reconciler.store import delegations, journal, switches
from reconciler.store.database import open_database
from tests.make import DAY
from tests.make_signatures import an_ed25519, public, signed

ROOT = Path(__file__).parents[2]
E5 = "RITM0010012"
KEYS = {name: an_ed25519(n) for n, name in enumerate(("robert.novak", "elena.rossi", "nina.schulz", "eve"), 1)}
NOBODY = "break_glass_signers = []         # who may decide from the terminal, two of them together; []: nobody\n"
WHY = ["--reason", "The pages are down and the board meets.", "--ticket", "INC0012345"]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Contoso with two people who may decide from the terminal, and a third who has a key."""
    monkeypatch.setenv("RECONCILER_STATE_DIR", str(tmp_path / "var"))
    monkeypatch.delenv("RECONCILER_CONFIG", raising=False)
    people = [f'{name}@contoso.example namespaces="{APPROVAL}" {public(KEYS[name])}' for name in list(KEYS)[:3]]
    (tmp_path / "signers").write_text("\n".join(people), encoding="utf-8")
    text = (ROOT / "config.toml").read_text(encoding="utf-8")
    named = 'break_glass_signers = ["robert.novak@contoso.example", "elena.rossi@contoso.example"]\n'
    text = text.replace(NOBODY, f'{named}allowed_signers_file = "signers"\n')
    assert named in text
    (tmp_path / "config.toml").write_text(text, encoding="utf-8")
    return str(tmp_path / "config.toml")


class Desk:
    """A person at the keyboard of the shipped commands."""

    def __init__(self, config: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.config, self.folder, self.capsys = config, folder, capsys
        self.count = 0

    def say(self, *argv: str) -> tuple[int, str, str]:
        self.capsys.readouterr()
        code = run(["--config", self.config, *argv])
        said = self.capsys.readouterr()
        return code, said.out, said.err

    def told(self, *argv: str) -> Any:
        return json.loads(self.say(*argv, "--output", "json")[1])

    def sign(self, name: str, *argv: str, spoilt: Callable[[bytes], bytes] = lambda b: b) -> str:
        """The file with a signature of what this command prints."""
        code, payload, _ = self.say(*argv)
        assert code == 0
        self.count += 1
        file = self.folder / f"{self.count}.sig"
        file.write_text(signed(KEYS[name], spoilt(payload.encode()), APPROVAL), encoding="ascii")
        return str(file)

    def request(self) -> str:
        self.say("reconcile", "--ticket", E5)
        (row,) = [r for r in self.told("approvals", "list")["requests"] if r["line"] == f"{E5}/1"]
        return str(row["id"])

    def rows(self, kind: str) -> list[dict[str, Any]]:
        path = self.folder / "var" / "reconciler.db"
        with open_database(path, read_only=True) as database, database.read() as session:
            return [row for row in journal.export(session, "contoso") if row["kind"] == kind]


@pytest.fixture
def desk(config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(config, tmp_path, capsys)


def test_two_people_approve_in_an_emergency_it_is_carried_out_and_a_third_has_to_look(desk):
    id = desk.request()
    glass = ["approve", "--break-glass", id, *WHY]
    first, second = desk.sign("robert.novak", *glass), desk.sign("elena.rossi", *glass)

    assert desk.say(*glass, "--signature", first)[0] == 3
    again = ["approve", "--break-glass", id, "--reason", "Once more, with feeling.", *WHY[2:]]
    twice = desk.say(*again, "--signature", desk.sign("robert.novak", *again))
    assert (twice[0], "has signed for this request already" in twice[2]) == (1, True)
    code, said, _ = desk.say(*glass, "--signature", second)
    assert (code, "approved by break-glass until 2026-11-02" in said) == (0, True)
    (used,) = desk.rows("breakglass.used")
    assert used["body"]["signers"] == ["robert.novak@contoso.example", "elena.rossi@contoso.example"]
    assert used["body"]["incident"] == "INC0012345"
    decided = [row["body"] for row in desk.rows("approval.decided")]
    assert [(d["channel"], d["assurance"], d["agent"][:7]) for d in decided] == [
        ("break_glass", "strong", "SHA256:")
    ] * 2

    code, out, err = desk.say("reconcile", "--ticket", E5, "--output", "json")
    (row,) = json.loads(out)["tickets"]
    assert (row["phase"], [a["result"] for a in row["actions"]]) == ("verifying", ["applied"])
    assert (code, "break-glass was used for RITM0010012/1" in err) == (1, True)  # loud until somebody has looked

    assert "robert.novak" in desk.told("status")["reviews_owed"][0]
    (owed,) = desk.told("obligations")["reviews"]
    assert (owed["request"], owed["review_by"][:10]) == (id, "2026-11-04")
    look = ["approvals", "reviewed", id, "--note", "It was as they said."]
    by_signer = desk.say(*look, "--signature", desk.sign("elena.rossi", *look))
    assert (by_signer[0], "neither signed it" in by_signer[2]) == (1, True)
    assert desk.say(*look, "--signature", desk.sign("nina.schulz", *look))[0] == 0
    assert desk.told("obligations")["reviews"] == []
    assert desk.say(*look, "--signature", desk.sign("nina.schulz", *look))[0] == 1
    assert desk.say("audit", "verify")[0] == 0


def test_break_glass_does_not_pass_the_kill_switch(desk):
    id = desk.request()
    glass = ["approve", "--break-glass", id, *WHY]
    both = [part for name in ("robert.novak", "elena.rossi") for part in ("--signature", desk.sign(name, *glass))]
    with SandboxState(desk.folder / "var" / "sandbox").open() as owned:
        at = owned.world.clock.now()
    with open_database(desk.folder / "var" / "reconciler.db") as database, database.write() as session:
        switches.throw(session, "contoso", reason="the audit", by="Petra", at=at)

    assert desk.say(*glass, *both)[0] == 0
    report = desk.told("reconcile", "--ticket", E5)

    assert report["writes"] == {"graph": 0, "servicenow": 0}
    assert report["tickets"][0]["phase"] != "granted"


def test_a_signature_of_somebody_else_of_something_else_or_given_twice_counts_for_nothing(desk):
    id = desk.request()
    glass = ["approve", "--break-glass", id, *WHY]
    good = desk.sign("robert.novak", *glass)
    other = desk.sign("robert.novak", "approve", "--break-glass", id, "--reason", "Something else is down.", *WHY[2:])
    spoilt = {
        "of nobody who may decide": [desk.sign("nina.schulz", *glass)],  # has a key, and is not named
        "of nobody who": [desk.sign("eve", *glass)],
        "not over these bytes": [other],
        "signature does not count": [
            desk.sign("robert.novak", *glass, spoilt=lambda b: b.replace(b"contoso", b"fabrikam"))
        ],
    }
    rejection = ["approvals", "reject", id, "--reason", WHY[1]]

    for words, files in spoilt.items():
        code, _, err = desk.say(*glass, "--signature", *files)
        assert (code, words in err, err.count("\n")) == (1, True, 1)
    assert desk.say(*glass, "--signature", good, "--signature", good)[0] == 3  # one person twice is one person
    signers = desk.folder / "signers"
    forged = signers.read_text(encoding="utf-8").replace(public(KEYS["elena.rossi"]), public(KEYS["eve"]))
    signers.write_text(forged, encoding="utf-8")  # a key in the file is none until the configuration is accepted
    assert "of nobody who may" in desk.say(*glass, "--signature", desk.sign("eve", *glass))[2]
    assert "not over these bytes" in desk.say(*rejection, "--signature", good)[2]
    (row,) = [r for r in desk.told("approvals", "list")["requests"] if r["id"] == id]
    assert row["state"] == "pending"
    assert desk.rows("breakglass.used") == []


MISSING = [
    (["approve", "LR-NONE"], 2, "only with --break-glass"),
    (["approve", "--break-glass", "LR-NONE", *WHY], 1, "there is no request 'LR-NONE'"),
    (["approve", "--break-glass", "ID", "--reason", "now"], 2, "at least 10 characters"),
    (["approve", "--break-glass", "ID", "--reason", "The pages are down."], 2, "--ticket names the incident"),
    (["approve", "--break-glass", "ID", *WHY, "--signature", "none.sig"], 2, "none.sig cannot be read"),
    (["approvals", "reject", "ID", "--reason", "no"], 2, "at least 10 characters"),
    (["approvals", "show", "LR-NONE"], 1, "there is no request of this id"),
]


def test_what_is_missing_is_said_in_a_sentence(desk):
    id = desk.request()

    for argv, code, words in MISSING:
        said = desk.say(*(id if part == "ID" else part for part in argv))
        assert (said[0], words in said[2], said[2].count("\n")) == (code, True, 1)


def test_a_rejection_is_by_one_of_them_and_the_ticket_is_told(desk):
    id = desk.request()
    no = ["approvals", "reject", id, "--reason", "Not without the budget holder."]

    assert desk.say(*no, "--signature", desk.sign("elena.rossi", *no))[0] == 0
    report = desk.told("reconcile", "--ticket", E5)

    assert report["tickets"][0]["phase"] == "refused"
    shown = desk.told("approvals", "show", id)
    assert (shown["state"], shown["decisions"][0]["by"]) == ("rejected", "elena.rossi@contoso.example")
    assert "rejected: Not without the budget holder." in desk.say("approvals", "show", id)[1]
    assert desk.rows("breakglass.used") == []


def test_as_shipped_nobody_decides_from_the_terminal(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RECONCILER_STATE_DIR", str(tmp_path / "var"))
    desk = Desk(str(ROOT / "config.toml"), tmp_path, capsys)
    id = desk.request()
    glass = ["approve", "--break-glass", id, *WHY]

    code, _, err = desk.say(*glass, "--signature", desk.sign("robert.novak", *glass))

    assert (code, "approvals.break_glass_signers is empty" in err) == (1, True)


def test_who_stands_in_for_whom_is_listed_at_the_terminal(desk, tmp_path):
    desk.say("reconcile", "--ticket", E5)
    laura, petra = (Human("t", f"oid-{n}", n, f"{n}@contoso.example") for n in ("laura", "petra"))
    with open_database(tmp_path / "var" / "reconciler.db") as database, database.write() as session:
        at = datetime.fromisoformat(next(reversed(list(journal.export(session, "contoso"))))["at"])
        for begins, ends in ((at, at + DAY), (at + 2 * DAY, at + 3 * DAY), (at - 2 * DAY, at - DAY)):
            delegations.delegate(session, "contoso", Delegation(laura, petra, begins, ends, by=laura.upn), at)

    listed = desk.told("approvals", "delegations")["delegations"]
    every = desk.told("approvals", "delegations", "--all")["delegations"]
    code, text, _ = desk.say("approvals", "delegations")

    assert [(d["of"], d["to"], d["standing"]) for d in listed] == [
        (laura.upn, petra.upn, "now"),
        (laura.upn, petra.upn, "later"),
    ]
    assert [d["standing"] for d in every] == ["over", "now", "later"]
    assert code == 0
    assert "petra@contoso.example stands in for laura@contoso.example" in text
