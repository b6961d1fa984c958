"""Each migration goes up and down with a row in every table that was there before it, on both engines."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

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
    text,
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


def fill(connection: Connection, found: dict[str, Table], number: int) -> None:
    """One more row in every table."""
    for table in found.values():
        if table.name.startswith("line_"):  # the board's numbers keep themselves by what happens to `line`
            continue
        named = (table.primary_key, *(u for u in table.constraints if isinstance(u, UniqueConstraint)))
        keys = {column.name for constraint in named for column in constraint.columns}
        row = {column.name: a_value(column, number, keys) for column in table.columns}
        connection.execute(insert(table), row)


def counted(connection: Connection, found: Iterable[str]) -> dict[str, int]:
    return {name: connection.execute(text(f"SELECT count(*) FROM {name}")).scalar_one() for name in found}


def back(database: Database, to: str) -> dict[str, int]:
    with database.write() as session:
        schema.downgrade(session.connection(), to)
        return counted(session.connection(), tables(session.connection()))


def revisions() -> list[str]:
    """All of them, the first one first."""
    found = ScriptDirectory.from_config(schema._config(None)).walk_revisions()
    return [script.revision for script in found][::-1]


def test_no_migration_loses_a_row_on_the_way_up_nor_fails_on_one_on_the_way_back(database: Database) -> None:
    back(database, "base")
    had: dict[str, int] = {}
    for number, revision in enumerate(revisions(), start=1):
        with database.write() as session:
            connection = session.connection()
            command.upgrade(schema._config(connection), revision)
            assert counted(connection, had) == had, revision
            found = tables(connection)
            fill(connection, found, number)
            had = counted(connection, found)
    assert database.check() == schema.Check(schema.HEAD, ())

    kept = back(database, revisions()[7])
    assert kept == {name: had[name] for name in kept}
    assert back(database, "base") == {}
