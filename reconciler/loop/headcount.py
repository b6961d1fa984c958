"""How many people a tenant's changes may be about: what budgets that are percentages are taken of."""

from __future__ import annotations

from datetime import datetime, timedelta

from reconciler.clients.graph import Graph
from reconciler.errors import RemoteError
from reconciler.loop.guards.budgets import Limits
from reconciler.loop.guards.scope import ANY, Scope
from reconciler.store import guards
from reconciler.store.database import Database

PEOPLE = "people"  # the guards' fact
COUNT_EVERY = timedelta(hours=24)
COUNT_AGAIN = timedelta(hours=1)  # after it could not be done


def counted(database: Database, graph: Graph, tenant: str, scope: Scope, limits: Limits, at: datetime) -> int | None:
    """How many people are in scope, counted once a day; None while nobody could, or where nothing depends on it."""
    if not any(a.percent for a in (*limits.per_cycle.values(), *limits.per_day.values())):
        return None
    with database.read() as session:
        kept = guards.fact(session, tenant, PEOPLE)
    whom = sorted(scope.allow_domains)
    if kept is not None and kept[0].get("whom") == whom:
        count = kept[0].get("count")
        if at - kept[1] < (COUNT_EVERY if count is not None else COUNT_AGAIN):
            return count
    named = len(scope.allow_users)
    try:
        if ANY in scope.allow_domains:
            count = graph.licensed_people()
        else:
            count = named + (graph.licensed_people(whom) if whom else 0)
    except RemoteError:
        count = None
    with database.write() as session:
        guards.remember(session, tenant, PEOPLE, {"count": count, "whom": whom}, at)
    return count
