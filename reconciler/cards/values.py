"""A notice: one thing that one recipient is to be told by one channel, with the card that tells it. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from reconciler.approvals.values import Human


class Kind(StrEnum):
    """What a notice is about; like ones are those of one kind."""

    REQUEST = "approval.request"
    REMINDER = "approval.reminder"
    OUTCOME = "approval.outcome"
    SAMPLE = "approval.sampled"
    GUARD = "guard.tripped"
    BREAK_GLASS = "break_glass"
    DIGEST = "digest"
    TEST = "test"


class Channel(StrEnum):
    """By which way it goes. `NONE`: there was no way to anybody; kept so that this is seen."""

    TEAMS = "teams"
    MAIL = "mail"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Notice:
    """`event` tells apart what the same request is told more than once: kind, stage, number. `recipient` is
    "person:<sign-in name>" or "channel:<name>". `line` is what a digest says of it. `body` is the card."""

    kind: Kind
    event: str
    request: str
    recipient: str
    channel: Channel
    digest: str
    body: Mapping[str, Any]
    line: str = ""
    ticket: str = ""
    person: Human | None = field(default=None)

    @property
    def key(self) -> str:
        """Names the notice: told once, however often its cause is seen."""
        parts = (self.event, self.request, self.recipient, self.channel.value, self.digest)
        return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()
