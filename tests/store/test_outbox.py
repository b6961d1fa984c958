"""Answers are owed once, in the order they were decided, and stay owed until they are known to be given."""

from __future__ import annotations

import pytest

from reconciler.model import AnswerKind
from reconciler.store import outbox
from reconciler.store.database import Database
from reconciler.store.outbox import State, UnknownAnswer
from tests.make import DAY, HOUR, MONDAY
from tests.make_store import TENANT, an_owed_answer


def owe(database: Database, *keys: str, at=MONDAY, **changes) -> list[bool]:
    with database.write() as session:
        return [outbox.intend(session, TENANT, an_owed_answer(key, **changes), at) for key in keys]


def mark(database: Database, key: str, *states: State, remote_id: str = "", at=MONDAY) -> None:
    with database.write() as session:
        for state in states:
            outbox.mark(session, TENANT, key, state, remote_id, at)


def owed(database: Database) -> list[str]:
    with database.read() as session:
        return [item.answer.key for item in outbox.unsent(session, TENANT)]


def get(database: Database, key: str) -> outbox.Owed:
    with database.read() as session:
        found = outbox.get(session, TENANT, key)
    assert found is not None
    return found


def test_an_answer_reads_back_whole(database):
    answer = an_owed_answer(kind=AnswerKind.TASK, text="Zürich ✓\nline", title="t", group="g" * 32)
    with database.write() as session:
        outbox.intend(session, TENANT, answer, MONDAY)

    assert get(database, "key-1") == outbox.Owed(answer, State.INTENDED, 0, "", MONDAY, None)


def test_an_answer_is_owed_once_however_often_it_is_decided_and_whatever_became_of_it(database):
    assert owe(database, "key-1", "key-1") == [True, False]

    mark(database, "key-1", State.SENT, State.CONFIRMED)

    assert owe(database, "key-1", at=MONDAY + DAY) == [False]
    assert owed(database) == []


def test_answers_are_given_in_the_order_in_which_they_were_decided(database):
    owe(database, "z", "a", "m")
    owe(database, "b", at=MONDAY - DAY)

    assert owed(database) == ["z", "a", "m", "b"]


def test_what_was_sent_without_a_reply_stays_owed_and_tells_that_it_was_tried(database):
    owe(database, "key-1")
    assert get(database, "key-1").tries == 0

    mark(database, "key-1", State.SENT, State.SENT, at=MONDAY + HOUR)

    assert owed(database) == ["key-1"]
    assert (get(database, "key-1").tries, get(database, "key-1").sent_at) == (2, MONDAY + HOUR)


@pytest.mark.parametrize("end", [State.CONFIRMED, State.FAILED])
def test_what_is_settled_is_not_owed(database, end):
    owe(database, "key-1")

    mark(database, "key-1", State.SENT, end, remote_id="TASK001")

    assert owed(database) == []
    assert get(database, "key-1").remote_id == "TASK001"


def test_what_failed_may_turn_out_to_be_there(database):
    owe(database, "key-1")

    mark(database, "key-1", State.SENT, State.FAILED, State.CONFIRMED)

    assert get(database, "key-1").state is State.CONFIRMED


@pytest.mark.parametrize("state", [State.SENT, State.FAILED, State.INTENDED, State.CONFIRMED])
def test_what_is_confirmed_stays_so(database, state):
    owe(database, "key-1")
    mark(database, "key-1", State.SENT, State.CONFIRMED)

    with pytest.raises(UnknownAnswer, match="stands at confirmed"):
        mark(database, "key-1", state)

    assert get(database, "key-1").state is State.CONFIRMED
    assert get(database, "key-1").tries == 1


def test_an_answer_that_nobody_owes_cannot_be_marked(database):
    owe(database, "key-1")

    with pytest.raises(UnknownAnswer, match="not in the outbox"), database.write() as session:
        outbox.mark(session, "fabrikam", "key-1", State.SENT, "", MONDAY)


def test_the_budget_counts_tickets_and_queues_that_were_sent_something_lately(database):
    owe(database, "old", ticket="RITM1", group="desk")
    owe(database, "new", "twice", ticket="RITM2", group="desk")
    owe(database, "note", ticket="RITM3")
    owe(database, "waiting", ticket="RITM4", group="desk")
    mark(database, "old", State.SENT, State.CONFIRMED, at=MONDAY - DAY)
    mark(database, "new", State.SENT, at=MONDAY)
    mark(database, "twice", State.SENT, State.FAILED, at=MONDAY)
    mark(database, "note", State.SENT, State.CONFIRMED, at=MONDAY)

    with database.read() as session:
        assert outbox.tickets_answered_since(session, TENANT, MONDAY) == {"RITM2", "RITM3"}
        assert outbox.groups_answered_since(session, TENANT, MONDAY) == {"desk": 1}
        assert outbox.groups_answered_since(session, TENANT, MONDAY - DAY) == {"desk": 2}
        assert [item.answer.key for item in outbox.of_ticket(session, TENANT, "RITM2")] == ["new", "twice"]
