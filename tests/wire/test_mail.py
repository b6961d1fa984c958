"""Mail out by SMTP: to the sandbox's server over STARTTLS, and to servers that lie, stall or hang up."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from reconciler.cards.text import inert
from reconciler.clients.mail import Deferred, Letter, Mailer, PasswordAccount, Server, TokenAccount, letter
from reconciler.clients.wire import Exchange
from reconciler.clock import SystemClock
from reconciler.config.secrets import read_secret
from reconciler.errors import (
    Forbidden,
    OutcomeUnknown,
    Rejected,
    RemoteError,
    SignInFailed,
    Throttled,
    Unavailable,
)
from reconciler.sandbox import hosts, tokens
from reconciler.sandbox.server import Serving, serve
from reconciler.sandbox.world import World
from tests.make import MONDAY
from tests.make_world import contoso

LAURA = "laura.mcbride@contoso.example"
pytestmark = pytest.mark.tls


def a_letter(**changes: Any) -> Letter:
    given = {
        "sender": hosts.MAIL_USER,
        "recipient": LAURA,
        "subject": "Licence approval needed",
        "text": "Open the page.\n.\n.. and decide\n",
        "html": "<p>Open the page.</p>",
        "id": "1.abc",
        "at": MONDAY,
    }
    return letter(**{**given, **changes})


def an_account(password: str = hosts.MAIL_PASSWORD) -> PasswordAccount:
    return PasswordAccount(hosts.MAIL_USER, lambda: SecretStr(password))


class Post:
    def __init__(self, world: World, sandbox: Serving) -> None:
        self.world, self.sandbox = world, sandbox

    def mailer(self, **changes: Any) -> Mailer:
        server = Server("127.0.0.1", self.sandbox.smtp_port, self.sandbox.ca_file, silence_s=5)
        return replace(Mailer(server, SystemClock(), an_account()), **changes)

    @property
    def ids(self) -> list[str]:
        return [str(m.parsed()["Message-ID"]) for m in self.world.post.mails]


@pytest.fixture(scope="module")
def served() -> Iterator[Post]:
    world = contoso()
    with serve(world) as sandbox:
        yield Post(world, sandbox)


@pytest.fixture
def post(served: Post) -> Iterator[Post]:
    served.world.post.mails.clear()
    yield served
    fresh = contoso().switches
    for name in type(fresh).__struct_fields__:
        setattr(served.world.switches, name, getattr(fresh, name))


def test_a_letter_arrives_as_it_was_written_and_is_counted(post: Post):
    seen: list[Exchange] = []

    said = post.mailer(on_exchange=seen.append).send(a_letter(thread="LR-ABC"))

    (mail,) = post.world.post.mails
    parsed = mail.parsed()
    assert (mail.account, mail.recipients) == (hosts.MAIL_USER, [LAURA])
    assert parsed["Auto-Submitted"] == "auto-generated"
    assert parsed["List-Id"].endswith("<licence-notices.contoso.example>")
    assert parsed["In-Reply-To"] == "<LR-ABC@contoso.example>"
    text, html = (part.get_payload(decode=True).decode() for part in parsed.get_payload())  # type: ignore[union-attr]
    assert text.splitlines() == ["Open the page.", ".", ".. and decide"]
    assert html.strip() == "<p>Open the page.</p>"
    assert said.startswith("2.0.0 OK")
    assert [(e.system, e.operation, e.status, e.is_sent) for e in seen] == [("mail", "send", 250, True)]


def test_a_password_is_refused_without_being_repeated(post: Post):
    with pytest.raises(SignInFailed) as refused:
        post.mailer(account=an_account("not-the-password")).send(a_letter())

    assert "not-the-password" not in str(refused.value)
    assert post.world.post.mails == []


class Source:
    """Tokens of the sandbox's tenant, the first of them stale."""

    def __init__(self, world: World, *roles: str) -> None:
        self.world, self.roles, self.is_fresh = world, roles, False

    def token(self) -> str:
        if not self.is_fresh:
            return "stale"
        return tokens.issue(
            key=tokens.key_of(self.world.seed), tenant_id=hosts.TENANT_ID, issuer="https://sts.windows.net/",
            audience="https://outlook.office365.com", app_id=hosts.CLIENT_ID, app_name="License Reconciler",
            roles=self.roles, now=self.world.clock.now(), lifetime_s=3600, token_id="1",
        )  # fmt: skip

    def fresh(self) -> bool:
        was, self.is_fresh = self.is_fresh, True
        return not was


