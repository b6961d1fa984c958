"""Mail as it is configured: the shipped loop, the terminal and doctor, over the sandbox's SMTP server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.cli.main import run
from reconciler.config import load
from reconciler.doctor import Health, examine
from reconciler.loop.observe import Scope
from reconciler.metrics import Meter
from reconciler.once import once
from reconciler.sandbox import hosts
from reconciler.sandbox.server import Serving, serve
from reconciler.sandbox.world import World
from reconciler.wiring import open_app
from tests.make_metrics import a_registry, samples, total
from tests.make_world import contoso

SHIPPED = (Path(__file__).parents[2] / "config.toml").read_text(encoding="utf-8")
pytestmark = pytest.mark.tls


@pytest.fixture
def mailbox() -> Iterator[tuple[World, Serving]]:
    world = contoso()
    with serve(world) as sandbox:
        yield world, sandbox


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mailbox: tuple[World, Serving]):
    monkeypatch.setenv("RECONCILER_STATE_DIR", str(tmp_path / "var"))
    monkeypatch.delenv("RECONCILER_CONFIG", raising=False)
    (tmp_path / "secret").write_text(hosts.MAIL_PASSWORD + "\n")
    _, sandbox = mailbox

    def written(auth: str = "password", **keys: str) -> Path:
        """The shipped file with a mail server."""
        values = {
            "smtp_host": "127.0.0.1",
            "smtp_port": sandbox.smtp_port,
            "smtp_auth": auth,
            "smtp_user": hosts.MAIL_USER,
            "mail_from": hosts.MAIL_USER,
            "mail_to": ["desk@contoso.example"],
            "mail_people": "always",
            **keys,
        }
        text = SHIPPED
        for name, value in values.items():
            text, count = re.subn(rf"(?m)^{name} = .*$", f"{name} = {json.dumps(value)}", text)
            assert count == 1
        text = text.replace("# public_url", "public_url", 1)
        text = re.sub(r"(?m)^# smtp_ca_file = .*$", f'smtp_ca_file = "{sandbox.ca_file}"', text)
        text = re.sub(r"(?m)^# smtp_password_file = .*$", 'smtp_password_file = "secret"', text)
        path = tmp_path / "config.toml"
        path.write_text(text)
        return path

    return written


@pytest.mark.parametrize(
    ("auth", "to"),
    [
        ("xoauth2", "desk"),
        ("password", "desk"),
        ("password", "laura.mcbride@contoso.example"),
        ("password", "desk@contoso.example"),
    ],
)
def test_a_test_mail_is_taken_and_that_is_not_called_proof(config, mailbox, capsys, auth: str, to: str):
    assert run(["--config", str(config(auth)), "notify", "test", "--by", "mail", "--to", to]) == 0

    assert "no proof" in capsys.readouterr().out
    (mail,) = mailbox[0].post.mails
    assert mail.recipients == ["desk@contoso.example" if to == "desk" else to]
    assert (mail.account, str(mail.parsed()["Subject"])) == (hosts.MAIL_USER, "Test of the license reconciler")


def test_who_is_in_no_domain_that_is_written_to_is_said_in_a_sentence(config, mailbox, capsys):
    path = config()

    assert run(["--config", str(path), "notify", "test", "--by", "mail", "--to", "eve@elsewhere.example"]) == 1

    assert "no mail address is configured for eve@elsewhere.example" in capsys.readouterr().err
    assert mailbox[0].post.mails == []


def test_without_a_mail_server_a_test_mail_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RECONCILER_STATE_DIR", str(tmp_path))
    monkeypatch.chdir(Path(__file__).parents[2])

    assert run(["notify", "test", "--by", "mail"]) == 1
    assert "no mail server is configured" in capsys.readouterr().err


def test_the_shipped_loop_mails_story_12_once_and_no_secret_is_kept(config, mailbox, tmp_path, capsys):
    settings = load(config(), {"RECONCILER_STATE_DIR": str(tmp_path / "var")})
    scope = Scope(frozenset({"RITM0010012"}), frozenset())
    with open_app(settings, "contoso") as app:
        report = once(app, scope)
        once(app, scope)

    assert report.problems == ()
    assert sorted(m.recipients[0] for m in mailbox[0].post.mails) == [
        "desk@contoso.example",
        "laura.mcbride@contoso.example",
    ]
    capsys.readouterr()
    run(["--config", str(tmp_path / "config.toml"), "status", "--output", "json"])
    assert json.loads(capsys.readouterr().out)["notices"]["sent"] == 4  # the two cards in Teams beside them
    for file in (tmp_path / "var").glob("reconciler.db*"):
        assert hosts.MAIL_PASSWORD.encode() not in file.read_bytes()


def test_a_wrong_password_is_in_status_as_waiting_and_nowhere_in_words(config, mailbox, tmp_path, capsys):
    (tmp_path / "secret").write_text("wrong-and-secret\n")
    path = config()
    run(["--config", str(path), "reconcile", "--ticket", "RITM0010012"])
    capsys.readouterr()

    run(["--config", str(path), "notify", "list", "--output", "json"])
    said = capsys.readouterr()

    assert json.loads(said.out)["counts"]["queued"] == 2
    assert "535" in said.out
    assert "wrong-and-secret" not in said.out + said.err
    for file in (tmp_path / "var").glob("reconciler.db*"):
        assert b"wrong-and-secret" not in file.read_bytes()


@pytest.mark.parametrize(
    ("auth", "changes", "health", "said"),
    [
        ("password", {}, Health.WELL, "mail goes to 127.0.0.1"),
        ("password", {"smtp_host": "smtp.office365.com"}, Health.WARNING, "use smtp_auth xoauth2"),
        ("xoauth2", {"smtp_host": "smtp.office365.com"}, Health.WELL, "mail goes to smtp.office365.com"),
        ("none", {"smtp_tls": "none"}, Health.WARNING, "in the clear"),
    ],
)
def test_doctor_says_what_is_wrong_with_the_way_out(config, tmp_path, auth, changes, health, said):
    path = config(auth, **changes)
    settings = load(path, {"RECONCILER_STATE_DIR": str(tmp_path / "var")})

    with open_app(settings, "contoso") as app:
        (found,) = [f for f in examine(app) if f.name == "mail"]

    assert found.health is health
    assert said in found.sentence


def test_each_mail_and_each_token_for_it_is_counted(config, tmp_path):
    settings = load(config("xoauth2"), {"RECONCILER_STATE_DIR": str(tmp_path / "var")})
    registry = a_registry()
    with open_app(settings, "contoso") as app:
        app.meter = Meter(registry)
        assert app.notifier is not None
        app.notifier.try_mail("desk")

    found = samples(registry)
    assert total(found, "reconciler_api_requests_total", api="mail", operation="send", code="2xx") == 1
    assert total(found, "reconciler_api_requests_total", api="login", operation="token", code="2xx") == 1
