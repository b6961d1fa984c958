"""What a filter shows of many users: a hint, compared as a scan is, that says whom to read by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from desired_state.model import LineKey, Path, PlanId, SkuId, UserId, Want
from reconciler.lifecycle import Phase
from reconciler.line import LineState
from reconciler.loop.look import Eyes
from reconciler.loop.waking import to_read
from tests.make import MONDAY, a_line, a_sku
from tests.make_graph import Tenant
from tests.wire.make_replies import Remote, a_graph, a_user, batch, guid, refused, reply
from tests.wire.openapi import Checked
from tests.wire.test_client_delta import a_client

ADA, BOB = UserId(guid(1)), UserId(guid(2))


def test_fifteen_ids_go_into_a_filter_and_twenty_filters_into_a_request():
    remote = Remote(batch(lambda _: (200, {"value": []}, {})))
    asked = [UserId(guid(n)) for n in range(400)]

    shown = a_graph(Checked(remote)).hinted(asked)

    assert [len(body["requests"]) for body in remote.bodies()] == [20, 7]
    assert shown.unshown == set(asked)  # left out is not absent: they are read by name


def test_who_is_shown_is_a_row_and_who_was_not_read_is_unshown():
    def answer(url: str) -> tuple[int, Any, Mapping[str, str]]:
        if guid(20) in url:
            return 400, refused("Request_UnsupportedQuery", "no"), {}
        return 200, {"value": [a_user(1), a_user(2)]}, {}

    shown = a_graph(Remote(batch(answer))).hinted([ADA, BOB, *(UserId(guid(n)) for n in range(3, 25))])

    assert {row.id for row in shown.rows} == {ADA, BOB}
    assert shown.unshown == {guid(n) for n in range(3, 25)}


@pytest.mark.parametrize("body", [{"value": [a_user(1), a_user(9)]}, {"value": [a_user(1)], "@odata.nextLink": "x"}])
def test_a_filter_that_was_not_applied_or_came_in_pages_shows_nobody(body):
    shown = a_graph(Remote(batch(lambda _: (200, body, {})))).hinted([ADA])

    assert (shown.rows, shown.unshown) == ([], {ADA})


# --- whom to read ---------------------------------------------------------------------------------------------------


class Moved:
    """Visio for three people of the sandbox, whose lines are at rest; the third has lost it."""

    def __init__(self) -> None:
        self.tenant = Tenant()
        self.tenant.own("VISIOCLIENT")
        self.people = [UserId(self.tenant.person(f"p{n}")) for n in range(3)]
        for user in self.people[:2]:
            self.tenant.assign(user, {"VISIOCLIENT": []})
        self.sku = SkuId(self.tenant.directory.sku("VISIOCLIENT"))
        plan = PlanId(self.tenant.directory.plan("VISIOONLINE"))
        numbers = [f"RITM000000{n}" for n in range(3)]
        states = [LineState(LineKey(number, 1), Phase.GRANTED) for number in numbers]
        self.lines = [a_line(n, user=user, state=s) for n, user, s in zip(numbers, self.people, states, strict=True)]
        self.wants = [
            Want(u, line.product.key, (line.key,), Path.DIRECT, (self.sku,), (plan,), "any", MONDAY, MONDAY)
            for u, line in zip(self.people, self.lines, strict=True)
            if line.product is not None
        ]
        self.skus = [a_sku(self.sku, plans=[plan])]

    def to_read(self, graph: Any, *, many: int, wants: list[Want] | None = None) -> frozenset[UserId]:
        resting = {line.key for line in self.lines}
        asked = self.wants if wants is None else wants
        moved = frozenset(self.people)
        return to_read(Eyes(graph), self.lines, resting, asked, lambda: self.skus, moved, MONDAY, many=many)


def test_of_many_who_moved_only_those_are_read_whom_a_filter_does_not_show_whole():
    moved = Moved()
    graph = a_client(moved.tenant)

    assert moved.to_read(graph, many=4) == set(moved.people)
    assert moved.to_read(graph, many=3) == {moved.people[2]}
    assert moved.to_read(graph, many=2, wants=moved.wants[1:]) == {
        moved.people[0],
        moved.people[2],
    }  # nothing to compare


def test_whoever_a_filter_leaves_out_is_read_and_so_is_everybody_when_it_fails():
    moved = Moved()

    def without_the_first(request: httpx.Request) -> httpx.Response:
        answer = moved.tenant.service(request)
        body = json.loads(answer.content)
        for item in body["responses"]:
            item["body"]["value"] = [row for row in item["body"]["value"] if row["id"] != moved.people[0]]
        return httpx.Response(200, json=body)

    graph = a_client(moved.tenant, handler=without_the_first)
    assert moved.to_read(graph, many=1) == {moved.people[0], moved.people[2]}
    assert moved.to_read(a_graph(Remote(reply(503))), many=1) == set(moved.people)
