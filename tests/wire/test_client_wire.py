"""The HTTP discipline: what is asked again, what never is, and what an error may tell."""

from __future__ import annotations

import socket
import threading
import traceback
from collections.abc import Callable
from datetime import timedelta

import httpx
import pytest

from reconciler.clients.wire import WRITE_DEADLINE_S, Budget, Exchange, Patience, Wire, make_http
from reconciler.clients.wire.links import leads_home
from reconciler.clients.wire.words import cut, retry_after_s
from reconciler.clock import ManualClock
from reconciler.errors import (
    Conflicted,
    Forbidden,
    Malformed,
    Next,
    NotFound,
    OutcomeUnknown,
    Rejected,
    RemoteError,
    SignInFailed,
    Throttled,
    Unavailable,
    Withheld,
)
from reconciler.holding import TTL_S
from tests.wire.make_replies import GRAPH, MONDAY, TOKEN, Keys, Remote, a_wire, refused, reply

FINE = reply(200, {"value": []})
BUSY = reply(
    409, refused("Directory_ConcurrencyViolation", "Error due to concurrent requests being made to the tenant.")
)


def test_a_read_is_asked_again_after_a_server_error():
    remote, clock = Remote(reply(503), FINE), ManualClock(MONDAY)

    answer = a_wire(remote, clock=clock).get("/users", operation="users")

    assert answer.status == 200
    assert clock.now() > MONDAY


def test_a_read_gives_up_after_a_bounded_number_of_tries():
    remote, clock = Remote(reply(503)), ManualClock(MONDAY)

    with pytest.raises(Unavailable):
        a_wire(remote, clock=clock, patience=Patience(attempts=3)).get("/users", operation="users")

    assert len(remote.seen) == 3


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("7", 7.0), ("2.128", 2.128), ("Mon, 23 Nov 2026 09:00:30 GMT", 30.0), ("-4", 0.0), ("soon", None), ("nan", None)],
)
def test_every_form_of_retry_after_is_understood(text, seconds):
    assert retry_after_s(text, now=MONDAY) == seconds


@pytest.mark.parametrize("wish", ["20", "20.5", "Mon, 23 Nov 2026 09:00:20 GMT"])
def test_what_the_server_asks_for_is_waited_in_full(wish):
    remote, clock = Remote(reply(429, {}, {"Retry-After": wish}), FINE), ManualClock(MONDAY)

    a_wire(remote, clock=clock).get("/users", operation="users")

    assert clock.now() - MONDAY >= timedelta(seconds=20)


def test_a_wait_longer_than_our_patience_is_handed_to_the_loop_instead_of_slept():
    remote, clock = Remote(reply(429, {}, {"Retry-After": "3400"})), ManualClock(MONDAY)

    with pytest.raises(Throttled) as caught:
        a_wire(remote, clock=clock).get("/users", operation="users")

    assert caught.value.retry_after_s == 3400.0
    assert clock.now() == MONDAY


@pytest.mark.parametrize("method", ["post", "patch", "put"])
@pytest.mark.parametrize(
    "trouble",
    [
        reply(500, refused("Service_InternalServerError", "x")),
        reply(503),
        reply(504),
        httpx.ReadTimeout("slow"),
        httpx.RemoteProtocolError("Server disconnected without sending a response."),
        httpx.ReadError("reset"),
        httpx.WriteTimeout("slow"),
        reply(200, "<html><title>Proxy</title></html>"),
        reply(200, "{cut"),
        reply(302, headers={"Location": "https://elsewhere.example"}),
    ],
    ids=lambda t: getattr(t, "status_code", None) or type(t).__name__,
)
def test_a_write_whose_reply_is_lost_or_broken_is_of_unknown_outcome_and_is_not_sent_again(method, trouble):
    remote = Remote(trouble, FINE)

    with pytest.raises(OutcomeUnknown) as caught:
        getattr(a_wire(remote), method)("/users/x", json={}, operation="write")

    assert caught.value.then is Next.LOOK
    assert len(remote.seen) == 1


