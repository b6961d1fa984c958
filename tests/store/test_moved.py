"""Who moved between cycles: kept in mind until they were read, and told again rather than lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from desired_state.model import LineKey, UserId
from reconciler.clients.graph import tracked
from reconciler.errors import Unavailable
from reconciler.lifecycle import Phase
from reconciler.line import LineState
from reconciler.loop.moved import Moves
from reconciler.store import lines
from tests.make import MONDAY
from tests.make_graph import MINUTE, Tenant
from tests.wire.make_replies import Remote, a_graph, reply
from tests.wire.test_client_delta import a_client

TENANT_ID = "8b0f2d1c-0000-4000-8000-00000000000a"


@pytest.fixture
def t():
    return Tenant()


def about(database, *users: str, phase: Phase = Phase.VERIFYING) -> None:
    with database.write() as session:
        for n, user in enumerate(users):
            number = f"RITM{hash((user, phase)) % 10**7:07d}"
            lines.save(session, "contoso", LineState(LineKey(number, n), phase, user=UserId(user)), MONDAY)


def moves(database) -> Moves:
    return Moves(database, "contoso")


def test_who_moves_is_kept_in_mind_until_a_cycle_has_read_them(database, t):
    ada, bob, eve = (t.person(n) for n in ("ada", "bob", "eve"))
    about(database, ada, bob)
    followed, graph = moves(database), a_client(t)
    assert followed.ask(graph, TENANT_ID)
    for user in (ada, eve):  # nothing of ours is about eve
        t.graph.patch(f"/users/{user}", json={"usageLocation": "FR"})

    assert followed.ask(graph, TENANT_ID)
    assert followed.people == {ada}
    assert followed.ask(graph, TENANT_ID)
    assert followed.people == {ada}  # no cycle has read them yet
    followed.read(frozenset({ada}), MONDAY, is_full=False)
    assert followed.people == frozenset()


def test_a_line_that_is_over_wakes_nobody(database, t):
    ada = t.person("ada")
    about(database, ada, phase=Phase.CANCELLED)
    followed, graph = moves(database), a_client(t)
    followed.ask(graph, TENANT_ID)
    t.graph.patch(f"/users/{ada}", json={"usageLocation": "FR"})

    followed.ask(graph, TENANT_ID)

    assert followed.people == frozenset()


def test_a_process_that_dies_before_they_were_read_hears_of_them_again_in_the_next_one(database, t):
    ada = t.person("ada")
    about(database, ada)
    graph, first = a_client(t), moves(database)
    first.ask(graph, TENANT_ID)
    first.read(frozenset(), MONDAY, is_full=True)  # the link is kept with a full scan
    t.graph.patch(f"/users/{ada}", json={"usageLocation": "FR"})
    first.ask(graph, TENANT_ID)
    assert first.people == {ada}

    second = moves(database)
    second.ask(graph, TENANT_ID)
    assert second.people == {ada}
    second.read(second.people, MONDAY, is_full=False)

    third = moves(database)
    third.ask(graph, TENANT_ID)
    assert third.people == frozenset()


def test_who_is_shown_as_they_were_seen_has_not_moved_and_is_not_told_of_again_in_another_process(database, t):
    ada, bob = t.person("ada"), t.person("bob")
    about(database, ada, bob)
    graph, first = a_client(t), moves(database)
    first.ask(graph, TENANT_ID)
    first.read(frozenset(), MONDAY, is_full=True)
    for user in (ada, bob):
        t.graph.patch(f"/users/{user}", json={"usageLocation": "FR"})
    read = graph.users([ada, bob])
    seen = {ada: tracked(read[ada]), bob: replace(tracked(read[bob]), usage_location="DE")}

    first.ask(graph, TENANT_ID, seen)
    assert first.people == {bob}
    first.read(first.people, MONDAY, is_full=False)
    t.graph.patch(f"/users/{ada}", json={"usageLocation": "DE"})
    t.graph.patch(f"/users/{ada}", json={"usageLocation": "FR"})
    first.ask(graph, TENANT_ID, seen)
    assert first.people == frozenset()
    first.read(frozenset(), MONDAY, is_full=False)

    second = moves(database)
    second.ask(graph, TENANT_ID)
    assert second.people == frozenset()


def test_a_link_that_is_forgotten_is_said_and_replaced(database, t):
    ada = t.person("ada")
    about(database, ada)
    followed, graph = moves(database), a_client(t)
    followed.ask(graph, TENANT_ID)
    t.wait(timedelta(days=7) + MINUTE)

    assert followed.ask(graph, TENANT_ID) is False
    t.graph.patch(f"/users/{ada}", json={"usageLocation": "FR"})
    assert followed.ask(graph, TENANT_ID) is True
    assert followed.people == {ada}


def test_a_link_in_the_place_of_a_forgotten_one_is_not_kept_before_everybody_was_scanned(database, t):
    ada, bob = t.person("ada"), t.person("bob")
    about(database, ada, bob)
    graph, first = a_client(t), moves(database)
    first.ask(graph, TENANT_ID)
    first.read(frozenset(), MONDAY, is_full=True)
    t.graph.patch(f"/users/{bob}", json={"usageLocation": "FR"})
    t.wait(timedelta(days=7) + MINUTE)
    assert first.ask(graph, TENANT_ID) is False
    t.graph.patch(f"/users/{ada}", json={"usageLocation": "FR"})
    first.ask(graph, TENANT_ID)
    first.read(frozenset({UserId(ada)}), MONDAY, is_full=False)  # a quick cycle; then the process dies

    second = moves(database)
    assert second.ask(graph, TENANT_ID) is False  # bob is not forgotten: everybody is scanned
    second.read(frozenset(), MONDAY, is_full=True)
    assert moves(database).ask(graph, TENANT_ID) is True


def test_the_link_of_another_directory_is_not_used(database, t):
    followed, graph = moves(database), a_client(t)
    followed.ask(graph, TENANT_ID)
    followed.read(frozenset(), MONDAY, is_full=True)
    ada = t.person("ada")
    about(database, ada)

    other = moves(database)
    assert other.ask(graph, TENANT_ID.replace("8b", "9c")) is True

    assert other.people == frozenset()  # it was asked for what is new, and not with the link of the other one


def test_an_error_keeps_what_was_kept_in_mind(database, t):
    ada = t.person("ada")
    about(database, ada)
    followed, graph = moves(database), a_client(t)
    followed.ask(graph, TENANT_ID)
    t.graph.patch(f"/users/{ada}", json={"usageLocation": "FR"})
    followed.ask(graph, TENANT_ID)

    with pytest.raises(Unavailable):
        followed.ask(a_graph(Remote(reply(503)), base_url=graph.wire.base_url), TENANT_ID)

    assert followed.people == {ada}
