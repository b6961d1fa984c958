"""The sandbox's Teams webhook: accepted now, posted or failed later, and seen by people either way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from reconciler.sandbox import hosts
from reconciler.sandbox.faults import FaultRule
from reconciler.sandbox.server import serve
from reconciler.sandbox.teams import flow_address
from reconciler.sandbox.tls import client_context
from reconciler.sandbox.transport import SandboxTransport
from reconciler.sandbox.world import World
from reconciler.sandbox.world_file import keep_world, read_world
from tests.make_world import contoso

JSON = {"content-type": "application/json; charset=utf-8"}
CARD = {
    "type": "AdaptiveCard",
    "version": "1.5",
    "fallbackText": "Open the page",
    "body": [{"type": "TextBlock", "text": "Licence approval needed"}],
}


def a_body(card: Any = CARD, **changed: Any) -> dict[str, Any]:
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment], **changed}


class Channel:
    """A world's Teams, and one flow of it."""

    def __init__(self, world: World, http: httpx.Client, base: str = hosts.TEAMS_URL) -> None:
        self.world = world
        self.http = http
        self.base = base

    def post(self, body: Any, *, flow: str = "desk", headers: Any = JSON) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.http.post(flow_address(self.base, flow), content=content, headers=headers)

    def later(self) -> dict[str, Any]:
        """The last message, some time after."""
        self.world.clock.advance(timedelta(minutes=1))
        return dict(self.messages()[-1])

    def messages(self, **chosen: str) -> list[dict[str, Any]]:
        return list(self.http.get(f"{self.base}/messages", params=chosen).json()["value"])


@pytest.fixture
def channel() -> Iterator[Channel]:
    world = contoso()
    with httpx.Client(transport=SandboxTransport(world), trust_env=False) as http:
        yield Channel(world, http)


def test_a_card_is_accepted_now_and_posted_later(channel: Channel):
    response = channel.post(a_body())

    assert (response.status_code, response.content) == (202, b"")
    assert channel.messages()[0]["state"] == "accepted"
    message = channel.later()
    assert (message["state"], message["where"], message["shown"]) == ("posted", "M365 Licence Desk", "card")
    assert message["headline"] == "Licence approval needed"
    assert channel.http.get(f"{channel.base}/messages/1/card").json() == CARD


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (a_body({**CARD, "type": "adaptivecard"}), "Property 'type' must be 'AdaptiveCard'."),
        (a_body("text"), "Property 'type' must be 'AdaptiveCard'."),
        (a_body(attachments=[]), "no first element"),
        ({"text": "hello"}, "no first element"),
        ([1], "no first element"),
        ([[[[1]] * 2] * 2], "no first element"),
        (b"[" * 100 + b"]" * 100, "nested too deeply"),
        (a_body({**CARD, "body": [{"type": "TextBlock", "text": "x" * 29_000}]}), "Request Entity too large"),
    ],
)
def test_a_bad_card_is_accepted_too_and_fails_in_the_flow(channel: Channel, body: Any, reason: str):
    response = channel.post(body)

    assert response.status_code == 202
    message = channel.later()
    assert message["state"] == "failed"
    assert reason in message["reason"]
    assert message["card"] is None


def test_without_a_charset_a_message_counts_twice(channel: Channel):
    body = a_body({**CARD, "body": [{"type": "TextBlock", "text": "x" * 15_000}]})

    channel.post(body, headers={"content-type": "application/json"})

    assert "Request Entity too large" in channel.later()["reason"]
    channel.post(body)
    assert channel.later()["state"] == "posted"


def test_only_the_first_attachment_is_read(channel: Channel):
    channel.post({"type": "message", "attachments": a_body()["attachments"] * 3})

    assert (channel.later()["state"], channel.messages()[0]["ignored_attachments"]) == ("posted", 2)


def test_a_message_card_loses_its_buttons(channel: Channel):
    card = {
        "@type": "MessageCard",
        "text": "One request",
        "sections": [{"facts": [{"name": "Who", "value": "Lena"}]}],
        "potentialAction": [{"@type": "OpenUri"}],
    }

    channel.post(card)

    message = channel.later()
    assert (message["text"], message["dropped_buttons"]) == ("One request\nWho: Lena", 1)


def test_a_card_newer_than_the_client_shows_its_fallback(channel: Channel):
    channel.post(a_body({**CARD, "version": "1.6"}))

    assert (channel.later()["shown"], channel.messages()[0]["text"]) == ("text", "Open the page")


def test_with_a_response_action_the_caller_learns_what_became_of_it(channel: Channel):
    channel.world.switches.teams_response_variant = True

    good, bad = channel.post(a_body()), channel.post(a_body("text"))

    assert (good.status_code, good.json()["id"]) == (200, channel.messages()[0]["message_id"])
    assert (bad.status_code, bad.json()["error"]["code"]) == (502, "NoResponse")


@pytest.mark.parametrize(
    ("address", "status"),
    [
        (flow_address(hosts.TEAMS_URL, "desk") + "x", 401),
        (flow_address(hosts.TEAMS_URL, "desk").partition("&sig")[0], 401),
        (flow_address(hosts.TEAMS_URL, "desk", seed=2), 401),
        (flow_address(hosts.TEAMS_URL, "nowhere"), 404),
    ],
)
def test_without_the_secret_address_nothing_is_taken(channel: Channel, address: str, status: int):
    assert channel.http.post(address, json=a_body()).status_code == status
    assert channel.messages() == []


