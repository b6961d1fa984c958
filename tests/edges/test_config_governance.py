"""`reconciler config`: a configuration that allows more waits for people, and says so wherever somebody looks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli.main import run
from reconciler.config import load
from reconciler.governance.payloads import APPROVAL, CONFIGURATION
from reconciler.store import configs, journal
from reconciler.store.database import open_database
from reconciler.wiring import open_app
from tests.make_signatures import an_ed25519, public, signed

ROOT = Path(__file__).parents[2]
THOMAS, NINA, EVE = (an_ed25519(n) for n in (1, 2, 3))
PEOPLE = {"thomas.brandt@contoso.example": THOMAS, "nina.schulz@contoso.example": NINA}
REAL = """
[tenants.production]
mode = "{mode}"
answers = "{answers}"
{more}
[tenants.production.servicenow]
instance = "https://contoso.service-now.com"
client_id = "abc"
client_secret_file = "secret"
our_groups = ["M365 Licence Desk"]
[tenants.production.graph]
tenant_id = "72f988bf-86f1-41af-91ab-2d7cd011db47"
client_id = "72f988bf-86f1-41af-91ab-2d7cd011db48"
client_secret_file = "secret"
[tenants.production.approvals]
accept_configuration = [{names}]
allowed_signers_file = "signers"
"""


class Desk:
    """A person at the keyboard of the shipped commands, with a configuration that they may change."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capsys, self.count = folder, capsys, 0
        self.file = folder / "config.toml"
        (folder / "secret").write_text("swordfish-of-the-instance", encoding="utf-8")
        lines = [f'{name} namespaces="{CONFIGURATION}" {public(key)}' for name, key in PEOPLE.items()]
        (folder / "signers").write_text("\n".join(lines), encoding="utf-8")

    def contoso(self, *changes: tuple[str, str]) -> None:
        """The shipped configuration with signers."""
        text = (ROOT / "config.toml").read_text(encoding="utf-8")
        for old, new in (('# allowed_signers_file = "signers"   #', 'allowed_signers_file = "signers"   #'), *changes):
            assert old in text
            text = text.replace(old, new, 1)
        self.file.write_text(text, encoding="utf-8")

    def real(self, mode: str, answers: str = "silent", more: str = "", names: tuple[str, ...] = tuple(PEOPLE)) -> None:
        listed = ", ".join(json.dumps(name) for name in names)
        self.file.write_text(REAL.format(mode=mode, answers=answers, more=more, names=listed), encoding="utf-8")

    def say(self, *argv: str) -> tuple[int, str, str]:
        self.capsys.readouterr()
        code = run(["--config", str(self.file), *argv])
        said = self.capsys.readouterr()
        return code, said.out, said.err

    def told(self, *argv: str) -> Any:
        return json.loads(self.say(*argv, "--output", "json")[1])

    def stands(self) -> tuple[bool, str, str]:
        found = self.told("config", "show")
        return found["is_accepted"], found["runs_as"]["mode"], found["runs_as"]["answers"]

    def sign(self, key: Any, namespace: str = CONFIGURATION) -> list[str]:
        code, payload, _ = self.say("config", "accept")
        assert code == 0
        self.count += 1
        file = self.folder / f"{self.count}.sig"
        file.write_text(signed(key, payload.encode(), namespace), encoding="ascii")
        return ["--signature", str(file)]

    def rows(self, tenant: str, kind: str) -> list[dict[str, Any]]:
        path = self.folder / "var" / "reconciler.db"
        with open_database(path, read_only=True) as database, database.read() as session:
            return [row["body"] for row in journal.export(session, tenant) if row["kind"] == kind]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desk:
    monkeypatch.setenv("RECONCILER_STATE_DIR", str(tmp_path / "var"))
    monkeypatch.delenv("RECONCILER_CONFIG", raising=False)
    return Desk(tmp_path, capsys)


MORE = ('removals_per_day = "2%, 5 to 50"', 'removals_per_day = "2%, 5 to 500"')
ONE = ["reconcile", "--ticket", "RITM0010004"]


