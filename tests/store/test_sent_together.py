"""Writes that leave together: announced in one transaction, each judged and told by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from reconciler.errors import OutcomeUnknown, Withheld
from reconciler.loop.guards.watch import Watch
from reconciler.loop.send import Stopped, Told, Write
from reconciler.model import Reply
from reconciler.store import journal, switches
from reconciler.wiring.kept import Fence
from tests.make import MONDAY
from tests.make_store import TENANT
from tests.store.test_guarding import Point, a_write, everything


def log(database: Any) -> list[tuple[str, str, str]]:
    with database.read() as session:
        rows = list(journal.export(session, TENANT))
    return [(r["kind"], r["subject"], r["body"].get("result", "")) for r in rows if r["kind"] in ("intent", "result")]


def accepted(writes: Sequence[Write]) -> Sequence[Told]:
    return [Reply(f"r{n}", "c") for n, _ in enumerate(writes)]


def kinds(told: Sequence[Told]) -> list[type]:
    return [type(one) for one in told]


def test_every_intent_is_kept_before_the_request_and_every_result_after_it(database):
    point = Point(database, users=3)
    writes = [a_write(user) for user in point.people]
    seen: list[list[tuple[str, str, str]]] = []

    def call(leaving: Sequence[Write]) -> Sequence[Told]:
        seen.append(log(database))
        return accepted(leaving)

    told = point.sender.send_together(writes, call)

    assert kinds(told) == [Reply] * 3
    assert seen == [[("intent", user, "") for user in point.people]]
    assert log(database)[3:] == [("result", user, "accepted") for user in point.people]
    assert point.sender.sent.graph == 3


def test_a_reply_that_was_lost_leaves_each_of_them_of_unknown_outcome(database):
    point = Point(database, users=2)

    def call(leaving: Sequence[Write]) -> Sequence[Told]:
        raise OutcomeUnknown("Microsoft Graph", "no reply")

    told = point.sender.send_together([a_write(user) for user in point.people], call)

    assert kinds(told) == [OutcomeUnknown] * 2
    assert [result for kind, _, result in log(database) if kind == "result"] == ["failed"] * 2


def test_one_bad_reply_to_a_request_of_many_is_one_trouble(database):
    point = Point(database, users=12)
    said: list[str] = []
    ended = point.sender.guards.ended

    class Listening:
        check, sent = point.sender.guards.check, point.sender.guards.sent

        def ended(self, session: Any, write: Write, trouble: str) -> None:
            said.append(trouble)
            ended(session, write, trouble)

    def call(leaving: Sequence[Write]) -> Sequence[Told]:
        raise OutcomeUnknown("Microsoft Graph", "a gateway failed", status=502)

    point.sender.guards = Listening()
    told = point.sender.send_together([a_write(user) for user in point.people], call)

    assert kinds(told) == [OutcomeUnknown] * 12
    assert [bool(trouble) for trouble in said] == [True, *[False] * 11]
    with database.read() as session:
        bodies = [r["body"] for r in journal.export(session, TENANT) if r["kind"] == "result"]
    assert ["trouble" in body for body in bodies] == [True, *[False] * 11]


def test_a_budget_lets_as_many_leave_as_it_has_and_stops_the_others_alone(database):
    point = Point(database, users=5, limits=everything(3))
    point.post.watch = Watch(MONDAY, limits=everything(3))
    handed: list[int] = []

    def call(leaving: Sequence[Write]) -> Sequence[Told]:
        handed.append(len(leaving))
        return accepted(leaving)

    told = point.sender.send_together([a_write(user) for user in point.people], call)

    assert kinds(told) == [Reply] * 3 + [Stopped] * 2
    assert handed == [3]
    assert [user for kind, user, _ in log(database) if kind == "intent"] == point.people[:3]


def test_the_kill_switch_lets_none_of_them_leave_and_nothing_is_announced(database):
    point = Point(database, users=3)
    with database.write() as session:
        switches.throw(session, TENANT, reason="strange", by="ada", at=MONDAY)

    told = point.sender.send_together([a_write(user) for user in point.people], accepted)

    assert kinds(told) == [Stopped] * 3
    assert log(database) == []


def test_a_second_place_is_asked_once_for_all_of_them(database):
    point = Point(database, users=3)
    asked: list[int] = []

    class Down:
        def ready(self) -> str:
            return ""

        def witness(self, *writes: Write) -> str:
            asked.append(len(writes))
            return "the second place is down"

    point.sender.notary = Down()
    told = point.sender.send_together([a_write(user) for user in point.people], accepted)

    assert (kinds(told), asked, point.sender.sent.graph) == ([Stopped] * 3, [3], 0)
    assert [result for kind, _, result in log(database) if kind == "result"] == ["stopped"] * 3


@pytest.mark.parametrize("limit", [1, 2, 4])
def test_who_counts_already_takes_no_further_place(database, limit: int):
    point = Point(database, users=4, limits=everything(limit))
    point.post.watch = Watch(MONDAY, limits=everything(limit))
    first = point.people[0]
    point.send(a_write(first))

    told = point.sender.send_together([a_write(user) for user in point.people], accepted)

    assert sum(isinstance(one, Reply) for one in told) == limit


def test_what_may_not_leave_a_second_time_is_told_for_each_and_the_others_go_on(database):
    point = Point(database, users=3)
    held_back = point.people[1]

    def lease(_: Any, write: Write) -> None:
        if write.subject == held_back and point.announced == 3:
            raise Stopped("the approval that it rests on does not hold any more")

    point.sender.lease = lease

    def call(leaving: Sequence[Write]) -> Sequence[Told]:
        asked = point.sender.ask_again(leaving)
        return [why or Reply("r", "c") for why in asked]

    told = point.sender.send_together([a_write(user) for user in point.people], call)

    assert kinds(told) == [Reply, Stopped, Reply]
    assert [result for kind, _, result in log(database) if kind == "result"] == ["accepted", "stopped", "accepted"]


def test_the_kill_switch_is_asked_before_a_write_is_sent_again(database):
    point = Point(database, users=2)
    gate = Fence()
    point.sender.again = gate

    def call(leaving: Sequence[Write]) -> Sequence[Told]:
        assert gate.why_not_again() == ""
        with database.write() as session:
            switches.throw(session, TENANT, reason="strange", by="ada", at=MONDAY)
        return [Reply("r", "c"), Withheld("Microsoft Graph", gate.why_not_again())]

    told = point.sender.send_together([a_write(user) for user in point.people], call)

    assert kinds(told) == [Reply, Stopped]
    assert told[1].trip is not None
    assert told[1].trip.guard == "kill switch"
    assert [result for kind, _, result in log(database) if kind == "result"] == ["accepted", "stopped"]
    assert gate.why_not_again() == ""  # of no write any more


def test_a_tenant_that_is_lost_between_the_parts_of_a_request_ends_the_cycle_once_results_are_kept(database):
    point = Point(database, users=3)

    class Lost(Exception):
        """Somebody else has it."""

    def call(leaving: Sequence[Write]) -> Sequence[Told]:
        def lease(*_: Any) -> None:
            raise Lost("no longer ours")

        point.sender.lease = lease
        return [Reply("r", "c"), *(why or Reply("r", "c") for why in point.sender.ask_again(leaving[1:]))]

    with pytest.raises(Lost):
        point.sender.send_together([a_write(user) for user in point.people], call)

    assert [result for kind, _, result in log(database) if kind == "result"] == ["accepted", "stopped", "stopped"]
