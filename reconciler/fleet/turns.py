"""One tenant's turn: hold it, go on where the last one stopped, do what is due, leave the rest to the next.

Nothing of a tenant outlives its turn but what saves work: open clients, tokens, and how long a system wants to be left
alone. A worker that begins with nothing does the same.
"""

from __future__ import annotations

import random
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field
from enum import StrEnum

from sqlmodel import Session

from reconciler import health as words
from reconciler.backoff import delay
from reconciler.clock import Clock, SystemClock
from reconciler.daemon import Service, Stopping, Wishes
from reconciler.errors import StoreUnusable, UserError
from reconciler.health import Health
from reconciler.holding import Hold, TenantBusy, held
from reconciler.logs import Log, about
from reconciler.metrics import Meter
from reconciler.store import leases, looks
from reconciler.store.database import Database
from reconciler.wiring import App

TURN_S = 60.0  # of the machine: what is still due then is left to the next turn, so that others come first
KEPT_MAX = 64  # tenants whose clients stay open
TROUBLED_FROM_S = 120.0  # a turn that took so long may take others' places
REST_BASE_S, REST_MAX_S = 5.0, 60.0  # before a tenant that could not be served is tried again; elsewhere it may work
STANDBY_S = 30.0  # a service beside the workers does a cycle that is so late

Open = Callable[[str], AbstractContextManager[App]]


class Turn(StrEnum):
    """What became of it."""

    DONE = "done"
    HELD = "held by somebody else"
    FOREIGN = "no tenant of this worker"
    STOPPED = "stopped with the worker"
    LOST = "taken over"
    FAILED = "the store could not be used, or the tenant not be opened"


@dataclass
class _Seat:
    """A tenant that this worker has open."""

    service: Service
    held: ExitStack
    configured: int  # by the how-manieth configuration of this worker
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True)
class _Told:
    """Under which lease this worker last had a tenant with which something is wrong, and where it says so."""

    epoch: int
    meter: Meter


