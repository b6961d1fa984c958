"""Templates to pages. Everything is escaped; what somebody typed is shown as it is and steers nothing (I17)."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from datetime import UTC, datetime
from functools import cache
from typing import Any

from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from reconciler.web.visits import Visitor

TYPED_MAX = 4000


@cache
def _templates() -> Environment:
    """What was compiled once is compiled for every application of this process."""
    found = Environment(
        loader=PackageLoader("reconciler.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"typed": typed, "when": when, "words": words, "much": much, "address": address}
    return found


class Pages:
    """The templates of this package."""

    def __init__(self) -> None:
        self._templates = _templates()

    def page(
        self,
        template: str,
        who: Visitor | None,
        *,
        status: int = 200,
        here: str = "",
        opened: Collection[str] = (),
        refresh: int = 0,
        **facts: Any,
    ) -> HTMLResponse:
        """One page. A fact that a template needs and does not get is a defect and raises.

        `here` is the page's name in the navigation, `opened` are those that are read without sign-in from where the
        browser is. With `refresh`, the browser asks for it again after so many seconds.
        """
        shown = self._templates.get_template(template)
        text = shown.render(who=who, here=here, opened=opened, refresh=refresh, **facts)
        return HTMLResponse(text, status_code=status)

    def message(
        self, title: str, sentence: str, who: Visitor | None = None, *, status: int, link: tuple[str, str] | None = None
    ) -> HTMLResponse:
        """A page that says one thing. `link` is (address, words)."""
        return self.page("message.html", who, status=status, title=title, sentence=sentence, link=link)

    def not_found(self, who: Visitor | None) -> HTMLResponse:
        """The one page for what is not there and for what is not shown: the two cannot be told apart."""
        sentence = "There is nothing at this address, or nothing that you may see."
        return self.message("Not found", sentence, who, status=404, link=("/inbox", "Go to your inbox"))

    def forged(self, who: Visitor | None) -> HTMLResponse:
        """For a form that did not come from a page of this session."""
        sentence = "This form did not come from a page that was open here, so nothing was changed."
        link = ("/inbox", "Open your inbox and try again")
        return self.message("Nothing was changed", sentence, who, status=403, link=link)


def typed(text: object) -> str:
    """What somebody typed, with every invisible character that steers display written out, cut to a length.

    A right-to-left override shows as [U+202E]; line breaks stay.
    """
    shown = "".join(_visible(char) for char in str(text)[:TYPED_MAX])
    return shown + (" […]" if len(str(text)) > TYPED_MAX else "")


def address(name: object) -> Markup:
    """A sign-in name that breaks behind its @ where it does not fit."""
    return Markup("@<wbr>").join(escape(part) for part in typed(name).split("@"))


def words(name: object) -> str:
    """A name of ours as people read it: `waiting_for_seat` is "waiting for seat"."""
    return str(name).replace("_", " ")


def much(number: int) -> str:
    """A number with its thousands apart, by a space that does not break."""
    return f"{number:,}".replace(",", "\u202f")


def _visible(char: str) -> str:
    if char in "\n\t":
        return char
    if char in "\u2028\u2029" or unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Cn"):
        return "" if char == "\r" else f"[U+{ord(char):04X}]"
    return char


def when(instant: datetime | None) -> str:
    """An instant as people read it."""
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if instant is not None else "not known"
