"""What must hold for every card before it leaves, whoever made it. Pure.

The schema of Adaptive Cards accepts no `type`, any version, any scheme of an address (approvals.md section 2.3), so
these are looked at here: type, version, addresses, number of actions, fallback text, size, and that no text of others
stands where a client reads Markdown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from reconciler.cards.links import Links
from reconciler.cards.parts import MENTION, OURS

VERSION = "1.5"
SIZE_MAX = 20_000  # bytes of UTF-8 for the whole message; Teams takes about 28 KB, a library measured 21 KB
ACTIONS_MAX = 3
ELEMENTS = frozenset(
    {
        "AdaptiveCard", "TextBlock", "RichTextBlock", "TextRun", "Table", "TableRow", "TableCell", "Container",
        "Action.OpenUrl",
    }
)  # fmt: skip
ADAPTIVE = "application/vnd.microsoft.card.adaptive"


class BadCard(ValueError):
    """A defect of ours: this card must not leave. Nothing was sent."""


def message(card: Mapping[str, Any]) -> bytes:
    """The body of a request to a Workflows webhook: one card, since the stock flow reads the first one only."""
    attachment = {"contentType": ADAPTIVE, "contentUrl": None, "content": card}
    return msgspec.json.encode({"type": "message", "attachments": [attachment]})


def checked(card: dict[str, Any], links: Links) -> dict[str, Any]:
    """The card, if it may leave. Raises BadCard."""
    for fault in faults(card, links):
        raise BadCard(fault)
    return card


def faults(card: Mapping[str, Any], links: Links) -> Iterator[str]:
    """Everything that is wrong with a card, one sentence each."""
    if card.get("type") != "AdaptiveCard":
        yield "its type is not AdaptiveCard"
    if card.get("version") != VERSION:
        yield f"its version is not {VERSION}"
    if not card.get("fallbackText"):
        yield "it has no fallbackText"
    if len(card.get("actions", ())) > ACTIONS_MAX:
        yield f"it has more than {ACTIONS_MAX} actions"
    size = len(message(card))
    if size > SIZE_MAX:
        yield f"its message has {size} bytes, at most {SIZE_MAX} may leave"
    for element in elements({name: value for name, value in card.items() if name != "msteams"}):
        yield from _faults_of(element, links)


def elements(value: Any) -> Iterator[Mapping[str, Any]]:
    """Every object inside a card that says its type."""
    if isinstance(value, Mapping):
        if "type" in value:
            yield value
        for inner in value.values():
            yield from elements(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from elements(inner)


def _faults_of(element: Mapping[str, Any], links: Links) -> Iterator[str]:
    kind = element["type"]
    if kind not in ELEMENTS:
        yield f"it has an element {kind}"
    if kind == "TextBlock" and not OURS.fullmatch(MENTION.sub("", str(element.get("text", "")))):
        yield "a TextBlock holds more than words of ours"
    if kind == "TextRun" and "{{" in str(element.get("text", "")):
        yield "a TextRun holds what a client would expand"
    if kind == "Action.OpenUrl" and not links.leads_home(element.get("url")):
        yield "a link leads elsewhere than to the configured addresses"
    for name in ("backgroundImage", "iconUrl", "selectAction"):
        if name in element:
            yield f"it has {name}"
