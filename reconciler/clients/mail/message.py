"""A mail as bytes: headers that no text of others can reach, a text part and an HTML part. Pure.

Facts: approvals.md section 5 (Auto-Submitted, a stable Message-ID, In-Reply-To per request, CR and LF stripped).
List-Id is RFC 2919, Auto-Submitted RFC 3834; `X-Auto-Response-Suppress` is what Exchange reads, general knowledge.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from desired_state.text import is_address

NAME = "License reconciler"
_TOKEN = re.compile(r"[A-Za-z0-9.-]{1,100}")


@dataclass(frozen=True, slots=True)
class Letter:
    """One mail to one address, ready to be sent as often as it has to be: always the same bytes."""

    sender: str
    recipient: str
    id: str
    raw: bytes


def letter(
    *, sender: str, recipient: str, subject: str, text: str, html: str, id: str, at: datetime, thread: str = ""
) -> Letter:
    """The mail. `id` names it for ever, `at` is when it was first to be sent; `thread` what it is one of several about.

    Raises:
        ValueError: an address is none, or `id` or `thread` hold more than letters, digits, dots and hyphens.
    """
    for address in (sender, recipient):
        if not is_address(address):
            raise ValueError("that is no plain mail address")
    if not _TOKEN.fullmatch(id) or (thread and not _TOKEN.fullmatch(thread)):
        raise ValueError("that is no part of a Message-ID")
    domain = sender.rpartition("@")[2]
    message = EmailMessage(policy=SMTP)
    message["From"] = Address(NAME, addr_spec=sender)
    message["To"] = Address(addr_spec=recipient)
    message["Subject"] = _one_line(subject)
    message["Date"] = format_datetime(at)
    message["Message-ID"] = f"<{id}@{domain}>"
    if thread:
        for name in ("In-Reply-To", "References"):
            message[name] = f"<{thread}@{domain}>"
    message["List-Id"] = f"Licence notices <licence-notices.{domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message.set_content(text, charset="utf-8", cte="quoted-printable")
    message.add_alternative(html, subtype="html", charset="utf-8", cte="quoted-printable")
    message.set_boundary(f"=_{id}")  # not by chance: the same mail is the same bytes at each try
    return Letter(sender, recipient, str(message["Message-ID"]), message.as_bytes())


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
