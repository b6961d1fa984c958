"""The guards at work in one cycle: what they need is read once, asked at the gate and before every write, and kept.

The gate stops a lane as a whole, before its first write. `Post` stands at the choke-point: it stops the single write
that the gate could not foresee, because somebody threw a switch meanwhile, a window began, or results speak against a
system. Its budgets are the gate's own; it trips only where something is sent that no gate has counted.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlmodel import Session

from desired_state.model import LineKey, SkuId, UserId
from reconciler.clients.graph import Graph
from reconciler.clock import Clock
from reconciler.line import Decision, Finding, Gated, Lane, Trip
from reconciler.loop.belonging import Belonging
from reconciler.loop.gate import Gates
from reconciler.loop.guards import skew
from reconciler.loop.guards.breakers import Circuit, Mark
from reconciler.loop.guards.budgets import CYCLE, DAY, Limits, Used, affordable, product_within
from reconciler.loop.guards.effects import Scales
from reconciler.loop.guards.freezes import Stop, Window, frozen
from reconciler.loop.guards.judge import CIRCUIT, CLOCK, FREEZE, KILL, LIFTED, SCOPE, circuit_trip, covered
from reconciler.loop.guards.scope import SHARED, Scope, Side, judge
from reconciler.loop.guards.sources import Pulled, short
from reconciler.loop.guards.usage import Usage, usage
from reconciler.loop.guards.watch import GRAPH, Watch, system_of
from reconciler.loop.headcount import PEOPLE, counted
from reconciler.loop.lately import CIRCUITS, Lately, read_lately, used_by
from reconciler.loop.observe import Seen
from reconciler.loop.register import purposes as register_purposes
from reconciler.loop.register import register
from reconciler.loop.send import Stopped, Write
from reconciler.loop.stopped_plans import named_plan, plan_of
from reconciler.loop.whole import TICKETS
from reconciler.store import directories, guards, journal, switches
from reconciler.store.database import Database

Costing = tuple[str, str, str]  # subject, digest and kind of a write: it costs once, however often it is tried


@dataclass(frozen=True, slots=True)
class Guarding:
    """The guards of one tenant, as configured. `outside` says what stops everything from outside the store, or ""."""

    tenant: str
    database: Database
    clock: Clock
    graph: Graph
    scope: Scope
    limits: Limits
    windows: tuple[Window, ...] = ()
    outside: Callable[[], str] = lambda: ""
    prices: Mapping[SkuId, Decimal] = field(default_factory=dict)
    stale_after: timedelta = timedelta(minutes=30)
    pause: timedelta = timedelta(minutes=15)  # of a breaker
    flip_window: timedelta = timedelta(days=7)
    skews: Callable[[], Mapping[str, float | None]] = dict  # seconds that each system's clock is ahead of ours
    clock_tolerance: timedelta = skew.TOLERANCE
    reads_purposes: Callable[[], bool] = lambda: False  # whether it may be read what a mailbox is for

    def clocks(self) -> skew.Verdict:
        """What both systems' clocks say of ours, by their last answers."""
        return skew.judge(self.skews(), self.clock_tolerance)

    def post(self, seen: Seen, groups: Belonging, *, cycle: str, beside: Post | None = None) -> Post:
        """Read what the guards need to know for one cycle; `groups` are those that others read in it as well.

        `beside` are the guards of a cycle that it interrupts: they know what was done of late without reading the log.
        """
        at = self.clock.now()
        users = [line.account for line in seen.lines if line.account is not None]
        with self.database.read() as session:
            names = directories.names(session, self.tenant)
            kept = guards.facts(session, names, (TICKETS, *CIRCUITS.values()))
            lately = beside.lately() if beside is not None else read_lately(session, at, names, kept, self.flip_window)
            let = guards.released(session, self.tenant, at)
            stops = self.stops(session, at, names)
        observed, pulled = seen.observed, _pulled(kept.get((self.tenant, TICKETS)))
        watch = Watch(
            at,
            self.scope,
            register(self.graph, groups, self.scope, set(users), role_holders=observed.role_holders),
            Scales(observed.skus, observed.groups, self.prices),
            replace(self.limits, people=self._people(at)),
            lately.used,
            stops,
            lately.circuits,
            short(observed, pulled, now=at, stale_after=self.stale_after),
            lately.fought,
            frozenset(p.digest for p in let if p.guard != guards.FORECAST),
            frozenset(str(c["end"]) for p in let if p.guard == guards.FORECAST for c in p.changes),
        )
        return Post(self, watch, cycle, marks=lately.marks, used=dict(watch.used.users))

    def used(self, session: Session, at: datetime, names: Sequence[str] = ()) -> Used:
        """What was used of the budgets of a day, under whichever name of the directory.

        `names` are those of the directory, where they have just been read.
        """
        return used_by(session, names or directories.names(session, self.tenant), at)

    def usage(self, session: Session, at: datetime) -> tuple[Usage, ...]:
        """Every budget with what of it is used, by the people in scope as they were counted last."""
        counted = guards.fact(session, self.tenant, PEOPLE)
        people = counted[0].get("count") if counted is not None else None
        return usage(replace(self.limits, people=people), self.used(session, at))

    def stops(self, session: Session | None, at: datetime, names: Sequence[str] = ()) -> tuple[Stop, ...]:
        """Everything that is thrown, planned or configured and holds now; without a session, all but the store's.

        `names` are those of the directory, where they have just been read.
        """
        found = []
        outside = self.outside()
        if outside:
            found.append(Stop(KILL, "the kill switch", frozenset(Lane), outside))
        wrong = self.clocks().wrong
        if wrong:
            found.append(Stop(CLOCK, "the clock", frozenset(Lane), wrong))
        for switch in switches.stops(session, self.tenant, names) if session is not None else ():
            lanes = frozenset(lane for lane in Lane if switch.stops(lane.value, at))
            if lanes:
                is_kill = switch.kind is switches.SwitchKind.KILL
                name = "the kill switch" if is_kill else f"the freeze {switch.name}"
                found.append(Stop(KILL if is_kill else FREEZE, name, lanes, switch.reason))
        return (*found, *frozen(self.windows, at))

    def _people(self, at: datetime) -> int | None:
        return counted(self.database, self.graph, self.tenant, self.scope, self.limits, at)


