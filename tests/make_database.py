"""An empty store, made by the migrations once in a test process and copied by each test: making one takes longer than
most tests of it. How one is made is for `store/test_database.py` and `store/test_migrations.py`.
"""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from reconciler.store.database import BUSY_TIMEOUT_S, Database, open_database


@cache
def _blank() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "reconciler.db"
        open_database(path).close()
        return path.read_bytes()


def a_database(path: Path, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> Database:
    """The store at this path, open; an empty one where there is none yet."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_bytes(_blank())
    return open_database(path, busy_timeout_s=busy_timeout_s)
