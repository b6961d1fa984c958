"""Cards as mails: they say what the card says, in text and in HTML, and nothing in them is alive but our links."""

from __future__ import annotations

from html.parser import HTMLParser

from reconciler.cards.mail import digest, page
from reconciler.cards.request import request_card
from reconciler.cards.short import channel_card
from tests.make_cards import HOSTILE, LINKS, PUBLIC, a_told, everywhere


class Seen(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_request_says_the_same_in_text_and_in_html():
    request = a_told()
    found = page(request_card(request, LINKS), about=request.line.ticket)

    assert found.subject == f"Licence approval needed: {request.line.ticket}"
    seen = Seen(found.html)
    for words in ("Alex Wilber (alexw@contoso.example)", "Needs Phone System", "57.00", "usage location"):
        assert words in found.text
        assert words in seen.text
    assert f"{PUBLIC}/approvals/{request.id}" in found.text
    assert f"{PUBLIC}/approvals/{request.id}" in seen.links


def test_hostile_text_is_shown_and_does_nothing():
    request = a_told(shown=everywhere(HOSTILE))

    found = page(request_card(request, LINKS), about=HOSTILE)

    seen = Seen(found.html)
    allowed = {"html", "head", "meta", "body", "h2", "p", "table", "tr", "td", "blockquote", "a", "small", "br"}
    assert set(seen.tags) <= allowed
    assert all(LINKS.leads_home(link) for link in seen.links)
    assert seen.attributes <= {"lang", "charset", "style", "href"}
    for shown in (found.text, seen.text, found.subject):
        assert "https://evil" not in shown
        assert "www.evil" not in shown
        assert "\u202e" not in shown
    for shown in (found.text, seen.text):
        assert "evil.example" not in shown
        assert "evil[.]example" in shown
    assert "\n" not in found.subject
    assert "\r" not in found.subject


def test_a_channels_mail_names_nobody():
    found = page(channel_card(a_told(), LINKS, "Licence approval needed"))

    assert "Alex" not in found.text + found.html


def test_a_digest_has_a_line_each_and_is_cut():
    found = digest([f"RITM{n}: <b>{HOSTILE}</b>" for n in range(120)], count=120, url=f"{PUBLIC}/inbox")

    seen = Seen(found.html)
    assert (found.subject, seen.tags.count("li"), "b" in seen.tags) == ("120 notices in one", 100, False)
    assert "and 20 more" in found.text
    assert seen.links == [f"{PUBLIC}/inbox"]
    assert Seen(digest(["one", "two"], count=2).html).links == []
