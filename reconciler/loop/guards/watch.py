"""What the guards know when a plan comes to the gate, as one value. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from reconciler.line import Lane
from reconciler.loop.guards.breakers import Circuit
from reconciler.loop.guards.budgets import Limits, Used
from reconciler.loop.guards.effects import Scales
from reconciler.loop.guards.freezes import Stop
from reconciler.loop.guards.lanes import DIRECTORY
from reconciler.loop.guards.scope import EVERYBODY, Register, Scope

GRAPH, SERVICENOW = "graph", "servicenow"


def system_of(lane: Lane) -> str:
    """The system that a lane writes to."""
    return GRAPH if lane in DIRECTORY else SERVICENOW


@dataclass(frozen=True, slots=True)
class Watch:
    """Everything that stops or releases a lane now. The one without anything stops nobody.

    `released` are digests of plans that a person let through, `ahead` the ends that were released beforehand, `fought`
    what each thing was last set to by us and how often it was seen so.
    """

    at: datetime
    scope: Scope = EVERYBODY
    register: Register = field(default_factory=Register)
    scales: Scales = field(default_factory=Scales)
    limits: Limits = field(default_factory=Limits)
    used: Used = field(default_factory=Used)
    stops: tuple[Stop, ...] = ()
    circuits: Mapping[str, Circuit] = field(default_factory=dict)
    short: str = ""
    fought: Mapping[tuple[str, str], tuple[str, int]] = field(default_factory=dict)
    released: frozenset[str] = frozenset()
    ahead: frozenset[str] = frozenset()

    def stop(self, lane: Lane) -> Stop | None:
        """The first stop of a lane, the kill switch before others."""
        mine = [stop for stop in self.stops if lane in stop.lanes]
        return min(mine, key=lambda s: s.guard != "kill switch", default=None)
