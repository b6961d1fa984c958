"""The one choke-point for Graph and ServiceNow writes: checks, intent, send once, result.

No remote write happens anywhere else, and none without a committed intent in the audit log (I1, I2). Lease, mode,
scope, kill switch, freezes, breakers and budgets are checked in the transaction that commits the intent, so a writer
that may not write neither announces nor sends anything.

Writes that leave together (members of one group, items of one batch) are checked one by one and announced in one
transaction, each by an intent of its own; so are their results.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol

from sqlmodel import Session

from desired_state.model import LineKey
from reconciler.clients.graph.refusals import RefusalReason, read_refusal
from reconciler.clock import Clock
from reconciler.errors import Forbidden, OutcomeUnknown, Rejected, RemoteError, SignInFailed, Unavailable, Withheld
from reconciler.line import Lane, Trip
from reconciler.logs import about, logger
from reconciler.metrics import UNCOUNTED, Meter
from reconciler.model import Reply, Result
from reconciler.store import journal
from reconciler.store.database import Database
from reconciler.traces import UNTRACED, Tracer

PACE_WAITS_S = 90.0  # longer, and what was read of the people is too old to be written by: the next cycle reads again


class Stopped(Exception):
    """The choke-point refused a write; nothing was sent, and an intent that was recorded has a result that says so.

    `trip` is the guard that did so, None for a check that is no guard: a mode, a level, a lost lease.
    """

    def __init__(self, why: str, trip: Trip | None = None) -> None:
        super().__init__(why)
        self.trip = trip


@dataclass(frozen=True, slots=True)
class Write:
    """One remote write, described before it is sent. `body` is what an auditor needs to see, in JSON.

    `counts` are the lanes in whose budgets the subject counts: those where it gains or loses something in effect.
    """

    system: str  # graph, servicenow
    kind: str  # an action kind or an answer kind
    lane: Lane
    subject: str  # whom or what it changes: an object id or a ticket number
    keys: tuple[LineKey, ...]
    body: Mapping[str, Any]
    digest: str = ""
    plan_digest: str = ""
    counts: frozenset[Lane] | None = None  # None: its own lane
    cost: Decimal = Decimal(0)  # a month more


class Guards(Protocol):
    """What the choke-point asks before each write, and tells after it; see `guarding.Post`."""

    def check(self, session: Session, write: Write, beside: Collection[Write] = ()) -> None:
        """Raise Stopped when a guard forbids the write now; those `beside` it leave with it and count before it."""

    def sent(self, write: Write) -> None:
        """The write goes out: it counts from now on."""

    def ended(self, session: Session, write: Write, trouble: str) -> None:
        """It came to this; `trouble` "" when nothing speaks against the system."""


class Pace(Protocol):
    """What says when writes to the directory may leave."""

    def take(self, session: Session, count: int) -> float:
        """Take so many of the quota; in how many seconds they may leave. Kept once the session commits."""

    def give_back(self, session: Session, count: int) -> None:
        """So many of those that were taken in this transaction will not leave."""

    def took(self, count: int) -> None:
        """They were taken, and leave."""


class Witness(Protocol):
    """Who sees intents before their writes are sent. Both answer with why they must not be sent, "" when they may."""

    def ready(self) -> str: ...

    def witness(self, *writes: Write) -> str: ...


class Again(Protocol):
    """Where clients ask before they send a write that had to wait: a second time, or held back by a budget."""

    def asking(self, why_not: Callable[[], str]) -> AbstractContextManager[None]:
        """Have them ask this for a block: why it may not leave, "" when it may."""


Told = Reply | RemoteError | Stopped  # what came of one of several writes


@dataclass(slots=True)
class Sent:
    """What went out in this cycle, by system: announced writes, also where one request carried several."""

    graph: int = 0
    servicenow: int = 0


@dataclass(slots=True)
class Sender:
    """Sends writes of one tenant in one cycle.

    `lease` is called inside the intent's transaction and raises when the lease is lost. `refuse` names why a kind of
    write may not be sent in this mode at all, or returns "".
    """

    database: Database
    tenant: str
    cycle: str
    clock: Clock
    lease: Callable[[Session, Write], None]
    refuse: Callable[[Write], str]
    guards: Guards
    sent: Sent = field(default_factory=Sent)
    notary: Witness | None = None
    pace: Pace | None = None
    again: Again | None = None
    meter: Meter = UNCOUNTED
    tracer: Tracer = UNTRACED
    _over: Exception | None = field(default=None, init=False)  # what ends the cycle, once results are kept

    def send(self, write: Write, call: Callable[[], Reply]) -> Reply:
        """Commit the intent, call once, commit the result. All that is logged meanwhile names the line.

        Raises:
            Stopped: a check failed, or the intent did not reach a second place that has to have it; nothing was sent.
            RemoteError: whatever the remote system said; its result is in the audit log.
        """
        (told,) = self.send_together((write,), lambda _: (call(),))
        if isinstance(told, Exception):
            raise told
        return told

    def send_together(
        self, writes: Sequence[Write], call: Callable[[Sequence[Write]], Sequence[Told]], *, is_one: bool = False
    ) -> tuple[Told, ...]:
        """Commit the intents of those that may leave, call once with them, commit their results.

        `call` tells what became of each write that it was handed, in order; what it raises became of all of them. The
        answer has a value for every write: Stopped for one that was not sent. `is_one`: the directory's quota counts
        them as one. Where the quota is used up it is waited for before anything is announced.
        """
        first = writes[0].keys[0] if writes[0].keys else None
        which = {"ticket": first.ticket, "line": first.line} if first is not None else {"ticket": writes[0].subject}
        more = {"together": len(writes)} if len(writes) > 1 else {}
        with about(write=writes[0].kind, **which, **more), self.tracer.span("write", kind=writes[0].kind, **which):
            return self._send(writes, call, is_one=is_one)

    def _send(
        self, writes: Sequence[Write], call: Callable[[Sequence[Write]], Sequence[Told]], *, is_one: bool
    ) -> tuple[Told, ...]:
        told: dict[int, Told] = {}
        for n, write in enumerate(writes):
            if why := self.refuse(write):
                told[n] = Stopped(why)
        if len(told) < len(writes) and self.notary is not None and (why := self.notary.ready()):
            told |= {n: Stopped(why) for n in range(len(writes)) if n not in told}
        intents = self._announce(writes, told, is_one=is_one)
        leaving = [writes[n] for n in intents]
        if leaving and self.notary is not None and (why := self.notary.witness(*leaving)):
            self._results({n: (writes[n], seq, Stopped(why)) for n, seq in intents.items()})
            told |= {n: Stopped(why) for n in intents}
            leaving = []
        if leaving:
            for write in leaving:
                self.guards.sent(write)
                self._went(write)
            came = self._called(leaving, call)
            told |= dict(zip(intents, came, strict=True))
            self._results({n: (writes[n], seq, told[n]) for n, seq in intents.items()})
            for n in intents:
                self._count(writes[n], told[n])
            if self._over is not None:
                raise self._over
        return tuple(told[n] for n in range(len(writes)))

    def _announce(self, writes: Sequence[Write], told: dict[int, Told], *, is_one: bool) -> dict[int, int]:
        """The intents, by place, of those that may leave, committed together; who may not is in `told` then.

        One that is stopped takes what was done for it in the transaction with it: the others begin anew.
        """
        pace = self.pace if writes[0].system == "graph" else None
        has_taken = False
        while len(told) < len(writes):
            at, count = -1, 1 if is_one else len(writes) - len(told)
            try:
                with self.database.write() as session:
                    wait_s = pace.take(session, count) if pace is not None and not has_taken else 0.0
                    if pace is not None and wait_s > PACE_WAITS_S:
                        pace.give_back(session, count)
                    intents: dict[int, int] = {}
                    for at, write in enumerate(writes) if not wait_s else ():
                        if at in told:
                            continue
                        self.lease(session, write)
                        self.guards.check(session, write, [writes[n] for n in intents])
                        intents[at] = self._append(session, "intent", write, _described(write))
            except Stopped as stopped:
                told[at] = stopped
                continue
            if pace is not None and not has_taken:
                pace.took(count if wait_s <= PACE_WAITS_S else 0)
                has_taken = True
            if not wait_s:
                return intents
            if wait_s > PACE_WAITS_S:
                why = f"The directory takes no more writes for {wait_s:.0f} s; the next cycle goes on."
                told |= {n: Stopped(why) for n in range(len(writes)) if n not in told}
                return {}
            self.clock.sleep(wait_s)  # nothing is announced yet: a clock may end the cycle here
        return {}

    def _called(self, leaving: Sequence[Write], call: Callable[[Sequence[Write]], Sequence[Told]]) -> Sequence[Told]:
        """What came of each. While it goes on, clients ask before they send again what was refused for a moment."""
        stopped: list[Stopped] = []

        def why_not() -> str:
            stopped.extend(why for why in self.ask_again(leaving) if why is not None)
            return str(stopped[0]) if stopped else ""

        with self.again.asking(why_not) if self.again is not None else nullcontext():
            try:
                came = call(leaving)
            except RemoteError as error:
                came = tuple(error for _ in leaving)
        return [stopped[0] if isinstance(one, Withheld) and stopped else one for one in came]

    def ask_again(self, writes: Sequence[Write]) -> tuple[Stopped | None, ...]:
        """Why announced writes may not leave once more, apart from what they left with; None for one that may.

        All that is asked before an intent is asked as of now. What ends the cycle (a lost lease, a stop) is raised by
        whoever sends them, once the results of what left before are kept.
        """
        found: list[Stopped | None] = []
        for write in writes:
            if self._over is not None:
                found.append(Stopped(str(self._over)))
                continue
            try:
                with self.database.write() as session:
                    self.lease(session, write)
                    self.guards.check(session, write)
            except Stopped as stopped:
                found.append(stopped)
            except Exception as error:
                self._over = error
                found.append(Stopped(str(error)))
            else:
                found.append(None)
        return tuple(found)

    @property
    def is_over(self) -> bool:
        """Whether the cycle ends once the results of what has left are kept: the tenant may be somebody else's."""
        return self._over is not None

    def _went(self, write: Write) -> None:
        if write.system == "graph":
            self.sent.graph += 1
        else:
            self.sent.servicenow += 1

    def check(self, write: Write) -> None:
        """Raise Stopped when this kind of write may not be sent in this mode at all."""
        why = self.refuse(write)
        if why:
            raise Stopped(why)

    def _count(self, write: Write, told: Told) -> None:
        if isinstance(told, Stopped):
            return
        if write.system == "graph":  # answers are counted by whoever gives them: one may take several writes
            result = Result.FAILED if isinstance(told, RemoteError) else Result.APPLIED
            self.meter.acted(write.kind, result.value)
        first = write.keys[0] if write.keys else None
        with about(**({"ticket": first.ticket, "line": first.line} if first is not None else {})):
            if isinstance(told, RemoteError):
                logger("write").warning("write failed", why=str(told), request_id=told.request_id)
                return
            ids = {"request_id": told.request_id, "client_request_id": told.client_request_id}
            logger("write").info("write accepted", system=write.system, status=told.status, **ids)

    def _results(self, ended: Mapping[int, tuple[Write, int, Told]]) -> None:
        known: set[int] = set()  # one reply to a request of many is one trouble, however many it is about
        with self.database.write() as session:
            for write, intent, told in ended.values():
                is_told = id(told) in known
                known.add(id(told))
                trouble = trouble_in(told, write.system) if isinstance(told, RemoteError) and not is_told else ""
                against = {"trouble": trouble} if trouble else {}
                self._append(session, "result", write, {"intent": intent, **_result(told), **against})
                self.guards.ended(session, write, trouble)

    def _append(self, session: Session, kind: str, write: Write, body: Mapping[str, Any]) -> int:
        row = journal.append(
            session,
            self.tenant,
            kind=kind,
            subject=write.subject,
            body={"action": write.kind, "lane": write.lane.value, **body},
            at=self.clock.now(),
            cycle=self.cycle,
        )
        return row.seq


