"""The next instant at which a cycle has something to do."""

from __future__ import annotations

from reconciler.store import agenda, outbox
from reconciler.store.outbox import State
from tests.make import MONDAY
from tests.make_store import TENANT, an_owed_answer


def test_an_answer_that_waits_for_its_next_try_is_due_then_and_one_that_was_given_is_not(database):
    answer = an_owed_answer()
    with database.write() as session:
        outbox.intend(session, TENANT, answer, MONDAY)
        for _ in range(3):  # the first try after a failure is made at once
            outbox.postpone(session, TENANT, answer.key, MONDAY)
        (owed,) = outbox.unsent(session, TENANT)
        assert owed.next_at is not None and owed.next_at > MONDAY
        assert agenda.next_instant(session, TENANT, after=MONDAY) == owed.next_at

        outbox.mark(session, TENANT, answer.key, State.CONFIRMED, "note-1", MONDAY)

        assert agenda.next_instant(session, TENANT, after=MONDAY) is None
