"""What Teams remembers: flows and the messages that came to them. JSON-plain through msgspec."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import datetime
from typing import Any, Literal
from urllib.parse import urlencode

import msgspec

FlowKind = Literal["channel", "private_channel", "chat"]
State = Literal["accepted", "posted", "failed"]


class Flow(msgspec.Struct):
    """A Workflows flow with the trigger "When a Teams webhook request is received"."""

    flow_id: str
    name: str
    """The channel, or the person whose chat it is."""
    kind: FlowKind = "channel"
    person_id: str = ""
    """Object id of that person."""
    enabled: bool = True
    """Off for a flow whose owner has left or that was turned off."""
    responds: bool = False
    """Whether it ends with a Response action: the caller waits and learns what became of the message."""


class Message(msgspec.Struct):
    """One accepted request, and its fate."""

    number: int
    flow_id: str
    received_at: datetime
    content_type: str
    body: str
    size: int
    state: State = "accepted"
    reason: str = ""
    settled_at: datetime | None = None
    message_id: str = ""
    card: Any = None
    """The card that was posted."""
    text: str = ""
    """What people read where no card is drawn: a MessageCard's text, or a card's fallback."""
    dropped_buttons: int = 0
    ignored_attachments: int = 0
    duplicate_of: int | None = None
    """The earlier message with the same body to the same flow: nobody removes duplicates."""


def signature(flow_id: str, seed: int) -> str:
    """The `sig` of a flow's address."""
    mac = hmac.new(f"sandbox-flow-{seed}".encode(), flow_id.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(mac).decode().rstrip("=")


def flow_address(base: str, flow_id: str, *, seed: int = 1) -> str:
    """The webhook address of a flow: whoever has it may post. `base` is the address of Teams without a slash."""
    query = {"api-version": "1", "sp": "/triggers/manual/run", "sv": "1.0", "sig": signature(flow_id, seed)}
    return f"{base}/workflows/{flow_id}/triggers/manual/paths/invoke?{urlencode(query)}"
