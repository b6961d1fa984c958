"""The requests of an hour as one client spends them: lots from the store, one request after the other in memory."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from reconciler.clock import Clock
from reconciler.hourly import PULLED, Hour, may_use
from reconciler.store import requests
from reconciler.store.database import Database


@dataclass(slots=True)
class Spending:
    """Of one instance (its host). Safe for threads."""

    database: Database
    instance: str
    budget: int
    clock: Clock
    _hour: Hour | None = None
    _left: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def is_for(self, database: Database, instance: str, budget: int) -> bool:
        """Whether it counts these requests, in this store."""
        return self.database is database and (self.instance, self.budget) == (instance, budget)

    def wait_s(self, operation: str, *, is_write: bool) -> float:
        """Spend one request; 0.0, or in how many seconds there is one for such an operation."""
        at, can_wait = self.clock.now(), operation in PULLED and not is_write
        with self._lock:
            if self._hour is None or self._hour.ends_in_s(at) <= 0:
                self._left = 0
            if self._left == 0:
                with self.database.write() as session:
                    self._hour, self._left = requests.take(
                        session, self.instance, self.budget, at=at, can_wait=can_wait
                    )
            assert self._hour is not None
            is_for_others = can_wait and self._hour.taken - self._left >= may_use(self.budget, can_wait=True)
            if self._left == 0 or is_for_others:
                return max(1.0, self._hour.ends_in_s(at))
            self._left -= 1
            return 0.0

    def remaining_ratio(self) -> float:
        """Share of the hour's requests for reading tickets that is left, as far as this process knows."""
        most = may_use(self.budget, can_wait=True)
        with self._lock:
            used = self._hour.taken - self._left if self._hour is not None else 0
        return max(0.0, 1 - used / most) if most else 0.0
