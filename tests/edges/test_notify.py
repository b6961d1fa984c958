"""`reconciler notify`: does what people are told arrive, and what was told about a request."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reconciler.cli.main import run
from reconciler.config import load
from reconciler.errors import UserError

PRODUCTION = """
[web]
public_url = "https://licences.contoso.com"

[notify]
teams_webhook_file = "desk"
{more}

[tenants.production.servicenow]
instance = "https://contoso.service-now.com"
auth = "api_key"
api_key_file = "desk"

[tenants.production.graph]
tenant_id = "72f988bf-86f1-41af-91ab-2d7cd011db47"
client_id = "72f988bf-86f1-41af-91ab-2d7cd011db47"
client_secret_file = "desk"
"""


MAIL = 'smtp_host = "mail.contoso.com"\nmail_from = "licences@contoso.com"'


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RECONCILER_STATE_DIR", str(tmp_path / "var"))
    monkeypatch.delenv("RECONCILER_CONFIG", raising=False)
    monkeypatch.chdir(Path(__file__).parents[2])
    return tmp_path


def configured(folder: Path, more: str = "", text: str = PRODUCTION) -> Path:
    (folder / "desk").write_text("https://evil.example/workflows/verysecret?sig=alsosecret\n")
    path = folder / "config.toml"
    path.write_text(text.replace("{more}", more))
    return path


@pytest.mark.parametrize("to", ["desk", "laura.mcbride@contoso.example", "Laura.McBride@contoso.example"])
def test_a_test_card_is_sent_and_taking_it_is_not_called_proof(state, capsys, to: str):
    assert run(["notify", "test", "--to", to]) == 0

    assert "took the card" in (said := capsys.readouterr().out)
    assert "no proof" in said


def test_who_has_no_webhook_is_said_in_a_sentence(state, capsys):
    assert run(["notify", "test", "--to", "nobody@contoso.example"]) == 1

    assert "no webhook is configured for nobody@contoso.example" in capsys.readouterr().err


def test_what_was_told_about_a_request_is_listed(state, capsys):
    run(["reconcile", "--ticket", "RITM0010012", "--output", "json"])
    note = capsys.readouterr().out
    assert json.loads(note)["writes"]["graph"] == 0
    run(["status", "--output", "json"])
    assert json.loads(capsys.readouterr().out)["notices"] == {"queued": 0, "sent": 2, "dead": 0, "dropped": 0}
    run(["explain", "RITM0010012"])
    request = next(word for word in capsys.readouterr().out.split() if word.startswith("LR-"))

    assert run(["notify", "list", "--request", request, "--output", "json"]) == 0

    found = json.loads(capsys.readouterr().out)["notices"]
    assert [(n["recipient"], n["state"], n["proven"]) for n in found] == [
        ("person:laura.mcbride@contoso.example", "sent", False),
        ("channel:desk", "sent", False),
    ]


def test_a_webhook_on_a_host_that_is_not_listed_is_refused_without_saying_it(state, capsys):
    path = configured(state)

    assert run(["--config", str(path), "notify", "test"]) == 2

    said = capsys.readouterr().err
    assert "its host is not among" in said
    assert not any(secret in said for secret in ("evil", "verysecret", "alsosecret", "sig="))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('quiet_hours = "20-07"', "two times of the day"),
        ('quiet_hours = "20:00-20:00"', "two times of the day"),
        ('teams_hosts = ["https://flows.contoso.com"]', "the name of a host"),
        ('teams_hosts = ["*"]', "the name of a host"),
        ('smtp_host = "mail.contoso.com"', "needs mail_from"),
        (f'{MAIL}\nsmtp_auth = "password"', "needs smtp_user"),
        (f'{MAIL}\nsmtp_auth = "password"\nsmtp_user = "x@contoso.com"', "needs smtp_password_file"),
        (f'{MAIL}\nsmtp_auth = "xoauth2"\nsmtp_user = "x@contoso.com"\nsmtp_tls = "none"', "never used without TLS"),
        (f'{MAIL}\nsmtp_password = "hunter2"', "is a secret and is not written into the file"),
        (f'{MAIL}\nmail_to = ["a@b.example\\r\\nBcc: x@y.example"]', "plain mail address"),
        (f'{MAIL}\nmail_domains = ["@contoso.com"]', "part of an address after the @"),
        (f'{MAIL}\n[notify.people."laura@contoso.com"]\ntimezone = "Mars"', "the name of a time zone"),
        ('smtp_host = "mail contoso"', "the name of a host"),
        ('teams_webhook = "https://x"', "is a secret and is not written into the file"),
        ('[notify.chats."laura@contoso.com"]\nwebhook_file = "nowhere"', "there is no file"),
        ('[notify.chats."laura@contoso.com"]\nwebhook = "https://x"', "webhook"),
    ],
)
def test_what_is_wrong_in_the_file_is_said_before_anything_is_contacted(state, more: str, said: str):
    with pytest.raises(UserError, match=said):
        load(configured(state, more), {})


def test_cards_need_an_address_to_link_to(state):
    text = PRODUCTION.replace('public_url = "https://licences.contoso.com"', "")

    with pytest.raises(UserError, match=r"set web\.public_url"):
        load(configured(state, text=text), {})
