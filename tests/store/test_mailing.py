"""Telling people by mail, over the sandbox's SMTP server: who gets what, how often, and what failures leave."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import SecretStr

from reconciler.approvals.clocks import reminded
from reconciler.approvals.values import Approval, Human, Verdict
from reconciler.cards.telling import Mails, Ways
from reconciler.clients.mail import Mailer, PasswordAccount, Server
from reconciler.clients.wire import make_http
from reconciler.line import Lane, Trip
from reconciler.loop.mailing import Mailing
from reconciler.loop.notify import Quiet
from reconciler.sandbox import hosts
from reconciler.sandbox.mail.records import Mail
from reconciler.sandbox.server import Serving, serve
from reconciler.sandbox.transport import SandboxTransport
from reconciler.store import approvals
from reconciler.store import notices as outbox
from reconciler.store.database import Database
from tests.make import MONDAY
from tests.make_approvals import TENANT, an_answer
from tests.make_world import contoso
from tests.store.test_telling import FLOWS, LINKS, THOMAS, Office, a_notifier

DESK, ADMIN = "desk@contoso.example", "admin@contoso.example"
LAURA = Human(hosts.TENANT_ID, "oid-laura", "Laura McBride", "laura.mcbride@contoso.example")
EVE = Human(hosts.TENANT_ID, "oid-eve", "Eve Adams", "eve@contoso.example")
GUEST = Human(hosts.TENANT_ID, "oid-guest", "Guest", "guest@elsewhere.example")
pytestmark = pytest.mark.tls


def at_home(upn: str) -> str:
    return upn if upn.endswith("@contoso.example") else ""


class Bureau(Office):
    """An office with a mail server. People with a chat are those of `FLOWS`."""

    def __init__(self, database: Database, sandbox: Serving, **mails: Any) -> None:
        world = sandbox_world[id(sandbox)]
        http = make_http(SandboxTransport(world))
        ways = Ways(LINKS, True, lambda upn: f"person:{upn}" in FLOWS, Mails(at_home, (DESK,), (ADMIN,), **mails))
        server = Server("127.0.0.1", sandbox.smtp_port, sandbox.ca_file, silence_s=5)
        account = PasswordAccount(hosts.MAIL_USER, lambda: SecretStr(hosts.MAIL_PASSWORD))
        mailer = Mailer(server, world.clock, account)
        self.mailing = Mailing(
            TENANT, database, world.clock, random.Random(7), ways, mailer, hosts.MAIL_USER, timedelta(minutes=10)
        )
        super().__init__(database, world, a_notifier(database, world, http, ways=ways, mailing=self.mailing))

    def mails(self, to: str = "") -> list[Mail]:
        return [m for m in self.world.post.mails if not to or to in m.recipients]

    def subjects(self, to: str) -> list[str]:
        return [str(m.parsed()["Subject"]) for m in self.mails(to)]

    def by_mail(self, id: str = "A") -> list[outbox.Owed]:
        with self.database.read() as session:
            found = outbox.of_request(session, TENANT, f"LR-{id * 26}")
        return [o for o in found if o.notice.channel.value == "mail"]

    def changed(self, **changes: Any) -> None:
        """Mail goes out another way from now on."""
        mailing = replace(self.mailing, **changes)
        self.notifier = replace(self.notifier, ways=mailing.ways, mailing=mailing)


sandbox_world: dict[int, Any] = {}


@pytest.fixture
def served() -> Iterator[Serving]:
    world = contoso()
    with serve(world) as sandbox:
        sandbox_world[id(sandbox)] = world
        yield sandbox
        del sandbox_world[id(sandbox)]


@pytest.fixture
def bureau(database: Database, served: Serving) -> Bureau:
    return Bureau(database, served)


def body_of(mail: Mail) -> str:
    return "".join(
        part.get_payload(decode=True).decode()  # type: ignore[union-attr]
        for part in mail.parsed().walk()
        if not part.is_multipart()
    )


def test_who_has_no_chat_is_asked_by_mail_and_the_desk_hears_number_and_product(bureau: Bureau):
    bureau.asks(THOMAS, LAURA, GUEST)

    assert bureau.deliver() == ()

    (mail,), (desk,) = bureau.mails(LAURA.upn), bureau.mails(DESK)
    assert bureau.mails(THOMAS.upn) == bureau.mails(GUEST.upn) == bureau.mails(ADMIN) == []
    assert "Needs Phone System" in body_of(mail)
    assert "Alex" not in body_of(desk)
    assert bureau.headlines("chat-thomas.brandt") == ["Licence approval needed"]
    (channel,) = bureau.messages("desk")  # whoever is reached by mail is not called there as well
    assert [e["mentioned"]["id"] for e in channel.card["msteams"]["entities"]] == ["oid-guest"]


def test_what_was_told_is_not_told_again_and_is_in_the_log_with_its_message_id(bureau: Bureau):
    bureau.asks(LAURA)
    bureau.deliver()
    before = len(bureau.mails())
    bureau.wait(hours=2)
    bureau.deliver()

    assert len(bureau.mails()) == before == 2
    sent = [row["body"] for row in bureau.log() if row["kind"] == "notify.sent" and row["body"]["channel"] == "mail"]
    ids = [str(m.parsed()["Message-ID"]) for m in bureau.mails()]
    assert sorted(f"<{body['message_id']}@contoso.example>" for body in sent) == sorted(ids)


def test_many_notices_are_one_mail_in_an_interval(bureau: Bureau):
    bureau.asks(LAURA, id="A")
    bureau.deliver()
    for id in "BCD":
        bureau.asks(LAURA, id=id)
        bureau.wait(minutes=1)
        bureau.deliver()
    assert len(bureau.mails(LAURA.upn)) == 1

    bureau.wait(minutes=10)
    bureau.deliver()

    assert bureau.subjects(LAURA.upn)[1:] == ["3 notices in one"]
    text = body_of(bureau.mails(LAURA.upn)[-1])
    assert all(f"RITM000000{ord(id) % 10}" in text for id in "BCD")


def test_a_stopped_lane_is_told_to_the_admins_at_once_and_to_nobody_else(bureau: Bureau):
    bureau.asks(LAURA)
    bureau.deliver()
    for guard in ("one", "two"):
        bureau.notifier.trips([Trip(guard, Lane.GRANTS, 60, 50, "e" * 64, "60 people would gain a licence; 50 may.")])
        bureau.deliver()

    assert bureau.subjects(ADMIN) == ["A guard stopped a plan"] * 2
    assert len(bureau.mails(DESK)) == len(bureau.mails(LAURA.upn)) == 1


def test_even_what_hurries_is_no_flood(bureau: Bureau):
    for number in range(14):
        trip = Trip("one", Lane.GRANTS, 60, 50, f"{number:064x}", "60 people would gain a licence; 50 may.")
        bureau.notifier.trips([trip])
        bureau.deliver()
    assert bureau.subjects(ADMIN) == ["A guard stopped a plan"] * 10

    bureau.wait(minutes=10)
    bureau.deliver()

    assert bureau.subjects(ADMIN)[10:] == ["4 notices in one"]


def test_the_requester_hears_how_it_ended_and_no_more(database: Database, served: Serving):
    bureau = Bureau(database, served, requesters=True)
    request = bureau.asks(LAURA, requester=EVE)
    bureau.deliver()
    bureau.wait(minutes=20)

    with database.write() as session:
        answer = replace(an_answer(LAURA, Verdict.REJECT, digest=request.digest), comment="too expensive")
        judged = approvals.decide(session, TENANT, request.id, answer, MONDAY, tell=bureau.notifier.tell())
    assert isinstance(judged, Approval), judged
    bureau.deliver()

    (mail,) = bureau.mails(EVE.upn)
    assert str(mail.parsed()["Subject"]).startswith("Rejected")
    said = body_of(mail)
    assert "Microsoft 365 E5" in said
    assert not any(word in said for word in ("too expensive", "Laura", "57.00", "/approvals/", "/inbox"))


def test_quiet_hours_go_by_the_recipients_own_clock(bureau: Bureau):
    request = bureau.asks(LAURA, EVE)
    bureau.deliver()
    quiet = Quiet(time(20), time(7), UTC)
    zones = {f"person:{EVE.upn}": ZoneInfo("Asia/Tokyo")}
    bureau.notifier = replace(bureau.notifier, quiet=quiet, zones=zones)
    now = bureau.world.clock.now()
    evening = datetime.combine(now.date() + timedelta(days=1), time(22, 30), tzinfo=UTC)  # 07:30 in Tokyo
    bureau.wait(seconds=(evening - now).total_seconds())
    with bureau.database.write() as session:
        approvals.change(
            session, TENANT, request.id, lambda a: reminded(a, evening), evening,
            kind="approval.reminded", event="approval.reminder", tell=bureau.notifier.tell(),
        )  # fmt: skip
    bureau.deliver()
    assert (len(bureau.mails(EVE.upn)), len(bureau.mails(LAURA.upn))) == (2, 1)

    bureau.wait(hours=9)
    bureau.deliver()
    assert len(bureau.mails(LAURA.upn)) == 2


def test_greylisting_is_waited_for_and_holds_up_nobody_else(bureau: Bureau):
    bureau.world.switches.smtp_refuses = ("rcpt",)
    bureau.asks(LAURA)
    bureau.deliver()
    assert {(o.state.value, o.tries) for o in bureau.by_mail()} == {("queued", 1)}
    assert "451" in bureau.by_mail()[0].problem

    bureau.world.switches.smtp_refuses = ()
    bureau.wait(minutes=5)
    bureau.deliver()

    assert {o.state.value for o in bureau.by_mail()} == {"sent"}
    assert len(bureau.mails()) == 2


def test_an_unknown_recipient_is_a_dead_letter_at_once_and_the_others_are_told(bureau: Bureau):
    bureau.world.switches.mail_unknown_recipients = (LAURA.upn,)
    bureau.asks(LAURA)
    bureau.deliver()

    assert sorted((o.notice.recipient, o.state.value) for o in bureau.by_mail()) == [
        (f"desk:{DESK}", "sent"),
        (f"person:{LAURA.upn}", "dead"),
    ]
    with bureau.database.read() as session:
        assert outbox.counts(session, TENANT)["dead"] == 1
    assert [r["body"]["channel"] for r in bureau.log() if r["kind"] == "notify.failed"] == ["mail"]


@pytest.mark.parametrize("step", ["connect", "starttls", "auth", "mail", "data"])
def test_a_server_in_trouble_is_asked_once_a_round_and_told_later(bureau: Bureau, step: str):
    bureau.world.switches.smtp_refuses = (step,)  # type: ignore[assignment]
    bureau.asks(LAURA)
    bureau.deliver()
    assert sorted(o.tries for o in bureau.by_mail()) == [0, 1]

    bureau.world.switches.smtp_refuses = ()
    bureau.wait(minutes=5)
    bureau.deliver()

    assert {o.state.value for o in bureau.by_mail()} == {"sent"}


def test_nothing_is_said_to_a_server_without_starttls(bureau: Bureau):
    bureau.world.switches.smtp_starttls, bureau.world.switches.smtp_relay = False, True
    bureau.asks(LAURA)
    bureau.deliver()

    assert bureau.mails() == []
    assert any("STARTTLS" in o.problem for o in bureau.by_mail())


def cutting(replies: tuple[bytes, ...]) -> tuple[socket.socket, threading.Thread, list[bytes]]:
    """A server that takes a message and hangs up without a word about it."""
    listening, heard = socket.create_server(("127.0.0.1", 0)), []

    def talk() -> None:
        connection, _ = listening.accept()
        with connection, connection.makefile("rb") as reader:
            for reply in replies:
                connection.sendall(reply + b"\r\n")
                heard.append(reader.readline())
            while (line := reader.readline()) not in (b".\r\n", b""):
                heard.append(line)

    thread = threading.Thread(target=talk, daemon=True)
    thread.start()
    return listening, thread, heard


def test_a_mail_that_may_have_arrived_is_tried_again_as_the_same_mail_and_says_so(bureau: Bureau):
    bureau.changed(ways=replace(bureau.mailing.ways, mails=Mails(at_home)))
    bureau.asks(LAURA, id="A")
    bureau.asks(LAURA, id="B")
    listening, thread, heard = cutting((b"220 hi", b"250 you", b"250 sender", b"250 recipient", b"354 go on"))
    plain = Mailer(Server("127.0.0.1", listening.getsockname()[1], is_plain=True), bureau.world.clock)
    before = bureau.notifier
    bureau.notifier = replace(before, mailing=replace(bureau.mailing, ways=before.ways, mailer=plain))
    bureau.deliver()
    thread.join(5)
    listening.close()
    first = next(line for line in heard if line.startswith(b"Message-ID:")).split()[1].decode()
    assert {o.state.value for o in bureau.by_mail()} == {"queued"}

    bureau.notifier = before
    bureau.asks(LAURA, id="C")  # what has come since does not change the mail that may have arrived
    bureau.wait(minutes=5)
    bureau.deliver()

    again = next(m for m in bureau.mails(LAURA.upn) if str(m.parsed()["Message-ID"]) == first)
    assert str(again.parsed()["Subject"]) == "2 notices in one"
    lines = [line.rstrip(b"\r\n") for line in heard]
    assert f"Date: {again.parsed()['Date']}".encode() in lines
    assert all("may have arrived twice" in o.problem for id in "AB" for o in bureau.by_mail(id))
    sent = [r["body"] for r in bureau.log() if r["kind"] == "notify.sent" and r["body"]["channel"] == "mail"]
    assert "may have arrived twice" in next(b["note"] for b in sent if f"<{b['message_id']}@contoso.example>" == first)


def test_where_part_of_a_mail_was_settled_what_is_left_is_another_mail(bureau: Bureau):
    bureau.changed(ways=replace(bureau.mailing.ways, mails=Mails(at_home)))
    bureau.world.switches.smtp_refuses = ("data",)
    settled = bureau.asks(LAURA, id="A")
    bureau.asks(LAURA, id="B")
    bureau.deliver()
    (begun,) = {o.batch for id in "AB" for o in bureau.by_mail(id) if o.notice.recipient.startswith("person:")}

    with bureau.database.write() as session:
        approvals.decide(session, TENANT, settled.id, an_answer(LAURA, digest=settled.digest), MONDAY)
    bureau.world.switches.smtp_refuses = ()
    bureau.wait(minutes=5)
    bureau.deliver()

    (mail,) = bureau.mails(LAURA.upn)
    assert begun not in str(mail.parsed()["Message-ID"])
    assert "LR-BBB" in body_of(mail)
    assert "LR-AAA" not in body_of(mail)


def test_who_is_not_listed_any_more_is_written_to_no_more(bureau: Bureau):
    bureau.asks(LAURA)
    bureau.changed(ways=replace(bureau.mailing.ways, mails=Mails(lambda _: "", ("other@contoso.example",))))
    bureau.deliver()

    assert bureau.mails() == []
    assert {o.state.value for o in bureau.by_mail()} == {"queued"}
    assert all("no mail address is configured" in o.problem for o in bureau.by_mail())


def test_where_no_mail_is_sent_any_more_what_is_owed_says_so(bureau: Bureau):
    bureau.asks(LAURA)
    bureau.notifier = replace(bureau.notifier, mailing=None)
    bureau.deliver()

    assert all("no mail server is configured any more" in o.problem for o in bureau.by_mail())


def test_a_sender_that_is_killed_on_the_way_leaves_the_same_mail_to_be_sent_later(bureau: Bureau):
    class Killed(BaseException):
        pass

    def die(_: str) -> str:
        raise Killed

    bureau.asks(LAURA)
    alive = bureau.notifier
    dying = replace(bureau.mailing.ways, mails=Mails(die))
    bureau.notifier = replace(alive, mailing=replace(bureau.mailing, ways=dying))
    with pytest.raises(Killed):
        bureau.deliver()
    (begun,) = [o for o in bureau.by_mail() if o.batch]

    bureau.notifier = alive
    bureau.wait(minutes=5)
    bureau.deliver()

    assert f"<{begun.batch}@contoso.example>" in [str(m.parsed()["Message-ID"]) for m in bureau.mails()]
    assert len(bureau.mails()) == 2