def test_a_write_that_never_left_is_tried_again_and_is_not_counted():
    remote = Remote(httpx.ConnectError("no route"), reply(204))
    exchanges: list[Exchange] = []
    wire = a_wire(remote, exchanges=exchanges)

    wire.patch("/users/x", json={}, operation="write")

    assert (wire.counts.requests, wire.counts.writes) == (1, 1)
    assert [(e.is_sent, e.status, e.attempt) for e in exchanges] == [(False, 0, 1), (True, 204, 2)]


def test_a_write_that_can_never_leave_is_unavailable_because_nothing_was_done():
    wire = a_wire(Remote(httpx.ConnectTimeout("no route")), patience=Patience(attempts=2))

    with pytest.raises(Unavailable, match="nothing was sent"):
        wire.post("/users/x/assignLicense", json={}, operation="write")

    assert wire.counts.writes == 0


@pytest.mark.parametrize(
    "busy",
    [
        BUSY,
        reply(
            400, refused("Request_BadRequest", "Error due to concurrent requests being made to the tenant. Please wait")
        ),
    ],
)
def test_a_licence_write_waits_until_another_one_of_the_tenant_is_done(busy):
    remote, clock = Remote(busy, busy, reply(200, {"id": "x"})), ManualClock(MONDAY)

    a_wire(remote, clock=clock).post("/users/x/assignLicense", json={}, operation="assign_license")

    assert len(remote.seen) == 3
    assert timedelta(seconds=3 + 6) <= clock.now() - MONDAY <= timedelta(seconds=6 + 12)


def test_a_tenant_that_stays_busy_is_a_conflict_after_bounded_waiting():
    clock = ManualClock(MONDAY)

    with pytest.raises(Conflicted):
        a_wire(Remote(BUSY), clock=clock).post("/users/x/assignLicense", json={}, operation="assign_license")

    assert clock.now() - MONDAY <= timedelta(seconds=90)


def test_another_conflict_is_a_refusal():
    with pytest.raises(Rejected) as caught:
        a_wire(Remote(reply(409, refused("Other", "x")))).post("/users/x", json={}, operation="write")

    assert caught.value.status == 409


def test_a_throttled_write_is_sent_again_because_nothing_was_done():
    remote = Remote(reply(429, {}, {"Retry-After": "5"}), reply(204))

    a_wire(remote).patch("/users/x", json={}, operation="write")

    assert len(remote.seen) == 2


@pytest.mark.parametrize("method", ["get", "patch"])
def test_a_refused_token_is_renewed_once(method):
    remote, keys = Remote(reply(401, refused("InvalidAuthenticationToken", "expired")), reply(200, {})), Keys()

    body = {} if method == "get" else {"json": {}}
    getattr(a_wire(remote, keys=keys), method)("/users/x", operation="x", **body)

    assert keys.renewed == 1
    assert remote.seen[0].headers["Authorization"] != remote.seen[1].headers["Authorization"]


def test_a_fresh_token_that_is_refused_too_stops_everything():
    keys = Keys()

    with pytest.raises(SignInFailed) as caught:
        a_wire(Remote(reply(401)), keys=keys).get("/users", operation="users")

    assert (caught.value.then, keys.renewed) == (Next.STOP, 1)


def test_credentials_that_cannot_be_renewed_are_not_tried_again():
    remote = Remote(reply(401))

    with pytest.raises(SignInFailed):
        a_wire(remote, keys=Keys(renewable=False)).get("/users", operation="users")

    assert len(remote.seen) == 1


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (400, "Request_BadRequest", Rejected),
        (403, "Authorization_RequestDenied", Forbidden),
        (404, "Request_ResourceNotFound", NotFound),
        (410, "resyncRequired", Rejected),
        (412, "x", Conflicted),
        (423, "x", Conflicted),
        (501, "NotImplemented", Rejected),
        (507, "x", Rejected),
    ],
)
def test_what_cannot_be_helped_by_asking_again_is_not_asked_again(status, code, error):
    remote = Remote(reply(status, refused(code, "no"), {"request-id": "r-77"}))

    with pytest.raises(error) as caught:
        a_wire(remote).get("/users/x", operation="users")

    assert len(remote.seen) == 1
    assert caught.value.request_id == "r-77"


