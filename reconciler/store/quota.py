"""How much of a directory's write quota is left, kept for whoever writes to it: processes, workers, names.

One row a directory, under the first of its names.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime

from sqlmodel import Session

from reconciler.pacing import Bucket, Level, Said, full, heard, taken
from reconciler.store import directories, swaps

FACT = "quota.writes"


def whose(session: Session, tenant: str) -> str:
    """The name under which the quota of a tenant's directory is kept."""
    return min(directories.names(session, tenant))


def take(
    session: Session, name: str, count: float, *, bucket: Bucket, at: datetime, said: Iterable[Said] = ()
) -> float:
    """Take `count` writes of the quota; in how many seconds they may leave, 0.0 for now.

    What the server `said` since the last time is believed before.
    """
    while True:
        before = swaps.kept(session, name, FACT)
        level = full(bucket, at) if before is None else _level(before)
        for each in said:
            level = heard(level, bucket, each)
        level, wait_s = taken(level, bucket, count, max(at, level.at))
        body = json.dumps({"at": level.at.isoformat(), "left": round(level.left, 6)}, sort_keys=True)
        if swaps.swap(session, name, FACT, before, body, level.at):
            return wait_s


def _level(body: str) -> Level:
    kept = json.loads(body)
    return Level(float(kept["left"]), datetime.fromisoformat(kept["at"]))
