"""Signs the log, and gets it to its second places: at the end of a cycle, before heavy writes, and at shutdown.

- A checkpoint is a row of its own table, not of the log: it makes nothing new to sign, and where nothing was written
  nothing is signed (I10).
- Before a removal and before a dear write a signed head, with that write's intent in it, goes to the second places.
- `local-only`: a second place that is down is an alarm and a growing debt. `strict`: it stops writes, and each intent
  is there before its write is sent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from reconciler.audit.chain import Head
from reconciler.audit.checkpoints import Checkpoint
from reconciler.audit.notes import Signer
from reconciler.clients.sinks import Entry, HeadsFile, SinkDown
from reconciler.clock import Clock
from reconciler.errors import UserError
from reconciler.line import Lane
from reconciler.store import checkpoints, journal, sinks
from reconciler.store.checkpoints import Inconsistent
from reconciler.store.database import Database

_LOG = "log of "
BATCH = 500  # rows that are read and delivered at once


class Sink(Protocol):
    """A second place."""

    @property
    def name(self) -> str: ...

    @property
    def wants_rows(self) -> bool: ...

    def deliver(self, tenant: str, entries: Sequence[Entry]) -> None: ...


class Heavy(Protocol):
    """What of a write decides whether its head goes out first."""

    @property
    def lane(self) -> Lane: ...

    @property
    def body(self) -> Mapping[str, Any]: ...


@dataclass(slots=True)
class Notary:
    """Of one tenant, and of what concerns all. `signer` gives the key of a tenant's log, making it when needed.

    `alarms` are the sentences of what is wrong now, by what it concerns; empty when all is well.
    """

    database: Database
    tenants: tuple[str, ...]
    clock: Clock
    signer: Callable[[str], Signer]
    places: tuple[Sink, ...] = ()
    heads: HeadsFile | None = None
    is_strict: bool = False
    every: timedelta = timedelta(minutes=15)
    rows: int = 100
    is_heavy: Callable[[Heavy], bool] = lambda write: write.lane is Lane.REMOVALS
    alarms: dict[str, str] = field(default_factory=dict)
    _signed_at: datetime | None = None
    _since: int = 0

    def seal(self) -> None:
        """Sign what is new, and bring the second places up to date. What fails is an alarm, never an exception."""
        for tenant in self.tenants:
            self._sign(tenant)
            self._deliver(tenant)
        self._signed_at, self._since = self.clock.now(), 0

    def ready(self) -> str:
        """Why nothing may be written now, "" when it may. Under `strict` the second places have to be reached."""
        if not self.is_strict:
            return ""
        if self.alarms or not self._signed_at:
            self.seal()
        else:
            for tenant in self.tenants:
                self._deliver(tenant)
        return self._stop()

    def witness(self, *writes: Heavy) -> str:
        """After the intents were kept and before the writes are sent: why they must not be sent, "" when they may."""
        self._since += 2 * len(writes)  # the intents and their results
        if self._is_due() or (self.places and any(self.is_heavy(write) for write in writes)):
            self.seal()
        elif self.is_strict:
            for tenant in self.tenants:
                self._deliver(tenant)
        return self._stop()

    @property
    def broken(self) -> tuple[str, ...]:
        """What is wrong with the log itself, and not only with a second place."""
        return tuple(said for name, said in self.alarms.items() if name.startswith(_LOG))

    def _stop(self) -> str:
        if not self.is_strict or not self.alarms:
            return ""
        return f"{next(iter(self.alarms.values()))}; audit.sink_policy is strict, so nothing is written"

    def _is_due(self) -> bool:
        now = self.clock.now()
        self._signed_at = self._signed_at or now
        return self._since >= self.rows or now - self._signed_at >= self.every

    def _sign(self, tenant: str) -> None:
        alarm = f"{_LOG}{tenant}"
        try:
            elsewhere = self._elsewhere(tenant)
            with self.database.read() as session:
                is_signed = checkpoints.is_current(session, tenant)
            if is_signed and elsewhere is None:
                self.alarms.pop(alarm, None)
                return
            signer = self.signer(tenant)
            with self.database.write() as session:
                checkpoints.take(session, tenant, signer, self.clock.now(), elsewhere=elsewhere)
        except (Inconsistent, SinkDown, UserError) as error:
            self.alarms[alarm] = str(error)
        else:
            self.alarms.pop(alarm, None)

    def _elsewhere(self, tenant: str) -> Head | None:
        """The newest head of the log in the file of heads: a log that is shorter was cut, or replaced."""
        said = self.heads.last(tenant) if self.heads is not None else None
        return Head(tenant, said["size"], str(said.get("head"))) if said is not None else None

    def _deliver(self, tenant: str) -> None:
        for place in self.places:
            alarm = f"{place.name} for {tenant}"
            try:
                self._bring(tenant, place)
            except SinkDown as down:
                self.alarms[alarm] = str(down)
                with self.database.write() as session:
                    sinks.failed(session, tenant, place.name, str(down), self.clock.now())
            except UserError as error:  # the store itself: nothing is lost, and nothing is written either
                self.alarms[alarm] = str(error)
            else:
                self.alarms.pop(alarm, None)

    def _bring(self, tenant: str, place: Sink) -> None:
        """Give a place what it does not have yet, batch by batch, remembering how far it came."""
        while True:
            with self.database.read() as session:
                at = sinks.positions(session, tenant).get(place.name, sinks.Position(place.name))
                rows: list[dict[str, Any]] = []
                if place.wants_rows:
                    for row in journal.export(session, tenant, after=at.seq):
                        rows.append(row)
                        if len(rows) == BATCH:
                            break
                is_last = len(rows) < BATCH
                signed = checkpoints.after(session, tenant, at.checkpoint) if is_last else []
            if not rows and not signed:
                if at.failing_since is not None:
                    with self.database.write() as session:
                        sinks.delivered(session, tenant, place.name, seq=at.seq, checkpoint=at.checkpoint)
                return
            entries = [_entry(row) for row in rows] + [_signed(c) for c in signed]
            place.deliver(tenant, entries)
            seq = rows[-1]["seq"] if rows else at.seq
            size = signed[-1].size if signed else at.checkpoint
            with self.database.write() as session:
                sinks.delivered(session, tenant, place.name, seq=seq, checkpoint=size)


def _entry(row: Mapping[str, Any]) -> Entry:
    text = json.dumps(row, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return Entry(row["seq"], datetime.fromisoformat(row["at"]), row["kind"], text)


def _signed(found: Checkpoint) -> Entry:
    text = json.dumps({"checkpoint": checkpoints.checkpoint_json(found)}, ensure_ascii=False, separators=(",", ":"))
    return Entry(found.size, found.at, "checkpoint", text, is_checkpoint=True)
