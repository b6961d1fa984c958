"""Writes that leave in one $batch: each has an answer of its own, and only what was surely not done is sent again."""

from __future__ import annotations

from collections.abc import Mapping

import httpx
import pytest

from desired_state.model import UserId
from reconciler.clock import ManualClock
from reconciler.errors import NotFound, OutcomeUnknown, SignInFailed, Throttled, Withheld
from reconciler.model import Reply
from tests.wire.make_replies import MONDAY, Keys, Remote, a_graph, batch, guid, refused, reply

ADA, BOB, CEM = (UserId(guid(n)) for n in (1, 2, 3))
DONE = (204, None, {"request-id": "item"})


def answering(rows: dict[UserId, tuple[int, object, dict[str, str]]]):
    """A batch endpoint that finds its answer by the person in the item's URL."""
    return batch(lambda url: next(found for user, found in rows.items() if user in url))


def asked(request: dict[str, list[dict[str, str]]]) -> list[str]:
    return [item["url"].rpartition("/")[2] for item in request["requests"]]


def test_each_location_is_a_write_by_itself_with_its_own_answer():
    missing = (404, refused("Request_ResourceNotFound", "no"), {})
    remote = Remote(answering({ADA: DONE, BOB: missing}))

    told = a_graph(remote).set_usage_locations({ADA: "DE", BOB: "FR"})

    assert told[ADA] == Reply("item", remote.seen[0].headers["client-request-id"], 204)
    assert isinstance(told[BOB], NotFound)
    items = remote.bodies()[0]["requests"]
    assert [(i["method"], i["body"], i["headers"]) for i in items] == [
        ("PATCH", {"usageLocation": "DE"}, {"Content-Type": "application/json"}),
        ("PATCH", {"usageLocation": "FR"}, {"Content-Type": "application/json"}),
    ]


def test_only_those_that_were_throttled_are_sent_again_after_the_wait_that_they_named():
    clock = ManualClock(MONDAY)
    later = (429, refused("TooManyRequests", "wait"), {"Retry-After": "7"})
    remote = Remote(answering({ADA: DONE, BOB: later}), answering({BOB: DONE}))

    told = a_graph(remote, clock=clock).set_usage_locations({ADA: "DE", BOB: "FR"})

    assert [isinstance(told[user], Reply) for user in (ADA, BOB)] == [True, True]
    assert [asked(body) for body in remote.bodies()] == [[ADA, BOB], [BOB]]
    assert clock.monotonic() >= 7


def test_a_batch_that_is_refused_as_a_whole_is_heard_by_whoever_keeps_the_pace():
    heard: list[tuple[str, float | None]] = []

    def listen(headers: Mapping[str, str], *, retry_after_s: float | None) -> None:
        heard.append((headers.get("x-ms-throttle-limit-percentage", ""), retry_after_s))

    later = reply(429, refused("TooManyRequests", "wait"), {"Retry-After": "7", "x-ms-throttle-limit-percentage": "1"})
    near = (204, None, {"x-ms-throttle-limit-percentage": "0.9"})
    remote = Remote(later, answering({ADA: near, BOB: DONE}))

    told = a_graph(remote, heard=listen).set_usage_locations({ADA: "DE", BOB: "FR"})

    assert all(isinstance(one, Reply) for one in told.values())
    assert sorted(heard, key=str) == [("", None), ("0.9", None), ("1", 7.0)]


def test_what_may_not_leave_any_more_is_not_sent_again_and_what_was_done_stays_so():
    later = (429, refused("TooManyRequests", "wait"), {"Retry-After": "7"})
    remote = Remote(answering({ADA: DONE, BOB: later}))

    told = a_graph(remote, why_not_again=lambda: "the kill switch").set_usage_locations({ADA: "DE", BOB: "FR"})

    assert isinstance(told[ADA], Reply)
    assert isinstance(told[BOB], Withheld)
    assert len(remote.seen) == 1


def test_a_batch_that_was_refused_as_a_whole_may_be_withheld():
    remote = Remote(reply(429, refused("TooManyRequests", "wait"), {"Retry-After": "7"}))

    with pytest.raises(Withheld, match="the kill switch"):
        a_graph(remote, why_not_again=lambda: "the kill switch").set_usage_locations({ADA: "DE", BOB: "FR"})

    assert len(remote.seen) == 1


def test_what_may_have_been_done_is_of_unknown_outcome_and_is_not_sent_again():
    failed = (500, refused("Service_InternalServerError", "oops"), {})
    remote = Remote(answering({ADA: DONE, BOB: failed}))

    told = a_graph(remote).set_usage_locations({ADA: "DE", BOB: "FR"})

    assert isinstance(told[BOB], OutcomeUnknown)
    assert len(remote.seen) == 1


def test_an_item_that_the_answer_leaves_out_is_of_unknown_outcome():
    remote = Remote(reply(200, {"responses": [{"id": "1", "status": 204}]}))

    told = a_graph(remote).set_usage_locations({ADA: "DE", BOB: "FR"})

    assert isinstance(told[ADA], Reply)
    assert isinstance(told[BOB], OutcomeUnknown)


@pytest.mark.parametrize("lost", [httpx.ReadError("gone"), reply(502), reply(200, {"responses": 3})])
def test_a_lost_answer_leaves_every_item_of_unknown_outcome(lost: httpx.Response | Exception):
    remote = Remote(lost)

    with pytest.raises(OutcomeUnknown):
        a_graph(remote).set_usage_locations({ADA: "DE", BOB: "FR"})

    assert len(remote.seen) == 1


def test_those_that_were_done_before_an_answer_was_lost_are_known_to_be():
    later = (429, refused("TooManyRequests", "wait"), {"Retry-After": "7"})
    remote = Remote(answering({ADA: DONE, BOB: later, CEM: later}), httpx.ReadError("gone"))

    told = a_graph(remote).set_usage_locations({ADA: "DE", BOB: "FR", CEM: "FR"})

    assert [type(told[user]) for user in (ADA, BOB, CEM)] == [Reply, OutcomeUnknown, OutcomeUnknown]


@pytest.mark.parametrize(("renewable", "kind", "requests"), [(True, Reply, 2), (False, SignInFailed, 1)])
def test_a_token_that_ran_out_is_renewed_once(renewable: bool, kind: type, requests: int):
    stale = (401, refused("InvalidAuthenticationToken", "expired"), {})
    remote = Remote(answering({ADA: DONE, BOB: stale}), answering({BOB: DONE}))

    told = a_graph(remote, keys=Keys(renewable=renewable)).set_usage_locations({ADA: "DE", BOB: "FR"})

    assert (type(told[BOB]), len(remote.seen)) == (kind, requests)


def test_who_is_told_to_wait_for_too_long_is_left_with_that_answer():
    later = (429, refused("TooManyRequests", "wait"), {"Retry-After": "600"})
    remote = Remote(answering({ADA: DONE, BOB: later}))

    told = a_graph(remote).set_usage_locations({ADA: "DE", BOB: "FR"})

    assert isinstance(told[BOB], Throttled)
