"""Notices: told at least once, never by two at once, never lost, and their state is kept with what caused them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from reconciler.cards.telling import DESK, Ways, notices
from reconciler.cards.values import Channel, Kind, Notice
from reconciler.store import journal
from reconciler.store import notices as outbox
from reconciler.store.database import Database
from reconciler.store.notices import State
from tests.make import DAY, HOUR, MONDAY
from tests.make_approvals import LAURA, TENANT
from tests.make_cards import LINKS, a_told

WAYS = Ways(LINKS, True, lambda upn: upn == LAURA.upn)
NOTICE = Notice(
    Kind.REQUEST, "approval.request/manager", "LR-1", DESK, Channel.TEAMS, "d" * 64, {"a": 1}, "a line", "R/1"
)


def queue(database: Database, *some: Notice, at=MONDAY) -> list[bool]:
    with database.write() as session:
        return [outbox.queue(session, TENANT, notice, at) for notice in some]


def of(database: Database, request: str = "LR-1") -> tuple[outbox.Owed, ...]:
    with database.read() as session:
        return outbox.of_request(session, TENANT, request)


def kinds(database: Database) -> list[str]:
    with database.read() as session:
        return [row["kind"] for row in journal.export(session, TENANT)]


def claim(database: Database, owed, at=MONDAY, chance=0.5) -> tuple[outbox.Owed, ...]:
    with database.write() as session:
        return outbox.claim(session, TENANT, owed, at, chance=chance)


def test_the_same_notice_is_owed_once_for_ever(database):
    assert queue(database, NOTICE, NOTICE, replace(NOTICE, digest="e" * 64)) == [True, False, True]

    (first, _) = of(database)
    with database.write() as session:
        outbox.sent(session, TENANT, first, MONDAY, is_proven=False)

    assert queue(database, NOTICE, at=MONDAY + DAY) == [False]
    assert [o.state for o in of(database)] == [State.SENT, State.QUEUED]


@pytest.mark.parametrize("part", ["event", "request", "recipient", "digest"])
def test_each_part_of_the_key_makes_another_notice(part: str):
    assert replace(NOTICE, **{part: "other"}).key != NOTICE.key
    assert replace(NOTICE, channel=Channel.MAIL).key != NOTICE.key
    assert replace(NOTICE, body={}, line="", kind=Kind.OUTCOME).key == NOTICE.key


def test_a_notice_is_kept_only_if_what_caused_it_is(database):
    with pytest.raises(RuntimeError), database.write() as session:
        outbox.queue(session, TENANT, NOTICE, MONDAY)
        raise RuntimeError

    assert of(database) == ()


def test_two_senders_never_begin_the_same_try(database):
    queue(database, NOTICE)
    owed = of(database)

    assert claim(database, owed) == owed
    assert claim(database, owed) == ()


def test_a_try_that_was_begun_and_never_ended_is_made_again_later(database):
    queue(database, NOTICE)
    claim(database, of(database))

    with database.read() as session:
        assert outbox.due(session, TENANT, MONDAY + timedelta(seconds=59)) == ()
        assert len(outbox.due(session, TENANT, MONDAY + timedelta(minutes=3))) == 1


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.999])
def test_tries_are_a_minute_to_six_hours_apart_and_end(database, chance: float):
    queue(database, NOTICE)
    at, waits, is_dead = MONDAY, [], False

    while not is_dead:
        (owed,) = of(database)
        assert claim(database, [owed], at, chance)
        with database.write() as session:
            is_dead = outbox.failed(session, TENANT, owed, at, problem="no answer")
        (now,) = of(database)
        waits.append(now.next_at - at)
        at = now.next_at

    assert len(waits) == outbox.TRIES_MAX
    assert all(timedelta(minutes=1) <= wait <= timedelta(hours=6) for wait in waits)
    assert (now.state, now.notice.body) == (State.DEAD, {})


def test_what_the_server_asks_for_is_the_least_wait(database):
    queue(database, NOTICE)
    (owed,) = of(database)
    claim(database, [owed])

    with database.write() as session:
        outbox.failed(session, TENANT, owed, MONDAY, problem="wait", retry_at=MONDAY + 2 * HOUR)

    assert of(database)[0].next_at == MONDAY + 2 * HOUR


def test_what_was_told_and_what_could_not_be_is_in_the_log_without_its_card(database):
    person = replace(NOTICE, recipient="person:laura@contoso.example", person=LAURA, request="LR-2")
    queue(database, NOTICE, person)
    with database.write() as session:
        outbox.sent(session, TENANT, of(database)[0], MONDAY, is_proven=True, run="run-1")
        outbox.failed(session, TENANT, of(database, "LR-2")[0], MONDAY, problem="no flow", is_final=True)

    with database.read() as session:
        sent, failed = list(journal.export(session, TENANT))
    assert (sent["kind"], sent["body"]["to"], sent["body"]["proven"]) == ("notify.sent", DESK, True)
    assert (failed["kind"], failed["body"]["to"]["upn"]) == ("notify.failed", LAURA.upn)
    assert failed["body"]["problem"] == "no flow"
    assert [o.notice.body for o in (*of(database), *of(database, "LR-2"))] == [{}, {}]


def test_a_request_that_reached_nobody_is_found_and_alerted_once(database):
    chat = replace(NOTICE, recipient="person:laura@contoso.example")
    queue(database, NOTICE, chat)

    def unreached() -> list[str]:
        with database.read() as session:
            return [u.request for u in outbox.unreached(session, TENANT, ["LR-1", "LR-other"])]

    for n in range(outbox.UNREACHED_TRIES):
        assert unreached() == [], n
        for owed in of(database):
            claim(database, [owed])
            with database.write() as session:
                outbox.failed(session, TENANT, owed, MONDAY, problem="down")
    assert unreached() == ["LR-1"]

    with database.write() as session:
        (found,) = outbox.unreached(session, TENANT, ["LR-1"])
        assert [outbox.alert(session, TENANT, found, MONDAY) for _ in range(2)] == [True, False]
    assert kinds(database) == ["notify.failed"]

    with database.write() as session:
        outbox.sent(session, TENANT, of(database)[1], MONDAY, is_proven=False)
    assert unreached() == []


def test_a_request_with_no_way_to_anybody_is_known_at_once(database):
    approval = a_told()
    queue(database, *notices("approval.request", approval, Ways(LINKS, False, lambda _: False)))

    with database.read() as session:
        (found,) = outbox.unreached(session, TENANT, [approval.id])
    assert "no channel" in found.problem
    assert kinds(database) == ["notify.failed"]


def test_the_stage_that_is_open_now_is_the_one_that_has_to_be_reached(database):
    later = replace(NOTICE, event="approval.request/cost_center_owner", channel=Channel.NONE, recipient="nobody")
    queue(database, NOTICE)
    with database.write() as session:
        outbox.sent(session, TENANT, of(database)[0], MONDAY, is_proven=True)
    queue(database, later)

    with database.read() as session:
        assert len(outbox.unreached(session, TENANT, ["LR-1"])) == 1


def test_what_was_settled_long_ago_is_forgotten_and_what_is_owed_is_not(database):
    queue(database, NOTICE, replace(NOTICE, request="LR-2"))
    with database.write() as session:
        outbox.sent(session, TENANT, of(database)[0], MONDAY, is_proven=True)
        assert outbox.prune(session, TENANT, MONDAY + timedelta(days=89)) == 0
        assert outbox.prune(session, TENANT, MONDAY + timedelta(days=91)) == 1

    assert len(of(database, "LR-2")) == 1


def test_tenants_do_not_see_each_other(tmp_path: Path, database):
    queue(database, NOTICE)

    with database.write() as session:
        assert outbox.due(session, "other", MONDAY + DAY) == ()
        assert outbox.queue(session, "other", NOTICE, MONDAY)
