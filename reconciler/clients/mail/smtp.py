"""Mail out by SMTP (RFC 5321) with STARTTLS (RFC 3207): one letter a connection, sent once.

The server's certificate is checked, and a server that offers no STARTTLS is told nothing, unless the configuration says
that it is an internal relay. Signed in is by password or by XOAUTH2, and inside of TLS only. Whatever breaks before the
message's last line is known not to have arrived; after it the outcome is unknown, and whoever owes the letter sends the
same bytes with the same Message-ID again. What a server says is cut, and cleaned of secrets and of the recipient's
address, before it goes into an error: errors are kept where names of people need not be.
"""

from __future__ import annotations

import base64
import re
import smtplib
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pydantic import SecretStr

from reconciler.clients.mail.message import Letter
from reconciler.clients.wire import Exchange
from reconciler.clients.wire.words import cut
from reconciler.clock import Clock
from reconciler.errors import Forbidden, OutcomeUnknown, Rejected, RemoteError, SignInFailed, Throttled, Unavailable
from reconciler.secrecy import PROCESS, keep

SYSTEM = "The mail server"
SILENCE_S = 20.0  # between two words of the server
DEADLINE_S = 45.0  # of one letter, from the connection to the last reply
TOO_LARGE = 552
RATE = 432  # "submission rate exceeded" of Exchange Online
ABOUT_US = ("5.2.252", "5.7.")  # enhanced codes that refuse the account or the connection, not the letter


class Deferred(Unavailable):
    """This recipient is not taken for now, greylisting for example; other recipients may be."""


class Account(Protocol):
    """Who signs in. `method` is the SASL mechanism's family: "password" or "xoauth2"."""

    @property
    def user(self) -> str: ...

    @property
    def method(self) -> str: ...

    def secret(self) -> str:
        """The password or the token. Raises UserError, SignInFailed, Unavailable."""
        ...

    def fresh(self) -> bool:
        """Forget a secret that was refused. False: there is nothing new to be had."""
        ...


@dataclass(frozen=True, slots=True)
class PasswordAccount:
    """A user with a password, which is read anew each time."""

    user: str
    read: Callable[[], SecretStr]
    method: str = "password"

    def secret(self) -> str:
        return self.read().get_secret_value()

    def fresh(self) -> bool:
        return False