def test_what_is_no_json_is_refused_at_once(channel: Channel):
    assert channel.post(b"{").status_code == 400
    assert channel.post(b"[" * 20_000).status_code == 400


def test_a_message_card_of_any_shape_is_read(channel: Channel):
    channel.post({"@type": "MessageCard", "text": 1, "sections": [1, {"facts": 2, "potentialAction": 3}]})

    assert (channel.later()["state"], channel.messages()[0]["text"]) == ("posted", "1")


def test_a_flow_without_its_owner_takes_nothing(channel: Channel):
    channel.world.teams.flows["desk"].enabled = False

    assert channel.post(a_body()).json()["error"]["code"] == "WorkflowTriggerIsNotEnabled"


def test_a_private_channel_takes_it_and_shows_nothing(channel: Channel):
    channel.world.teams.add_flow("board", "Board", kind="private_channel")

    assert channel.post(a_body(), flow="board").status_code == 202
    assert "private channel" in channel.later()["reason"]


def test_more_than_four_a_second_must_wait(channel: Channel):
    statuses = [channel.post(a_body()).status_code for _ in range(4)]
    fifth = channel.post(a_body())
    other = channel.post(a_body(), flow="telecom").status_code
    channel.world.clock.advance(timedelta(seconds=int(fifth.headers["retry-after"])))

    assert [*statuses, fifth.status_code, other] == [202, 202, 202, 202, 429, 202]
    assert channel.post(a_body()).status_code == 202


def test_a_message_that_comes_twice_is_posted_twice_and_said_to_be_the_same(channel: Channel):
    channel.post(a_body())
    channel.world.faults.add(FaultRule("webhook_twice", times=1))
    channel.post(a_body())

    assert [m["duplicate_of"] for m in channel.messages(flow="desk")] == [None, 1, 1]
    assert channel.later()["state"] == "posted"


@pytest.mark.parametrize(
    ("fault", "status", "taken"),
    [("throttled", 429, 0), ("unavailable", 503, 0), ("bad_gateway", 502, 0), ("done_then_504", 504, 1)],
)
def test_a_bad_day_answers_so(channel: Channel, fault: str, status: int, taken: int):
    channel.world.faults.add(FaultRule(fault, route="POST /workflows"))

    assert channel.post(a_body()).status_code == status
    assert len(channel.messages()) == taken


@pytest.mark.parametrize(("fault", "taken"), [("webhook_reset", 0), ("reply_lost", 1)])
def test_a_connection_can_end_before_or_after_the_work(channel: Channel, fault: str, taken: int):
    channel.world.faults.add(FaultRule(fault))

    with pytest.raises(httpx.RemoteProtocolError):
        channel.post(a_body())

    assert len(channel.messages()) == taken


def test_a_slow_answer_takes_its_time(channel: Channel):
    before = channel.world.clock.now()
    channel.world.faults.add(FaultRule("webhook_slow"))

    assert channel.post(a_body()).status_code == 202
    assert channel.world.clock.now() - before == timedelta(seconds=30)


def test_each_approver_has_a_chat_of_their_own(channel: Channel):
    flows = {flow["flow_id"]: flow for flow in channel.http.get(f"{channel.base}/flows").json()["value"]}

    thomas = flows["chat-thomas.brandt"]
    assert (thomas["kind"], thomas["name"]) == ("chat", "Thomas Brandt")
    assert thomas["person_id"] == channel.world.directory.user("thomas.brandt@contoso.example").user_id
    assert channel.http.post(thomas["url"], json=a_body()).status_code == 202


def test_hostile_text_stays_text_on_the_pages(channel: Channel, tmp_path: Path):
    hostile = "</script><script>alert(1)</script>"
    channel.post(a_body({**CARD, "body": [{"type": "TextBlock", "text": hostile}]}))
    channel.later()

    inert = channel.http.get(f"{channel.base}/messages/1/render").text
    script = tmp_path / "adaptivecards.js"
    script.write_text("/* the renderer */")
    channel.world.switches.teams_renderer = (str(script),)
    drawn = channel.http.get(f"{channel.base}/messages/1/render").text

    for text in (inert, drawn, channel.http.get(f"{channel.base}/").text):
        assert "<script>alert" not in text
    assert '<script src="/assets/0">' in drawn
    assert channel.http.get(f"{channel.base}/assets/0").text == "/* the renderer */"
    assert "AdaptiveCards" in channel.http.get(f"{channel.base}/assets/render.js").text


def test_a_kept_world_knows_its_messages_and_their_fate_to_come(channel: Channel, tmp_path: Path):
    channel.post(a_body())
    keep_world(tmp_path / "world.json", channel.world, "contoso")

    world, _ = read_world(tmp_path / "world.json")
    world.clock.advance(timedelta(minutes=1))

    assert [m.state for m in world.teams.messages] == ["posted"]


@pytest.mark.tls
def test_over_tls_the_webhook_is_the_same():
    world = contoso()
    with (
        serve(world) as sandbox,
        httpx.Client(verify=client_context(sandbox.ca_file), trust_env=False, timeout=30) as http,
    ):
        channel = Channel(world, http, sandbox.teams)

        assert channel.post(a_body()).status_code == 202
        assert channel.later()["state"] == "posted"
