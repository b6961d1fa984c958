"""One cycle at a time: the tenant is held around it, prolonged beside it, and asked about before each write (I16).

A writer is stopped twice. In the transaction of each intent the store is asked whether the lease still holds for as
long as a request may take. And before each attempt to send, retries too, the machine's own stopwatch is asked: a
process that was paused, or whose store cannot be reached, knows by itself that its time is over.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from sqlmodel import Session

from reconciler import holders
from reconciler.clients.wire import WRITE_DEADLINE_S
from reconciler.clock import Clock, SystemClock
from reconciler.errors import UserError
from reconciler.store import leases
from reconciler.store.database import Database
from reconciler.wiring import App
from reconciler.wiring.kept import nothing

FREE_AFTER_S = 90.0  # of a holder's silence another machine goes on with the tenant
SEEN_S = 3.0  # until somebody sees that a lease is over (a worker's tick) and has a place for it (its poll)
TTL_S = FREE_AFTER_S - SEEN_S
RENEW_S = 15.0
NEED_S = WRITE_DEADLINE_S + 5.0  # what has to be left of a lease before a write is begun
MACHINE = SystemClock()


class TenantBusy(UserError):
    """Another cycle of the tenant runs."""

    def __init__(self, tenant: str, held: leases.Held) -> None:
        super().__init__(
            f"another cycle of tenant {tenant} is running: {held.by}, since {held.since:%Y-%m-%d %H:%M:%S} UTC; "
            "wait until it ends",
            exit_code=1,
        )
        self.held = held


class NotDue(Exception):
    """Somebody else on this store has done the cycle; the next one is due in `in_s` seconds."""

    def __init__(self, in_s: float) -> None:
        super().__init__(f"the next cycle is due in {in_s:g} s")
        self.in_s = in_s


@dataclass
class Hold:
    """A claim that was won, not before `asked_s` on the stopwatch. `stop` raises to end the cycle before its next
    write."""

    lease: leases.Lease
    database: Database
    stop: Callable[[], None]
    stopwatch: Clock
    asked_s: float
    next_in_s: float | None = None
    _until: float = field(init=False)

    def __post_init__(self) -> None:
        self._until = self.asked_s + TTL_S

    def guard(self, session: Session) -> None:
        """In the transaction of an intent. Raises LeaseLost, and whatever `stop` raises."""
        self.stop()
        self.database.require_there()
        leases.guard(session, self.lease, need_s=NEED_S)

    def fence(self) -> None:
        """Before each attempt to send a write. Raises LeaseLost; the intent stays, and the next cycle looks first."""
        if self._until - self.stopwatch.monotonic() < NEED_S:
            raise leases.LeaseLost(self.lease)

    def renew(self) -> bool:
        """Hold it for another TTL_S; False when it is lost. Raises UserError when the store cannot be asked."""
        before = self.stopwatch.monotonic()  # what the store grants begins no earlier than this
        with self.database.write() as session:
            is_ours = leases.renew(session, self.lease, ttl_s=TTL_S)
        if is_ours:
            self._until = before + TTL_S
        return is_ours


@contextmanager
def held(
    app: App,
    *,
    stop: Callable[[], None],
    only_due: bool,
    next_in_s: float | None,
    stopwatch: Clock = MACHINE,
) -> Iterator[Hold]:
    """Hold the tenant for a block. `next_in_s`: when the cycle after this one is due, once this one came to its end.

    Raises:
        TenantBusy: another cycle runs; it is named, and since when.
        NotDue: only what is due was asked for, and nothing is.
    """
    asked_s = stopwatch.monotonic()  # a reply that is late makes the lease no longer
    hold = Hold(_claim(app, holders.name_of(os.getpid()), only_due), app.database, stop, stopwatch, asked_s)
    ended = threading.Event()

    def prolong() -> None:
        while not ended.wait(RENEW_S):
            with suppress(UserError):  # a locked store: the next turn tries again
                if not hold.renew():
                    return

    keeper = threading.Thread(target=prolong, name="lease", daemon=True)
    keeper.start()
    app.fence.check = hold.fence
    try:
        yield hold
        if next_in_s is not None:  # else whoever holds it says so, or nothing
            hold.next_in_s = next_in_s
    finally:
        app.fence.check = nothing
        ended.set()
        keeper.join(timeout=5)
        with suppress(UserError), app.database.write() as session:
            leases.release(session, hold.lease, next_in_s=hold.next_in_s)


def _claim(app: App, owner: str, only_due: bool) -> leases.Lease:
    claim = leases.claim_due if only_due else leases.claim
    app.database.require_there()
    with app.database.write() as session:
        found = claim(session, app.name, owner, ttl_s=TTL_S)
        if isinstance(found, leases.Held) and holders.free(session, app.name, found.by):
            found = claim(session, app.name, owner, ttl_s=TTL_S)
    if isinstance(found, leases.Held):
        raise TenantBusy(app.name, found)
    if isinstance(found, leases.NotDue):
        raise NotDue(found.in_s)
    return found
