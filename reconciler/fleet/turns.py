"""One tenant's turn: hold it, go on where the last one stopped, do what is due, leave the rest to the next.

Nothing of a tenant outlives its turn but what saves work: open clients, tokens, and how long a system wants to be left
alone. A worker that begins with nothing does the same.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from enum import StrEnum

from sqlmodel import Session

from reconciler.clock import Clock, SystemClock
from reconciler.daemon import Service, Stopping, Wishes
from reconciler.errors import UserError
from reconciler.health import Health
from reconciler.holding import Hold, TenantBusy, held
from reconciler.logs import Log, about
from reconciler.store import leases, looks
from reconciler.wiring import App

TURN_S = 60.0  # of the machine: what is still due then is left to the next turn, so that others come first
KEPT_MAX = 64  # tenants whose clients stay open
TROUBLED_FROM_S = 120.0  # a turn that took so long may take others' places

Open = Callable[[str], AbstractContextManager[App]]


class Turn(StrEnum):
    """What became of it."""

    DONE = "done"
    HELD = "held by somebody else"
    STOPPED = "stopped with the worker"
    LOST = "taken over"
    FAILED = "the store could not be used, or the tenant not be opened"


@dataclass
class _Seat:
    """A tenant that this worker has open."""

    service: Service
    held: ExitStack
    lock: threading.Lock = field(default_factory=threading.Lock)


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
    _seats: OrderedDict[str, _Seat] = field(default_factory=OrderedDict, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _opening: set[str] = field(default_factory=set, init=False)

    def take(self, tenant: str) -> Turn:
        """Do what is due for a tenant. Never raises but for a defect: whatever is wrong with it is its own."""
        if self.wishes.is_stopping:
            return Turn.STOPPED
        try:
            seat = self._seat(tenant)
        except UserError as error:
            self.log("a tenant could not be opened", tenant=tenant, why=str(error))
            return Turn.FAILED
        if seat is None:
            return Turn.HELD
        try:
            with about(tenant=tenant):
                return self._turn(seat.service)
        finally:
            seat.lock.release()

    def _turn(self, service: Service) -> Turn:
        try:
            with held(service.app, stop=self.wishes.check, only_due=False, next_in_s=None) as hold:
                self._work(service, hold)
        except TenantBusy:
            return Turn.HELD
        except Stopping:
            return Turn.STOPPED
        except leases.LeaseLost as lost:
            self.log("a turn was taken over", why=str(lost))
            return Turn.LOST
        except UserError as error:
            self.log("a turn ended early", why=str(error))
            return Turn.FAILED
        finally:
            service.hold = None
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
            looks.leave(session, hold.lease, look_s=look_s, duty=duty, is_troubled=is_troubled, left_over=left)
        if _cycles(service) != cycles:  # those who asked for one have been served
            hold.next_in_s = max(0.0, look_s - now_s)

    # --- what stays open ----------------------------------------------------------------------------------------------

    def _seat(self, tenant: str) -> _Seat | None:
        """The tenant, opened where it is not, locked for this turn. None when it has one already. Raises UserError."""
        with self._lock:
            seat = self._seats.get(tenant)
            if seat is not None:
                self._seats.move_to_end(tenant)
                return seat if seat.lock.acquire(blocking=False) else None
            if tenant in self._opening:
                return None
            self._opening.add(tenant)
        try:
            fresh = self._opened(tenant)
        finally:
            with self._lock:
                self._opening.discard(tenant)
        fresh.lock.acquire()
        with self._lock:
            self._seats[tenant] = fresh
        self._close_idle(self.kept_max)
        return fresh

    def _opened(self, tenant: str) -> _Seat:
        with ExitStack() as stack:
            app = stack.enter_context(self.open(tenant))
            health = Health(_of(self.log, tenant), self.wall.monotonic)
            service = Service(
                app, self.log, wishes=self.wishes, health=health, wall=self.wall, stopwatch=self.wall.monotonic
            )
            return _Seat(service, stack.pop_all())

    def _close_idle(self, leave: int) -> None:
        """Close those that had no turn for longest, until so many are left. One that has a turn stays."""
        closing = []
        with self._lock:
            for tenant in list(self._seats):
                if len(self._seats) <= leave:
                    break
                seat = self._seats[tenant]
                if seat.lock.acquire(blocking=False):
                    closing.append(self._seats.pop(tenant))
        for seat in closing:
            seat.held.close()

    def close(self) -> None:
        """Close whatever has no turn: before another configuration is used, and at the end."""
        self._close_idle(0)


def _cycles(service: Service) -> int:
    assert service.health is not None
    return service.health.pulse().cycles


def _of(log: Log, tenant: str) -> Log:
    def say(message: str, /, **fields: object) -> None:
        log(message, **{"tenant": tenant, **fields})

    return say