def test_a_token_signs_in_and_a_stale_one_is_renewed_once(post: Post):
    seen: list[Exchange] = []
    account = TokenAccount(hosts.MAIL_USER, Source(post.world, "Mail.Send"))

    post.mailer(account=account, on_exchange=seen.append).send(a_letter())

    assert len(post.world.post.mails) == 1
    assert [e.status for e in seen] == [535, 250]
    with pytest.raises(SignInFailed):
        post.mailer(account=TokenAccount(hosts.MAIL_USER, Source(post.world, "User.Read.All"))).send(a_letter())


def test_where_passwords_are_off_the_hint_says_what_to_use(post: Post):
    post.world.switches.smtp_basic_auth = False

    with pytest.raises(SignInFailed, match="use xoauth2"):
        post.mailer().send(a_letter())


def test_a_server_without_starttls_is_told_nothing_unless_it_is_called_a_relay(post: Post):
    post.world.switches.smtp_starttls, post.world.switches.smtp_relay = False, True
    with pytest.raises(Unavailable, match="offers no STARTTLS"):
        post.mailer(account=None).send(a_letter())
    assert post.world.post.mails == []

    relay = replace(post.mailer().server, is_plain=True)
    post.mailer(account=None, server=relay).send(a_letter())

    assert [m.account for m in post.world.post.mails] == [""]
    with pytest.raises(ValueError, match="never used without TLS"):
        post.mailer(server=relay)


def test_a_certificate_of_somebody_else_is_not_trusted(post: Post, tmp_path: Path):
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))

    with pytest.raises(Unavailable, match="certificate could not be verified"):
        post.mailer(server=replace(post.mailer().server, ca_file=other)).send(a_letter())

    with pytest.raises(Unavailable, match="certificate could not be verified"):
        post.mailer(server=replace(post.mailer().server, ca_file=None)).send(a_letter())
    assert post.world.post.mails == []


@pytest.mark.parametrize(
    ("switches", "error"),
    [
        ({"smtp_refuses": ("connect",)}, Unavailable),
        ({"smtp_refuses": ("starttls",)}, Unavailable),
        ({"smtp_refuses": ("auth",)}, Unavailable),
        ({"smtp_refuses": ("mail",)}, Unavailable),
        ({"smtp_refuses": ("rcpt",)}, Deferred),
        ({"smtp_refuses": ("data",)}, Unavailable),
        ({"mail_rate_per_min": 0}, Throttled),
        ({"mail_unknown_recipients": (LAURA,)}, Rejected),
        ({"mail_size_max": 100}, Rejected),
    ],
)
def test_each_refusal_is_named_by_what_can_be_done(post: Post, switches: dict[str, Any], error: type[RemoteError]):
    for name, value in switches.items():
        setattr(post.world.switches, name, value)

    with pytest.raises(RemoteError) as refused:
        post.mailer().send(a_letter())

    assert type(refused.value) is error
    assert post.world.post.mails == []


def test_to_send_as_somebody_else_is_about_us_and_not_about_the_letter(post: Post):
    with pytest.raises(Forbidden, match=r"5\.2\.252"):
        post.mailer().send(a_letter(sender=LAURA))


