"""Our cards as Microsoft's own renderer draws them, with Markdown switched on, in a real browser.

The renderer comes by `make renderer`; without it these tests are skipped and say so. It draws later versions than Teams
does, so what Teams refuses is the schema's to find (`tests/pure/test_cards.py`). Pictures are left in `var/browser`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from reconciler.cards.request import request_card
from tests.browser.conftest import PICTURES
from tests.make_cards import HOSTILE, LINKS, a_told, everywhere, told
from tests.pure.test_cards import every_card

RENDERER = Path(__file__).parents[2] / "var" / "renderer"
SCRIPTS = (RENDERER / "markdown-it.js", RENDERER / "adaptivecards.js")
WHITE = "<!doctype html><meta charset=utf-8><body style='margin:12px;font:14px Segoe UI,sans-serif'><div id=card></div>"
DRAW = """card => {
  const drawn = new AdaptiveCards.AdaptiveCard();
  drawn.hostConfig = new AdaptiveCards.HostConfig({fontFamily: "Segoe UI, sans-serif", supportsInteractivity: true});
  drawn.parse(card);
  document.getElementById("card").replaceChildren(drawn.render());
  return document.getElementById("card").innerText;
}"""
MARKDOWN = """() => {
  const markdown = window.markdownit();
  window.processed = 0;
  AdaptiveCards.AdaptiveCard.onProcessMarkdown = (text, result) => {
    window.processed += 1;
    result.outputHtml = markdown.render(text);
    result.didProcess = true;
  };
}"""
ALIVE = "#card a, #card img, #card script, #card iframe, #card b, #card strong, #card em, #card code, #card li"


class Drawn:
    """A page with the renderer, and what it drew."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.asked: list[str] = []
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("dialog", lambda dialog: self.asked.append(f"dialog {dialog.message}"))
        page.set_content(WHITE)
        for script in SCRIPTS:
            page.add_script_tag(path=script)
        page.evaluate(MARKDOWN)

    def draw(self, card: dict[str, Any], name: str = "") -> str:
        self.asked.clear()
        text: str = self.page.evaluate(DRAW, card)
        if name:
            PICTURES.mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=PICTURES / f"card-{name}.png", full_page=True)
        return text

    @property
    def alive(self) -> list[str]:
        """Everything in the drawn card that typed text must never become."""
        found: list[str] = self.page.eval_on_selector_all(ALIVE, "all => all.map(e => e.outerHTML.slice(0, 100))")
        return found


@pytest.fixture
def drawn(chromium: Browser) -> Any:
    missing = [script.name for script in SCRIPTS if not script.is_file()]
    if missing:
        pytest.skip(f"{' and '.join(missing)} are not in {RENDERER}: fetch them with `make renderer`")
    page = chromium.new_page(viewport={"width": 560, "height": 400})
    yield Drawn(page)
    page.close()


def test_a_request_reads_as_it_should_wide_and_narrow(drawn: Drawn):
    text = drawn.draw(request_card(a_told(), LINKS), "request")
    drawn.page.set_viewport_size({"width": 340, "height": 600})
    drawn.draw(request_card(a_told(), LINKS), "request-narrow")

    for part in (
        "Licence approval needed", "Alex Wilber (alexw@contoso.example)", "Justification (typed by the requester)",
        "Needs Phone System for the new office", "What will change", "What cannot be undone", "Review and decide",
    ):  # fmt: skip
        assert part in text
    assert drawn.page.evaluate("document.documentElement.scrollWidth") <= 340


def test_markdown_is_on_or_these_tests_would_prove_nothing(drawn: Drawn):
    card = request_card(a_told(), LINKS)
    raw = {"type": "TextBlock", "text": HOSTILE}

    drawn.draw({**card, "body": [raw]})

    assert any("evil.example" in found for found in drawn.alive)


def test_hostile_text_in_every_field_becomes_no_link_image_element_mention_or_date(drawn: Drawn):
    hostile = "Needs [Phone](https://evil.example/a) **now** <at>CEO</at> {{DATE(2017-02-14T06:08:00Z,SHORT)}} <b>x</b>"
    drawn.draw(request_card(a_told(shown=told(why=hostile)), LINKS), "request-hostile")

    for name, card in every_card(a_told(shown=everywhere(HOSTILE)), HOSTILE).items():
        text = drawn.draw(card, f"hostile-{name}")

        assert drawn.alive == [], name
        assert drawn.asked == [], name
        assert "2017" not in text or "{ {DATE(2017-02-14T06:08:00Z,SHORT)}}" in text, name
        assert "14/02" not in text and "2/14" not in text, name
        if name == "request":
            assert "[Click](hxxps://evil.example/a)" in text
            assert "< at>CEO< /at>" in text
            assert "<b>bold</b>" in text
    assert drawn.page.evaluate("window.processed") > 0


def test_a_button_leads_to_our_page_only(drawn: Drawn):
    drawn.draw(request_card(a_told(shown=everywhere(HOSTILE)), LINKS))

    buttons = drawn.page.eval_on_selector_all("#card button", "all => all.map(e => e.innerText)")
    assert buttons == ["Review and decide"]


def test_every_kind_of_card_is_drawn(drawn: Drawn):
    for name, card in every_card(a_told(), "Not this year, please.").items():
        assert drawn.draw(card, name), name
    many = [{"what": "assign license", "before": "none", "after": f"SKU {n}", "undo": "reversible"} for n in range(30)]
    assert "and 10 more, see the page" in drawn.draw(request_card(replace(a_told(), shown=told(changes=many)), LINKS))
