"""Telling people, over the sandbox's webhooks: whom, how fast, how often, and what a failure never stops."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from desired_state.model import LineKey
from reconciler.approvals.clocks import reminded
from reconciler.approvals.values import Approval, Human, State, Verdict
from reconciler.cards.telling import DESK, Ways
from reconciler.clients.teams import Teams
from reconciler.clients.wire import make_http
from reconciler.config import load
from reconciler.line import Lane, Trip
from reconciler.loop.notify import Notifier, Quiet
from reconciler.loop.observe import Scope
from reconciler.once import once
from reconciler.sandbox import hosts
from reconciler.sandbox.faults import FaultRule
from reconciler.sandbox.teams import flow_address
from reconciler.sandbox.transport import SandboxTransport
from reconciler.sandbox.world import World
from reconciler.store import approvals, journal, rulings
from reconciler.store import notices as outbox
from reconciler.store.database import Database
from reconciler.wiring import open_app
from tests.make import MONDAY
from tests.make_approvals import EVE, LAURA, TENANT, a_draft, a_stage, an_answer
from tests.make_cards import LINKS, told
from tests.make_world import contoso

THOMAS = Human(hosts.TENANT_ID, "oid-thomas", "Thomas Brandt", "thomas.brandt@contoso.example")
FLOWS = {DESK: "desk", f"person:{THOMAS.upn}": "chat-thomas.brandt"}


@dataclass
class Office:
    """A store, the sandbox's Teams, and whoever tells."""

    database: Database
    world: World
    notifier: Notifier

    def asks(self, *people: Human, id: str = "A", **changes: Any) -> Approval:
        """A request opens and waits for these people."""
        draft = a_draft(
            a_stage("manager", *people), id=f"LR-{id * 26}"[:29], shown=told(), digest=id * 64,
            line=LineKey(f"RITM000000{ord(id) % 10}", 1), **changes,
        )  # fmt: skip
        with self.database.write() as session:
            return approvals.open_(session, draft, tell=self.notifier.tell())

    def many(self, count: int, person: Human = THOMAS) -> None:
        letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
        for n in range(count):
            self.asks(person, id=letters[n])

    def deliver(self) -> tuple[str, ...]:
        return self.notifier.deliver()

    def wait(self, **span: float) -> None:
        self.world.clock.advance(timedelta(**span))

    def messages(self, flow: str) -> list[Any]:
        self.wait(seconds=10)
        return [m for m in self.world.teams.messages if m.flow_id == flow]

    def headlines(self, flow: str) -> list[str]:
        return [m.card["body"][0]["text"] for m in self.messages(flow) if m.state == "posted"]

    def notices(self, id: str = "A") -> list[tuple[str, str]]:
        with self.database.read() as session:
            found = outbox.of_request(session, TENANT, f"LR-{id * 26}")
        return [(o.notice.recipient, o.state.value) for o in found]

    def log(self) -> list[dict[str, Any]]:
        with self.database.read() as session:
            return list(journal.export(session, TENANT))


def a_notifier(database: Database, world: World, http: httpx.Client, **changes: Any) -> Notifier:
    def address_of(recipient: str) -> SecretStr | None:
        flow = FLOWS.get(recipient)
        return SecretStr(flow_address(hosts.TEAMS_URL, flow)) if flow else None

    base = Notifier(
        TENANT,
        database,
        world.clock,
        random.Random(7),
        Ways(LINKS, True, lambda upn: f"person:{upn}" in FLOWS),
        Teams(http, world.clock, random.Random(7), hosts=[hosts.TEAMS_HOST]),
        address_of,
    )
    return replace(base, **changes)


@pytest.fixture
def office(database: Database) -> Iterator[Office]:
    world = contoso()
    with make_http(SandboxTransport(world)) as http:
        yield Office(database, world, a_notifier(database, world, http))