def test_what_allows_more_runs_as_suggest_until_it_is_signed_for_and_says_why(desk):
    desk.contoso()
    desk.say("reconcile", "--ticket", "RITM0010021")
    (first,) = desk.rows("contoso", "config.changed")
    desk.contoso(MORE)

    report = desk.told(*ONE)
    code, out, _ = desk.say("config", "show")

    assert report["mode"] == "suggest"
    assert report["writes"]["graph"] == 0
    assert report["tickets"][0]["phase"] == "awaiting_approval"
    sentences = {g["sentence"] for g in report["guards"] if g["guard"] == "configuration"}
    assert len(sentences) == 1
    assert (
        "tenant.guards.removals_per_day was '2%, 5 to 50' and is '2%, 5 to 500'; until it is accepted"
        in sentences.pop()
    )
    assert (code, "It runs in mode suggest with answers full." in out) == (0, True)
    assert "removals_per_day was '2%, 5 to 50' and is '2%, 5 to 500'" in desk.told("status")["configuration"]["why"]
    assert "Attention: the configuration" in desk.say("status")[1]
    changed = desk.rows("contoso", "config.changed")[1]
    assert (changed["before"], changed["is_accepted"], changed["mode"]) == (first["digest"], False, "suggest")

    code, said, _ = desk.say("config", "accept", *desk.sign(THOMAS))
    report = desk.told(*ONE)

    assert (code, "is accepted by thomas.brandt@contoso.example" in said) == (0, True)
    assert (report["mode"], report["guards"], report["tickets"][0]["phase"]) == ("enforce", [], "granted")
    (_, accepted) = desk.rows("contoso", "config.accepted")
    assert accepted["accepted_by"] == ["thomas.brandt@contoso.example"]
    assert accepted["changes"] == [
        "tenant.guards.removals_per_day was '2%, 5 to 50' and is '2%, 5 to 500', which may allow more"
    ]
    assert desk.say("audit", "verify")[0] == 0


def test_an_approver_who_wrote_themselves_into_the_file_decides_nothing_by_that(desk):
    desk.contoso()
    desk.say("reconcile", "--ticket", "RITM0010021")
    desk.contoso(('license_admin = ["nina.schulz@contoso.example", "robert.novak', 'license_admin = ["eve'))
    desk.say(*ONE)

    (request,) = desk.told("approvals", "list")["requests"]

    assert set(request["approvers"]) <= {"nina.schulz@contoso.example", "robert.novak@contoso.example"}


def test_a_real_tenants_first_configuration_observes_by_itself_and_writes_once_two_people_signed(desk):
    desk.real("observe")
    assert desk.stands() == (True, "observe", "silent")
    desk.real("enforce", "full")
    assert desk.stands() == (False, "suggest", "silent")

    alone = desk.say("config", "accept", *desk.sign(THOMAS))
    twice = desk.say("config", "accept", *desk.sign(THOMAS), *desk.sign(THOMAS))
    both = desk.say("config", "accept", *desk.sign(THOMAS), *desk.sign(NINA))

    assert (alone[0], "2 people have to sign, and 1 did" in alone[2]) == (3, True)
    assert (twice[0], both[0]) == (3, 0)
    assert desk.stands() == (True, "enforce", "full")
    desk.real("observe")
    assert desk.stands() == (True, "observe", "silent")  # less needs nobody
    desk.real("enforce", "full")
    assert desk.stands() == (True, "enforce", "full")  # and back to what was accepted neither


def test_nobody_makes_themselves_an_acceptor(desk):
    desk.real("observe")
    desk.real("enforce")
    desk.say("config", "accept", *desk.sign(THOMAS), *desk.sign(NINA))
    (desk.folder / "signers").write_text(f"eve@contoso.example {public(EVE)}\n", encoding="utf-8")
    desk.real("enforce", "full", names=("eve@contoso.example",))

    code, _, err = desk.say("config", "accept", *desk.sign(EVE))

    assert (code, "is of nobody who may accept" in err) == (1, True)
    assert desk.stands() == (False, "suggest", "silent")


def test_another_name_for_the_same_directory_does_not_get_rid_of_what_was_accepted(desk):
    desk.real("observe")
    desk.real("enforce")
    desk.say("config", "accept", *desk.sign(THOMAS), *desk.sign(NINA))
    (desk.folder / "signers").write_text(f"eve@contoso.example {public(EVE)}\n", encoding="utf-8")
    desk.real("enforce", "full", names=("eve@contoso.example",))
    text = desk.file.read_text(encoding="utf-8").replace("tenants.production", "tenants.renamed")
    desk.file.write_text(text, encoding="utf-8")

    code, _, err = desk.say("config", "accept", *desk.sign(EVE))

    assert (code, "is of nobody who may accept" in err) == (1, True)
    assert desk.stands() == (False, "suggest", "silent")
    assert desk.rows("renamed", "config.accepted") == []


def test_lifting_the_kill_switch_takes_two_as_it_was_accepted_whatever_the_file_says_since(desk):
    two = "guards.second_person = true"
    desk.real("enforce", more=two)
    desk.say("config", "accept", *desk.sign(THOMAS), *desk.sign(NINA))
    assert desk.stands()[0]
    desk.say("kill-switch", "on", "--reason", "look", "--by", "ada")

    for mode, more in (("enforce", two), ("enforce", ""), ("observe", two)):
        desk.real(mode, more=more)
        lift = desk.say("kill-switch", "off", "--reason", "mine", "--by", " Ada")
        assert (lift[0], "another person has to say the same" in lift[1]) == (1, True)

    assert desk.told("kill-switch", "status")["on"] is True


