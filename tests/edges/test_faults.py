"""What goes wrong at the keyboard or around it: one sentence, the right exit code, nothing half-written."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler import holders
from reconciler.cli.main import run
from reconciler.sandbox import hosts
from reconciler.sandbox.server import Serving, serve
from reconciler.store import leases
from reconciler.store.database import open_database
from tests.make_world import contoso

NOBODY = 999_999_999  # no process has such an id

REAL = """
[tenants.real]
mode = "{mode}"
answers = "{answers}"
act_on_tickets_since = "all"
act_max_age = "60d"

[tenants.real.graph]
tenant_id = "{tenant}"
client_id = "{client}"
client_secret_file = "{secret}"
base_url = "{graph}"
authority = "{login}"
ca_file = "{ca}"

[tenants.real.servicenow]
instance = "{servicenow}"
auth = "basic"
username = "{user}"
password_file = "{password}"
our_groups = ["M365 Licence Desk"]
ca_file = "{ca}"

[tenants.real.guards]
allow_domains = ["contoso.example"]
clock_tolerance = "36500d"  # the twin lives on another day than this machine

[[items]]
name = "{item}"
follow_up_group = "M365 Licence Desk"
variables.person = "user"
variables.product = "product"
"""


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RECONCILER_STATE_DIR", str(tmp_path / "var"))
    monkeypatch.delenv("RECONCILER_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "var"


def sentence(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str]:
    code = run(list(argv))
    told = capsys.readouterr().err
    assert "Traceback" not in told
    return code, told


@pytest.fixture(scope="module")
def served() -> Iterator[Serving]:
    with serve(contoso()) as serving:
        yield serving


Config = Callable[..., Path]


@pytest.fixture
def config(served: Serving, tmp_path: Path) -> Config:
    """A configuration of a real tenant whose systems are the served twin; keywords change single values."""

    def made(**changes: str) -> Path:
        (tmp_path / "secret").write_text(changes.pop("client_secret", hosts.CLIENT_SECRET))
        (tmp_path / "password").write_text(changes.pop("servicenow_password", hosts.SERVICENOW_PASSWORD))
        values = {
            "mode": "observe",
            "answers": "silent",
            "tenant": hosts.TENANT_ID,
            "client": hosts.CLIENT_ID,
            "secret": str(tmp_path / "secret"),
            "graph": served.graph.removesuffix("/v1.0"),
            "login": served.login,
            "servicenow": served.servicenow,
            "user": hosts.SERVICENOW_USER,
            "password": str(tmp_path / "password"),
            "ca": str(served.ca_file),
            "item": "Microsoft 365 licence",
            **changes,
        }
        path = tmp_path / "real.toml"
        path.write_text(REAL.format(**values))
        return path

    return made


@pytest.mark.tls
def test_a_real_tenant_is_a_change_of_configuration_only(config, capsys):
    code = run(["--config", str(config()), "reconcile", "--output", "json"])

    report = json.loads(capsys.readouterr().out)
    assert code == 3
    assert report["mode"] == "observe"
    assert report["writes"] == {"graph": 0, "servicenow": 0}
    found = {row["number"]: row for row in report["tickets"]}
    assert found["RITM0010001"]["verdict"] == "false"
    assert [a["result"] for a in found["RITM0010001"]["actions"]] == ["planned", "planned"]


@pytest.mark.tls
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"client_secret": "wrong"}, "AADSTS7000215"),
        ({"tenant": "11111111-2222-4333-8444-555555555555"}, "tenant"),
        ({"servicenow_password": "wrong"}, "servicenow"),
        ({"item": "No such item"}, "No such item"),
        ({"secret": "missing-file"}, "missing-file"),
    ],
)
def test_wrong_credentials_and_names_are_one_sentence(config, capsys, changes, words):
    code, told = sentence(capsys, "--config", str(config(**changes)), "reconcile")

    assert code in (1, 2)
    assert words.lower() in told.lower()
    assert told.count("\n") == 1
    assert hosts.CLIENT_SECRET not in told


def _closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.tls
def test_a_system_that_cannot_be_reached_is_one_sentence(config, capsys):
    code = run(["--config", str(config(graph=f"https://127.0.0.1:{_closed_port()}")), "doctor"])

    assert code == 1
    assert "ConnectError" in capsys.readouterr().out


def test_an_unknown_key_names_the_file_and_the_closest_word(tmp_path, capsys):
    path = tmp_path / "bad.toml"
    path.write_text("[tenants.contoso]\nsandbox = true\nmod = 'enforce'\n")

    code, told = sentence(capsys, "--config", str(path), "reconcile")

    assert code == 2
    assert "bad.toml" in told
    assert "'mode'" in told


def test_a_second_cycle_names_who_holds_the_tenant_and_since_when(state, capsys):
    assert run(["reconcile", "--ticket", "RITM0010021"]) in (0, 3)
    capsys.readouterr()
    with open_database(state / "reconciler.db") as database, database.write() as session:
        leases.claim(session, "contoso", holders.name_of(os.getpid()), ttl_s=600)

    code, told = sentence(capsys, "reconcile")

    assert code == 1
    assert f":{os.getpid()}:" in told
    assert "since" in told


def test_a_cycle_that_was_killed_does_not_keep_the_next_one_out(state, capsys):
    assert run(["reconcile", "--ticket", "RITM0010021"]) in (0, 3)
    with open_database(state / "reconciler.db") as database, database.write() as session:
        leases.claim(session, "contoso", holders.name_of(NOBODY), ttl_s=600)

    assert run(["reconcile", "--ticket", "RITM0010021"]) in (0, 3)


def test_reading_commands_work_beside_a_running_cycle(state, capsys):
    assert run(["reconcile", "--ticket", "RITM0010021"]) in (0, 3)
    with open_database(state / "reconciler.db") as database, database.write() as session:
        leases.claim(session, "contoso", holders.name_of(os.getpid()), ttl_s=600)

    assert run(["reconcile", "--dry-run"]) == 3
    assert run(["status"]) == 0
    assert run(["audit", "verify"]) == 0


@pytest.mark.parametrize("file", ["reconciler.db", "sandbox/world.json"])
def test_a_damaged_state_is_one_sentence_and_nothing_is_lost(state, capsys, file):
    assert run(["reconcile", "--ticket", "RITM0010021"]) in (0, 3)
    capsys.readouterr()
    (state / file).write_bytes(b"this is not it")
    for journal in state.glob("reconciler.db-*"):
        journal.unlink()

    code, told = sentence(capsys, "reconcile")

    assert code == 1
    assert "damaged" in told or "not a store" in told
    assert (state / file).read_bytes() == b"this is not it"


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_state_directory_that_cannot_be_written_is_one_sentence(tmp_path, monkeypatch, capsys):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    monkeypatch.setenv("RECONCILER_STATE_DIR", str(closed / "var"))

    code, told = sentence(capsys, "reconcile")

    assert code == 1
    assert str(closed) in told


def test_a_state_directory_that_is_a_file_is_one_sentence(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("RECONCILER_STATE_DIR", str(tmp_path / "file"))

    code, told = sentence(capsys, "reconcile")

    assert code == 1
    assert "file" in told


def test_a_wrong_option_is_a_usage_error(capsys):
    code, told = sentence(capsys, "reconcile", "--outptu", "json")

    assert code == 2
    assert "--outp" in told
