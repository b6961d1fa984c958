"""A card as a mail: subject, text and HTML from the same elements, so that a mail says what the card says. Pure.

The card was checked when it was made: every text of others is a `run`, made inert, and every link leads home. A mail
program also makes links of bare names ("evil.example"), so the dots of such words are bracketed here; sign-in names
stay as they are. HTML holds no image, script, form or style from elsewhere, and every text is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from reconciler.cards.parts import Element
from reconciler.cards.text import inert

SUBJECT_MAX = 120
LINES_MAX = 100
_NAME_LIKE = re.compile(r"(?<=\w)\.(?=[^\W\d_]{2})")
_ADDRESS = re.compile(r"[(<]?[\w.!#$%&'*+/=?^`{|}~-]+@[\w.-]+[)>]?[.,;:]?")
_STYLE = "font-family:sans-serif;font-size:15px;line-height:1.5"


@dataclass(frozen=True, slots=True)
class Page:
    """What a mail shows: `subject` is one line, `text` and `html` are the same in two forms."""

    subject: str
    text: str
    html: str


def page(card: Mapping[str, Any], *, about: str = "") -> Page:
    """The card, which `cards.check.checked` let pass. `about` (a ticket, say) ends the subject."""
    body = list(card.get("body", ()))
    title = _plain(body[0]) if body else "Notice"
    actions = [(str(a.get("title")), str(a.get("url"))) for a in card.get("actions", ())]
    lines = [line for element in body for line in (*_text(element), "")]
    lines += [f"{name}: {url}" for name, url in actions]
    html = [_html(element) for element in body]
    html += [f'<p><a href="{escape(url, quote=True)}">{escape(name)}</a></p>' for name, url in actions]
    return _page(f"{title}: {about}" if about else title, lines, html)


def digest(lines: Iterable[str], *, count: int, url: str = "") -> Page:
    """Many notices in one mail, a line each. `url` is where the reader finds them all, "" where they may open none."""
    every = [_defanged(inert(line, 200)) for line in lines]
    kept = every[:LINES_MAX]
    more = [f"and {count - len(kept)} more"] if count > len(kept) else []
    told = [*(f"- {line}" for line in kept), *more, ""]
    told += [f"Open what waits for you: {url}"] if url else []
    html = [f"<h2>{count} notices in one</h2><ul>", *(f"<li>{escape(line)}</li>" for line in kept), "</ul>"]
    html += [f"<p>{more[0]}</p>"] if more else []
    html += [f'<p><a href="{escape(url, quote=True)}">Open what waits for you</a></p>'] if url else []
    return _page(f"{count} notices in one", told, html)


def _page(subject: str, lines: Sequence[str], html: Sequence[str]) -> Page:
    head = '<!doctype html><html lang="en"><head><meta charset="utf-8"></head>'
    tail = "<p><small>Sent by a program; nobody reads the answers.</small></p></body></html>"
    text = "\n".join([*lines, "", "Sent by a program; nobody reads the answers.", ""])
    return Page(inert(subject, SUBJECT_MAX), text, f'{head}<body style="{_STYLE}">{"".join(html)}{tail}')


def _text(element: Element) -> Iterator[str]:
    """The lines of an element."""
    match element.get("type"):
        case "Table":
            for row in element["rows"]:
                cells = [" ".join(_plain(e) for e in cell["items"]) for cell in row["cells"]]
                yield (": " if len(cells) == 2 else " | ").join(cells)
        case "Container":
            for inner in element["items"]:
                yield from (f"  {line}" for line in _text(inner))
        case _:
            yield _plain(element)


def _html(element: Element) -> str:
    match element.get("type"):
        case "Table":
            rows = [
                "".join(f'<td style="padding:2px 12px 2px 0;vertical-align:top">{_cell(c)}</td>' for c in row["cells"])
                for row in element["rows"]
            ]
            return f"<table>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"
        case "Container":
            return f"<blockquote>{''.join(_html(inner) for inner in element['items'])}</blockquote>"
    tag = "h2" if element.get("style") == "heading" else "p"
    return f"<{tag}>{escape(_plain(element))}</{tag}>"


def _cell(cell: Element) -> str:
    return "<br>".join(escape(_plain(element)) for element in cell["items"])


def _plain(element: Element) -> str:
    """The one line that a text element holds."""
    if element.get("type") == "RichTextBlock":
        return _defanged("".join(str(run.get("text", "")) for run in element["inlines"]).strip())
    return _defanged(str(element.get("text", "")))


def _defanged(text: str) -> str:
    """Without words that a mail program takes for the name of a host. Sign-in names are left: they lead to nobody else
    than they say."""
    words = (w if _ADDRESS.fullmatch(w) else _NAME_LIKE.sub("[.]", w) for w in text.split(" "))
    return " ".join(words)