def _pulled(kept: guards.Fact | None) -> Pulled | None:
    return Pulled(int(kept[0]["usual"]), int(kept[0]["last"])) if kept is not None else None


@dataclass(slots=True)
class Post:
    """The guards of one cycle, at the gate and at the choke-point."""

    guarding: Guarding
    watch: Watch
    cycle: str
    marks: dict[str, list[Mark]]
    used: dict[Lane, frozenset[str]]
    trips: list[Trip] = field(default_factory=list)  # of single writes
    _costs: dict[Costing, Decimal] = field(default_factory=dict)
    _cost: Decimal = Decimal(0)  # of them all
    _cost_of: dict[str, Decimal] = field(default_factory=dict)  # by product
    _beyond: dict[Lane, int] = field(default_factory=dict)  # of those touched, how many the day had not seen
    _made: dict[tuple[Lane, str], set[str]] = field(default_factory=dict)  # subjects, by lane and product
    _touched: dict[Lane, set[str]] = field(default_factory=dict)
    _sides: dict[LineKey, Side] = field(default_factory=dict)
    _users: dict[UserId, Side] = field(default_factory=dict)
    _let: frozenset[Lane] = frozenset()  # lanes whose plan a person let through
    _ahead: frozenset[LineKey] = frozenset()

    # --- around the gate

    def ask_purposes(self, gated: Iterable[Gated]) -> bool:
        """Read what the mailboxes of those are for who are about to be written to; True where that stops somebody."""
        scope, guarding = self.watch.scope, self.guarding
        mine = (g for g in gated if g.decision is Decision.CLEARED)
        users = sorted({a.user for g in mine for a in g.proposal.actions} - self.watch.register.purposes.keys())
        if not users or not (scope.needs_purpose or guarding.reads_purposes()):
            return False
        found = register_purposes(guarding.graph, users, may_read=guarding.reads_purposes())
        known = replace(self.watch.register, purposes={**self.watch.register.purposes, **found})
        self.watch = replace(self.watch, register=known)
        return any(p.lower() in SHARED if isinstance(p, str) else scope.needs_purpose for p in found.values())

    def admit(self, findings: Iterable[Finding]) -> None:
        """Remember on which side of the fence everybody is; one who is on two is outside."""
        for finding in findings:
            side = judge(finding, self.watch.scope, self.watch.register).side
            self._sides[finding.key] = side
            if finding.user is not None:
                known = self._users.get(finding.user.id, side)
                self._users[finding.user.id] = known if side is Side.IN else side

    def begin(self, gates: Gates) -> None:
        """Keep what was stopped, and use up what was let through, before the first write."""
        self._let = frozenset(lane for lane in gates.released.values() if lane is not None)
        findings = [g.proposal.finding for g in gates.gated]
        self._ahead = frozenset(f.key for f in findings if covered(f, self.watch))
        at = self.guarding.clock.now()
        stopped = [t for t in gates.trips if t.guard not in LIFTED and t.digest]
        if not stopped and not gates.released:
            return
        with self.guarding.database.write() as session:
            for trip in stopped:
                guards.keep(session, self.guarding.tenant, plan_of(trip, gates.gated, self.cycle, at))
            for digest in sorted(gates.released):
                guards.use(session, self.guarding.tenant, digest, cycle=self.cycle, at=at)

    def keep(self, trips: Iterable[Trip], changes: Sequence[Mapping[str, Any]]) -> None:
        """Keep what was stopped outside of the gate: answers."""
        at = self.guarding.clock.now()
        with self.guarding.database.write() as session:
            for trip in trips:
                if trip.guard not in LIFTED and trip.digest:
                    guards.keep(session, self.guarding.tenant, named_plan(trip, changes, self.cycle, at))

    def lately(self) -> Lately:
        """What was done of late, by this cycle too; results that are added to it count here as well."""
        before = self.watch.used
        users = {lane: self.used.get(lane, frozenset()) | frozenset(self._touched.get(lane, ())) for lane in Lane}
        products = {key: self._used_of(key) for key in {*before.by_product, *(key for _, key in self._made)}}
        used = Used(users, before.cost + self._cost, products)
        return Lately(used, self.watch.circuits, self.marks, self.watch.fought)

    def _used_of(self, key: str) -> Used:
        before = self.watch.used.of_product(key)
        users = {lane: before.of(lane) | frozenset(self._made.get((lane, key), ())) for lane in Lane}
        return Used(users, before.cost + self._cost_of.get(key, Decimal(0)))

    def count_in(self, other: Post) -> None:
        """A cycle that interrupted this one has written: what it used of the day counts from here on, and its results.

        Whoever both touched counts once.
        """
        used = other.lately().used
        mine = self.lately().used
        self.used = {lane: self.used.get(lane, frozenset()) | (used.of(lane) - mine.of(lane)) for lane in Lane}
        products = {
            key: replace(theirs, cost=theirs.cost - self._cost_of.get(key, Decimal(0)))
            for key, theirs in used.by_product.items()
        }
        before = replace(used, cost=used.cost - self._cost, by_product=products)
        self.watch = replace(self.watch, used=before, circuits=other.watch.circuits)

    def circuit(self, lane: Lane, wanted: int, digest: str) -> Trip | None:
        """The trip of a breaker that is open for the system of a lane, None while it is closed."""
        circuit = self.watch.circuits.get(system_of(lane), Circuit())
        return circuit_trip(circuit, lane, wanted, digest, self.guarding.clock.now())

    def let_through(self, digest: str, lane: Lane) -> bool:
        """Use a release of a plan that is no plan of the gate: answers. True when there was one."""
        if digest not in self.watch.released:
            return False
        self._let |= {lane}
        with self.guarding.database.write() as session:
            guards.use(session, self.guarding.tenant, digest, cycle=self.cycle, at=self.guarding.clock.now())
        return True

    # --- at the choke-point

    def check(self, session: Session, write: Write, beside: Collection[Write] = ()) -> None:
        """Raise Stopped when a guard forbids the write now; those `beside` it leave with it and count before it."""
        at = self.guarding.clock.now()
        lanes = {write.lane, *(write.counts or ())}
        for stop in self.guarding.stops(session, at):
            lane = next((each for each in sorted(lanes) if each in stop.lanes), None)
            if lane is not None:
                self._stop(Trip(stop.guard, lane, 1, 0, write.plan_digest, stop.sentence(lane)))
        self._check_scope(write)
        trip = self.circuit(write.lane, 1, write.plan_digest)
        if trip is not None and write.lane not in self._let:
            self._stop(trip)
        self._check_budget(write, beside)

    def _check_scope(self, write: Write) -> None:
        """Whoever was not judged in this cycle, or is outside, is not written to; nor is a ticket about them."""
        if write.system == GRAPH:
            side = self._users.get(UserId(write.subject), Side.OUT)
        else:
            side = Side.IN if self.may_answer(write.keys) else Side.OUT
        if side is not Side.IN:
            self._stop(
                Trip(SCOPE, write.lane, 1, 0, write.plan_digest, "An account that is not in scope is not changed.")
            )

    def may_answer(self, keys: Iterable[LineKey]) -> bool:
        """Whether a ticket may be told something about these lines: everybody in them was judged, and is in scope."""
        return {self._sides.get(key, Side.OUT) for key in keys} == {Side.IN}

    def _check_budget(self, write: Write, beside: Collection[Write]) -> None:
        """By how many there are, not by who: of a long plan each write would otherwise copy everybody before it."""
        limits, group = self.watch.limits, (*beside, write)
        for lane in sorted(_lanes(write)):
            if self._is_let(write, lane):
                continue
            known, before = self._touched.get(lane, set()), self.used.get(lane, frozenset())
            more = {w.subject for w in group if lane in _lanes(w)} - known
            now = len(known) + len(more)
            day = len(before) + self._beyond.get(lane, 0) + len(more - before)
            for guard, count, limit in ((CYCLE, now, limits.of_cycle(lane)), (DAY, day, limits.of_day(lane))):
                if count > limit:
                    why = f"The {guard} of lane {lane} is {limit}, and this would be one more."
                    self._stop(Trip(guard, lane, count, limit, write.plan_digest, why))
        new = self._new_costs(group)
        if write.cost and Lane.GRANTS not in self._let:
            wanted, used = self._cost + sum(new.values(), Decimal(0)), self.watch.used.cost
            trip = affordable(wanted, used=used, limits=limits, digest=write.plan_digest)
            if trip is not None:
                self._stop(trip)
        self._check_product(write, group)

    def _new_costs(self, group: Iterable[Write]) -> dict[Costing, Decimal]:
        """What each of these changes would add to what this cycle costs already."""
        told = {_costing(w): w.cost for w in group if w.cost}
        return {key: cost - self._costs.get(key, Decimal(0)) for key, cost in told.items()}

    def _check_product(self, write: Write, group: Collection[Write]) -> None:
        """The budgets of the product that the write is for, where it has any."""
        key, limits = _product(write), self.watch.limits
        if key not in limits.products:
            return
        mine = [w for w in group if _product(w) == key]
        cost = self._cost_of.get(key, Decimal(0)) + sum(self._new_costs(mine).values(), Decimal(0))
        for lane in sorted(_lanes(write)):
            if self._is_let(write, lane):
                continue
            who = self._made.get((lane, key), set()) | {w.subject for w in mine if lane in _lanes(w)}
            more = cost if write.cost else Decimal(0)
            trip = product_within(lane, key, who, more, used=self.watch.used, limits=limits, digest=write.plan_digest)
            if trip is not None:
                self._stop(trip)

    def _is_let(self, write: Write, lane: Lane) -> bool:
        is_ahead = lane is Lane.REMOVALS and bool(write.keys) and set(write.keys) <= self._ahead
        return lane in self._let or is_ahead

    def _stop(self, trip: Trip) -> None:
        if (trip.guard, trip.lane) not in {(t.guard, t.lane) for t in self.trips}:
            self.trips.append(trip)
        raise Stopped(trip.sentence, trip)

    def sent(self, write: Write) -> None:
        """The write goes out: it counts from now on."""
        for lane in sorted(_lanes(write)):
            known = self._touched.setdefault(lane, set())
            if write.subject not in known and write.subject not in self.used.get(lane, frozenset()):
                self._beyond[lane] = self._beyond.get(lane, 0) + 1
            known.add(write.subject)
            self._made.setdefault((lane, _product(write)), set()).add(write.subject)
        for key, more in self._new_costs((write,)).items():
            self._costs[key] = write.cost
            self._cost += more
            self._cost_of[_product(write)] = self._cost_of.get(_product(write), Decimal(0)) + more

    def ended(self, session: Session, write: Write, trouble: str) -> None:
        """It came to this; the breaker of its system may open, or close again."""
        self._mark(session, system_of(write.lane), write.subject, trouble)

    def read_back(self, session: Session, subject: str, lane: Lane, *, is_there: bool) -> None:
        """It was looked at afterwards; what was accepted and is not there speaks against the system."""
        if not is_there:
            self._mark(session, system_of(lane), subject, "a change was accepted and is not there when it is read back")

    def _mark(self, session: Session, system: str, subject: str, trouble: str) -> None:
        at, tenant = self.guarding.clock.now(), self.guarding.tenant
        mark = Mark(subject, at, bool(trouble), trouble)
        marks = self.marks.setdefault(system, [])
        marks.append(mark)
        before = self.watch.circuits.get(system, Circuit())
        if before.is_open(at):
            return
        after = before.after(mark, marks, self.guarding.pause)
        if after == before:
            return
        self.watch = replace(self.watch, circuits={**self.watch.circuits, system: after})
        marks.clear()
        until = after.until_at.isoformat() if after.until_at is not None else ""
        guards.remember(session, tenant, CIRCUITS[system], {"until": until, "why": after.why}, at)
        told = {"guard": CIRCUIT, "system": system, "open": bool(until), "until": until, "sentence": after.why}
        journal.append(session, tenant, kind="guard.tripped", subject=CIRCUIT, body=told, at=at, cycle=self.cycle)


def _lanes(write: Write) -> frozenset[Lane]:
    """The lanes in whose budgets the write counts."""
    return write.counts if write.counts is not None else frozenset({write.lane})


def _product(write: Write) -> str:
    """The product that a write is for, "" for an answer."""
    return str(write.body.get("product") or "")


def _costing(write: Write) -> Costing:
    """A change that is tried again costs once."""
    return write.subject, write.digest, write.kind