def test_the_approvers_chat_gets_the_card_and_the_channel_number_product_and_link(office: Office):
    office.asks(THOMAS)

    assert office.deliver() == ()

    (chat,), (desk,) = office.messages("chat-thomas.brandt"), office.messages("desk")
    assert (chat.state, desk.state) == ("posted", "posted")
    assert "Needs Phone System" in json.dumps(chat.card)
    assert "Alex" not in json.dumps(desk.card)
    assert "entities" not in desk.card["msteams"]


def test_who_has_no_chat_of_their_own_is_mentioned_in_the_channel(office: Office):
    office.asks(THOMAS, LAURA)

    office.deliver()

    (desk,) = office.messages("desk")
    assert [e["mentioned"]["id"] for e in desk.card["msteams"]["entities"]] == ["oid-laura"]


def test_what_was_told_is_not_told_again(office: Office):
    office.asks(THOMAS)
    office.deliver()
    before = office.log()

    office.wait(hours=1)
    assert office.deliver() == ()

    assert len(office.world.teams.messages) == 2
    assert office.log() == before


def test_the_outcome_goes_to_who_was_asked_and_did_not_answer(office: Office):
    request = office.asks(LAURA, THOMAS)
    office.deliver()

    with office.database.write() as session:
        answer = an_answer(LAURA, Verdict.REJECT, digest=request.digest)
        judged = approvals.decide(session, TENANT, request.id, answer, MONDAY, tell=office.notifier.tell())
    assert isinstance(judged, Approval), judged
    office.deliver()

    assert office.headlines("chat-thomas.brandt") == ["Licence approval needed", "Rejected"]
    assert office.headlines("desk") == ["Licence approval needed"]


def test_each_reminder_is_one_card(office: Office):
    request = office.asks(THOMAS)
    office.deliver()
    for hours in (31, 60):
        office.wait(hours=hours)
        at = office.world.clock.now()
        with office.database.write() as session:
            approvals.change(
                session, TENANT, request.id, lambda a, at=at: reminded(a, at), at,
                kind="approval.reminded", event="approval.reminder", tell=office.notifier.tell(),
            )  # fmt: skip
        office.deliver()

    assert office.headlines("chat-thomas.brandt") == [
        "Licence approval needed", "Reminder: licence approval needed", "Reminder: licence approval needed",
    ]  # fmt: skip


def test_in_quiet_hours_nobody_is_reminded_and_a_request_is_told_all_the_same(office: Office):
    quiet = replace(office.notifier, quiet=Quiet(time(8), time(10), UTC))
    request = office.asks(THOMAS)
    with office.database.write() as session:
        approvals.change(
            session, TENANT, request.id, lambda a: reminded(a, MONDAY + timedelta(hours=31)), MONDAY,
            kind="approval.reminded", event="approval.reminder", tell=quiet.tell(),
        )  # fmt: skip

    quiet.deliver()
    assert office.headlines("chat-thomas.brandt") == ["Licence approval needed"]

    office.wait(hours=1)
    quiet.deliver()
    assert office.headlines("chat-thomas.brandt") == ["Licence approval needed", "Reminder: licence approval needed"]


@pytest.mark.parametrize(
    ("at", "until"),
    [
        ("19:59", None),
        ("20:00", "07:00+1"),
        ("23:59", "07:00+1"),
        ("00:00", "07:00"),
        ("06:59", "07:00"),
        ("07:00", None),
    ],
)
def test_quiet_hours_span_midnight(at: str, until: str | None):
    quiet = Quiet(time(20), time(7), UTC)

    found = quiet.until(datetime.combine(MONDAY.date(), time.fromisoformat(at), tzinfo=UTC))

    day = timedelta(days=1 if until and until.endswith("+1") else 0)
    assert found == (datetime.combine(MONDAY.date() + day, time(7), tzinfo=UTC) if until else None)


