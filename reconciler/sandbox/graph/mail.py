"""Sending mail: POST /users/{id}/sendMail, as JSON or as base64 of a MIME message.

Facts: approvals.md section 5 (`Mail.Send` reaches any mailbox unless Exchange narrows it). From the Graph v1.0
reference, "user: sendMail" (read 2026-11): 202 without a body; JSON messages may bring headers of their own only when
these begin with "x-", so `Auto-Submitted` needs the MIME form. Texts of refusals are UNCONFIRMED.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import format_datetime, getaddresses
from typing import Any

from reconciler.sandbox.directory import User
from reconciler.sandbox.graph.answers import Answer, Problem
from reconciler.sandbox.graph.calls import Call
from reconciler.sandbox.graph.mailboxes import no_mailbox
from reconciler.sandbox.graph.throttle import throttled

REQUEST_BYTES_MAX = 4 * 1024 * 1024
ADDRESS = re.compile(r"[^\s@<>()\[\],;:\\\"]+@[^\s@<>()\[\],;:\\\"]+")
HEADER = re.compile(r"[xX]-[!-9;-~]+")
RECIPIENTS = ("toRecipients", "ccRecipients", "bccRecipients")
KNOWN = frozenset(
    {*RECIPIENTS, "subject", "body", "from", "sender", "replyTo", "importance", "attachments"}
    | {"internetMessageHeaders", "categories"}
)


class Mailing:
    """The route that sends mail."""

    def send(self, call: Call, key: str) -> Answer:
        """POST /users/{id}/sendMail"""
        user = call.store.live_user(key)
        self._check_allowed(call, user)
        if len(call.body) > REQUEST_BYTES_MAX:
            raise Problem(413, "ErrorMessageSizeExceeded", "The message exceeds the maximum supported size.")
        if (wait_s := call.world.post.wait_s(user.upn)) > 0:
            raise throttled(math.ceil(wait_s), scope=f"Mailbox/{user.user_id}", reason="SubmissionRateExceeded")
        if call.headers.get("content-type", "").lower().startswith("text/plain"):
            message = _from_mime(call.body)
        else:
            message = _from_json(call, user)
        try:
            recipients = [address for _, address in getaddresses(_lines(message)) if address]
        except (ValueError, IndexError, AttributeError) as e:  # what the parser makes of hostile lines
            raise Problem(400, "ErrorMimeContentInvalid", "Invalid MIME content.") from e
        if not recipients:
            raise Problem(400, "ErrorInvalidRecipients", "At least one recipient is not valid.")
        del message["bcc"]
        call.world.post.deliver(
            message.as_bytes(policy=policy.SMTP),
            via="graph",
            account=user.upn,
            sender=user.mail or user.upn,
            recipients=recipients,
        )
        return Answer(202)

    def _check_allowed(self, call: Call, user: User) -> None:
        allowed = call.switches.mail_send_mailboxes
        if allowed is not None and user.upn.casefold() not in {name.casefold() for name in allowed}:
            raise Problem(403, "ErrorAccessDenied", "Access is denied. Check credentials and try again.")
        if user.mailbox is None:
            raise no_mailbox()


def _lines(message: EmailMessage) -> list[str]:
    return [str(value) for name in ("to", "cc", "bcc") for value in message.get_all(name, [])]


def _from_mime(body: bytes) -> EmailMessage:
    try:
        raw = base64.b64decode(body, validate=True)
    except binascii.Error as e:
        raise Problem(400, "ErrorMimeContentInvalidBase64String", "Invalid base64 string for MIME content.") from e
    message = message_from_bytes(raw, policy=policy.default)
    if not isinstance(message, EmailMessage) or not message.keys():
        raise Problem(400, "ErrorMimeContentInvalid", "Invalid MIME content.")
    return message


def _from_json(call: Call, user: User) -> EmailMessage:
    given = call.json()
    message = given.get("message", given.get("Message"))
    if not isinstance(message, dict) or not isinstance(given.get("saveToSentItems", True), bool):
        raise Problem(400, "ErrorInvalidParameter", "The parameter 'Message' is not valid.")
    if unknown := sorted(set(message) - KNOWN):
        text = f"The property '{unknown[0]}' does not exist on type 'microsoft.graph.message'."
        raise Problem(400, "RequestBodyRead", text)
    made = EmailMessage()
    made["From"] = _one_line(f"{user.display_name} <{user.mail or user.upn}>")
    for name, header in zip(RECIPIENTS, ("To", "Cc", "Bcc"), strict=True):
        if addresses := list(_addresses(message.get(name))):
            made[header] = ", ".join(addresses)
    made["Subject"] = _one_line(str(message.get("subject") or ""))
    made["Date"] = format_datetime(call.world.clock.now())
    made["Message-ID"] = f"<graph-{len(call.world.post.mails) + 1}@contoso.example>"
    for row in _objects(message.get("internetMessageHeaders")):
        name = str(row.get("name", ""))
        if not HEADER.fullmatch(name):
            text = f"The internet message header name '{name}' should start with 'x-' or 'X-'."
            raise Problem(400, "InvalidInternetMessageHeader", text)
        made[name] = _one_line(str(row.get("value", "")))
    body = next(iter(_objects([message.get("body")])), {})
    is_html = str(body.get("contentType", "text")).lower() == "html"
    made.set_content(str(body.get("content", "")), subtype="html" if is_html else "plain")
    return made


def _addresses(rows: Any) -> Iterator[str]:
    if rows is not None and not isinstance(rows, list):
        raise Problem(400, "ErrorInvalidRecipients", "At least one recipient is not valid.")
    for row in rows or ():
        named = row.get("emailAddress") if isinstance(row, dict) else None
        address = named.get("address") if isinstance(named, dict) else None
        if not isinstance(address, str) or not ADDRESS.fullmatch(address):
            raise Problem(400, "ErrorInvalidRecipients", "At least one recipient is not valid.")
        yield address


def _objects(value: Any) -> list[dict[str, Any]]:
    """The objects of a list; none where it is no list."""
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _one_line(text: str) -> str:
    return " ".join(text.split())
