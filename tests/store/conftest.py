"""A fresh store for a test: whoever asks for `database` is tested on both engines, for `path` on the embedded one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.store.database import Database
from tests.make_database import ENGINES, Place, a_database, a_place


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of an embedded store that is not there yet."""
    return tmp_path / "var" / "reconciler.db"


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def place(engine: str, tmp_path: Path) -> Iterator[Place]:
    """Where an empty store is; `a_database` opens it."""
    with a_place(engine, tmp_path) as found:
        yield found


@pytest.fixture
def database(place: Place) -> Iterator[Database]:
    with a_database(place) as opened:
        yield opened


@pytest.fixture
def embedded(path: Path) -> Iterator[Database]:
    """A store in the file `path`, for what is SQLite's alone."""
    with a_database(path) as opened:
        yield opened
