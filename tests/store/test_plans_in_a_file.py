"""What SQLite reads for questions that are asked with every write, and in every cycle, does not grow with the log.

It has no statistics of our tables, and prefers an index that covers the columns to one that finds the rows.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event
from sqlmodel import Session

from reconciler.store import journal, tally
from tests.make import HOUR, MONDAY
from tests.make_database import a_database
from tests.store.test_hot_queries import QUERIES

ONE_ROW = ("who has a tenant", "whether a cycle is wanted")  # of a table that has a row for each tenant


def an_intent_and_its_result(session: Session) -> None:
    intent = journal.append(session, "contoso", kind="intent", subject="u", body={"lines": ["RITM1/1"]}, at=MONDAY)
    journal.append(session, "contoso", kind="result", subject="u", body={"intent": intent.seq}, at=MONDAY)


@pytest.mark.parametrize(
    ("name", "ask"),
    [
        *QUERIES.items(),
        ("a result after its intent", an_intent_and_its_result),
        ("what came of writes", lambda s: tally.ended_since(s, "contoso", MONDAY - HOUR)),
    ],
)
def test_no_table_is_read_whole(tmp_path: Path, name: str, ask: Callable[[Session], object]) -> None:
    asked: list[tuple[str, Any]] = []

    def hear(_connection: Connection, _cursor: object, statement: str, values: Any, *_more: object) -> None:
        asked.append((statement, values))

    with a_database(tmp_path / "store.db") as database, database.write() as session:
        connection = session.connection()
        event.listen(connection, "before_cursor_execute", hear)
        ask(session)
        event.remove(connection, "before_cursor_execute", hear)
        whole = [
            (plan.detail, statement)
            for statement, values in asked
            if statement.lstrip().upper().startswith(("SELECT", "WITH"))
            for plan in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
            if plan.detail.endswith("(tenant=?)") and "LIMIT" not in statement
        ]

    assert asked
    assert whole == [] or name in ONE_ROW