@dataclass
class Turns:
    """The tenants of one worker. Safe for threads; no tenant has two turns at once."""

    open: Open
    log: Log
    wishes: Wishes
    wall: Clock = field(default_factory=SystemClock)
    turn_s: float = TURN_S
    kept_max: int = KEPT_MAX
    now_s: Callable[[Session], float] = leases.now_s  # the seconds that all workers share
    database: Database | None = None  # where a tenant that could not be served is put off
    ours: Collection[str] | None = None  # the tenants that are served here; None for whoever comes
    rng: random.Random = field(default_factory=random.SystemRandom)
    lock: AbstractContextManager[object] = field(default_factory=threading.Lock)  # around who is open and being opened
    _seats: OrderedDict[str, _Seat] = field(default_factory=OrderedDict, init=False)
    _opening: set[str] = field(default_factory=set, init=False)
    _health: dict[str, Health] = field(default_factory=dict, init=False)  # outlives seats: what is wrong is said once
    _told: dict[str, _Told] = field(default_factory=dict, init=False)  # of what is wrong, in gauges of this process
    _failures: dict[str, int] = field(default_factory=dict, init=False)  # in a row, where a turn could not be had
    _configured: int = field(default=0, init=False)

    def use(self, open: Open, ours: Collection[str]) -> None:
        """Another configuration: every turn that begins from now on opens its tenant by it."""
        with self.lock:
            self.open, self.ours = open, ours
            self._configured += 1
        self.close()

    def take(self, tenant: str) -> Turn:
        """Do what is due for a tenant. Never raises but for a defect: whatever is wrong with it is its own.

        A tenant that could not be served is put off, after a defect too: else it were due again at once, for ever.
        """
        if self.wishes.is_stopping:
            return Turn.STOPPED
        if self.ours is not None and tenant not in self.ours:  # of another configuration; its workers ask again
            return Turn.FOREIGN
        try:
            outcome = self._took(tenant)
        except Exception as error:
            self._is_wrong(tenant, words.DEFECT, "a turn ended by a defect", type(error).__name__)
            self._put_off(tenant)
            raise
        if outcome is Turn.FAILED:
            self._put_off(tenant)
        elif outcome is Turn.DONE:
            self._failures.pop(tenant, None)
        return outcome

    def _took(self, tenant: str) -> Turn:
        try:
            seat = self._seat(tenant)
        except UserError as error:
            self._is_wrong(tenant, _name(error), "a tenant could not be opened", str(error))
            return Turn.FAILED
        if seat is None:
            return Turn.HELD
        try:
            with about(tenant=tenant):
                return self._turn(seat.service)
        finally:
            seat.lock.release()

    def _is_wrong(self, tenant: str, name: str, message: str, why: str) -> None:
        self._health_of(tenant).bad(name, message, self.wall.now(), why=why)

    def _put_off(self, tenant: str) -> None:
        self._failures[tenant] = failures = self._failures.get(tenant, 0) + 1
        if self.database is None:
            return
        for_s = delay(failures, base_s=REST_BASE_S, cap_s=REST_MAX_S, chance=self.rng.random())
        with suppress(UserError), self.database.write() as session:  # a store that is lost: nobody is due either
            looks.put_off(session, tenant, for_s=for_s, now_s=self.now_s(session))

    def _turn(self, service: Service) -> Turn:
        epoch = 0
        try:
            with held(service.app, stop=self.wishes.check, only_due=False, next_in_s=None) as hold:
                epoch = hold.lease.epoch
                self._work(service, hold)
        except TenantBusy:
            return Turn.HELD
        except Stopping:
            return Turn.STOPPED
        except leases.LeaseLost as lost:
            self.log("a turn was taken over", why=str(lost))
            return Turn.LOST
        except UserError as error:
            self._is_wrong(service.app.name, _name(error), "a turn ended early", str(error))
            return Turn.FAILED
        finally:
            service.hold = None
            service.tell_conditions()
            self._told.pop(service.app.name, None)
            if epoch and self._health_of(service.app.name).pulse().conditions:
                self._told[service.app.name] = _Told(epoch, service.app.own_meter)
        if not service.table.failures:  # else what failed says by itself when it is over
            self._health_of(service.app.name).good(words.STORE, self.wall.now())
            self._health_of(service.app.name).good(words.CONFIGURATION, self.wall.now())
        return Turn.DONE

    def _work(self, service: Service, hold: Hold) -> None:
        database, tenant = service.app.database, service.app.name
        with database.read() as session:
            began_s, left = self.now_s(session), looks.left_over(session, tenant)
        ahead_s = began_s - self.wall.monotonic()
        service.stopwatch = lambda: self.wall.monotonic() + ahead_s
        service.hold = hold
        service.resume(left, epoch=hold.lease.epoch)
        cycles = _cycles(service)
        service.work_off(for_s=self.turn_s)
        self.wishes.check()
        now_s = service.stopwatch()
        look_s, duty = service.table.next_look(now_s, service.app.clock.now())
        is_troubled = service.table.failures > 0 or now_s - began_s >= TROUBLED_FROM_S
        left = service.remember(hold.lease.epoch).to_text()
        with database.write() as session:
            looks.leave(
                session,
                hold.lease,
                look_s=look_s,
                duty=duty,
                is_troubled=is_troubled,
                left_over=left,
                now_s=now_s,
            )
        if _cycles(service) != cycles:  # a service beside us leaves the next one to us, unless we are late with it
            hold.next_in_s = max(0.0, service.table.next_cycle_s() - now_s) + STANDBY_S

    def hand_over(self) -> None:
        """Say nothing more of what was wrong with tenants that others have had since: they say how it is now.

        Raises StoreUnusable.
        """
        told = dict(self._told)
        if not told or self.database is None:
            return
        with self.database.read() as session:
            newest = looks.epochs(session, told)
        for tenant, was in told.items():
            if newest.get(tenant, 0) > was.epoch and self._told.get(tenant) == was and not self._has_turn(tenant):
                self._told.pop(tenant, None)
                self._health_of(tenant).forget()
                was.meter.conditions(())

    def _has_turn(self, tenant: str) -> bool:
        with self.lock:
            seat = self._seats.get(tenant)
            return tenant in self._opening or (seat is not None and seat.lock.locked())

    # --- what stays open ----------------------------------------------------------------------------------------------

    def _seat(self, tenant: str) -> _Seat | None:
        """The tenant, opened where it is not, locked for this turn. None when it has one already. Raises UserError."""
        with self.lock:
            seat = self._seats.get(tenant)
            if seat is not None and not seat.lock.acquire(blocking=False):
                return None
            if seat is not None and seat.configured == self._configured:
                self._seats.move_to_end(tenant)
                return seat
            if tenant in self._opening:
                return None
            self._opening.add(tenant)
            self._seats.pop(tenant, None)
            open, configured = self.open, self._configured
        fresh: _Seat | None = None
        try:
            if seat is not None:
                seat.held.close()
            fresh = self._opened(tenant, open, configured)
            fresh.lock.acquire()
        finally:
            with self.lock:  # in one step: nobody comes in between and opens it a second time
                self._opening.discard(tenant)
                if fresh is not None:
                    self._seats[tenant] = fresh
        self._close_idle(self.kept_max)
        return fresh

    def _opened(self, tenant: str, open: Open, configured: int) -> _Seat:
        with ExitStack() as stack:
            app = stack.enter_context(open(tenant))
            service = Service(
                app,
                self.log,
                wishes=self.wishes,
                health=self._health_of(tenant),
                wall=self.wall,
                stopwatch=self.wall.monotonic,
                rng=self.rng,
            )
            return _Seat(service, stack.pop_all(), configured)

    def _health_of(self, tenant: str) -> Health:
        with self.lock:
            if tenant not in self._health:
                self._health[tenant] = Health(_of(self.log, tenant), self.wall.monotonic)
            return self._health[tenant]

    def _close_idle(self, leave: int) -> None:
        """Close those that had no turn for longest, until so many are left. One that has a turn stays."""
        closing = []
        with self.lock:
            for tenant in list(self._seats):
                if len(self._seats) <= leave:
                    break
                seat = self._seats[tenant]
                if seat.lock.acquire(blocking=False):
                    closing.append(self._seats.pop(tenant))
        for seat in closing:
            seat.held.close()

    def close(self) -> None:
        """Close whatever has no turn."""
        self._close_idle(0)


def _name(error: UserError) -> str:
    """The condition of a tenant that could not be served."""
    return words.STORE if isinstance(error, StoreUnusable) else words.CONFIGURATION


def _cycles(service: Service) -> int:
    assert service.health is not None
    return service.health.pulse().cycles


def _of(log: Log, tenant: str) -> Log:
    def say(message: str, /, **fields: object) -> None:
        log(message, **{"tenant": tenant, **fields})

    return say
