"""The webhook of a flow: one card out, the address a secret, and honest about what became of it."""

from __future__ import annotations

import logging
import random
import traceback
from collections.abc import Callable
from datetime import timedelta

import httpx
import pytest
from pydantic import SecretStr

from reconciler.cards.check import message
from reconciler.cards.request import request_card
from reconciler.clients.teams import Posted, Teams, address_fault
from reconciler.clients.wire import Counts, make_http
from reconciler.errors import (
    Forbidden,
    NotFound,
    OutcomeUnknown,
    Rejected,
    RemoteError,
    Throttled,
    Unavailable,
    UserError,
)
from reconciler.sandbox import hosts
from reconciler.sandbox.faults import FaultRule
from reconciler.sandbox.teams import flow_address
from reconciler.sandbox.transport import SandboxTransport
from reconciler.sandbox.world import World
from tests.make_cards import LINKS, a_told
from tests.make_world import contoso

ADDRESS = flow_address(hosts.TEAMS_URL, "desk")
REAL = (
    "https://prod-07.westeurope.logic.azure.com:443/workflows/0f1e2d3c4b5a69788796a5b4c3d2e1f0/triggers/manual/paths/"
    "invoke?api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=aVeryLong-Signature_123"
)
CARD = message(request_card(a_told(), LINKS))


class Desk:
    """A Teams client before the sandbox."""

    def __init__(self, world: World) -> None:
        self.world, self.counts = world, Counts()
        self.teams = Teams(
            make_http(SandboxTransport(world)),
            world.clock,
            random.Random(1),
            hosts=[hosts.TEAMS_HOST],
            counts=self.counts,
        )

    def post(self, address: str = ADDRESS) -> Posted:
        return self.teams.post(SecretStr(address), CARD)

    @property
    def taken(self) -> int:
        return len(self.world.teams.messages)


@pytest.fixture
def desk() -> Desk:
    return Desk(contoso())


def answering(reply: Callable[[httpx.Request], httpx.Response]) -> Teams:
    """A client before a server that answers so."""
    return Teams(make_http(httpx.MockTransport(reply)), contoso().clock, random.Random(1))


def test_a_card_is_taken_and_that_is_all_that_is_known(desk: Desk):
    assert desk.post() == Posted(is_proven=False, message_id="", run="run-00000001")

    desk.world.clock.advance(timedelta(minutes=1))
    (posted,) = desk.world.teams.messages
    assert (posted.state, posted.content_type) == ("posted", "application/json; charset=utf-8")
    assert posted.ignored_attachments == 0
    assert posted.card["body"][0]["text"] == "Licence approval needed"


def test_with_a_response_action_the_post_is_proven(desk: Desk):
    desk.world.switches.teams_response_variant = True

    posted = desk.post()

    assert posted.is_proven
    assert posted.message_id == desk.world.teams.messages[0].message_id


def test_a_run_that_fails_later_is_not_noticed_and_one_with_a_response_action_is(desk: Desk):
    desk.world.switches.teams_run_fails = "the owner's sign-in has expired"

    assert not desk.post().is_proven
    desk.world.clock.advance(timedelta(minutes=1))
    assert desk.world.teams.messages[0].state == "failed"

    desk.world.switches.teams_response_variant = True
    with pytest.raises(OutcomeUnknown, match="NoResponse"):
        desk.post()


@pytest.mark.parametrize("fault", ["webhook_reset", "reply_lost", "reply_timeout", "done_then_500", "unavailable"])
def test_what_has_no_trustworthy_answer_is_sent_once(desk: Desk, fault: str):
    desk.world.faults.add(FaultRule(fault, route="POST /workflows"))

    with pytest.raises(OutcomeUnknown):
        desk.post()

    assert desk.counts.requests == 1
    assert desk.taken <= 1


def test_a_throttled_post_waits_as_long_as_it_is_told(desk: Desk):
    desk.world.faults.add(FaultRule("throttled", route="POST /workflows", times=1))
    before = desk.world.clock.now()

    desk.post()

    assert desk.taken == 1
    assert desk.world.clock.now() - before >= timedelta(seconds=5)


def test_a_throttle_that_lasts_is_told_with_the_wait():
    teams = answering(lambda _: httpx.Response(429, headers={"Retry-After": "600"}))

    with pytest.raises(Throttled) as told:
        teams.post(SecretStr(REAL), CARD)

    assert told.value.retry_after_s == 600


