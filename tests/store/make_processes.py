"""What other processes do to a store. They are forked from one that has imported this module and nothing more of the
tests, once in a test process: importing it anew in each of them took longer than what it does.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from datetime import UTC, datetime
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from pathlib import Path

from reconciler.store import journal, leases
from reconciler.store.database import open_database
from reconciler.store.leases import Lease

TENANT, SOME_DAY = "contoso", datetime(2027, 3, 1, 9, tzinfo=UTC)

others = multiprocessing.get_context("forkserver")
others.set_forkserver_preload([__name__])


def hold(place: Path | str, taken: Event, ttl_s: float) -> None:
    """Take the tenant and do nothing more until the process is ended."""
    with open_database(place) as database:
        with database.write() as session:
            assert isinstance(leases.claim(session, TENANT, "first", ttl_s=ttl_s), Lease)
        taken.set()
        signal.pause()


def race(place: Path | str, owner: str, start: Event, wins: Queue[tuple[str, bool]]) -> None:
    """Claim the tenant when all are told to, and say whether it was had."""
    with open_database(place, busy_timeout_s=60) as database:
        start.wait(60)
        with database.write() as session:
            found = leases.claim(session, TENANT, owner, ttl_s=60.0)
        wins.put((owner, isinstance(found, Lease)))


def append_rows(place: Path | str, count: int, start: Event) -> None:
    """Open the store when all are told to, and add so many rows to its log."""
    start.wait(30)
    with open_database(place, busy_timeout_s=60) as database:
        for i in range(count):
            with database.write() as session:
                journal.append(session, TENANT, kind="config", subject=str(os.getpid()), body={"i": i}, at=SOME_DAY)
