"""Mail in the sandbox: Python's own smtplib over STARTTLS, Graph's sendMail, and the pages on which it is read."""

from __future__ import annotations

import base64
import smtplib
import socket
from collections.abc import Iterator
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx
import pytest

from reconciler.sandbox import hosts, tokens
from reconciler.sandbox.server import Serving, serve
from reconciler.sandbox.tls import client_context
from reconciler.sandbox.transport import SandboxTransport
from reconciler.sandbox.world import World
from reconciler.sandbox.world_file import keep_world, read_world
from tests.make_world import contoso

LAURA = "laura.mcbride@contoso.example"


def a_mail(**headers: str) -> EmailMessage:
    mail = EmailMessage()
    known = {"From": hosts.MAIL_USER, "To": LAURA, "Subject": "Licence approval needed", **headers}
    for name, value in known.items():
        mail[name] = value
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content("Open the page.\n.\n.. and decide")
    mail.add_alternative("<p>Open the page.</p>", subtype="html")
    return mail


def a_token(world: World, *roles: str) -> str:
    return tokens.issue(
        key=tokens.key_of(world.seed),
        tenant_id=hosts.TENANT_ID,
        issuer="https://sts.windows.net/",
        audience="https://outlook.office365.com",
        app_id=hosts.CLIENT_ID,
        app_name="License Reconciler",
        roles=roles,
        now=world.clock.now(),
        lifetime_s=3600,
        token_id="1",
    )


# --- SMTP


class Post:
    """A served world and its SMTP port."""

    def __init__(self, world: World, sandbox: Serving) -> None:
        self.world = world
        self.sandbox = sandbox
        self.tls = client_context(sandbox.ca_file)

    def plain(self) -> smtplib.SMTP:
        return smtplib.SMTP("127.0.0.1", self.sandbox.smtp_port, timeout=10)

    def secure(self) -> smtplib.SMTP:
        smtp = self.plain()
        smtp.starttls(context=self.tls)
        return smtp

    def signed_in(self) -> smtplib.SMTP:
        smtp = self.secure()
        smtp.login(hosts.MAIL_USER, hosts.MAIL_PASSWORD)
        return smtp


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


@pytest.mark.tls
def test_a_mail_arrives_as_it_was_sent(post: Post):
    with post.signed_in() as smtp:
        smtp.send_message(a_mail())

    with httpx.Client(verify=post.tls, trust_env=False) as http:
        row = http.get(f"{post.sandbox.mail}/messages").json()["value"][0]
        account = http.get(f"{post.sandbox.mail}/smtp").json()
    assert (row["via"], row["account"], row["recipients"]) == ("smtp", hosts.MAIL_USER, [LAURA])
    assert row["text"].splitlines() == ["Open the page.", ".", ".. and decide"]
    assert row["html"].strip() == "<p>Open the page.</p>"
    assert ["Auto-Submitted", "auto-generated"] in row["headers"]
    assert (account["port"], account["user"]) == (post.sandbox.smtp_port, hosts.MAIL_USER)


@pytest.mark.tls
def test_a_token_of_the_tenant_signs_in_to_a_mailbox(post: Post):
    def xoauth2(token: str, user: str = hosts.MAIL_USER) -> int:
        with post.secure() as smtp:
            smtp.ehlo()
            words = base64.b64encode(f"user={user}\x01auth=Bearer {token}\x01\x01".encode()).decode()
            return smtp.docmd("AUTH", f"XOAUTH2 {words}")[0]

    assert xoauth2(a_token(post.world, "Mail.Send")) == 235
    assert xoauth2(a_token(post.world, "User.Read.All")) == 535
    assert xoauth2(a_token(post.world, "Mail.Send"), "nobody@contoso.example") == 535
    assert xoauth2("nonsense") == 535


@pytest.mark.tls
def test_nothing_is_said_in_the_clear_and_nothing_is_sent_by_strangers(post: Post):
    with post.plain() as smtp:
        smtp.ehlo()
        words = base64.b64encode(f"\0{hosts.MAIL_USER}\0{hosts.MAIL_PASSWORD}".encode()).decode()
        assert not smtp.has_extn("auth")
        assert smtp.docmd("AUTH", f"PLAIN {words}")[0] == 530
        assert smtp.mail(hosts.MAIL_USER)[0] == 530
    with post.secure() as smtp, pytest.raises(smtplib.SMTPAuthenticationError):
        smtp.login(hosts.MAIL_USER, "wrong")

    assert post.world.post.mails == []


@pytest.mark.tls
def test_what_is_said_ahead_of_tls_is_forgotten(post: Post):
    with socket.create_connection(("127.0.0.1", post.sandbox.smtp_port), timeout=10) as raw:
        raw.recv(1000)
        raw.sendall(b"EHLO me\r\n")
        raw.recv(1000)
        raw.sendall(b"STARTTLS\r\nMAIL FROM:<evil@contoso.example>\r\n")
        assert raw.recv(1000).startswith(b"220 ")
        with post.tls.wrap_socket(raw, server_hostname="127.0.0.1") as secure:
            secure.sendall(b"NOOP\r\n")
            assert secure.recv(1000) == b"250 2.0.0 OK\r\n"


