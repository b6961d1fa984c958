"""What a flow makes of a body: a card in the channel, a text, or a failed run with its reason. Pure.

Facts, approvals.md section 1.2: the stock flow reads `attachments[0].content` and no other; a card of another type
fails inside the run; about 28 KB is the most, counted in UTF-16 when the request names no charset; a MessageCard is
accepted and loses its buttons. Section 2.1: a client draws cards up to version 1.5 and else shows the fallback text.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

ADAPTIVE = "application/vnd.microsoft.card.adaptive"
VERSION_MAX = (1, 5)
DEPTH_MAX = 64
"""Deeper than any card; what is nested further is not kept."""


class Fate(NamedTuple):
    """What a run ends with; an empty reason is success."""

    reason: str = ""
    card: Any = None
    text: str = ""
    dropped_buttons: int = 0
    ignored_attachments: int = 0


def counted_size(body: bytes, content_type: str) -> int:
    """The size of a body as the service counts it, bytes."""
    if "charset" in content_type.lower():
        return len(body)
    return len(body.decode("utf-8", "replace").encode("utf-16-le"))


def judge(body: str, *, size: int, size_max: int) -> Fate:
    """The end of a run over this body, which is JSON."""
    if size > size_max:
        return Fate(f"Request Entity too large: {size} bytes, at most {size_max} can be posted.")
    message = json.loads(body)
    if _is_deeper(message, DEPTH_MAX):
        return Fate("The card is nested too deeply.")
    if isinstance(message, dict) and message.get("@type") == "MessageCard":
        return _message_card(message)
    attachments = message.get("attachments") if isinstance(message, dict) else None
    if not isinstance(attachments, list) or not attachments or not isinstance(attachments[0], dict):
        return Fate("ExpressionEvaluationFailed: the array 'attachments' of the trigger's body has no first element.")
    first = attachments[0]
    card = first.get("content")
    if first.get("contentType", ADAPTIVE) != ADAPTIVE:
        return Fate(f"The attachment's contentType '{first['contentType']}' is not {ADAPTIVE}.")
    if not isinstance(card, dict) or card.get("type") != "AdaptiveCard":
        return Fate("Property 'type' must be 'AdaptiveCard'.")
    drawn = card if _version(card) <= VERSION_MAX else None
    text = "" if drawn is not None else str(card.get("fallbackText", ""))
    return Fate(card=drawn, text=text, ignored_attachments=len(attachments) - 1)


def _message_card(message: dict[str, Any]) -> Fate:
    lines = [str(message[name]) for name in ("title", "text", "summary") if message.get(name)]
    buttons = len(_objects(message.get("potentialAction")))
    for section in _objects(message.get("sections")):
        lines += [f"{fact.get('name')}: {fact.get('value')}" for fact in _objects(section.get("facts"))]
        buttons += len(_objects(section.get("potentialAction")))
    return Fate(text="\n".join(lines), dropped_buttons=buttons)


def _version(card: dict[str, Any]) -> tuple[int, ...]:
    parts = str(card.get("version", "1.0")).split(".")
    return tuple(int(part) if part.isdecimal() else 0 for part in parts[:2])


def _objects(value: Any) -> list[dict[str, Any]]:
    """The objects of a list; none where it is no list."""
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _is_deeper(value: Any, depth: int) -> bool:
    level = [value]
    for _ in range(depth):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return bool(level)
