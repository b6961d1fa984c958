"""One SMTP conversation, line by line, without a socket: what the server of a Microsoft 365 tenant says.

The commands of RFC 5321 that a sending program needs, STARTTLS (RFC 3207), AUTH PLAIN, LOGIN and XOAUTH2. Words and
numbers of refusals are those of Exchange Online, general knowledge where approvals.md section 5 has none.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from email.utils import parseaddr
from enum import Enum

from reconciler.sandbox import hosts, tokens
from reconciler.sandbox.world import World

NAME = "mail.contoso.invalid"
RECIPIENTS_MAX = 500
PATH = re.compile(r"^(?:FROM|TO):\s*<([^<>\s]*)>(.*)$", re.IGNORECASE)
LATER = "451 4.7.0 Temporary server error. Please try again later."


class Next(Enum):
    """What the connection does after a reply."""

    LINE = "read a line"
    DATA = "read a message up to its lone dot"
    TLS = "begin TLS"
    END = "close"


Said = tuple[str, Next]


class Conversation:
    """The state of one connection. `line` and `message` answer; the caller reads what `Next` says."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._is_secure = False
        self._greeted = False
        self._account = ""
        self._login: list[str] | None = None  # the words of an AUTH that goes on, method first
        self._sender: str | None = None
        self._recipients: list[str] = []

    @property
    def size_max(self) -> int:
        """Bytes of the largest message."""
        return self._world.switches.mail_size_max

    def greeting(self) -> Said:
        if "connect" in self._world.switches.smtp_refuses:
            return "421 4.3.2 Service not available", Next.END
        return f"220 {NAME} ESMTP MAIL Service ready", Next.LINE

    def secured(self) -> None:
        """TLS is up: everything said before it is forgotten (RFC 3207 section 4.2)."""
        self._is_secure = True
        self._greeted = False
        self._account, self._login = "", None
        self._sender, self._recipients = None, []

    def line(self, text: str) -> Said:
        """The reply to a line from the client."""
        if self._login is not None:
            return self._goes_on(text)
        word, _, rest = text.partition(" ")
        match word.upper():
            case "EHLO" | "HELO":
                return self._hello(word.upper(), rest)
            case "STARTTLS":
                return self._starttls()
            case "AUTH":
                return self._auth(rest)
            case "MAIL":
                return self._mail(rest)
            case "RCPT":
                return self._rcpt(rest)
            case "DATA":
                return self._data()
            case "RSET":
                self._sender, self._recipients = None, []
                return "250 2.0.0 Resetting", Next.LINE
            case "NOOP":
                return "250 2.0.0 OK", Next.LINE
            case "VRFY":
                return "252 2.1.5 Cannot VRFY user", Next.LINE
            case "QUIT":
                return "221 2.0.0 Service closing transmission channel", Next.END
        return "500 5.3.3 Unrecognized command", Next.LINE

    def message(self, raw: bytes | None) -> Said:
        """The reply to a message; None is one past the size."""
        switches = self._world.switches
        sender, recipients = self._sender or "", self._recipients
        self._sender, self._recipients = None, []
        if raw is None or len(raw) > switches.mail_size_max:
            return "552 5.3.4 Message size exceeds fixed maximum message size", Next.LINE
        if "data" in switches.smtp_refuses:
            return LATER, Next.LINE
        if self._account and not self._may_send_as(sender, raw):
            said = f"554 5.2.252 SendAsDenied; {self._account} not allowed to send as {sender}"
            return said, Next.LINE
        with self._world.lock:
            if self._world.post.wait_s(self._account) > 0:
                return "432 4.3.2 Message submission rate for this client has exceeded the configured limit", Next.LINE
            mail = self._world.post.deliver(
                raw, via="smtp", account=self._account, sender=sender, recipients=recipients
            )
        return f"250 2.0.0 OK <{mail.number}@{NAME}> Queued mail for delivery", Next.LINE

    # --- commands

    def _hello(self, word: str, name: str) -> Said:
        self._greeted = True
        self._sender, self._recipients = None, []
        if word == "HELO":
            return f"250 {NAME} Hello {name}", Next.LINE
        switches = self._world.switches
        lines = [f"{NAME} Hello {name}", f"SIZE {switches.mail_size_max}", "8BITMIME", "ENHANCEDSTATUSCODES"]
        if not self._is_secure and switches.smtp_starttls:
            lines.append("STARTTLS")
        if self._is_secure and (methods := self._methods()):
            lines.append(f"AUTH {' '.join(methods)}")
        lines.append("SMTPUTF8")
        return "\r\n".join([*(f"250-{line}" for line in lines[:-1]), f"250 {lines[-1]}"]), Next.LINE

    def _methods(self) -> list[str]:
        switches = self._world.switches
        basic = ["PLAIN", "LOGIN"] if switches.smtp_basic_auth else []
        return [*basic, *(["XOAUTH2"] if switches.smtp_oauth else [])]

    def _starttls(self) -> Said:
        if self._is_secure or not self._world.switches.smtp_starttls:
            return "500 5.3.3 Unrecognized command", Next.LINE
        if "starttls" in self._world.switches.smtp_refuses:
            return "454 4.7.0 TLS not available due to temporary reason", Next.LINE
        return "220 2.0.0 SMTP server ready", Next.TLS

    def _auth(self, rest: str) -> Said:
        method, _, initial = rest.partition(" ")
        method = method.upper()
        if not self._is_secure:
            return "530 5.7.0 Must issue a STARTTLS command first", Next.LINE
        if not self._greeted or self._account:
            return "503 5.5.1 Bad sequence of commands", Next.LINE
        if method in {"PLAIN", "LOGIN"} and not self._world.switches.smtp_basic_auth:
            return "535 5.7.139 Authentication unsuccessful, basic authentication is disabled.", Next.LINE
        if method not in self._methods():
            return "504 5.7.4 Unrecognized authentication type", Next.LINE
        self._login = [method]
        if initial:
            return self._goes_on(initial)
        prompt = base64.b64encode(b"Username:").decode() if method == "LOGIN" else ""
        return f"334 {prompt}", Next.LINE

    def _goes_on(self, text: str) -> Said:
        """The next part of an AUTH."""
        assert self._login is not None
        if text == "*":
            self._login = None
            return "501 5.7.0 Authentication canceled", Next.LINE
        try:
            self._login.append(base64.b64decode(text, validate=True).decode())
        except (binascii.Error, UnicodeDecodeError):
            self._login = None
            return "501 5.5.4 Invalid base64 data", Next.LINE
        if self._login[0] == "LOGIN" and len(self._login) == 2:
            return f"334 {base64.b64encode(b'Password:').decode()}", Next.LINE
        login, self._login = self._login, None
        if "auth" in self._world.switches.smtp_refuses:
            return "454 4.7.0 Temporary authentication failure", Next.LINE
        account = self._proven(login)
        if not account:
            return "535 5.7.3 Authentication unsuccessful", Next.LINE
        self._account = account
        return "235 2.7.0 Authentication successful", Next.LINE

    def _proven(self, login: list[str]) -> str:
        """The mailbox that these words prove, "" for none."""
        if login[0] == "XOAUTH2":
            return self._by_token(login[1])
        user, password = ("", "")
        if login[0] == "LOGIN":
            user, password = login[1], login[2]
        elif login[1].count("\0") == 2:
            _, user, password = login[1].split("\0")
        known = hmac.compare_digest(password.encode(), hosts.MAIL_PASSWORD.encode())
        return user if known and user.casefold() == hosts.MAIL_USER else ""

    def _by_token(self, text: str) -> str:
        """`user=…^Aauth=Bearer …^A^A`, the token one of this tenant's sign-in for an application that sends mail."""
        fields = dict(part.split("=", 1) for part in text.split("\x01") if "=" in part)
        token = fields.get("auth", "").removeprefix("Bearer ")
        world = self._world
        try:
            with world.lock:
                claims = tokens.read(
                    token,
                    key=tokens.key_of(world.seed),
                    tenant_id=world.directory.tenant_id,
                    now=world.clock.now(),
                )
                user = world.directory.user(fields.get("user", ""))
        except (tokens.InvalidToken, KeyError):
            return ""
        return user.upn if "Mail.Send" in claims.roles and user.mailbox is not None else ""

    def _mail(self, rest: str) -> Said:
        found = PATH.match(rest)
        if not self._greeted or self._sender is not None:
            return "503 5.5.1 Bad sequence of commands", Next.LINE
        if not self._account and not self._world.switches.smtp_relay:
            return "530 5.7.57 Client not authenticated to send mail.", Next.LINE
        if found is None:
            return "501 5.1.7 Invalid address", Next.LINE
        if "mail" in self._world.switches.smtp_refuses:
            return LATER, Next.LINE
        size = re.search(r"\bSIZE=(\d+)", found[2], re.IGNORECASE)
        if size is not None and int(size[1]) > self._world.switches.mail_size_max:
            return "552 5.3.4 Message size exceeds fixed maximum message size", Next.LINE
        self._sender = found[1]
        return "250 2.1.0 Sender OK", Next.LINE

    def _rcpt(self, rest: str) -> Said:
        found = PATH.match(rest)
        if self._sender is None:
            return "503 5.5.1 Bad sequence of commands", Next.LINE
        if found is None or "@" not in found[1]:
            return "501 5.1.3 Invalid address", Next.LINE
        if "rcpt" in self._world.switches.smtp_refuses:
            return LATER, Next.LINE
        if found[1].casefold() in self._world.switches.mail_unknown_recipients:
            return "550 5.1.1 RESOLVER.ADR.RecipientNotFound; not found", Next.LINE
        if len(self._recipients) >= RECIPIENTS_MAX:
            return "452 4.5.3 Too many recipients", Next.LINE
        self._recipients.append(found[1])
        return "250 2.1.5 Recipient OK", Next.LINE

    def _data(self) -> Said:
        if not self._recipients:
            return "503 5.5.1 Bad sequence of commands", Next.LINE
        return "354 Start mail input; end with <CRLF>.<CRLF>", Next.DATA

    def _may_send_as(self, sender: str, raw: bytes) -> bool:
        """Whether the envelope and the From line are the signed-in mailbox's own."""
        head = raw.partition(b"\r\n\r\n")[0].decode("utf-8", "replace")
        line = next((h for h in head.split("\r\n") if h.lower().startswith("from:")), "")
        named = {sender.casefold(), parseaddr(line[5:])[1].casefold()} - {""}
        return named <= {self._account.casefold(), *self._world.switches.mail_may_send_as}
