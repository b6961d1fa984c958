"""Each migration goes up and down with a row in every table that was there before it, on both engines."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    DateTime,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    UniqueConstraint,
    insert,
    select,
)

from reconciler.store import schema
from reconciler.store.database import Database
from tests.make import DAY

THEN = datetime(2026, 11, 2, 9, tzinfo=UTC)


def a_value(column: Column[Any], number: int, keys: set[str]) -> Any:
    """Something that a column takes; text that is no key is an empty JSON object, as many of them are."""
    match column.type:
        case Boolean():
            return False
        case Integer() | Float():
            return number
        case DateTime():
            return THEN + number * DAY
        case LargeBinary():
            return b"\x01"
    return f"t{number}" if column.name in keys else "{}"


def tables(connection: Connection) -> dict[str, Table]:
    found = MetaData()
    found.reflect(connection)
    return {name: table for name, table in found.tables.items() if name != "alembic_version"}


def fill(connection: Connection, number: int) -> None:
    """One more row in every table."""
    for table in tables(connection).values():
        if table.name.startswith("line_"):  # the board's numbers keep themselves by what happens to `line`
            continue
        named = (table.primary_key, *(u for u in table.constraints if isinstance(u, UniqueConstraint)))
        keys = {column.name for constraint in named for column in constraint.columns}
        row = {column.name: a_value(column, number, keys) for column in table.columns}
        connection.execute(insert(table), row)


def counted(connection: Connection) -> dict[str, int]:
    return {name: len(connection.execute(select(table)).all()) for name, table in tables(connection).items()}


def step(database: Database, to: str, *, up: bool) -> dict[str, int]:
    with database.write() as session:
        (command.upgrade if up else command.downgrade)(schema._config(session.connection()), to)
        return counted(session.connection())


def revisions() -> list[str]:
    """All of them, the first one first."""
    found = ScriptDirectory.from_config(schema._config(None)).walk_revisions()
    return [script.revision for script in found][::-1]


@pytest.fixture
def blank(database: Database) -> Database:
    """A store whose migrations were taken back."""
    step(database, "base", up=False)
    return database


def test_no_migration_loses_a_row_on_the_way_up_nor_fails_on_one_on_the_way_back(blank):
    going, had = revisions(), {}
    for number, revision in enumerate(going, start=1):
        now = step(blank, revision, up=True)
        assert {name: now[name] for name in had} == had, revision
        with blank.write() as session:
            fill(session.connection(), number)
            had = counted(session.connection())
    assert blank.check() == schema.Check(schema.HEAD, ())

    for revision in [*going[-2::-1], "base"]:
        now = step(blank, revision, up=False)
        had = {name: had[name] for name in now}
        assert now == had, revision
    assert had == {}