def test_a_port_where_nobody_listens_counts_as_not_sent():
    seen: list[Exchange] = []
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        mailer = Mailer(Server("127.0.0.1", taken.getsockname()[1]), SystemClock(), on_exchange=seen.append)
        with pytest.raises(Unavailable, match="connect"):
            mailer.send(a_letter())

    assert [e.is_sent for e in seen] == [False]


# --- servers that do what the sandbox's does not


class Script:
    """A server that says these lines in turn, one after each line it reads, and hangs up at their end."""

    def __init__(self, *replies: bytes, endless: bytes = b"") -> None:
        self.replies, self.endless, self.heard = replies, endless, b""
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._talk, daemon=True)
        self._thread.start()

    def _talk(self) -> None:
        connection, _ = self._socket.accept()
        with connection, connection.makefile("rb") as reader:
            try:
                for number, reply in enumerate(self.replies):
                    if number:
                        self._hear(reader, is_message=self.replies[number - 1].startswith(b"354"))
                    connection.sendall(reply + b"\r\n")
                if self.endless:
                    while True:
                        connection.sendall(self.endless)
                self._hear(reader, is_message=self.replies[-1].startswith(b"354"))
            except OSError:
                pass

    def _hear(self, reader: Any, *, is_message: bool) -> None:
        while line := reader.readline():
            self.heard += line
            if not is_message or line == b".\r\n":
                return

    def close(self) -> None:
        self._socket.close()
        self._thread.join(5)

    def mailer(self, **changes: Any) -> Mailer:
        return Mailer(Server("127.0.0.1", self.port, is_plain=True, silence_s=5, **changes), SystemClock())


HELLO: Sequence[bytes] = (b"220 hello", b"250 you", b"250 sender", b"250 recipient", b"354 go on")


@pytest.mark.parametrize(
    ("replies", "error"),
    [
        (HELLO, OutcomeUnknown),  # it hangs up after the last line of the message
        ((*HELLO, b"nonsense"), OutcomeUnknown),
        ((*HELLO, b"250"), None),
        ((*HELLO, b"451 4.3.0 later"), Unavailable),
        ((*HELLO, b"554 5.6.0 bad content"), Rejected),
        ((*HELLO, b"554 5.7.1 blocked"), Forbidden),
        (HELLO[:4], Unavailable),  # it hangs up before the message
        ((*HELLO[:3], b"450 4.2.0 greylisted"), Deferred),
        ((*HELLO[:3], b"421 4.3.2 closing"), Unavailable),
        ((b"554 no service",), Unavailable),
        ((b"HTTP/1.1 400 Bad Request",), Unavailable),
        ((b"220 " + b"x" * 20_000,), Unavailable),
    ],
)
def test_only_what_breaks_after_the_message_may_have_arrived(replies: Sequence[bytes], error: type[RemoteError] | None):
    server = Script(*replies)
    try:
        if error is None:
            server.mailer().send(a_letter())
        else:
            with pytest.raises(RemoteError) as refused:
                server.mailer().send(a_letter())
            assert type(refused.value) is error
    finally:
        server.close()


@pytest.mark.parametrize("name", [LAURA, LAURA.upper(), LAURA.partition("@")[0]])
def test_an_error_does_not_name_the_recipient(name: str):
    server = Script(*HELLO[:3], f"550 5.1.1 <{name}> is not known here".encode())

    with pytest.raises(Rejected, match="is not known here") as refused:
        server.mailer().send(a_letter())

    server.close()
    assert "laura" not in str(refused.value).lower()


def test_the_same_letter_is_the_same_bytes_each_time():
    heard = []
    for _ in range(2):
        server = Script(*HELLO)
        with pytest.raises(OutcomeUnknown):
            server.mailer().send(a_letter())
        server.close()
        heard.append(server.heard)

    assert heard[0] == heard[1]
    assert b"Message-ID: <1.abc@contoso.example>" in heard[0]


