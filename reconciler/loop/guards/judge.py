"""What is cleared by rules and approvals, before the guards: which lanes may go out, whole or not at all. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from reconciler.line import Closing, Decision, Finding, Gated, Lane, LineState, Trip
from reconciler.loop.guards.breakers import Circuit, is_fought
from reconciler.loop.guards.budgets import affordable, counted, product_within, within
from reconciler.loop.guards.forecast import end_name
from reconciler.loop.guards.lanes import DIRECTORY, lane_digest, lane_of, lanes_of
from reconciler.loop.guards.pace import paced
from reconciler.loop.guards.watch import Watch, system_of
from reconciler.loop.new_plans import is_about

KILL, FREEZE, CIRCUIT, SHORT, FIGHT, CANARY, SCOPE, CLOCK = (
    "kill switch", "freeze", "circuit breaker", "short source", "fighting controllers", "canary", "scope", "clock",
)  # fmt: skip
LIFTED = frozenset({KILL, FREEZE, CANARY, SCOPE, CLOCK})  # never let through: lifted, or over with the cycle


@dataclass(frozen=True, slots=True)
class Judged:
    """The proposals after the guards, and the trips.

    `released` are the plans that a person let through and that are used here; None where it is not a whole lane's.
    """

    gated: tuple[Gated, ...]
    trips: tuple[Trip, ...]
    released: Mapping[str, Lane | None] = field(default_factory=dict)


def judge(gated: Iterable[Gated], watch: Watch) -> Judged:
    """Weigh what is cleared and stop the lanes that may not go out."""
    weighed = tuple(_weighed(g, watch) for g in gated)
    fought, released = _quarantined(weighed, watch)
    left = tuple(_held(g, fought) for g in weighed)
    urgent = [g for g in left if not is_about(g.proposal.finding)]  # the others go by what these leave, see `pace`
    plans = {lane: [g for g in urgent if _in(g, lane)] for lane in DIRECTORY}
    digests = {lane: lane_digest(lane, mine) for lane, mine in plans.items() if mine}
    frozen: dict[Lane, Trip] = {}
    for lane in Lane:
        stop = watch.stop(lane)
        wanted = plans.get(lane, [])
        digest = digests.get(lane, "")
        if stop is not None:
            count = len({a.user for g in wanted for a in g.proposal.actions})
            frozen[lane] = Trip(stop.guard, lane, count, 0, digest, stop.sentence(lane))
        elif wanted:
            trip = _tripped(lane, wanted, watch, digest)
            if trip is not None and digest in watch.released:
                released[digest] = lane
            elif trip is not None:
                frozen[lane] = trip
    done = paced([_stopped(g, frozen) for g in left], watch)
    return Judged(done, (*frozen.values(), *fought.values()), released)


def covered(finding: Finding, watch: Watch) -> bool:
    """Whether this end was released ahead, under the date that it still has."""
    state = finding.line.state
    return finding.closing is Closing.DUE and state is not None and _has_end(state) and end_name(state) in watch.ahead


def _has_end(state: LineState) -> bool:
    return state.ends_at is not None


def circuit_trip(circuit: Circuit, lane: Lane, wanted: int, digest: str, at: datetime) -> Trip | None:
    """The trip of a breaker that is open, None while it is closed."""
    if not circuit.is_open(at):
        return None
    why = f"Nothing is sent to {system_of(lane)} until {circuit.until_at:%Y-%m-%d %H:%M} UTC, because {circuit.why}"
    return Trip(CIRCUIT, lane, wanted, 0, digest, why)


def _tripped(lane: Lane, wanted: list[Gated], watch: Watch, digest: str) -> Trip | None:
    users = {a.user for g in wanted for a in g.proposal.actions}
    circuit = circuit_trip(watch.circuits.get(system_of(lane), Circuit()), lane, len(users), digest, watch.at)
    if circuit is not None:
        return circuit
    if lane is Lane.REMOVALS and watch.short:
        return Trip(SHORT, lane, len(users), 0, digest, f"Nothing is taken away, because {watch.short}.")
    who, cost = _counts(lane, wanted, watch)
    trip = within(lane, who, used=watch.used.of(lane), limits=watch.limits, digest=digest)
    if trip is None and lane is Lane.GRANTS:
        trip = affordable(cost, used=watch.used.cost, limits=watch.limits, digest=digest)
    return trip or _product_tripped(lane, wanted, watch, digest)


def _product_tripped(lane: Lane, wanted: list[Gated], watch: Watch, digest: str) -> Trip | None:
    """The first product with a budget of its own that the lane's plan passes; it stops the lane as a whole, too."""
    for key in sorted(watch.limits.products):
        mine = [g for g in wanted if any(a.product == key for a in g.proposal.actions)]
        who, cost = _counts(lane, mine, watch, key)
        trip = product_within(lane, key, who, cost, used=watch.used, limits=watch.limits, digest=digest)
        if trip is not None:
            return trip
    return None