def test_every_attempt_carries_its_own_correlation_id():
    remote = Remote(reply(503), reply(503), FINE)

    a_wire(remote).get("/users", operation="users")

    ids = [request.headers["client-request-id"] for request in remote.seen]
    assert len(set(ids)) == 3
    assert all(len(one) == 36 for one in ids)


def test_each_exchange_is_told_with_its_status_and_request_id():
    told: list[Exchange] = []
    wire = a_wire(Remote(reply(503, headers={"request-id": "a"}), FINE), exchanges=told)

    wire.get("/users", operation="users")

    assert [(e.operation, e.method, e.status, e.request_id) for e in told] == [
        ("users", "GET", 503, "a"),
        ("users", "GET", 200, ""),
    ]
    assert (wire.counts.requests, wire.counts.writes) == (2, 0)


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example/v1.0/users?$skiptoken=x",
        "http://graph.microsoft.com/v1.0/users",
        "https://graph.microsoft.com:8443/v1.0/users",
        "https://graph.microsoft.com.evil.example/v1.0/users",
        "https://graph.microsoft.com@evil.example/v1.0/users",
        "https://evil@graph.microsoft.com/v1.0/users",
        "https://graph.microsoft.com/beta/users",
        "https://graph.microsoft.com/v1.0/../beta/users",
        "https://graph.microsoft.com/v1.0/users/%2e%2e/groups",
        "https://graph.microsoft.com\\evil.example/v1.0/users",
        "https://graph.microsoft.com/v1.0/usersandmore",
        "/v1.0/users",
        "https://[bad/v1.0/users",
        "",
    ],
)
def test_a_link_that_leads_elsewhere_is_never_followed(link):
    remote = Remote(FINE)

    with pytest.raises(Malformed):
        a_wire(remote).follow(link, operation="scan_users", under="/users")

    assert remote.seen == []


def test_a_link_home_is_followed_as_it_is():
    remote = Remote(FINE)
    link = "https://GRAPH.microsoft.com:443/v1.0/users?$skiptoken=RFNwdA%2B%2B"

    a_wire(remote).follow(link, operation="scan_users", under="/users")

    assert leads_home(link, GRAPH)
    assert str(remote.seen[0].url).endswith("$skiptoken=RFNwdA%2B%2B")


def test_an_endless_reply_is_cut():
    remote = Remote(reply(200, {"value": ["x" * 5000]}))

    with pytest.raises(Unavailable, match="larger than"):
        a_wire(remote, size_max=1000, patience=Patience(attempts=1)).get("/users", operation="users")


def test_cookies_are_not_kept():
    remote = Remote(reply(200, {}, {"Set-Cookie": "JSESSIONID=1; Path=/"}), FINE)
    wire = a_wire(remote)

    wire.get("/users", operation="users")
    wire.get("/users", operation="users")

    assert "Cookie" not in remote.seen[1].headers


