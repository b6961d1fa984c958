"""The engines behind a store: how connections are opened and what each transaction of SQLite begins with.

All embedded stores of a process speak one SQL, so a statement that was compiled for one is compiled for all of them:
a rehearsal, or the next of many stores, does not compile its statements again.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, ExceptionContext, QueuePool, StaticPool, create_engine, event
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.exc import ArgumentError
from sqlalchemy.util import LRUCache

from reconciler.errors import UserError

# What is asked of libpq (its documentation, section 34.1.2) unless the store's address says otherwise. A network that
# swallows everything ends a statement after a minute; without this it waits for a quarter of an hour, or for ever.
LINK = {
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}
POOLED = 5  # connections that stay open; more come and go
CONNECTIONS = 15  # of one process, unless it says otherwise

_IS_WRITING = "is_writing"  # what a connection was last told by PRAGMA query_only
_COMPILED: LRUCache[object, object] = LRUCache(1000)  # a few hundred statements are all that the code has


class EmbeddedDialect(SQLiteDialect_pysqlite):
    """SQLite as always. Two of them are equal, since compiled statements are kept by dialect."""

    supports_statement_cache = True

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self)

    def __hash__(self) -> int:
        return hash(EmbeddedDialect)


registry.register("sqlite.embedded", __name__, EmbeddedDialect.__name__)


def lively(url: URL) -> URL:
    """The address of a PostgreSQL with what `LINK` says, where it does not say otherwise itself."""
    return url.update_query_dict({name: value for name, value in LINK.items() if name not in url.query})


def server_engine(url: URL, name: str, *, connections: int = CONNECTIONS) -> Engine:
    """An engine for PostgreSQL. Raises UserError when its driver is not installed; `name` is the store's for people.

    It opens `connections` at most.

    Whatever the server's default is, a statement of a write sees what was committed before it began: who waited for a
    lock then finds what its holder wrote.
    """
    try:
        engine = create_engine(
            lively(url) if "psycopg" in url.drivername else url,
            pool_pre_ping=True,
            hide_parameters=True,
            isolation_level="READ COMMITTED",
            pool_size=POOLED,
            max_overflow=max(0, connections - POOLED),
        )
    except (ArgumentError, ImportError) as error:
        raise UserError(f"{name} needs a database driver that is not installed: {error}", exit_code=1) from None
    event.listen(engine, "handle_error", _keep_values_back)
    return engine


def _keep_values_back(failed: ExceptionContext) -> None:
    """PostgreSQL puts the row that it refused into the details of its message (I15); its first line is enough."""
    said = failed.original_exception
    first = getattr(getattr(said, "diag", None), "message_primary", None)
    if first:
        said.args = (first,)
        if failed.sqlalchemy_exception is not None:
            failed.sqlalchemy_exception.args = (f"({type(said).__module__}.{type(said).__name__}) {first}",)


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
    """Pragmas on each connection; BEGIN is ours, so that savepoints and DDL are transactional."""

    @event.listens_for(engine, "connect")
    def _pragmas(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys=ON")
        if not read_only:
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA recursive_triggers=ON")  # REPLACE then fires the triggers that refuse DELETE

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        is_write = connection.get_execution_options().get("immediate", False)
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        # A write in a read transaction would be rolled back in silence; so it is refused at once.
        if connection.info.get(_IS_WRITING) is not is_write:
            driver.execute(f"PRAGMA query_only={'OFF' if is_write else 'ON'}")
            connection.info[_IS_WRITING] = is_write
        driver.execute("BEGIN IMMEDIATE" if is_write else "BEGIN")
