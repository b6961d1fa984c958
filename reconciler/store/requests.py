"""How many requests an instance got within an hour, kept for whoever asks it: processes, workers, tenants.

One fact an instance, under its host. Without a budget nothing is kept.
"""

from __future__ import annotations

import json
from datetime import datetime

from sqlmodel import Session

from reconciler.hourly import Hour, hour_of, taken
from reconciler.store import swaps

FACT = "requests.hour"


def take(session: Session, instance: str, budget: int, *, at: datetime, can_wait: bool) -> tuple[Hour, int]:
    """Take a lot of an instance's hour: the hour after that, and how many requests; 0 when it is spent."""
    while True:
        before = swaps.kept(session, instance, FACT)
        known = _hour(before) if before else hour_of(at)
        hour, granted = taken(known, budget, at=at, can_wait=can_wait)
        body = json.dumps({"began_at": hour.began_at.isoformat(), "taken": hour.taken}, sort_keys=True)
        is_as_kept = not granted and hour.began_at <= known.began_at and hour == known
        if is_as_kept or swaps.swap(session, instance, FACT, before, body, hour.began_at):
            return hour, granted


def _hour(body: str) -> Hour:
    kept = json.loads(body)
    return Hour(datetime.fromisoformat(kept["began_at"]), int(kept["taken"]))
