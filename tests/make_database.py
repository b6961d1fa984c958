"""An empty store for a test, on either engine.

An embedded one is made by the migrations once in a test process and copied by each test: making one takes longer than
most tests of it. How one is made is for `store/test_database.py` and `store/test_migrations.py`. On PostgreSQL it is a
database of the server that `make_postgres` runs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlmodel import Session

from reconciler.store.database import BUSY_TIMEOUT_S, Database, connect, open_database
from tests.make_postgres import NoServer, the_server

EMBEDDED, SERVER = "sqlite", "postgresql"
ENGINES = (EMBEDDED, SERVER)
APPLICATION = "reconciler-app"

Place = Path | str  # where a store is: its file, or the address of its database


@cache
def _blank() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "reconciler.db"
        open_database(path).close()
        return path.read_bytes()


def a_database(place: Place, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> Database:
    """The store at this place, open; an empty embedded one where there is none yet."""
    if isinstance(place, Path) and not place.exists():
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        place.touch(mode=0o600)
        place.write_bytes(_blank())
    return open_database(place, busy_timeout_s=busy_timeout_s)


@contextmanager
def a_place(engine: str, folder: Path) -> Iterator[Place]:
    """Where an empty store of this engine is, or can be, for one test; `folder` is for its file.

    The test is skipped where no server can run.
    """
    if engine == EMBEDDED:
        yield folder / "var" / "reconciler.db"
        return
    try:
        server = the_server()
    except NoServer as error:
        pytest.skip(str(error))
    with server.store() as url:
        yield url


def for_the_application(place: Place) -> Place:
    """The same store for an account that may run the service and does not own the tables; an embedded one as it is."""
    if isinstance(place, Path):
        return place
    the_server().run(f'DO $$ BEGIN CREATE ROLE "{APPLICATION}" LOGIN; EXCEPTION WHEN duplicate_object THEN END $$')
    with connect(place) as owned:
        owned.grants(APPLICATION, apply=True)
    return place.replace("//postgres@", f"//{APPLICATION}@")


def without_triggers(session: Session) -> None:
    """What whoever owns the store can do to it: from here to the end of the transaction no trigger refuses anything."""
    if session.get_bind().dialect.name == SERVER:
        session.execute(text("SET LOCAL session_replication_role = replica"))
        return
    for name in session.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).scalars().all():
        session.execute(text(f"DROP TRIGGER {name}"))


@contextmanager
def an_empty_database(engine: str) -> Iterator[Database]:
    """An open, empty store of this engine: for tests that need many of them, one after the other."""
    with tempfile.TemporaryDirectory() as folder, a_place(engine, Path(folder)) as place, a_database(place) as database:
        yield database