@pytest.mark.tls
def test_an_internal_relay_asks_nobody(post: Post):
    post.world.switches.smtp_relay = True
    post.world.switches.smtp_starttls = False

    with post.plain() as smtp:
        smtp.send_message(a_mail())

    assert [m.account for m in post.world.post.mails] == [""]


@pytest.mark.tls
@pytest.mark.parametrize(
    ("switches", "code"),
    [
        ({"mail_size_max": 100}, 552),
        ({"mail_unknown_recipients": (LAURA,)}, 550),
        ({"smtp_refuses": ("rcpt",)}, 451),
        ({"smtp_refuses": ("data",)}, 451),
        ({"smtp_refuses": ("mail",)}, 451),
        ({"mail_rate_per_min": 0}, 432),
    ],
)
def test_a_mail_can_be_refused_for_good_or_for_now(post: Post, switches: dict[str, Any], code: int):
    for name, value in switches.items():
        setattr(post.world.switches, name, value)

    refusals = (smtplib.SMTPResponseException, smtplib.SMTPRecipientsRefused)
    with post.signed_in() as smtp, pytest.raises(refusals) as refused:
        smtp.send_message(a_mail())

    error = refused.value
    said = error.smtp_code if isinstance(error, smtplib.SMTPResponseException) else error.recipients[LAURA][0]
    assert said == code
    assert post.world.post.mails == []


@pytest.mark.tls
def test_nobody_sends_in_anothers_name(post: Post):
    with post.signed_in() as smtp, pytest.raises(smtplib.SMTPDataError, match="SendAsDenied"):
        smtp.send_message(a_mail(From="elena.rossi@contoso.example"), from_addr=hosts.MAIL_USER)

    assert post.world.post.mails == []


@pytest.mark.tls
def test_passwords_can_be_off_and_the_service_away(post: Post):
    post.world.switches.smtp_basic_auth = False
    with post.secure() as smtp:
        smtp.ehlo()
        assert smtp.esmtp_features["auth"].strip() == "XOAUTH2"
        assert smtp.docmd("AUTH", "PLAIN")[0] == 535
    post.world.switches.smtp_refuses = ("connect",)
    with pytest.raises(smtplib.SMTPConnectError):
        post.plain()


@pytest.mark.tls
def test_a_client_that_breaks_the_rules_harms_nobody(post: Post):
    with post.plain() as smtp:
        assert smtp.docmd("DATA")[0] == 503
        assert smtp.docmd("MAIL", "FROM:<a@b")[0] == 503
        assert smtp.docmd("BDAT", "1")[0] == 500
        assert smtp.docmd("x" * 20_000)[0] == 500
    with post.signed_in() as smtp:
        smtp.send_message(a_mail())
    assert len(post.world.post.mails) == 1


# --- Graph


class Graph:
    """A world in process, and an application that may send."""

    def __init__(self, world: World, http: httpx.Client) -> None:
        self.world = world
        self.http = http
        self.auth = {"authorization": f"Bearer {a_token(world, 'Mail.Send')}"}

    def send(self, message: Any, account: str = hosts.MAIL_USER) -> httpx.Response:
        url = f"{hosts.GRAPH_URL}/v1.0/users/{account}/sendMail"
        return self.http.post(url, json={"message": message}, headers=self.auth)

    def mime(self, content: bytes) -> httpx.Response:
        url = f"{hosts.GRAPH_URL}/v1.0/users/{hosts.MAIL_USER}/sendMail"
        return self.http.post(url, content=content, headers={**self.auth, "content-type": "text/plain"})

    def received(self) -> list[dict[str, Any]]:
        return list(self.http.get(f"{hosts.MAIL_URL}/messages").json()["value"])


@pytest.fixture
def graph() -> Iterator[Graph]:
    world = contoso()
    with httpx.Client(transport=SandboxTransport(world), trust_env=False) as http:
        yield Graph(world, http)


def a_message(**changed: Any) -> dict[str, Any]:
    return {
        "subject": "Licence approval needed",
        "body": {"contentType": "Text", "content": "Open the page."},
        "toRecipients": [{"emailAddress": {"address": LAURA}}],
        **changed,
    }


def test_a_message_sent_by_graph_arrives(graph: Graph):
    hidden = [{"emailAddress": {"address": "audit@contoso.example"}}]
    own = [{"name": "X-Request", "value": "LR-1"}]

    response = graph.send(a_message(bccRecipients=hidden, internetMessageHeaders=own, subject="One\r\nBcc: x@y.z"))

    mail = graph.received()[0]
    assert (response.status_code, response.content) == (202, b"")
    assert (mail["via"], mail["account"], mail["subject"]) == ("graph", hosts.MAIL_USER, "One Bcc: x@y.z")
    assert mail["recipients"] == [LAURA, "audit@contoso.example"]
    names = {name for name, _ in mail["headers"]}
    assert "X-Request" in names
    assert "Bcc" not in names