class Tokens(Protocol):
    """Where tokens come from."""

    def token(self) -> str: ...

    def fresh(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class TokenAccount:
    """A mailbox that an application's token opens (XOAUTH2)."""

    user: str
    tokens: Tokens
    method: str = "xoauth2"

    def secret(self) -> str:
        return self.tokens.token()

    def fresh(self) -> bool:
        return self.tokens.fresh()


@dataclass(frozen=True, slots=True)
class Server:
    """Where mail is handed over. `is_plain` allows a connection without TLS: an internal relay, never with an account.

    `silence_s` and `deadline_s` are seconds: without a word from the server, and for one letter as a whole.
    """

    host: str
    port: int
    ca_file: Path | None = None
    is_plain: bool = False
    silence_s: float = SILENCE_S
    deadline_s: float = DEADLINE_S


@dataclass(slots=True)
class _Turn:
    """How far one connection has come, and the last number that the server said."""

    stage: str = "connect"
    status: int = 0


class _Session(smtplib.SMTP):
    """smtplib's conversation, not begun yet, that knows the name which the certificate has to carry."""

    def __init__(self, server: Server, name: str) -> None:
        super().__init__(local_hostname=name, timeout=server.silence_s)
        self._host = server.host  # what `starttls` checks the certificate against


@dataclass(frozen=True, slots=True)
class Mailer:
    """Sends letters. Safe for threads."""

    server: Server
    clock: Clock
    account: Account | None = None
    on_exchange: Callable[[Exchange], None] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.account is not None and self.server.is_plain:
            raise ValueError("an account is never used without TLS")

    def send(self, letter: Letter) -> str:
        """Hand a letter over; the server's word for having it.

        Raises:
            UserError: the password cannot be read.
            Deferred: this recipient is not taken for now.
            Throttled: the account has sent too much for now.
            Rejected: this letter or its recipient is refused for good.
            Forbidden, SignInFailed: the server does not let us send; nothing about this letter.
            Unavailable: nothing was taken.
            OutcomeUnknown: the letter was sent and no reply came; it may have arrived.
        """
        try:
            return self._counted(letter, 1)
        except SignInFailed:
            if self.account is None or not self.account.fresh():
                raise
            return self._counted(letter, 2)

    def _counted(self, letter: Letter, attempt: int) -> str:
        turn, began = _Turn(), self.clock.monotonic()
        try:
            return self._converse(letter, turn)
        finally:
            if self.on_exchange is not None:
                seconds, is_sent = self.clock.monotonic() - began, turn.status > 0 or turn.stage != "connect"
                self.on_exchange(
                    Exchange("mail", "send", "SMTP", turn.status, seconds, "", letter.id, attempt, True, is_sent)
                )

    def _converse(self, letter: Letter, turn: _Turn) -> str:
        secret = self.account.secret() if self.account is not None else ""
        smtp = _Session(self.server, letter.sender.rpartition("@")[2])
        watch = threading.Timer(self.server.deadline_s, _hang_up, (smtp,))
        watch.daemon = True
        watch.start()
        try:
            self._enter(smtp, secret, turn)
            return _hand_over(smtp, letter, turn)
        except smtplib.SMTPResponseException as error:
            turn.status = error.smtp_code if error.smtp_code > 0 else 0
            raise _refusal(error, turn.stage, letter.recipient) from None
        except smtplib.SMTPNotSupportedError:
            raise Unavailable(SYSTEM, "it offers no STARTTLS, and nothing is said without TLS") from None
        except (smtplib.SMTPException, OSError, ValueError) as error:
            raise _trouble(error, turn.stage, letter.recipient) from None
        finally:
            watch.cancel()
            with suppress(smtplib.SMTPException, OSError, ValueError):
                if turn.stage == "over":
                    smtp.quit()
            smtp.close()

    def _enter(self, smtp: _Session, secret: str, turn: _Turn) -> None:
        _want(smtp.connect(self.server.host, self.server.port), 220)
        turn.stage = "hello"
        _want(smtp.ehlo(), 250)
        if not self.server.is_plain:
            turn.stage = "TLS"
            smtp.starttls(context=ssl.create_default_context(cafile=_path(self.server.ca_file)))
            _want(smtp.ehlo(), 250)
        if self.account is not None:
            turn.stage = "sign-in"
            _sign_in(smtp, self.account, secret)


def _path(file: Path | None) -> str | None:
    return str(file) if file is not None else None


def _sign_in(smtp: smtplib.SMTP, account: Account, secret: str) -> None:
    offered = smtp.esmtp_features.get("auth", "").upper().split()
    if account.method == "xoauth2":
        methods = {"XOAUTH2": [f"user={account.user}\x01auth=Bearer {secret}\x01\x01"]}
    else:
        methods = {"PLAIN": [f"\0{account.user}\0{secret}"], "LOGIN": [account.user, secret]}
    method = next((name for name in methods if name in offered), None)
    if method is None:
        hint = "Exchange Online switches passwords for SMTP off: use xoauth2" if account.method == "password" else ""
        raise SignInFailed(SYSTEM, f"it offers no sign-in by {account.method}", hint=hint)
    words = [base64.b64encode(word.encode()).decode() for word in methods[method]]
    for word in words:
        keep(word)
    if method == "LOGIN":
        _want(smtp.docmd("AUTH", "LOGIN"), 334)
        _want(smtp.docmd(words[0]), 334)
        _want(smtp.docmd(words[1]), 235)
        return
    said = smtp.docmd("AUTH", f"{method} {words[0]}")
    if said[0] == 334:  # XOAUTH2: the reason of a refusal; an empty line makes the server say its number
        said = smtp.docmd("")
    _want(said, 235)


def _hand_over(smtp: smtplib.SMTP, letter: Letter, turn: _Turn) -> str:
    turn.stage = "sender"
    size = [f"SIZE={len(letter.raw)}"] if smtp.has_extn("size") else []
    _want(smtp.mail(letter.sender, size), 250)
    turn.stage = "recipient"
    _want(smtp.rcpt(letter.recipient), 250, 251)
    turn.stage = "message"
    _want(smtp.docmd("DATA"), 354)
    turn.stage = "sent"
    smtp.send(_dotted(letter.raw))
    code, said = smtp.getreply()
    _want((code, said), 250)
    turn.stage, turn.status = "over", code
    return _clean(said, letter.recipient)


def _dotted(raw: bytes) -> bytes:
    """The message as it goes over the line, its end included (RFC 5321 section 4.5.2)."""
    ended = raw if raw.endswith(b"\r\n") else raw + b"\r\n"
    doubled = ended.replace(b"\r\n.", b"\r\n..")
    return (b"." + doubled if doubled.startswith(b".") else doubled) + b".\r\n"


def _want(reply: tuple[int, bytes], *codes: int) -> None:
    code, said = reply
    if code not in codes:
        raise smtplib.SMTPResponseException(code, said)


def _refusal(error: smtplib.SMTPResponseException, stage: str, recipient: str) -> RemoteError:
    """What a number means, by how far we had come."""
    code, said = error.smtp_code, _clean(error.smtp_error, recipient)
    why = f"{stage}: {code} {said}".rstrip()
    if code == RATE:
        return Throttled(SYSTEM, retry_after_s=None)
    if stage == "sign-in" and code >= 500:
        return SignInFailed(SYSTEM, f"{code} {said}".rstrip(), hint="Check smtp_user and its secret")
    if code >= 500 and code != TOO_LARGE and (stage in ("sender", "message") or said.startswith(ABOUT_US)):
        return Forbidden(SYSTEM, operation=f"sending ({stage})", detail=f"{code} {said}".rstrip())
    if code >= 500 and (stage in ("recipient", "sent") or code == TOO_LARGE):
        return Rejected(SYSTEM, status=code, code=said.partition(" ")[0], detail=said)
    if stage == "sent" and not 400 <= code < 500:
        return OutcomeUnknown(SYSTEM, why)
    if stage == "recipient" and code != 421:
        return Deferred(SYSTEM, why, status=code)
    return Unavailable(SYSTEM, why, status=code if code > 0 else None)


def _trouble(error: Exception, stage: str, recipient: str) -> RemoteError:
    """What a broken connection means."""
    if isinstance(error, ssl.SSLCertVerificationError):
        why = f"its certificate could not be verified: {cut(error.verify_message, limit=120)}"
    else:
        why = f"{stage}: {type(error).__name__} {_clean(error, recipient)}".rstrip()
    return OutcomeUnknown(SYSTEM, why) if stage == "sent" else Unavailable(SYSTEM, why)


def _clean(said: object, recipient: str) -> str:
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    plain = PROCESS.scrub(text[:4_000])
    for name in (recipient, recipient.partition("@")[0]):
        plain = re.sub(rf"(?<![\w.]){re.escape(name)}(?![\w.])", "[recipient]", plain, flags=re.IGNORECASE)
    return cut(plain, limit=200)


def _hang_up(smtp: smtplib.SMTP) -> None:
    """End a conversation from outside, whatever it waits for."""
    sock = smtp.sock
    if sock is not None:
        with suppress(OSError):
            sock.shutdown(2)  # a TLS socket too: whoever reads from it gets its end
