"""The pages of the mailbox: Request -> Response. Reading only; mails arrive by SMTP and by Graph.

| address | answers |
|---|---|
| `GET /` | a page of all mails |
| `GET /messages`, `/messages/{n}` | the same as JSON; `?to=` chooses a recipient |
| `GET /messages/{n}/page`, `/messages/{n}/raw` | a mail for people; its bytes |
| `GET /smtp` | where the SMTP server is, and an account for it |
"""

from __future__ import annotations

from collections.abc import Callable
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from typing import Any

import httpx

from reconciler.sandbox import hosts
from reconciler.sandbox.mail.records import Mail
from reconciler.sandbox.pages import page
from reconciler.sandbox.ports import LOOPBACK
from reconciler.sandbox.world import World


class MailService:
    """Answers requests to the mail host. `smtp_port` tells where the SMTP server listens, None where none does."""

    def __init__(self, world: World, smtp_port: Callable[[], int | None] = lambda: None) -> None:
        self._world = world
        self._smtp_port = smtp_port

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        parts = [part for part in request.url.path.split("/") if part]
        if request.method != "GET":
            return httpx.Response(501, json={"error": f"the sandbox does not implement {request.method} here"})
        with self._world.lock:
            return self._look(parts, request.url.params.get("to", "").casefold())

    def _look(self, parts: list[str], to: str) -> httpx.Response:
        mails = self._world.post.mails
        chosen = [m for m in mails if not to or to in {r.casefold() for r in m.recipients}]
        match parts:
            case []:
                return page("mails", mails=[_row(mail) for mail in reversed(chosen)])
            case ["messages"]:
                return httpx.Response(200, json={"value": [_row(mail) for mail in chosen]})
            case ["smtp"]:
                return self._smtp()
            case ["messages", number, *rest] if number.isdecimal() and 0 < int(number) <= len(mails):
                mail = mails[int(number) - 1]
                match rest:
                    case []:
                        return httpx.Response(200, json=_row(mail))
                    case ["page"]:
                        return page("mail", mail=_row(mail))
                    case ["raw"]:
                        headers = {"content-type": "text/plain; charset=utf-8", "x-content-type-options": "nosniff"}
                        return httpx.Response(200, headers=headers, content=mail.raw.encode("latin-1"))
        return httpx.Response(404, json={"error": "there is nothing at this address"})

    def _smtp(self) -> httpx.Response:
        port = self._smtp_port()
        if port is None:
            return httpx.Response(404, json={"error": "no SMTP server: `sandbox serve` and `run` have one"})
        body = {
            "host": LOOPBACK,
            "port": port,
            "starttls": True,
            "user": hosts.MAIL_USER,
            "password": hosts.MAIL_PASSWORD,
        }
        return httpx.Response(200, json=body)


def _row(mail: Mail) -> dict[str, Any]:
    """A mail, JSON-plain, as a mail program would show it."""
    parsed = mail.parsed()
    parts: dict[str, str] = {}
    attachments: list[str] = []
    for part in parsed.walk():
        if part.get_filename():
            attachments.append(_shown(part.get_filename()))
        elif part.get_content_type() in {"text/plain", "text/html"}:
            payload = part.get_payload(decode=True)
            if isinstance(payload, bytes):
                parts.setdefault(part.get_content_subtype(), payload.decode("utf-8", "replace"))
    return {
        "number": mail.number,
        "received_at": mail.received_at.isoformat(),
        "via": mail.via,
        "account": mail.account,
        "sender": mail.sender,
        "recipients": list(mail.recipients),
        "subject": _shown(parsed["subject"]),
        "headers": [[name, _shown(value)] for name, value in parsed.items()],
        "text": parts.get("plain", ""),
        "html": parts.get("html", ""),
        "attachments": attachments,
        "size": len(mail.raw),
    }


def _shown(value: object) -> str:
    """A header as people read it: encoded words undone where they can be."""
    text = " ".join(str(value or "").split())
    try:
        return str(make_header(decode_header(text)))
    except (ValueError, LookupError, HeaderParseError):
        return text