def test_who_was_never_to_be_changed_stays_so_until_the_shorter_list_is_accepted(desk):
    def denied() -> tuple[str, ...]:
        with open_app(load(desk.file, {"RECONCILER_STATE_DIR": str(desk.folder / "var")}), "production") as app:
            return app.tenant.guards.break_glass

    desk.real("enforce", more='guards.break_glass = ["glass@contoso.example"]')
    desk.say("config", "accept", *desk.sign(THOMAS), *desk.sign(NINA))
    desk.real("enforce", more='guards.break_glass = ["other@contoso.example"]')

    assert desk.stands()[0] is False
    assert denied() == ("other@contoso.example", "glass@contoso.example")
    desk.say("config", "accept", *desk.sign(THOMAS), *desk.sign(NINA))
    assert denied() == ("other@contoso.example",)


def test_an_acceptance_is_good_for_one_configuration_in_the_place_of_one_other(desk):
    desk.real("observe")
    desk.real("enforce")
    for_enforce = [*desk.sign(THOMAS), *desk.sign(NINA)]
    wrong = [*desk.sign(THOMAS, APPROVAL), *desk.sign(NINA, APPROVAL)]
    desk.real("enforce", "full")

    other = desk.say("config", "accept", *for_enforce)
    desk.real("enforce")
    namespace = desk.say("config", "accept", *wrong)
    done = desk.say("config", "accept", *for_enforce)
    again = desk.say("config", "accept", *for_enforce)

    assert (other[0], "not over these bytes" in other[2]) == (1, True)
    assert (namespace[0], "sign with -n licence-configuration" in namespace[2]) == (1, True)
    assert (done[0], again[0]) == (0, 2)
    assert "accepted already" in again[2]


def test_where_nobody_is_named_nothing_can_be_accepted(desk):
    desk.real("enforce", names=())

    code, _, err = desk.say("config", "accept", *desk.sign(THOMAS))

    assert (code, "accept_configuration names nobody" in err) == (2, True)


def test_a_list_of_signers_that_cannot_be_read_is_a_sentence(desk):
    (desk.folder / "signers").write_text("thomas cert-authority ssh-ed25519 AAAA\n", encoding="utf-8")
    desk.real("observe")

    code, _, err = desk.say("config", "show")

    assert (code, err.count("\n")) == (2, 1)
    assert "signers: line 1: cert-authority is not accepted" in err


def test_the_effective_configuration_is_shown_without_a_secret(desk, monkeypatch):
    monkeypatch.setenv("RECONCILER_NOTIFY__TEAMS_WEBHOOK", "https://prod.westeurope.logic.azure.com/swordfish")
    monkeypatch.setenv("RECONCILER_WEB__PUBLIC_URL", "https://licences.example")
    desk.real("observe")

    for output in ("json", "table"):
        code, out, _ = desk.say("config", "show", "--output", output)
        assert (code, "swordfish" in out, "M365 Licence Desk" in out) == (0, False, True)


def test_the_shipped_sandbox_asks_nobody_and_a_converged_cycle_adds_no_row_for_it(desk):
    for change in ((), (MORE,)):
        text = (ROOT / "config.toml").read_text(encoding="utf-8")
        for old, new in change:
            text = text.replace(old, new)
        desk.file.write_text(text, encoding="utf-8")
        assert desk.told("reconcile", "--ticket", "RITM0010021")["mode"] == "enforce"
    before = len(desk.rows("contoso", "config.changed"))
    desk.say("reconcile", "--ticket", "RITM0010021")

    assert (before, len(desk.rows("contoso", "config.changed"))) == (2, 2)
    with open_database(desk.folder / "var" / "reconciler.db", read_only=True) as database, database.read() as session:
        last = configs.accepted(session, "contoso")
    assert last is not None
    assert (last.number, last.how) == (2, "sandbox")


WATCHES = ('mode = "enforce" ', 'mode = "observe" ')
ASKS = ('mode = "enforce" ', 'mode = "suggest" ')


def test_whoever_accepts_a_step_is_told_what_people_made_of_it_and_that_is_kept_with_the_acceptance(desk):
    desk.contoso(WATCHES)
    desk.say("reconcile", "--ticket", "RITM0010021")
    desk.contoso(ASKS)

    shown = desk.told("config", "show")["promotion"]
    _, _, err = desk.say("config", "accept")
    doctor = " ".join(desk.say("doctor")[1].split())
    done = desk.say("config", "accept", *desk.sign(THOMAS))

    mine = next(m for m in shown if m["product"] == "visio-plan-2")
    assert (mine["axis"], mine["is_carried"]) == ("mode", False)
    assert "visio-plan-2: mode goes from observe to suggest, without the evidence for it" in mine["sentence"]
    assert mine["sentence"] in err
    assert "without the evidence for it: no line was decided by people" in doctor
    assert done[0] == 0  # told, never refused
    assert mine["sentence"] in desk.rows("contoso", "config.accepted")[-1]["evidence"]