def test_proxies_and_authorities_of_the_environment_are_ignored(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere.pem")

    with make_http() as http:
        assert not http.trust_env
        assert http._mounts == {}


def test_plain_http_is_refused_because_the_token_would_be_read_on_the_way():
    with pytest.raises(ValueError, match="https"):
        a_wire(Remote(FINE), base_url="http://graph.microsoft.com/v1.0")


@pytest.mark.parametrize(
    "trouble",
    [
        reply(401, refused("InvalidAuthenticationToken", f"Bearer {TOKEN} is not valid")),
        reply(403, refused("Authorization_RequestDenied", f"token {TOKEN} lacks it")),
        reply(400, refused("Request_BadRequest", f"client_secret=hunter2-hunter2 and {TOKEN}")),
        httpx.ConnectError(f"cannot connect, Authorization: Bearer {TOKEN}"),
        httpx.ReadError(f"Authorization: Bearer {TOKEN}"),
    ],
)
def test_no_error_repeats_a_secret(trouble):
    wire = a_wire(Remote(trouble), patience=Patience(attempts=1))

    with pytest.raises(RemoteError) as caught:
        wire.post("/users/x/assignLicense", json={}, operation="assign_license")

    told = str(caught.value) + repr(caught.value) + "".join(traceback.format_exception(caught.value))
    assert TOKEN.split(".")[1] not in told
    assert "hunter2" not in told


def test_a_servers_words_are_repeated_on_one_line_and_short():
    said = cut("first\r\nsecond\x00\x1b[31m" + "x" * 2000)

    assert said.startswith("first second [31mxxx")
    assert len(said) == 400


def test_a_budget_spreads_requests_before_the_server_has_to_refuse_them():
    clock = ManualClock(MONDAY)
    budget = Budget(10, 10, clock)

    waits = [budget.take(5) for _ in range(4)]

    assert waits == [0.0, 0.0, 5.0, 10.0]


def test_a_budget_shrinks_when_throttled_and_grows_back():
    clock = ManualClock(MONDAY)
    budget = Budget(10, 10, clock)

    budget.throttled(30)
    at_once = budget.take(0)
    clock.advance(seconds=30)
    after = budget.remaining_ratio()
    for _ in range(100):
        budget.went_well()
    clock.advance(seconds=30)

    assert at_once == 30.0
    assert after == pytest.approx(0.7)
    assert budget.remaining_ratio() == 1.0


def held_back_by(seconds: float, why: Callable[[], str]) -> tuple[Remote, Wire]:
    """A server that wants to be left alone for so long, and what says why a write may not leave."""
    clock, remote = ManualClock(MONDAY), Remote(reply(204))
    budget = Budget(100, 10, clock)
    budget.throttled(seconds)
    return remote, a_wire(remote, clock=clock, budget=budget, why_not_again=why)


def test_a_write_that_had_to_wait_for_its_turn_leaves_only_if_it_still_may():
    remote, wire = held_back_by(60, lambda: "the kill switch")

    with pytest.raises(Withheld, match="the kill switch"):
        wire.patch("/users/x", json={}, operation="write")

    assert remote.seen == []
    held_back_by(60, lambda: "")[1].patch("/users/x", json={}, operation="write")


def test_who_waits_for_a_moment_or_reads_is_not_asked_again():
    for seconds, send in ((0.5, Wire.patch), (60, Wire.ask)):
        remote, wire = held_back_by(seconds, lambda: pytest.fail("nobody has to be asked"))

        send(wire, "/users/x", json={}, operation="one")

        assert len(remote.seen) == 1


def test_a_server_that_drips_its_reply_is_cut_at_the_limit_of_the_whole_request():
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        drip = threading.Thread(target=_drip, args=(listener, stop))
        drip.start()
        try:
            with make_http(read_timeout_s=30) as http, pytest.raises(httpx.ReadTimeout):
                port = listener.getsockname()[1]
                http.get(f"http://127.0.0.1:{port}/", extensions={"deadline_s": 0.3})
        finally:
            stop.set()
            drip.join()


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="this system cannot be told to give up sending")
def test_what_cannot_be_delivered_is_dropped_long_before_a_lease_is_over():
    with socket.create_server(("127.0.0.1", 0)) as listener, make_http() as http:
        served = threading.Thread(target=_serve_one, args=(listener,))
        served.start()
        with http.stream("GET", f"http://127.0.0.1:{listener.getsockname()[1]}/") as response:
            ours = response.extensions["network_stream"].get_extra_info("socket")
            given_up_ms = ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        served.join()

    assert 0 < given_up_ms <= (TTL_S - WRITE_DEADLINE_S) * 1000


def _serve_one(listener: socket.socket) -> None:
    peer, _ = listener.accept()
    with peer:
        peer.recv(65536)
        peer.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")


def _drip(listener: socket.socket, stop: threading.Event) -> None:
    """One header after the other, quickly enough for a limit on each read, and never the end."""
    peer, _ = listener.accept()
    with peer:
        peer.sendall(b"HTTP/1.1 200 OK\r\n")
        while not stop.wait(0.05):
            try:
                peer.sendall(b"X-More: y\r\n")
            except OSError:
                return
