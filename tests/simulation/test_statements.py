"""What a cycle asks of its store: a budget, so that a read that creeps into a loop over lines is seen at once."""

from __future__ import annotations

from contextlib import contextmanager

from sqlalchemy import event

from tests.simulation.make_day import a_played_day


@contextmanager
def counted(day):
    """Statements and transactions of the store, by what they begin with."""
    engine, seen = day.app.database._engine, {"statements": 0, "transactions": 0}

    def statement(*_):
        seen["statements"] += 1

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
    assert seen["statements"] <= 68
    assert seen["transactions"] <= 35