def test_one_webhook_gets_a_card_every_two_seconds_and_many_like_ones_as_one(office: Office):
    office.many(10)
    office.deliver()
    sent = [m.received_at for m in office.messages("desk")]
    assert len(sent) == 10
    assert all(b - a >= timedelta(seconds=2) for a, b in pairwise(sent))

    office.wait(hours=1)
    for letter in "KLMNOPQRSTUVWXYZ":
        office.asks(THOMAS, id=letter)
    office.deliver()

    assert office.headlines("desk")[10:] == ["16 notices in one"]
    assert office.headlines("chat-thomas.brandt")[10:] == ["16 notices in one"]
    card = office.messages("desk")[-1].card
    assert [run["inlines"][0]["text"] for run in card["body"][1:3]] == [
        "RITM0000005, Microsoft 365 E5: waits for approval", "RITM0000006, Microsoft 365 E5: waits for approval",
    ]  # fmt: skip
    assert all(state == "sent" for _, state in office.notices("Z"))


def test_no_webhook_gets_more_than_twenty_cards_in_five_minutes(office: Office):
    for letters in ("ABCDEFGH", "IJKLMNOP", "QRSTUVWX"):
        for letter in letters:
            office.asks(THOMAS, id=letter)
        office.deliver()
        office.wait(seconds=20)

    for flow in ("desk", "chat-thomas.brandt"):
        times = [m.received_at for m in office.world.teams.messages if m.flow_id == flow]
        assert all(sum(t <= u < t + timedelta(minutes=5) for u in times) <= 20 for t in times)
    assert all(state == "sent" for letter in "ABX" for _, state in office.notices(letter))


def test_a_throttled_webhook_is_left_alone_and_told_later(office: Office):
    office.world.faults.add(FaultRule("throttled", route="POST /workflows"))
    office.asks(THOMAS)
    assert office.deliver() == ()
    assert office.world.teams.messages == []

    office.world.faults.clear()
    office.wait(minutes=5)
    office.deliver()

    assert office.headlines("desk") == ["Licence approval needed"]


@pytest.mark.parametrize("fault", ["webhook_reset", "reply_lost", "unavailable", "done_then_500"])
def test_what_has_no_answer_is_tried_again_and_may_come_twice(office: Office, fault: str):
    office.world.faults.add(FaultRule(fault, route="POST /workflows", times=2))
    office.asks(THOMAS)
    office.deliver()
    assert {state for _, state in office.notices()} == {"queued"}

    office.wait(minutes=5)
    assert office.deliver() == ()

    assert {state for _, state in office.notices()} == {"sent"}
    assert 1 <= len(office.messages("desk")) <= 2


def test_a_request_that_reaches_nobody_is_a_problem_until_it_is_answered(office: Office):
    for flow in office.world.teams.flows.values():
        flow.enabled = False
    request = office.asks(THOMAS)
    said = []
    for _ in range(6):
        said = list(office.deliver())
        office.wait(hours=1)

    assert len(said) == 1
    assert request.id in said[0]
    assert "/inbox" in said[0]
    assert [row["kind"] for row in office.log() if row["kind"].startswith("notify")] == ["notify.failed"]

    with office.database.write() as session:
        answer = an_answer(THOMAS, digest=request.digest)
        assert isinstance(approvals.decide(session, TENANT, request.id, answer, MONDAY), Approval)
    assert office.deliver() == ()


def test_what_was_decided_before_it_could_be_asked_is_not_asked_any_more(office: Office):
    request = office.asks(THOMAS)
    with office.database.write() as session:
        approvals.decide(session, TENANT, request.id, an_answer(THOMAS, digest=request.digest), MONDAY)

    office.deliver()

    assert office.world.teams.messages == []
    assert {state for _, state in office.notices()} == {"dropped"}


def test_a_sender_that_is_killed_on_the_way_leaves_a_notice_that_is_told_later(office: Office):
    class Killed(BaseException):
        pass

    def die(_: str) -> SecretStr | None:
        raise Killed

    office.asks(THOMAS)
    with pytest.raises(Killed):
        replace(office.notifier, address_of=die).deliver()

    office.wait(minutes=5)
    office.deliver()

    assert office.headlines("desk") == ["Licence approval needed"]
    assert office.headlines("chat-thomas.brandt") == ["Licence approval needed"]


