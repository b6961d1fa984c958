"""How much of a directory's write quota is left, kept for whoever writes to it: processes, workers, names.

One row a directory, under the first of its names. It is changed by one conditional UPDATE, so that of two who take at
once the second takes from what the first left.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from desired_state.rows import is_row, table_of
from reconciler.pacing import Bucket, Level, Said, full, heard, taken
from reconciler.store import directories
from reconciler.store.rows.guards import GuardFactRow

FACT = "quota.writes"
_FACTS = table_of(GuardFactRow)
_KEPT = select(_FACTS.c.body).where(is_row(_FACTS))
_CHANGE = update(_FACTS).where(is_row(_FACTS), _FACTS.c.body == bindparam("before"))
_ADD = insert(_FACTS)


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
        before = session.connection().execute(_KEPT, {"of_tenant": name, "of_name": FACT}).scalar_one_or_none()
        level = full(bucket, at) if before is None else _level(before)
        for each in said:
            level = heard(level, bucket, each)
        level, wait_s = taken(level, bucket, count, max(at, level.at))
        if _keep(session, name, before, level):
            return wait_s


def _keep(session: Session, name: str, before: str | None, level: Level) -> bool:
    body = json.dumps({"at": level.at.isoformat(), "left": round(level.left, 6)}, sort_keys=True)
    values = {"body": body, "at": level.at}
    if before is not None:
        key = {"of_tenant": name, "of_name": FACT, "before": before}
        return session.connection().execute(_CHANGE, key | values).rowcount == 1
    try:
        with session.begin_nested():
            session.connection().execute(_ADD, {"tenant": name, "name": FACT} | values)
    except IntegrityError:  # somebody else began it meanwhile
        return False
    return True


def _level(body: str) -> Level:
    kept = json.loads(body)
    return Level(float(kept["left"]), datetime.fromisoformat(kept["at"]))
