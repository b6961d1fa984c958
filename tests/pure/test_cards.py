"""Cards: complete, valid for Teams, small enough, and dead to whatever somebody has typed."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.approvals.machine import move
from reconciler.approvals.values import Approval, Channel, State, Verdict
from reconciler.cards.check import SIZE_MAX, BadCard, checked, elements, faults, message
from reconciler.cards.links import Links
from reconciler.cards.request import request_card
from reconciler.cards.short import break_glass_card, channel_card, digest_card, guard_card, outcome_card, trial_card
from reconciler.cards.text import callable_name, inert
from tests.make import MONDAY
from tests.make_approvals import EVE, ID, LAURA, TOM, a_human, a_stage, an_answer
from tests.make_cards import HOSTILE, LINKS, PUBLIC, SYS_ID, a_told, everywhere, schema_errors, told

TRIP = {
    "guard": "grants_per_cycle", "lane": "grants", "wanted": 60, "limit": 50, "digest": "e" * 64,
    "sentence": "60 people would gain a licence; 50 may.",
}  # fmt: skip


def texts(card: dict[str, Any], kind: str = "TextRun") -> list[str]:
    return [element["text"] for element in elements(card) if element["type"] == kind]


def every_card(approval: Approval, text: str = "as it is") -> dict[str, dict[str, Any]]:
    """One of each kind, about this request."""
    signed = replace(an_answer(TOM), channel=Channel.BREAK_GLASS)
    ended = replace(
        move(approval, State.REJECTED), decisions=(an_answer(verdict=Verdict.REJECT, comment=text),), reason=text
    )
    return {
        "request": request_card(approval, LINKS),
        "reminder": request_card(approval, LINKS, reminder=2),
        "channel": channel_card(approval, LINKS, "Licence approval needed", [a_human(text), LAURA]),
        "outcome": outcome_card(ended, LINKS),
        "break_glass": break_glass_card(replace(approval, decisions=(signed,)), LINKS),
        "guard": guard_card(LINKS, **{**TRIP, "sentence": text}),
        "digest": digest_card(LINKS, [text] * 30, count=30),
        "test": trial_card(LINKS, tenant=text, at=MONDAY),
    }


def test_a_request_shows_everything_that_the_decision_is_about():
    card = request_card(a_told(), LINKS)

    shown = " | ".join([*texts(card), *texts(card, "TextBlock")])
    for part in (
        "Alex Wilber (alexw@contoso.example)", "Microsoft 365 E5", "group M365-E5", "until 2026-12-31", "57.00",
        "CC-4711 Marketing", "3 free of 25", "Dana Petrova", "RITM0000001, line 1", "Needs Phone System",
        "high-cost: asks", "manager, then cost-centre owner", "assign license", "SPE_E5",
        "The usage location is set to DE", "the rule high-cost asks for it", "d" * 16,
    ):  # fmt: skip
        assert part in shown
    assert card["actions"] == [
        {"type": "Action.OpenUrl", "title": "Review and decide", "url": f"{PUBLIC}/approvals/{ID}"},
        {
            "type": "Action.OpenUrl",
            "title": "Open ticket",
            "url": f"https://contoso.service-now.com/sc_req_item.do?sys_id={SYS_ID}",
        },
    ]
    assert f"{PUBLIC}/approvals/{ID}" in card["fallbackText"]


def test_the_structure_of_a_request_is_what_people_have_learnt_to_read():
    card = request_card(a_told(), LINKS)

    outline = [e["text"] if e["type"] == "TextBlock" else e["type"] for e in card["body"]]
    assert outline == [
        "Licence approval needed",
        f"{ID}, decide before 2026-11-07 09:00 UTC",
        "Stage 1 of 1: manager, waits for 1 answer",
        "Table",
        "Container",
        "Rules",
        "RichTextBlock",
        "What will change",
        "Table",
        "What cannot be undone",
        "RichTextBlock",
        f"Request sha256 {'d' * 16} (void if anything above changes)",
        "Nothing is decided here: the button opens the page, where you sign in.",
    ]
    assert [i["text"] for i in card["body"][4]["items"][:1]] == ["Justification (typed by the requester)"]
    assert card["version"] == "1.5"
    assert [t["firstRowAsHeaders"] for t in card["body"] if t["type"] == "Table"] == [False, True]


def test_what_is_not_known_is_said_to_be_not_known():
    card = request_card(a_told(shown={"product": None}), LINKS)

    shown = [*texts(card), *texts(card, "TextBlock")]
    assert shown.count("not known") == 9
    assert "It is not known what could not be undone." in shown
    assert "It is not known which rules were judged." in shown
    assert "nothing was written" in shown
    assert len(card["actions"]) == 1


@pytest.mark.parametrize("text", ["as it is", HOSTILE, "\ud800", "", "x" * 100_000], ids=lambda t: repr(t[:12]))
def test_every_kind_of_card_is_valid_for_teams_whatever_was_typed(text: str):
    for name, card in every_card(a_told(shown=everywhere(text)), text).items():
        assert schema_errors(card) == [], name
        assert list(faults(card, LINKS)) == [], name


def test_hostile_text_stands_in_text_runs_only_and_is_dead_there():
    for name, card in every_card(a_told(shown=everywhere(HOSTILE)), HOSTILE).items():
        runs, ours = texts(card), texts(card, "TextBlock")

        assert any("hxxps" in text for text in runs) or name in ("channel", "break_glass"), name
        assert not any("evil" in text for text in ours if "<at>" not in text), name
        for text in runs:
            assert "{{" not in text
            assert "<at" not in text.lower()
            assert "https://" not in text.lower()
            assert "javascript:" not in text
            assert len(text) <= 500
            assert not set(text) & set("\r\n\t\u200b\u202e\u202c")
        assert all(e["url"].startswith(PUBLIC) for e in elements(card) if "url" in e)


def test_only_names_that_we_mention_stand_in_a_mention():
    card = channel_card(a_told(), LINKS, "Licence approval needed", [a_human(HOSTILE), LAURA])

    mentions = card["msteams"]["entities"]
    assert [m["mentioned"]["id"] for m in mentions] == [inert(f"oid-{HOSTILE}", 120), "oid-laura"]
    assert mentions[1]["text"] == "<at>Laura</at>"
    assert not set(mentions[0]["mentioned"]["name"]) & set("<>[](){}*_`@/:.!|~#&\\")


def test_a_channel_reads_number_product_link_and_mention_and_nothing_else():
    card = channel_card(a_told(), LINKS, "Licence approval needed", [LAURA])

    whole = json.dumps(card)
    assert all(part in whole for part in ("RITM0000001", "Microsoft 365 E5", f"/approvals/{ID}", "<at>Laura</at>"))
    assert not any(
        part in whole for part in ("Alex", "alexw", "Phone System", "CC-4711", "57.00", "Dana", "RITM0000001, line")
    )


@pytest.mark.parametrize("count", [0, 1, 20, 21, 400])
@pytest.mark.parametrize("length", [10, 499, 5_000])
def test_a_card_fits_and_says_how_many_changes_it_leaves_out(count: int, length: int):
    change = {"what": "assign license", "before": "\u20ac" * length, "after": '"' * length, "undo": "reversible"}
    card = request_card(a_told(shown=told(changes=[change] * count)), LINKS)

    assert len(message(card)) <= SIZE_MAX
    tables = [e for e in card["body"] if e["type"] == "Table"]
    shown = sum(len(t["rows"]) - 1 for t in tables[1:])
    said = [t for t in texts(card, "TextBlock") if t.startswith("and ")]
    assert said == ([f"and {count - shown} more, see the page"] if shown < count else [])
    assert "CC-4711 Marketing" in texts(card)


def test_the_longest_texts_everywhere_still_fit():
    text = "\u20ac\U0001f600" * 300 + '"\\'
    for name, card in every_card(a_told(shown=everywhere(text)), text).items():
        assert len(message(card)) <= SIZE_MAX, name


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[a](https://evil.example)", "[a](hxxps://evil.example)"),
        ("HTTP://evil.example", "HxxP://evil.example"),
        ("ht\u200btps://evil.example", "hxxps://evil.example"),
        ("<at>CEO</at>", "< at>CEO< /at>"),
        ("< AT >CEO< / at >", "< AT >CEO< /at >"),
        ("{{{DATE(x)}}}", "{ { {DATE(x)}}}"),
        ("{\u200b{TIME(x)}}", "{ {TIME(x)}}"),
        ("a\u202eb\u2066c\u200fd\ufeffe", "abcde"),
        ("one\r\ntwo\tthree\u2028four\x00five\x1b[31m", "one two three four five [31m"),
        ("e\u0301", "\u00e9"),
        ("\ufe0fa\u3164", "a"),
        ("x" * 600, "x" * 499 + "\u2026"),
        ("Data: 5 GB, time 12:30", "Data: 5 GB, time 12:30"),
        (None, "None"),
    ],
)
def test_text_of_others_is_made_inert(text: object, shown: str):
    assert inert(text) == shown


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.one_of(st.sampled_from("<>at/{}hps:w. \u200b\u202e"), st.characters()), max_size=80))
def test_no_text_gets_through_alive(text: str):
    found = inert(text)

    assert "{{" not in found
    assert "://" not in found or not any(s in found.lower() for s in ("http://", "https://"))
    assert "<at" not in found.lower()
    assert inert(found) == found
    assert not set(callable_name(text)) & set("<>[](){}*_`@/:.!|~#&\\\n")
    assert callable_name(text)


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda c: c.pop("type"), "type"),
        (lambda c: c.update(version="1.6"), "version"),
        (lambda c: c.pop("fallbackText"), "fallbackText"),
        (lambda c: c["actions"].extend(c["actions"] * 2), "actions"),
        (lambda c: c["actions"][0].update(url="javascript:alert(1)"), "elsewhere"),
        (lambda c: c["actions"][0].update(url=f"{PUBLIC}.evil.example/approvals/{ID}"), "elsewhere"),
        (lambda c: c["actions"][0].update(url=f"{PUBLIC}/approvals/{ID}?next=x"), "elsewhere"),
        (lambda c: c["actions"][0].update(url=f"http{PUBLIC[5:]}/approvals/{ID}"), "elsewhere"),
        (lambda c: c["body"].append({"type": "TextBlock", "text": "[a](b)"}), "words of ours"),
        (lambda c: c["body"].append({"type": "TextBlock", "text": "<at>a</at><b>"}), "words of ours"),
        (lambda c: c["body"].append({"type": "Image", "url": "https://x.example/p.png"}), "element Image"),
        (lambda c: c["body"].append({"type": "FactSet", "facts": []}), "element FactSet"),
        (lambda c: c["body"].append({"type": "Container", "items": [], "selectAction": {}}), "selectAction"),
        (lambda c: c["body"].append({"type": "TextRun", "text": "{{DATE(x)}}"}), "expand"),
        (lambda c: c["body"].append({"type": "TextRun", "text": "x" * SIZE_MAX}), "bytes"),
    ],
)
def test_a_card_that_must_not_leave_does_not(spoil: Any, fault: str):
    card = request_card(a_told(), LINKS)
    spoil(card)

    with pytest.raises(BadCard, match=fault):
        checked(card, LINKS)


@pytest.mark.parametrize(
    "base",
    [
        "http://licences.contoso.example", "https://a@b.example", "https://x.example/path", "https://x.example?q", "",
        "javascript:alert(1)", "https://", "ftp://x.example", "https://x.example/", "https://x.example:bad",
    ],
)  # fmt: skip
def test_links_start_from_an_https_address_of_a_host_alone(base: str):
    if not base:
        return
    with pytest.raises(ValueError, match="https"):
        Links(base)


def test_the_machines_own_pages_may_be_plain_http():
    assert Links("http://localhost:8080").request(ID) == f"http://localhost:8080/approvals/{ID}"


@pytest.mark.parametrize("id", ["", "LR-" + "A" * 25, "LR-" + "a" * 26, f"{ID}\n", f"{ID}/../x", "LR-" + "1" * 26])
def test_a_link_is_made_for_a_checked_id_only(id: str):
    with pytest.raises(ValueError, match="no id"):
        LINKS.request(id)


@pytest.mark.parametrize("sys_id", [None, "", SYS_ID.upper(), f"{SYS_ID}&x=1", 7, f"{SYS_ID}\n"])
def test_what_is_no_sys_id_gives_no_button(sys_id: object):
    assert LINKS.ticket(sys_id) == ""


def test_an_outcome_says_who_answered_and_why():
    approval = replace(
        move(a_told(), State.REJECTED), decisions=(an_answer(EVE, Verdict.REJECT, comment="Not this year, please."),)
    )

    card = outcome_card(approval, LINKS)

    assert texts(card, "TextBlock")[0] == "Rejected"
    assert {"Rejected by", "Eve (manager, page)", "Not this year, please."} <= set(texts(card))


def test_an_escalated_stage_with_a_strange_name_is_still_in_our_words():
    card = request_card(a_told(a_stage("cost_center_owner*[x]")), LINKS)

    assert "Stage 1 of 1: cost center ownerx, waits for 1 answer" in texts(card, "TextBlock")
