"""How many requests an instance got within an hour, kept for whoever asks it: processes, workers, tenants.

One fact an instance, under its host; changed by one conditional UPDATE, so that of two who take at once the second
takes of what the first left. Without a budget nothing is kept.
"""

from __future__ import annotations

import json
from datetime import datetime

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from desired_state.rows import is_row, table_of
from reconciler.hourly import Hour, hour_of, taken
from reconciler.store.rows.guards import GuardFactRow

FACT = "requests.hour"
_FACTS = table_of(GuardFactRow)
_KEPT = select(_FACTS.c.body).where(is_row(_FACTS))
_CHANGE = update(_FACTS).where(is_row(_FACTS), _FACTS.c.body == bindparam("before"))
_ADD = insert(_FACTS)


def take(session: Session, instance: str, budget: int, *, at: datetime, can_wait: bool) -> tuple[Hour, int]:
    """Take a lot of an instance's hour: the hour after that, and how many requests; 0 when it is spent."""
    while True:
        before = session.connection().execute(_KEPT, {"of_tenant": instance, "of_name": FACT}).scalar_one_or_none()
        hour, granted = taken(_hour(before) if before else hour_of(at), budget, at=at, can_wait=can_wait)
        if not granted or _keep(session, instance, before, hour):
            return hour, granted


def _hour(body: str) -> Hour:
    kept = json.loads(body)
    return Hour(datetime.fromisoformat(kept["began_at"]), int(kept["taken"]))


def _keep(session: Session, instance: str, before: str | None, hour: Hour) -> bool:
    body = json.dumps({"began_at": hour.began_at.isoformat(), "taken": hour.taken}, sort_keys=True)
    values = {"body": body, "at": hour.began_at}
    if before is not None:
        key = {"of_tenant": instance, "of_name": FACT, "before": before}
        return session.connection().execute(_CHANGE, key | values).rowcount == 1
    try:
        with session.begin_nested():
            session.connection().execute(_ADD, {"tenant": instance, "name": FACT} | values)
    except IntegrityError:  # somebody else began it meanwhile
        return False
    return True
