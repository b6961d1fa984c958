"""Contoso's pages over a fresh store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.make_database import a_database
from tests.web.make_web import Pages, pages_of


@pytest.fixture
def pages(tmp_path: Path) -> Iterator[Pages]:
    with a_database(tmp_path / "reconciler.db") as database:
        yield pages_of(database)
