"""A prepared statement says and does what SQLAlchemy's own way does: the same rows, types, errors and transactions."""

from __future__ import annotations

from datetime import timedelta, timezone

import pytest
from sqlalchemy import bindparam, event, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from desired_state.rows import is_row, table_of
from reconciler.store.database import Database
from reconciler.store.prepared import Prepared
from reconciler.store.rows.tickets import WatermarkRow
from tests.make import MONDAY

TABLE = table_of(WatermarkRow)
ADD = Prepared(insert(TABLE).inline(), TABLE.columns.keys())
MOVE = Prepared(update(TABLE).where(is_row(TABLE)), ("at",))
ONE = Prepared(select(TABLE).where(is_row(TABLE)))
NEWEST = Prepared(
    select(TABLE.c.source, TABLE.c.at).where(TABLE.c.tenant == bindparam("of")).order_by(TABLE.c.at.desc()).limit(1)
)
ABROAD = MONDAY.astimezone(timezone(timedelta(hours=5)))


def a_mark(source: str, at=MONDAY) -> dict:
    return {"tenant": "contoso", "source": source, "at": at, "sys_id": ""}


def key(source: str) -> dict:
    return {"of_tenant": "contoso", "of_source": source}


@pytest.fixture(params=["as it is", "heard"])
def store(request: pytest.FixtureRequest, database: Database) -> Database:
    """Also one whose statements somebody listens to: there, they go the usual way."""
    if request.param == "heard":
        event.listen(database._engine, "before_cursor_execute", lambda *_: None)
    return database


def marks(store: Database) -> list[tuple]:
    with store.read() as session:
        return [tuple(row) for row in session.connection().execute(select(TABLE).order_by(TABLE.c.source))]


def test_rows_are_added_and_changed_with_the_types_of_their_table(store):
    with store.write() as session:
        ADD.run(session.connection(), [a_mark("a"), a_mark("b", ABROAD)])
        ADD.run(session.connection(), [a_mark("c")])
        MOVE.run(session.connection(), [key("a") | {"at": ABROAD + timedelta(days=1)}])

    assert marks(store) == [
        ("contoso", "a", MONDAY + timedelta(days=1), ""),
        ("contoso", "b", MONDAY, ""),
        ("contoso", "c", MONDAY, ""),
    ]


def test_what_is_found_has_its_columns_by_name_and_in_order(store):
    with store.write() as session:
        ADD.run(session.connection(), [a_mark("a"), a_mark("b", MONDAY + timedelta(days=1))])

    with store.read() as session:
        found = ONE.each(session.connection(), [key("b"), key("nobody"), key("a")])
        newest = NEWEST.first(session.connection(), {"of": "contoso"})
        none = NEWEST.first(session.connection(), {"of": "fabrikam"})

    assert [(row.source, row.at) for row in found] == [("b", MONDAY + timedelta(days=1)), ("a", MONDAY)]
    assert tuple(newest) == ("b", MONDAY + timedelta(days=1))
    assert none is None


def test_what_the_database_refuses_is_told_without_its_values_and_nothing_is_kept(store):
    with pytest.raises(IntegrityError) as refused, store.write() as session:
        ADD.run(session.connection(), [a_mark("first")])
        ADD.run(session.connection(), [a_mark("second"), a_mark("first")])

    assert "first" not in str(refused.value)
    assert marks(store) == []


def test_a_value_that_has_no_zone_or_is_missing_is_refused(store):
    for wrong in (a_mark("a", MONDAY.replace(tzinfo=None)), {"tenant": "contoso"}):
        with pytest.raises(Exception), store.write() as session:  # noqa: B017 each way names it in its own words
            ADD.run(session.connection(), [wrong])

    assert marks(store) == []


def test_a_read_keeps_nothing_and_a_write_that_fails_is_taken_back(store):
    with store.read() as session, pytest.raises(Exception, match=r"readonly|read-only"):
        ADD.run(session.connection(), [a_mark("a")])

    with pytest.raises(ZeroDivisionError), store.write() as session:
        ADD.run(session.connection(), [a_mark("a")])
        raise ZeroDivisionError

    assert marks(store) == []


def test_it_shares_the_transaction_of_what_is_run_beside_it(store):
    with store.write() as session:
        connection = session.connection()
        connection.execute(insert(TABLE), a_mark("a"))
        ADD.run(connection, [a_mark("b")])
        count = connection.execute(select(func.count()).select_from(TABLE)).scalar_one()

    assert count == 2
    assert [row[1] for row in marks(store)] == ["a", "b"]


def test_a_rehearsal_takes_back_what_it_ran(store):
    with store.dry() as rehearsal:
        with rehearsal.write() as session:
            ADD.run(session.connection(), [a_mark("a")])
        assert [row[1] for row in marks(rehearsal)] == ["a"]

    assert marks(store) == []