def test_no_defect_of_a_card_keeps_a_request_from_being_opened(office: Office):
    def broken(_: str) -> bool:
        raise RuntimeError("a defect")

    office.notifier = replace(office.notifier, ways=replace(office.notifier.ways, has_chat=broken))
    request = office.asks(THOMAS)

    assert request.state is State.PENDING
    (problem,) = office.deliver()
    assert "no card could be made" in problem


def test_a_guard_that_stopped_a_lane_is_told_in_the_channel_once(office: Office):
    trip = Trip("grants_per_cycle", Lane.GRANTS, 60, 50, "e" * 64, "60 people would gain a licence; 50 may.")

    for _ in range(2):
        office.notifier.trips([trip])
        office.deliver()

    assert office.headlines("desk") == ["A guard stopped a plan"]


def test_whoever_comes_in_by_escalation_gets_the_request_and_the_others_not_again(office: Office):
    request = office.asks(EVE)
    office.deliver()

    def escalated(a: Approval) -> Approval:
        stage = replace(a.stages[0], alternates=(THOMAS,), escalated_at=MONDAY)
        return replace(a, stages=(stage,))

    with office.database.write() as session:
        approvals.change(
            session, TENANT, request.id, escalated, MONDAY, kind="approval.escalated", event="approval.escalated",
            tell=office.notifier.tell(),
        )  # fmt: skip
    office.deliver()

    assert office.headlines("chat-thomas.brandt") == ["Licence approval needed"]


def test_the_shipped_loop_posts_the_card_of_story_12_once_and_keeps_no_address(tmp_path):
    settings = load(None, {"RECONCILER_STATE_DIR": str(tmp_path)})
    scope = Scope(frozenset({"RITM0010012"}), frozenset())
    with open_app(settings, "contoso") as app:
        report = once(app, scope)
        app.clock.sleep(10)  # the run of the flow ends
        teams = app.systems.teams_http
        assert teams is not None
        posted = teams().get(f"{app.systems.teams_base}/messages").json()["value"]
        again = once(app, scope)
        same = teams().get(f"{app.systems.teams_base}/messages").json()["value"]

    assert [m["where"] for m in posted] == ["Laura McBride", "M365 Licence Desk"]
    assert posted[0]["headline"] == "Licence approval needed"
    assert report.problems == again.problems == ()
    assert len(same) == len(posted)
    assert report.writes == {"graph": 0, "servicenow": report.writes["servicenow"]}
    for file in tmp_path.glob("reconciler.db*"):
        assert b"sig=" not in file.read_bytes()
        assert b"/workflows/" not in file.read_bytes()


# --- what rules approved ------------------------------------------------------------------------------------------


def test_the_desk_is_told_to_look_at_what_a_rule_approved_once_a_week_until_somebody_has(office):
    at = office.world.clock.now()
    cheap = rulings.AutoApproval("small", LineKey("RITM0010001", 1), "a" * 64, Decimal("5.20"), at, is_sampled=True)
    other = replace(cheap, line=LineKey("RITM0010002", 1), is_sampled=False)
    with office.database.write() as session:
        for one in (cheap, other):
            rulings.approve(session, TENANT, one)

    for _ in range(2):
        office.notifier.samples()
        office.deliver()

    (message,) = office.messages("desk")
    text = json.dumps(message.card)
    office.world.clock.advance(timedelta(days=7))
    for _ in range(2):
        office.notifier.samples()
        office.deliver()
    assert len(office.messages("desk")) == 2
    with office.database.write() as session:
        rulings.review(session, TENANT, cheap.line, by="nina", note="fine", at=office.world.clock.now())
    office.world.clock.advance(timedelta(days=7))
    office.notifier.samples()
    office.deliver()
    assert len(office.messages("desk")) == 2
    assert "Please look at what a rule approved" in text
    assert ("/tickets/RITM0010001" in text, "5.20" in text, "RITM0010002" in text) == (True, False, False)
