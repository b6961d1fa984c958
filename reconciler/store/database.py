"""Opening the store: engine, pragmas, transactions, and the sentences people read when it cannot be opened.

What always holds: a write transaction begins IMMEDIATE, so two writers queue instead of failing halfway; a commit is
on the disk when it returns (synchronous=FULL), because the intent must survive the effect (I1); whatever the database
refuses to keep raises, so that nothing is sent; no error shows the values of a statement (I15). A fresh embedded store
appears complete or not at all.

SQLite is the default. PostgreSQL is the same code by one URL: there, `reconciler db upgrade` creates the schema.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from copy import copy
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, func, make_url, select
from sqlalchemy.exc import ArgumentError
from sqlmodel import Session

from reconciler.errors import StoreUnusable, UserError
from reconciler.store import grants, schema
from reconciler.store.engines import copied, sqlite_engine, writing
from reconciler.store.sentences import placing, sentences
from reconciler.store.server import CONNECTIONS, ONE_VIEW, REHEARSED, server_engine, shadow, take_turn
from reconciler.store.tables import EVERYONE, METADATA
from reconciler.store.transactions import Reading, Transaction, Writing

BUSY_TIMEOUT_S = 10.0


class Database:
    """One open store. `write` and `read` are the only ways to a session; close it when done.

    `tenant` is whose turn each write waits for on PostgreSQL; "" for nobody's, where one statement is all there is.
    """

    tenant = ""

    def __init__(
        self,
        engine: Engine,
        *,
        name: str,
        read_only: bool = False,
        path: Path | None = None,
        busy_timeout_s: float = BUSY_TIMEOUT_S,
    ) -> None:
        self._engine = engine
        self._path, self._file = path, _file_of(path)
        self._is_embedded = engine.dialect.name == "sqlite"
        self._reader = engine if self._is_embedded else engine.execution_options(**ONE_VIEW)
        self._patience_s = busy_timeout_s
        self.name = name
        self.read_only = read_only
        self.info: dict[str, Any] = {}  # what every session carries, see `persons`

    @contextmanager
    def write(self) -> Iterator[Session]:
        """One write transaction: committed at exit, rolled back when the body raises.

        Raises:
            UserError: the store is locked, full, read-only or damaged; nothing was kept.
        """
        if self.read_only:
            raise UserError(f"{self.name} was opened for reading only", exit_code=1)
        with sentences(self.name), self._writing() as connection, Writing(connection, self.info) as session:
            if self.tenant and not self._is_embedded:
                take_turn(connection, self.tenant, wait_s=self._patience_s)
                session.turn = self.tenant
            yield session
            session.keep()

    @contextmanager
    def read(self) -> Iterator[Session]:
        """One read transaction: a single view of the store, beside any writer. What it adds is not kept.

        Raises:
            UserError: the store is locked or damaged.
        """
        with sentences(self.name), self._reader.connect() as connection, Reading(connection, self.info) as session:
            yield session

    def dry(self) -> AbstractContextManager[Database]:
        """A rehearsal: a store with the same rows whose writes are all rolled back at the end.

        It works on a copy, in memory or in temporary tables, so a rehearsal of any length holds up no writer.
        """
        return _rehearsal(self)

    def upgrade(self) -> None:
        """Bring the schema to this version's, in one transaction. Two processes at once: the second finds it done."""
        with sentences(self.name), self._writing() as connection, connection.begin():
            schema.upgrade(connection)

    def check(self) -> schema.Check:
        """Compare schema and rows with what this version needs; reads everything once, changes nothing."""
        with sentences(self.name), self._engine.connect() as connection:
            return schema.check(connection)

    def grants(self, account: str, *, apply: bool = False) -> tuple[str, ...]:
        """The SQL that lets an account run the service; `apply` runs it, for which this one owns the tables."""
        with sentences(self.name), self._writing() as connection, connection.begin():
            if apply:
                grants.apply(connection, account)
            return grants.statements(connection, account)

    def require_there(self) -> None:
        """An embedded store whose file was taken away would go on, and what it keeps be lost with the process.

        A file that was put in its place (a restored backup) is used from now on.

        Raises:
            UserError: the file is gone, or another one is no store of this version.
        """
        if self._path is None:
            return
        now = _file_of(self._path)
        if now is None:
            raise StoreUnusable(
                f"{self.name} is gone; put it back, or stop the service before a new one is begun: a new store knows "
                "of no licence that was granted",
                exit_code=1,
            )
        if now != self._file:
            self._engine.dispose()
            with sentences(self.name), self._engine.connect() as connection:
                schema.require(connection, self.name)
            self._file = now

    def _writing(self) -> AbstractContextManager[Connection]:
        return writing(self._engine) if self._is_embedded else self._engine.connect()

    def of(self, tenant: str) -> Database:
        """The same store for one tenant, whose turn each write waits for. It is closed with this one."""
        own = copy(self)
        own.tenant = tenant
        return own

    def close(self) -> None:
        """Give back all connections; the store can be opened again."""
        self._engine.dispose()

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_database(
    url: str | os.PathLike[str],
    *,
    read_only: bool = False,
    busy_timeout_s: float = BUSY_TIMEOUT_S,
    connections: int = CONNECTIONS,
) -> Database:
    """Open a store whose schema is this version's. A path, or a database URL.

    An embedded store that does not exist yet is created with its directory (modes 0600 and 0700), unless
    `read_only`. `busy_timeout_s` is how long a transaction waits for another writer, `connections`
    how many a server is asked for at most.

    Raises:
        UserError: no such store, not a store of ours, older or newer than this version, damaged, locked, or in a
            place that cannot be written; the sentence says what to do.
    """
    database = connect(url, read_only=read_only, busy_timeout_s=busy_timeout_s, connections=connections)
    try:
        _make_current(database)
    except BaseException:
        database.close()
        raise
    return database