def test_a_slow_answer_is_waited_for(desk: Desk):
    desk.world.faults.add(FaultRule("webhook_slow"))

    assert desk.post().run


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, Rejected), (401, Forbidden), (403, Forbidden), (404, NotFound), (410, NotFound), (413, Rejected),
        (301, Rejected), (302, Rejected), (500, OutcomeUnknown), (502, OutcomeUnknown), (504, OutcomeUnknown),
    ],
)  # fmt: skip
def test_every_refusal_has_its_name(status: int, error: type[RemoteError]):
    asked: list[httpx.URL] = []

    def reply(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        return httpx.Response(status, headers={"Location": "https://evil.example/"}, json={"error": {"code": "No"}})

    with pytest.raises(error):
        answering(reply).post(SecretStr(REAL), CARD)

    assert [url.host for url in asked] == ["prod-07.westeurope.logic.azure.com"]


@pytest.mark.parametrize("answer", ["echo", "html", "reset", "refused", "json"])
def test_the_address_is_in_no_error_log_or_traceback(answer: str, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    secrets = ["aVeryLong-Signature_123", "0f1e2d3c4b5a69788796a5b4c3d2e1f0", "sig=", "sv=1.0", "triggers"]

    def reply(request: httpx.Request) -> httpx.Response:
        url = str(request.url)
        if answer == "reset":
            raise httpx.RemoteProtocolError(f"no answer from {url}", request=request)
        if answer == "refused":
            raise httpx.ConnectError(f"cannot connect to {url}", request=request)
        if answer == "html":
            return httpx.Response(500, text=f"<html><title>{url}</title>")
        words = {"echo": url, "json": f"workflow {request.url.path} with {request.url.query.decode()} is gone"}[answer]
        return httpx.Response(400, json={"error": {"code": words, "message": words}})

    try:
        answering(reply).post(SecretStr(REAL), CARD)
    except (RemoteError, UserError) as error:
        said = "".join(traceback.format_exception(error)) + repr(error) + str(vars(error))
    else:
        said = pytest.fail("nothing was raised")

    for secret in secrets:
        assert secret not in said
        assert secret not in caplog.text


def test_a_post_that_goes_well_leaves_no_address_in_the_log(desk: Desk, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)

    desk.post()

    assert "sig=" not in caplog.text
    assert "workflows" not in caplog.text
    assert ADDRESS not in repr(vars(desk.teams))


def test_nothing_that_was_not_sent_counts_as_perhaps_posted():
    def reply(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(Unavailable):
        answering(reply).post(SecretStr(REAL), CARD)


@pytest.mark.parametrize(
    ("address", "fine"),
    [
        (REAL, True),
        ("https://default123.4a.environment.api.powerplatform.com/powerautomate/automations/direct/workflows/x", True),
        ("http://prod-07.westeurope.logic.azure.com/workflows/x", False),
        ("https://logic.azure.com.evil.example/workflows/x", False),
        ("https://evil.example/?x=.logic.azure.com", False),
        ("https://evil.example#.logic.azure.com", False),
        ("https://evillogic.azure.com/x", False),
        ("https://prod.logic.azure.com@evil.example/x", False),
        ("https://user:pw@prod.logic.azure.com/x", False),
        ("https://prod.logic.azure.com:8443/x", False),
        ("https://contoso.webhook.office.com/webhookb2/x", False),
        ("https://169.254.169.254/metadata", False),
        ("https://[::1]/x", False),
        ("https://localhost/x", False),
        ("https://flows.contoso.example:8443/x", True),
        ("https://flows.contoso.example/x", False),
        ("https://prod.logic.azure.com\\@evil.example/x", False),
        ("https://prod.logic.azure.com/x\r\nHost: evil.example", False),
        ("file:///etc/passwd", False),
        ("https://[bad", False),
        ("", False),
    ],
)
def test_a_card_goes_to_listed_hosts_over_https_only(address: str, fine: bool):
    hosts = ("*.logic.azure.com", "*.api.powerplatform.com", "flows.contoso.example:8443")

    fault = address_fault(address, hosts)

    assert (fault == "") is fine
    assert not address or "evil.example" not in fault
    if not fine:
        with pytest.raises(UserError, match="nothing is posted"):
            answering(lambda _: pytest.fail("something was sent")).post(SecretStr(address), CARD)
