"""A fresh embedded store for a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.store.database import Database
from tests.make_database import a_database


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "var" / "reconciler.db"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    with a_database(path) as opened:
        yield opened