def _make_current(database: Database) -> None:
    with sentences(database.name), database._engine.connect() as connection:
        is_blank = schema.is_blank(connection)
        if not is_blank:
            schema.require(connection, database.name)
    if not is_blank:
        return
    if database.read_only or not database._is_embedded:
        raise UserError(f"{database.name} is empty; create its tables with `reconciler db upgrade`", exit_code=1)
    database.upgrade()


def connect(
    url: str | os.PathLike[str],
    *,
    read_only: bool = False,
    busy_timeout_s: float = BUSY_TIMEOUT_S,
    connections: int = CONNECTIONS,
) -> Database:
    """Open a store whatever its version is: for `db upgrade` and `db check`. Otherwise as `open_database`."""
    parsed = _parsed(url)
    if parsed.get_backend_name() != "sqlite":
        name = parsed.render_as_string(hide_password=True)
        engine = server_engine(parsed, name, connections=connections)
        return Database(engine, name=name, read_only=read_only, busy_timeout_s=busy_timeout_s)
    if parsed.database in (None, "", ":memory:"):
        raise UserError("an embedded store needs a file: a store in memory would forget what it granted", exit_code=1)
    assert parsed.database is not None
    path = Path(parsed.database).absolute()
    if not path.exists():
        if read_only:
            raise UserError(f"there is no store at {path}; a first `reconciler reconcile` creates it", exit_code=1)
        _create(path, busy_timeout_s)
    engine = sqlite_engine(path, read_only=read_only, busy_timeout_s=busy_timeout_s)
    return Database(engine, name=str(path), read_only=read_only, path=path)


def _file_of(path: Path | None) -> tuple[int, int] | None:
    """Which file is at the path: device and number. None when there is none."""
    if path is None:
        return None
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def row_counts(session: Session) -> dict[str, int]:
    """How many rows each table has: what a converged cycle must leave alone (I10)."""
    return {
        name: session.execute(select(func.count()).select_from(table)).scalar_one()
        for name, table in sorted(METADATA.tables.items())
    }


# --- SQLite -------------------------------------------------------------------------------------------------


def _parsed(url: str | os.PathLike[str]) -> URL:
    text = os.fspath(url)
    if "://" not in text:
        return URL.create("sqlite", database=text)
    try:
        return make_url(text)
    except (ArgumentError, ValueError):
        # The text is not shown: it may carry a password (I15).
        raise UserError("the store's URL cannot be read; expected a path or postgresql://…", exit_code=1) from None


def _create(path: Path, busy_timeout_s: float) -> None:
    """Build a complete store beside `path` and link it into place, so that nobody ever meets half a store.

    Of two processes that do so at once, the first to link wins and the other uses what it finds.
    """
    with placing(str(path)), sentences(str(path)):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
        os.close(handle)
        new = Path(name)
        try:
            with closing(sqlite3.connect(new)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
            with Database(sqlite_engine(new, read_only=False, busy_timeout_s=busy_timeout_s), name=str(path)) as fresh:
                fresh.upgrade()
            if not path.exists():
                _link(new, path)
        finally:
            for suffix in ("", "-wal", "-shm"):
                Path(f"{name}{suffix}").unlink(missing_ok=True)


def _link(new: Path, path: Path) -> None:
    try:
        path.hardlink_to(new)
    except FileExistsError:
        return
    except OSError:  # a file system without hard links
        new.rename(path)


# --- rehearsal ----------------------------------------------------------------------------------------------


class _Rehearsal(Database):
    """Every transaction is a savepoint of one outer transaction, which is never committed."""

    def __init__(self, connection: Connection, name: str) -> None:
        super().__init__(connection.engine, name=name)
        self._connection = connection
        self._turn = threading.RLock()  # one connection: threads take turns

    @contextmanager
    def write(self) -> Iterator[Session]:
        with self._turn, sentences(self.name), self._session() as session, session.begin():
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        with self._turn, sentences(self.name), self._session() as session:
            yield session
            session.rollback()

    def dry(self) -> AbstractContextManager[Database]:
        raise AssertionError("a rehearsal is not rehearsed")

    def close(self) -> None:
        """The rehearsal ends with its context."""

    def _session(self) -> Session:
        mode = "create_savepoint"
        opened = Transaction(self._connection, join_transaction_mode=mode, expire_on_commit=False, info=self.info)  # type: ignore[arg-type]
        opened.turn = EVERYONE  # nobody else sees the copy
        return opened


@contextmanager
def _rehearsal(database: Database) -> Iterator[Database]:
    is_embedded = database._is_embedded
    with sentences(database.name):
        engine = copied(database._engine) if is_embedded else database._engine.execution_options(**REHEARSED)
        opened = writing(engine) if is_embedded else engine.connect()
    try:
        with sentences(database.name), opened as connection:
            outer = connection.begin()
            try:
                if not is_embedded:
                    shadow(connection, METADATA.tables)
                rehearsal = _Rehearsal(connection, database.name)
                rehearsal.info = database.info
                yield rehearsal
            finally:
                outer.rollback()
    finally:
        if is_embedded:
            engine.dispose()
