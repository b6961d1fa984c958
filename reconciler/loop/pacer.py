"""The pace of writes to one directory: takes of its quota before intents are committed, and listens to its answers.

The quota is kept in the store, so a process that starts again and workers that take turns go on from the same level
(ADR 42). What is sent again within a call (a part of a refused group, an item that was throttled) is not known before:
it is taken with the next write.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlmodel import Session

from reconciler.clock import Clock
from reconciler.pacing import WRITES, Bucket, Said, read
from reconciler.store import quota


@dataclass(slots=True)
class Pacer:
    """Of one tenant. `heard` is told of every answer to a write by the client, in whatever thread."""

    tenant: str
    clock: Clock
    bucket: Bucket = WRITES
    _name: str = ""
    _owed: int = 0
    _said: list[Said] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> None:
        """A cycle begins: under which name its directory is kept is read again."""
        self._name = ""

    def take(self, session: Session, count: int) -> float:
        """Take `count` writes and what is owed; in how many seconds they may leave. Kept once the session commits."""
        self._name = self._name or quota.whose(session, self.tenant)
        with self._lock:
            owed, said = max(0, self._owed), tuple(self._said)
        return quota.take(session, self._name, count + owed, bucket=self.bucket, at=self.clock.now(), said=said)

    def give_back(self, session: Session, count: int) -> None:
        """`count` writes that were taken in this transaction will not be sent; what was owed and said stays so."""
        quota.take(session, self._name, -count, bucket=self.bucket, at=self.clock.now())

    def took(self, count: int) -> None:
        """What was taken has been committed, and `count` answers are awaited."""
        with self._lock:
            self._owed = -count  # what was owed has been taken, and what was not answered by now never is
            self._said.clear()

    def heard(self, headers: Mapping[str, str], *, retry_after_s: float | None) -> None:
        """The directory answered one write."""
        said = read(headers, retry_after_s=retry_after_s, at=self.clock.now())
        with self._lock:
            self._owed += 1
            if said is not None:
                self._said.append(said)
