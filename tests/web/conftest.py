"""Contoso's pages over a fresh store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.store.database import open_database
from tests.web.make_web import Pages, pages_of


@pytest.fixture
def pages(tmp_path: Path) -> Iterator[Pages]:
    with open_database(tmp_path / "reconciler.db") as database:
        yield pages_of(database)