def test_the_mime_form_keeps_every_header(graph: Graph):
    response = graph.mime(base64.b64encode(a_mail().as_bytes()))

    assert response.status_code == 202
    assert ["Auto-Submitted", "auto-generated"] in graph.received()[0]["headers"]
    assert graph.mime(b"%%%").json()["error"]["code"] == "ErrorMimeContentInvalidBase64String"


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"toRecipients": []}, 400, "ErrorInvalidRecipients"),
        ({"toRecipients": [{"emailAddress": {"address": "nobody"}}]}, 400, "ErrorInvalidRecipients"),
        (
            {"internetMessageHeaders": [{"name": "Auto-Submitted", "value": "auto-generated"}]},
            400,
            "InvalidInternetMessageHeader",
        ),
        ({"toRecipients": 7}, 400, "ErrorInvalidRecipients"),
        ({"toRecipients": [{"emailAddress": "a@b.c"}]}, 400, "ErrorInvalidRecipients"),
        ({"toRecipients": [{"emailAddress": {"address": "a@b.c,d@e.f"}}]}, 400, "ErrorInvalidRecipients"),
        ({"internetMessageHeaders": [{"name": "X-A: b", "value": ""}]}, 400, "InvalidInternetMessageHeader"),
        ({"subjekt": "x"}, 400, "RequestBodyRead"),
        ({"body": {"content": "x" * 4_200_000}}, 413, "ErrorMessageSizeExceeded"),
    ],
)
def test_a_message_that_is_not_right_is_refused(graph: Graph, changed: dict[str, Any], status: int, code: str):
    response = graph.send(a_message(**changed))

    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert graph.received() == []


def test_any_mailbox_can_be_used_until_the_tenant_narrows_it(graph: Graph):
    assert graph.send(a_message(), LAURA).status_code == 202

    graph.world.switches.mail_send_mailboxes = (hosts.MAIL_USER,)

    assert graph.send(a_message(), LAURA).json()["error"]["code"] == "ErrorAccessDenied"
    assert graph.send(a_message()).status_code == 202
    graph.auth = {"authorization": f"Bearer {a_token(graph.world, 'User.Read.All')}"}
    assert graph.send(a_message()).status_code == 403


def test_an_account_without_a_mailbox_sends_nothing(graph: Graph):
    assert graph.send(a_message(), "break.glass@contoso.example").status_code == 404


def test_a_mailbox_that_sends_too_much_must_wait(graph: Graph):
    statuses = {graph.send(a_message()).status_code for _ in range(30)}
    refused = graph.send(a_message())
    graph.world.clock.advance(timedelta(seconds=int(refused.headers["retry-after"])))

    assert (statuses, refused.status_code) == ({202}, 429)
    assert graph.send(a_message()).status_code == 202


def test_pages_show_a_mail_as_text(graph: Graph):
    graph.send(a_message(subject="<script>alert(1)</script>", body={"contentType": "html", "content": "<b>bold</b>"}))

    listed, opened = (graph.http.get(f"{hosts.MAIL_URL}{path}").text for path in ("/", "/messages/1/page"))

    for text in (listed, opened):
        assert "<script>" not in text
        assert "&lt;script&gt;" in text
    assert "&lt;b&gt;bold" in opened
    assert graph.http.get(f"{hosts.MAIL_URL}/messages", params={"to": "other@contoso.example"}).json()["value"] == []
    assert graph.http.get(f"{hosts.MAIL_URL}/smtp").status_code == 404


@pytest.mark.parametrize(
    "raw",
    [
        b"To: a@b.c\r\nSubject: =?utf-8?b?4pyT?=\r\nFrom: \xff\xfe <\r\n\r\n\xff",
        b"To: a@b.c\r\nContent-Type: multipart/mixed\r\n\r\nx",
        b"To: a@b.c\r\nContent-Type: text/plain; charset=nonsense\r\nSubject: =?nonsense?q?x?=\r\n\r\nx",
        b"To: [\r\n\r\n",
        b"\r\n\r\n",
    ],
)
def test_no_mail_is_too_strange_to_be_taken_or_refused_and_read(graph: Graph, raw: bytes):
    assert graph.mime(base64.b64encode(raw)).status_code in {202, 400}
    for mail in graph.received():
        assert graph.http.get(f"{hosts.MAIL_URL}/messages/{mail['number']}/page").status_code == 200


def test_a_kept_world_knows_its_mail(graph: Graph, tmp_path: Path):
    graph.send(a_message())
    keep_world(tmp_path / "world.json", graph.world, "contoso")

    assert read_world(tmp_path / "world.json")[0].post.mails == graph.world.post.mails
