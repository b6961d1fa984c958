"""The engines behind an embedded store: how connections are opened and what each transaction of SQLite begins with.

All embedded stores of a process speak one SQL, so a statement that was compiled for one is compiled for all of them:
a rehearsal, or the next of many stores, does not compile its statements again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, QueuePool, StaticPool, create_engine, event
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.util import LRUCache

_WILL_WRITE = "will_write"  # of a connection: its next transaction is a write
_IS_WRITING = "is_writing"  # what a connection was last told by PRAGMA query_only
_COMPILED: LRUCache[object, object] = LRUCache(1000)  # a few hundred statements are all that the code has


class EmbeddedDialect(SQLiteDialect_pysqlite):
    """SQLite as always. Two of them are equal, since compiled statements are kept by dialect."""

    supports_statement_cache = True

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self)

    def __hash__(self) -> int:
        return hash(EmbeddedDialect)

    def do_begin(self, dbapi_connection: Any) -> None:
        """BEGIN is ours, so that savepoints and DDL are transactional.

        No listener does it: with one, SQLAlchemy tells every statement to whoever might listen.
        """
        driver, info = dbapi_connection.driver_connection, dbapi_connection.info
        is_write = info.get(_WILL_WRITE, False)
        # A write in a read transaction would be rolled back in silence; so it is refused at once.
        if info.get(_IS_WRITING) is not is_write:
            driver.execute(f"PRAGMA query_only={'OFF' if is_write else 'ON'}")
            info[_IS_WRITING] = is_write
        driver.execute("BEGIN IMMEDIATE" if is_write else "BEGIN")


registry.register("sqlite.embedded", __name__, EmbeddedDialect.__name__)


def sqlite_engine(path: Path, *, read_only: bool, busy_timeout_s: float) -> Engine:
    """An engine for the store in this file, which has to be there."""

    def opened() -> sqlite3.Connection:
        uri = f"{path.as_uri()}?mode={'ro' if read_only else 'rw'}"
        return sqlite3.connect(uri, uri=True, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False)

    engine = create_engine(
        "sqlite+embedded://",
        creator=opened,
        poolclass=QueuePool,
        hide_parameters=True,
        execution_options={"compiled_cache": _COMPILED},
    )
    _prepare(engine, read_only=read_only)
    return engine


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A connection whose transaction is a write: it begins IMMEDIATE."""
    with engine.connect() as connection:
        connection.info[_WILL_WRITE] = True
        try:
            yield connection
        finally:
            connection.info[_WILL_WRITE] = False  # one that began nothing is the next one's to begin


def copied(engine: Engine) -> Engine:
    """The embedded store in memory, by SQLite's own backup: one view, while others go on writing."""
    memory = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    with engine.connect() as connection:
        source = connection.connection.driver_connection
        assert isinstance(source, sqlite3.Connection)
        source.backup(memory)
    copy = create_engine(
        "sqlite+embedded://",
        creator=lambda: memory,
        poolclass=StaticPool,
        hide_parameters=True,
        execution_options={"compiled_cache": _COMPILED},
    )
    _prepare(copy, read_only=False)
    return copy


def _prepare(engine: Engine, *, read_only: bool) -> None:
    """Pragmas on each connection."""

    @event.listens_for(engine, "connect")
    def _pragmas(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys=ON")
        if not read_only:
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA recursive_triggers=ON")  # REPLACE then fires the triggers that refuse DELETE
