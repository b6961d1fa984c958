"""What a cycle asks of its store: a budget, so that a read that creeps into a loop over lines is seen at once."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from sqlalchemy import event

from tests.simulation.make_day import a_played_day
from tests.simulation.make_pilot import a_pilot, gives


@contextmanager
def counted(day):
    """Statements and transactions of the store, and how many statements read what was compared."""
    engine, seen = day.app.database._engine, {"statements": 0, "transactions": 0, "compared": 0}

    def statement(_connection, _cursor, text, *_):
        seen["statements"] += 1
        seen["compared"] += text.lstrip().upper().startswith("SELECT") and "FROM shadow" in text

    def begun(_):
        seen["transactions"] += 1

    event.listen(engine, "before_cursor_execute", statement)
    event.listen(engine, "begin", begun)
    yield seen
    event.remove(engine, "before_cursor_execute", statement)
    event.remove(engine, "begin", begun)


def test_a_cycle_with_nothing_to_do_asks_its_store_few_questions(tmp_path):
    with a_played_day(tmp_path) as day:
        for _ in range(6):
            day.wait(7 * 60)
            day.cycle()
        day.wait(5)
        with counted(day) as seen:
            day.cycle()

    assert len(day.reports[-1].endings) > 30
    assert sum(day.reports[-1].writes.values()) == 0
    assert seen["statements"] <= 70
    assert seen["transactions"] <= 36


@pytest.mark.parametrize("closed", [False, True])
def test_what_was_compared_is_read_at_once_for_however_many_tickets(tmp_path, closed):
    """Closed tickets are owed an answer on the first load, and open ones once somebody has fulfilled them."""
    people = 15
    with a_pilot(tmp_path, "observe", people=people, closed=closed) as day:
        with counted(day) as first:
            day.cycle()
        for number in range(people):
            gives(day, number)
        day.wait(30)
        with counted(day) as second:
            day.cycle()

    assert len(day.reports[-1].endings) == people
    assert first["compared"] <= 2  # what waits, and what is known of the tickets that move
    assert second["compared"] <= 2
