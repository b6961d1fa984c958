"""The one choke-point for Graph and ServiceNow writes: checks, intent, send once, result.

No remote write happens anywhere else, and none without a committed intent in the audit log (I1, I2). Lease, mode,
scope, kill switch, freezes, breakers and budgets are checked in the transaction that commits the intent, so a writer
that may not write neither announces nor sends anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol

from sqlmodel import Session

from desired_state.model import LineKey
from reconciler.clients.graph.refusals import RefusalReason, read_refusal
from reconciler.clock import Clock
from reconciler.errors import Forbidden, OutcomeUnknown, Rejected, RemoteError, SignInFailed, Unavailable
from reconciler.line import Lane, Trip
from reconciler.logs import about, logger
from reconciler.metrics import UNCOUNTED, Meter
from reconciler.model import Reply, Result
from reconciler.store import journal
from reconciler.store.database import Database
from reconciler.traces import UNTRACED, Tracer


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

    def check(self, session: Session, write: Write) -> None:
        """Raise Stopped when a guard forbids the write now."""

    def sent(self, write: Write) -> None:
        """The write goes out: it counts from now on."""

    def ended(self, session: Session, write: Write, trouble: str) -> None:
        """It came to this; `trouble` "" when nothing speaks against the system."""


class Witness(Protocol):
    """Who sees a write's intent before it is sent. Both answer with why it must not be sent, "" when it may."""

    def ready(self) -> str: ...

    def witness(self, write: Write) -> str: ...


@dataclass(slots=True)
class Sent:
    """What went out in this cycle, by system."""

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
    meter: Meter = UNCOUNTED
    tracer: Tracer = UNTRACED

    def send(self, write: Write, call: Callable[[], Reply]) -> Reply:
        """Commit the intent, call once, commit the result. All that is logged meanwhile names the line.

        Raises:
            Stopped: a check failed, or the intent did not reach a second place that has to have it; nothing was sent.
            RemoteError: whatever the remote system said; its result is in the audit log.
        """
        first = write.keys[0] if write.keys else None
        which = {"ticket": first.ticket, "line": first.line} if first is not None else {"ticket": write.subject}
        with about(write=write.kind, **which), self.tracer.span("write", kind=write.kind, **which):
            return self._send(write, call)

    def _send(self, write: Write, call: Callable[[], Reply]) -> Reply:
        self.check(write)
        if self.notary is not None and (why := self.notary.ready()):
            raise Stopped(why)
        with self.database.write() as session:
            self.lease(session, write)
            self.guards.check(session, write)
            intent = self._append(session, "intent", write, _described(write))
        if self.notary is not None and (why := self.notary.witness(write)):
            self._result(write, intent, {"result": "stopped", "words": why}, "")
            raise Stopped(why)
        self.guards.sent(write)
        if write.system == "graph":
            self.sent.graph += 1
        else:
            self.sent.servicenow += 1
        try:
            reply = call()
        except RemoteError as error:
            told = {
                "result": "failed",
                "error": type(error).__name__,
                "words": str(error),
                "request_id": error.request_id,
                "client_request_id": error.client_request_id,
            }
            self._result(write, intent, told, trouble_in(error, write.system))
            self._count(write, Result.FAILED)
            logger("write").warning("write failed", why=str(error), request_id=error.request_id)
            raise
        self._result(
            write,
            intent,
            {
                "result": "accepted",
                "status": reply.status,
                "request_id": reply.request_id,
                "client_request_id": reply.client_request_id,
                **({"record": reply.record} if reply.record else {}),
            },
            "",
        )
        self._count(write, Result.APPLIED)
        ids = {"request_id": reply.request_id, "client_request_id": reply.client_request_id}
        logger("write").info("write accepted", system=write.system, status=reply.status, **ids)
        return reply

    def check(self, write: Write) -> None:
        """Raise Stopped when this kind of write may not be sent in this mode at all."""
        why = self.refuse(write)
        if why:
            raise Stopped(why)

    def _count(self, write: Write, result: Result) -> None:
        if write.system == "graph":  # answers are counted by whoever gives them: one may take several writes
            self.meter.acted(write.kind, result.value)

    def _result(self, write: Write, intent: int, body: Mapping[str, Any], trouble: str) -> None:
        against = {"trouble": trouble} if trouble else {}
        with self.database.write() as session:
            self._append(session, "result", write, {"intent": intent, **body, **against})
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
