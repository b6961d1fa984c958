"""A plan that a guard stopped, as an object that people can be shown and can let through."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from reconciler.digest import plain
from reconciler.line import Decision, Gated, Trip
from reconciler.loop.guards.lanes import lanes_of
from reconciler.store import guards


def plan_of(trip: Trip, gated: Iterable[Gated], cycle: str, at: datetime) -> guards.GuardPlan:
    """A stopped lane's plan as an object that can be shown and let through."""
    mine = [g for g in gated if g.decision is Decision.STOPPED and g.sentence == trip.sentence and g.proposal.actions]
    changes = [
        {
            "line": str(g.proposal.finding.key),
            "user": action.user,
            "kind": action.kind.value,
            "before": plain(action.before),
            "after": plain(action.after),
            "digest": g.proposal.digest,
        }
        for g in sorted(mine, key=lambda g: g.proposal.finding.key)
        if trip.lane in lanes_of(g) or any(w.gains or w.losses for w in g.weights)
        for action in g.proposal.actions
    ]
    return named_plan(trip, changes, cycle, at)


def named_plan(trip: Trip, changes: Sequence[Mapping[str, Any]], cycle: str, at: datetime) -> guards.GuardPlan:
    return guards.GuardPlan(
        trip.digest, trip.guard, trip.lane.value, trip.wanted, trip.limit, trip.sentence, changes, cycle, at
    )
