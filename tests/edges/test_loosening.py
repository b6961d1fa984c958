"""Loosening from the terminal: where people are named who sign, a typed name lets nothing through and lifts nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.edges.test_terminal_decisions import Desk
from tests.edges.test_terminal_decisions import config as config  # fixtures
from tests.edges.test_terminal_decisions import desk as desk

WHO = "nina.schulz"
NOVAK, ROSSI = "robert.novak", "elena.rossi"
LATE = "RITM0010027"  # its period is over, and the licence was not given by us


@pytest.fixture
def day(desk: Desk) -> str:
    """The digest of a day of known ends that can be released ahead."""
    desk.say("reconcile", "--ticket", "RITM0010009")
    desk.say("sandbox", "advance", "25d")
    (ahead,) = desk.told("guards", "show")["ahead"]
    return str(ahead["digest"])


def released(desk: Desk) -> list[Any]:
    return [row["released_by"] for row in desk.told("guards", "show")["ahead"]]


def test_a_plan_is_let_through_by_a_signature_and_the_log_says_whose(desk, day):
    release = ["guards", "release", day, "--reason", "all of them are known"]

    code, _, err = desk.say(*release, "--by", "elena.rossi@contoso.example")
    assert (code, "--by is for where nobody is named who signs" in err) == (2, True)
    assert released(desk) == [None]

    file = desk.sign(NOVAK, *release)
    assert desk.say(*release, "--signature", file)[0] == 0
    assert released(desk) == ["robert.novak@contoso.example"]
    (row,) = desk.rows("guard.operator")
    assert (row["subject"], row["body"]["assurance"], row["body"]["agent"][:7]) == ("release", "strong", "SHA256:")
    assert row["body"]["who"]["upn"] == "robert.novak@contoso.example"
    assert desk.say("audit", "verify")[0] == 0


def test_a_signature_is_for_one_plan_as_it_stands_and_good_once(desk, day):
    release = ["guards", "release", day, "--reason", "all of them are known"]
    file = desk.sign(NOVAK, *release)

    wrong = {
        "of nobody who may": ["--signature", desk.sign(WHO, *release)],  # has a key, and is not named
        "not over these bytes": ["--signature", file, "--for", "2h"],
        "signature does not count": [
            "--signature", desk.sign(NOVAK, *release, spoilt=lambda b: b.replace(b"removals", b"grants"))
        ],
    }  # fmt: skip
    for words, more in wrong.items():
        code, _, err = desk.say(*release, *more)
        assert (code, words in err, err.count("\n")) == (1, True, 1)
    assert "not over these bytes" in desk.say(*release[:-1], "another reason", "--signature", file)[2]
    assert released(desk) == [None]

    assert desk.say(*release, "--signature", file)[0] == 0
    assert "not over these bytes" in desk.say(*release, "--signature", file)[2]  # it was let through since
    assert len(desk.rows("guard.released")) == 1


def test_nobody_stops_by_signature_and_nobody_lifts_without_one(desk):
    off = ["kill-switch", "off", "--reason", "found the cause"]
    assert desk.say("kill-switch", "on", "--reason", "strange", "--by", "ada")[0] == 0
    assert desk.say("freeze", "add", "audit", "--reason", "audit", "--by", "ada")[0] == 0

    assert desk.say(*off, "--by", "ada")[0] == 2
    assert desk.say("freeze", "lift", "audit", "--reason", "over", "--by", "ada")[0] == 2
    assert desk.told("kill-switch", "status")["on"] is True

    file = desk.sign(NOVAK, *off)
    assert desk.say(*off, "--signature", file)[0] == 0
    assert desk.told("kill-switch", "status")["on"] is False
    lift = ["freeze", "lift", "audit", "--reason", "over"]
    assert desk.say(*lift, "--signature", desk.sign(ROSSI, *lift))[0] == 0
    assert desk.told("freeze", "list") == []

    desk.say("sandbox", "advance", "1m")
    desk.say("kill-switch", "on", "--reason", "again", "--by", "ada")
    assert "not over these bytes" in desk.say(*off, "--signature", file)[2]  # a signature of an earlier time
    assert desk.told("kill-switch", "status")["on"] is True


def test_where_lifting_takes_two_these_are_two_signers(desk):
    text = (desk.folder / "config.toml").read_text(encoding="utf-8")
    one = "second_person = false"
    assert one in text
    (desk.folder / "config.toml").write_text(text.replace(one, "second_person = true"), encoding="utf-8")
    off = ["kill-switch", "off", "--reason", "found the cause"]
    desk.say("kill-switch", "on", "--reason", "strange", "--by", "ada")

    first = desk.sign(NOVAK, *off)
    assert [desk.say(*off, "--signature", first)[0] for _ in range(2)] == [1, 1]  # one person twice is one
    assert desk.told("kill-switch", "status")["on"] is True
    assert desk.say(*off, "--signature", desk.sign(ROSSI, *off))[0] == 0
    assert desk.told("kill-switch", "status")["on"] is False
    assert [row["body"]["done"] for row in desk.rows("guard.operator")] == ["asked", "asked", "lifted"]


def test_what_becomes_of_access_is_decided_by_signature_too(desk):
    desk.say("reconcile", "--ticket", LATE)
    decide = ["drift", "decide", LATE, "--adopt", "--reason", "It was ours all along."]

    assert desk.say(*decide, "--by", "ada")[0] == 2
    assert desk.rows("question.decided") == []
    assert desk.say(*decide, "--signature", desk.sign(ROSSI, *decide))[0] == 0

    (row,) = desk.rows("question.decided")
    assert row["body"]["by"] == "elena.rossi@contoso.example"


def test_where_nobody_is_named_a_typed_name_is_kept_as_what_it_is(desk):
    file = desk.folder / "config.toml"
    text = file.read_text(encoding="utf-8")
    named = 'break_glass_signers = ["robert.novak@contoso.example", "elena.rossi@contoso.example"]'
    assert named in text
    file.write_text(text.replace(named, "break_glass_signers = []"), encoding="utf-8")
    desk.say("kill-switch", "on", "--reason", "strange", "--by", "ada")

    assert desk.say("kill-switch", "off", "--reason", "found it", "--by", "nina.schulz@contoso.example")[0] == 0

    (row,) = desk.rows("guard.operator")
    assert (row["body"]["assurance"], row["body"]["who"]) == ("low", {"name": "nina.schulz@contoso.example"})
    assert "@" in row["body"]["source"]  # the account at the keyboard
