"""users/delta as the client reads it: against replies written from graph.md section 4, and against the sandbox."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import httpx
import pytest

from desired_state.model import UserId
from reconciler.clients.graph import Graph, Tracked
from reconciler.errors import Malformed, Rejected
from reconciler.sandbox import hosts
from tests.make_graph import MINUTE, Tenant
from tests.wire.make_replies import GRAPH, Remote, a_graph, a_user, a_wire, guid, query, refused, reply
from tests.wire.openapi import Checked

ADA, BOB = UserId(guid(1)), UserId(guid(2))
LINK = f"{GRAPH}/users/delta?$deltatoken=one"


def a_round(*users: dict[str, object], skip: str = "", token: str = "") -> httpx.Response:
    links = {"@odata.nextLink": f"{GRAPH}/users/delta?$skiptoken={skip}"} if skip else {}
    links |= {"@odata.deltaLink": f"{GRAPH}/users/delta?$deltatoken={token}"} if token else {}
    return reply(200, {"value": list(users), **links})


# --- as written -----------------------------------------------------------------------------------------------------


def test_the_newest_link_is_asked_for_without_reading_anybody():
    remote = Remote(a_round(token="one"))

    assert a_graph(Checked(remote)).latest_link() == LINK
    assert query(remote.seen[0])["$deltatoken"] == "latest"
    assert "assignedLicenses" in query(remote.seen[0])["$select"]


def test_a_round_in_which_nobody_moved_is_one_request():
    remote = Remote(a_round(token="two"))

    moved = a_graph(remote).moved_since(LINK)

    assert moved is not None
    assert (moved.users, moved.link, len(remote.seen)) == (frozenset(), LINK.replace("one", "two"), 1)


def test_who_moved_was_deleted_or_came_twice_is_named_once_over_all_pages():
    gone = {"id": BOB.upper(), "@removed": {"reason": "changed"}}
    remote = Remote(a_round(a_user(1), a_user(1), skip="a"), a_round(skip="b"), a_round(gone, token="two"))

    moved = a_graph(remote).moved_since(LINK)

    assert moved is not None
    assert moved.users == {ADA, BOB}


@pytest.mark.parametrize(
    ("row", "is_news"),
    [
        ({"accountEnabled": True, "usageLocation": "DE", "assignedLicenses": []}, False),
        ({"accountEnabled": False, "usageLocation": "DE", "assignedLicenses": []}, True),
        ({"accountEnabled": True, "usageLocation": "FR", "assignedLicenses": []}, True),
        ({"accountEnabled": True, "usageLocation": "DE", "assignedLicenses": [{"skuId": guid(300)}]}, True),
        ({"accountEnabled": True, "usageLocation": "DE"}, True),
        ({"accountEnabled": True, "assignedLicenses": []}, True),
        ({"@removed": {"reason": "changed"}}, True),
    ],
)
def test_who_is_shown_as_they_were_seen_has_not_moved_and_what_is_not_shown_is_news(row, is_news):
    seen = {ADA: Tracked(is_enabled=True, usage_location="DE", skus=frozenset())}
    remote = Remote(a_round({"id": ADA.upper(), **row}, {"id": BOB, **row}, token="two"))

    moved = a_graph(remote).moved_since(LINK, seen)

    assert moved is not None
    assert (moved.users, moved.is_known) == ({ADA, BOB} if is_news else {BOB}, not is_news)


@pytest.mark.parametrize(
    "answer",
    [
        reply(410, refused("resyncRequired", "Resync required."), {"Location": f"{GRAPH}/users/delta?$deltatoken="}),
        reply(410, {}),
        reply(400, refused("syncStateNotFound", "The sync state generation is not found")),
        reply(400, refused("ResyncRequired", "no")),
    ],
)
def test_a_link_that_is_not_known_any_more_says_that_anybody_may_have_moved(answer):
    assert a_graph(Remote(answer)).moved_since(LINK) is None


def test_a_link_that_is_lost_in_the_middle_of_a_round_is_lost():
    remote = Remote(a_round(a_user(1), skip="a"), reply(410, refused("resyncRequired", "no")))

    assert a_graph(remote).moved_since(LINK) is None


@pytest.mark.parametrize(
    "link",
    ["https://evil.example/v1.0/users/delta?$deltatoken=one", f"{GRAPH}/groups/delta?$deltatoken=one", "x" * 20_000],
)
def test_a_link_that_leads_elsewhere_gets_no_token_and_is_not_known(link):
    remote = Remote(a_round(token="two"))

    assert a_graph(remote).moved_since(link) is None
    assert remote.seen == []


def test_a_round_that_ends_without_a_link_or_runs_in_a_circle_is_an_error_and_not_a_quiet_tenant():
    with pytest.raises(Malformed, match="without a link"):
        a_graph(Remote(a_round())).moved_since(LINK)
    with pytest.raises(Malformed, match="circle"):
        a_graph(Remote(a_round(skip="a"))).moved_since(LINK)
    with pytest.raises(Malformed, match="no link"):
        a_graph(Remote(a_round())).latest_link()


def test_another_refusal_is_one():
    with pytest.raises(Rejected):
        a_graph(Remote(reply(400, refused("Request_UnsupportedQuery", "no")))).moved_since(LINK)


# --- at the sandbox ---------------------------------------------------------------------------------------------


def a_client(tenant: Tenant, *, handler: Callable[[httpx.Request], httpx.Response] | None = None) -> Graph:
    token = tenant.token(hosts.ENFORCE_ROLES)

    class Keys:
        def headers(self) -> dict[str, str]:
            return {"Authorization": f"Bearer {token}"}

        def fresh(self, _: object = None) -> bool:
            return False

    wire = a_wire(
        Checked(httpx.MockTransport(handler or tenant.service)), base_url=f"{hosts.GRAPH_URL}/v1.0", keys=Keys()
    )  # type: ignore[arg-type]
    return Graph(wire, tenant.world.clock)


def test_who_changed_at_the_sandbox_is_told_once_whatever_comes_twice():
    t = Tenant(delta_duplicates=1.0, delta_page_size=2)
    people = [t.person(f"p{n}") for n in range(7)]
    graph = a_client(t)
    link = graph.latest_link()
    for user in people[:5]:
        t.graph.patch(f"/users/{user}", json={"usageLocation": "FR"})

    first = graph.moved_since(link)
    assert first is not None
    assert first.users == set(people[:5])
    second = graph.moved_since(first.link)
    assert second is not None
    assert second.users == frozenset()
    again = graph.moved_since(link)  # as a process that was killed before it kept the newer one
    assert again is not None
    assert again.users == first.users


def test_a_link_of_more_than_seven_days_is_lost_and_a_new_one_is_had():
    t = Tenant()
    t.person()
    graph = a_client(t)
    link = graph.latest_link()
    t.wait(timedelta(days=7) + MINUTE)

    assert graph.moved_since(link) is None
    assert graph.moved_since(graph.latest_link()) is not None


def test_a_link_of_another_kind_of_server_is_not_known():
    t = Tenant()

    assert a_client(t).moved_since(f"{hosts.GRAPH_URL}/v1.0/users/delta?$deltatoken=nonsense") is None
