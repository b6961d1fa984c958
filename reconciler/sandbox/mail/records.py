"""Mails as they arrived: the raw message, its envelope and how it came. JSON-plain through msgspec."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from email import message_from_bytes, policy
from email.message import Message
from typing import Any, Literal

import msgspec

from reconciler.clock import Clock
from reconciler.sandbox.switches import Switches

MINUTE = timedelta(minutes=1)


class Mail(msgspec.Struct):
    """One mail. `raw` holds its bytes one a character (Latin-1), so that nothing of it is lost."""

    number: int
    received_at: datetime
    via: Literal["smtp", "graph"]
    account: str
    """Who was signed in: a mailbox, or "" at a relay that asks nobody."""
    sender: str
    recipients: list[str]
    raw: str

    def parsed(self) -> Message:
        """The message as a mail program reads it: headers stay as they are, so none is too strange to be read."""
        return message_from_bytes(self.raw.encode("latin-1"), policy=policy.compat32)


class Post:
    """All mails of one world, in order of arrival. Not thread-safe: callers hold the world's lock."""

    def __init__(self, clock: Clock, switches: Switches) -> None:
        self._clock = clock
        self._switches = switches
        self.mails: list[Mail] = []

    def deliver(
        self, raw: bytes, *, via: Literal["smtp", "graph"], account: str, sender: str, recipients: Iterable[str]
    ) -> Mail:
        """Put a mail into the box of everybody it is for."""
        mail = Mail(
            len(self.mails) + 1, self._clock.now(), via, account, sender, list(recipients), raw.decode("latin-1")
        )
        self.mails.append(mail)
        return mail

    def wait_s(self, account: str) -> float:
        """Seconds until this mailbox may send one more; 0 is now."""
        rate, now = self._switches.mail_rate_per_min, self._clock.now()
        recent = [m.received_at for m in self.mails if m.account == account and now - m.received_at < MINUTE]
        if rate is None or len(recent) < rate:
            return 0.0
        if not rate:
            return 60.0
        return (recent[-rate] + MINUTE - now) / timedelta(seconds=1)

    def to_json(self) -> list[dict[str, Any]]:
        """Every mail, JSON-plain."""
        data: list[dict[str, Any]] = msgspec.to_builtins(self.mails)
        return data

    def load(self, data: Iterable[Mapping[str, Any]]) -> None:
        """Become what `to_json` wrote."""
        self.mails = msgspec.convert(data, list[Mail])