def test_a_server_that_never_stops_talking_is_hung_up_on():
    server = Script(b"220 hello", b"250-you", endless=b"250-more\r\n" * 100)

    with pytest.raises(Unavailable):
        server.mailer(deadline_s=0.5).send(a_letter())

    server.close()


def test_a_server_that_repeats_the_password_does_not_get_it_into_an_error(tmp_path: Path):
    authority, secret = trustme.CA(), "correct-horse-battery"
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    listening = socket.create_server(("127.0.0.1", 0))

    def talk() -> None:
        connection, _ = listening.accept()
        connection.sendall(b"220 hello\r\n")
        connection.recv(1000)
        connection.sendall(b"250-you\r\n250 STARTTLS\r\n")
        connection.recv(1000)
        connection.sendall(b"220 go\r\n")
        with context.wrap_socket(connection, server_side=True) as secure:
            secure.recv(1000)
            secure.sendall(b"250-you\r\n250 AUTH PLAIN\r\n")
            said = secure.recv(1000).split()[-1]
            plain = base64.b64decode(said).replace(b"\0", b" ")
            secure.sendall(b"535 5.7.3 no: " + said + b" is " + plain + b"\r\n")
            secure.recv(1000)

    thread = threading.Thread(target=talk, daemon=True)
    thread.start()
    account = PasswordAccount(hosts.MAIL_USER, lambda: read_secret(SecretStr(secret), None, what="a password"))
    with listening, pytest.raises(SignInFailed, match=r"5\.7\.3") as refused:
        Mailer(Server("127.0.0.1", listening.getsockname()[1], ca_file), SystemClock(), account).send(a_letter())
    thread.join(5)

    said = str(refused.value)
    assert "is" in said
    assert secret not in said
    assert base64.b64encode(f"\0{hosts.MAIL_USER}\0{secret}".encode()).decode() not in said


# --- headers


def test_no_text_of_others_becomes_a_header():
    evil = "Hello\r\nBcc: everybody@contoso.example\r\n\r\nbody\u2028X: y\x00"

    made = a_letter(subject=evil, text=evil, html=evil)

    head = made.raw.partition(b"\r\n\r\n")[0]
    names = [line.partition(b":")[0] for line in head.split(b"\r\n") if not line.startswith((b" ", b"\t"))]
    assert b"Bcc" not in names
    assert b"X" not in names
    assert names.count(b"Subject") == 1


@pytest.mark.parametrize(
    "address",
    [
        "laura@contoso.example\r\nBcc: x@y.example", "<laura@contoso.example>", "a b@contoso.example", "laura",
        "laura@contoso.example>RCPT TO:<x@y.example", '"x"@contoso.example', "laura@[127.0.0.1]", "@contoso.example",
        "läura@contoso.example", "a..b@contoso.example", "x_gmail.com#EXT#@contoso.example", "a@b", "-@" + "a" * 300,
    ],
)  # fmt: skip
def test_what_is_no_plain_address_is_not_written_to(address: str):
    with pytest.raises(ValueError, match="plain mail address"):
        a_letter(recipient=address)


def test_an_id_cannot_end_its_header():
    with pytest.raises(ValueError, match="Message-ID"):
        a_letter(id="1>\r\nX: y")


@given(st.text(max_size=300), st.text(max_size=300))
def test_whatever_a_text_holds_the_headers_are_ours(subject: str, text: str):
    kept = text.encode("utf-8", "replace").decode()
    made = a_letter(subject=inert(subject, 120), text=kept, html=kept)

    parsed = message_from_bytes(made.raw)

    assert parsed.keys() == [
        "From", "To", "Subject", "Date", "Message-ID", "List-Id", "Auto-Submitted", "X-Auto-Response-Suppress",
        "MIME-Version", "Content-Type",
    ]  # fmt: skip
    assert [part.get_content_type() for part in parsed.walk()] == ["multipart/alternative", "text/plain", "text/html"]
    assert all(len(line) <= 998 and b"\n" not in line for line in made.raw.split(b"\r\n"))
