"""How one tenant answers its tickets, and what was answered in a cycle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from desired_state.model import Ticket
from reconciler.answers import Manners, Names
from reconciler.clients.servicenow import ServiceNow
from reconciler.clock import Clock
from reconciler.line import Trip
from reconciler.loop.guards import Limits
from reconciler.loop.ours import Ours
from reconciler.metrics import UNCOUNTED, Meter
from reconciler.model import AnswerKind
from reconciler.store.database import Database


@dataclass(frozen=True, slots=True)
class Desk:
    """How this tenant answers its tickets."""

    tenant: str
    database: Database
    servicenow: ServiceNow
    clock: Clock
    limits: Limits
    manners: Callable[[Ticket], Manners]
    names: Names
    meter: Meter = UNCOUNTED
    runs_by: Mapping[str, str] = field(default_factory=dict)  # version of the software, digest of the configuration


@dataclass(slots=True)
class Told:
    """What was answered in this cycle, by ticket; guards that stopped answers; what could not be told yet."""

    given: dict[str, tuple[AnswerKind, ...]] = field(default_factory=dict)
    trips: tuple[Trip, ...] = ()
    problems: list[str] = field(default_factory=list)
    ours: Ours = field(default_factory=Ours)

    def add(self, ticket: str, kind: AnswerKind) -> None:
        """Count an answer that was given; evidence belongs to the one it goes with, and a kind counts once."""
        known = self.given.get(ticket, ())
        if kind is not AnswerKind.EVIDENCE and kind not in known:
            self.given[ticket] = (*known, kind)
