"""Statements that every state change runs: an embedded store hands them to the driver as they were compiled once.

At each run of a statement SQLAlchemy finds what it compiled by the whole structure of the statement, and makes a
context and a result, which takes several times what the driver does. A prepared statement asks it once for the text,
the order of the values and their types, so a type is still declared in one place, with its table. On a server, and
where somebody listens to statements, it is run as any other: both ways give the same rows and raise the same errors.
"""

from __future__ import annotations

import sqlite3
from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

from sqlalchemy import Connection, Dialect, Insert, Select, Update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

from reconciler.store.engines import EmbeddedDialect

_NAMED: Any = namedtuple  # its names are known at run time
_Converts = tuple[tuple[int, Callable[[Any], Any]], ...]  # which of the values are converted, and how


class Prepared:
    """One statement whose values are named. `sets` are the columns that an INSERT or UPDATE gives a value."""

    def __init__(self, statement: Select[Any] | Insert | Update, sets: Sequence[str] = ()) -> None:
        self._statement, self._sets = statement, list(sets)
        self._ready: _Ready | None = None

    def first(self, connection: Connection, values: Mapping[str, Any]) -> Any:
        """The first row that a SELECT finds, its columns by name and in their order; None when there is none."""
        driver = _driver(connection)
        if driver is None:
            return connection.execute(self._statement, values).first()
        return next(iter(self._found(connection, driver, (values,))), None)

    def each(self, connection: Connection, sought: Sequence[Mapping[str, Any]]) -> list[Any]:
        """What a SELECT finds for each of these, one after the other."""
        driver = _driver(connection)
        if driver is None:
            return [row for values in sought for row in connection.execute(self._statement, values)]
        return self._found(connection, driver, sought)

    def run(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """INSERT or UPDATE with each of these values; all rows have the same names.

        Raises:
            DBAPIError: the database refused one of them.
        """
        driver = _driver(connection)
        if driver is None:
            connection.execute(self._statement, rows)
            return
        ready = self._compiled(connection)
        with ready.telling():
            if len(rows) == 1:
                driver.execute(ready.text, ready.bound(rows[0]))
            else:
                driver.executemany(ready.text, map(ready.bound, rows))

    def _found(
        self, connection: Connection, driver: sqlite3.Connection, sought: Sequence[Mapping[str, Any]]
    ) -> list[Any]:
        ready = self._compiled(connection)
        with ready.telling():
            every = (driver.execute(ready.text, ready.bound(values)) for values in sought)
            return [ready.row(found) for cursor in every for found in cursor]

    def _compiled(self, connection: Connection) -> _Ready:
        if self._ready is None:
            compiled = self._statement.compile(dialect=connection.dialect, column_keys=self._sets or None)
            self._ready = _Ready(compiled, connection.dialect, self._statement)
        return self._ready


class _Ready:
    """What SQLAlchemy made of a statement for embedded stores."""

    def __init__(self, compiled: SQLCompiler, dialect: Dialect, statement: Select[Any] | Insert | Update) -> None:
        self.text, self._dialect = compiled.string, dialect
        self._names = tuple(compiled.positiontup or ())
        binds = [compiled.binds[name] for name in self._names]
        named = zip(self._names, binds, strict=True)
        self._fixed: dict[str, Any] = {
            name: bind.effective_value for name, bind in named if not bind.required
        }  # LIMIT 1
        self._bind = _converts([bind.type for bind in binds], dialect, to_driver=True)
        columns = list(statement.selected_columns) if isinstance(statement, Select) else []
        self._load = _converts([column.type for column in columns], dialect, to_driver=False)
        self._row = _NAMED("Found", [str(column.key) for column in columns])

    def bound(self, values: Mapping[str, Any]) -> Sequence[Any]:
        """The values as the driver takes them. Raises KeyError for one that is missing."""
        given = {**self._fixed, **values} if self._fixed else values
        found = [given[name] for name in self._names]
        for at, convert in self._bind:
            found[at] = convert(found[at])
        return found

    def row(self, found: Sequence[Any]) -> Any:
        if not self._load:
            return self._row(*found)
        values = list(found)
        for at, convert in self._load:
            values[at] = convert(values[at])
        return self._row(*values)

    @contextmanager
    def telling(self) -> Iterator[None]:
        """The driver's errors, as SQLAlchemy tells them: without values (I15)."""
        try:
            yield
        except sqlite3.Error as error:
            raise DBAPIError.instance(
                self.text, None, error, sqlite3.Error, hide_parameters=True, dialect=self._dialect
            ) from error


def _converts(types: Sequence[TypeEngine[Any]], dialect: Dialect, *, to_driver: bool) -> _Converts:
    found = []
    for at, type_ in enumerate(types):
        here = type_.dialect_impl(dialect)
        convert = here.bind_processor(dialect) if to_driver else here.result_processor(dialect, None)
        if convert is not None:
            found.append((at, convert))
    return tuple(found)


def _driver(connection: Connection) -> sqlite3.Connection | None:
    """The driver's connection, in the transaction of this one; None where the statement goes the usual way."""
    if not isinstance(connection.dialect, EmbeddedDialect) or connection.dispatch.before_cursor_execute:
        return None
    if not connection.in_transaction():
        connection.begin()
    return cast(sqlite3.Connection, connection.connection.driver_connection)