def _counts(lane: Lane, wanted: Iterable[Gated], watch: Watch, product: str = "") -> tuple[set[str], Decimal]:
    """The people whom a lane's plan touches in effect, and what it adds a month; of one product where it is named."""
    who: set[str] = set()
    cost = Decimal(0)
    for g in wanted:
        for action, weight in zip(g.proposal.actions, g.weights, strict=True):
            if product and action.product != product:
                continue
            cost += weight.cost
            if lane in counted(action, weight) and not covered(g.proposal.finding, watch):
                who.add(action.user)
    return who, cost


def _weighed(gated: Gated, watch: Watch) -> Gated:
    if gated.decision is not Decision.CLEARED or not gated.proposal.actions:
        return gated
    weights = watch.scales.weigh(gated.proposal.finding.user, gated.proposal.actions)
    return replace(gated, weights=weights)


def _quarantined(gated: Iterable[Gated], watch: Watch) -> tuple[dict[str, Trip], dict[str, Lane | None]]:
    """Changes that others have turned back twice, by request digest; and the releases that let one through."""
    found: dict[str, Trip] = {}
    released: dict[str, Lane | None] = {}
    for g in gated:
        fought = g.decision is Decision.CLEARED and any(is_fought(a, watch.fought) for a in g.proposal.actions)
        if not fought:
            continue
        lane = lane_of(g.proposal.actions[0])
        digest = lane_digest(lane, [g])
        if digest in watch.released:
            released[digest] = None
            continue
        why = (
            f"{g.proposal.finding.key}: what would be set was set twice already and turned back by others each time; "
            "a person has to find out who."
        )
        found[g.proposal.digest] = Trip(FIGHT, lane, 1, 0, digest, why)
    return found, released


def _held(gated: Gated, fought: Mapping[str, Trip]) -> Gated:
    trip = fought.get(gated.proposal.digest)
    return _stop(gated, trip) if trip is not None and gated.decision is Decision.CLEARED else gated


def _in(gated: Gated, lane: Lane) -> bool:
    return gated.decision is Decision.CLEARED and _touches(gated, lane)


def _touches(gated: Gated, lane: Lane) -> bool:
    """A change is in the lanes of its actions, and in those in whose budgets its person counts."""
    counts = (counted(a, w) for a, w in zip(gated.proposal.actions, gated.weights, strict=False))
    return lane in lanes_of(gated) or any(lane in lanes for lanes in counts)


def _stopped(gated: Gated, frozen: Mapping[Lane, Trip]) -> Gated:
    """A change of one person is whole or not at all: one frozen lane holds all of its actions."""
    trip = next((frozen[lane] for lane in Lane if lane in frozen and _in(gated, lane)), None)
    return _stop(gated, trip) if trip is not None else gated


def _stop(gated: Gated, trip: Trip) -> Gated:
    finding = gated.proposal.finding
    return replace(gated, decision=Decision.STOPPED, cause=finding.cause, sentence=trip.sentence)