def _described(write: Write) -> dict[str, Any]:
    counts = {} if write.counts is None else {"counts": sorted(lane.value for lane in write.counts)}
    return {
        "system": write.system,
        "lines": [str(k) for k in write.keys],
        "what": dict(write.body),
        "digest": write.digest,
        "plan": write.plan_digest,
        **counts,
        **({"cost": f"{write.cost:.2f}"} if write.cost else {}),
    }


def _result(told: Told) -> dict[str, Any]:
    match told:
        case Stopped():
            return {"result": "stopped", "words": str(told)}
        case RemoteError():
            return {
                "result": "failed",
                "error": type(told).__name__,
                "words": str(told),
                "request_id": told.request_id,
                "client_request_id": told.client_request_id,
            }
    return {
        "result": "accepted",
        "status": told.status,
        "request_id": told.request_id,
        "client_request_id": told.client_request_id,
        **({"record": told.record} if told.record else {}),
    }


def trouble_in(error: RemoteError, system: str) -> str:
    """What of an error speaks against the system as such, "" for one that is about this subject or this moment."""
    match error:
        case SignInFailed() | Forbidden():
            return str(error)
        case OutcomeUnknown() | Unavailable() if (error.status or 0) >= 500:  # a lost reply says nothing of the kind
            return str(error)
        case Rejected() if system == "graph":
            refusal = read_refusal(error.status, error.code, error.detail)
            return str(error) if refusal.reason is RefusalReason.UNKNOWN else ""
    return ""
