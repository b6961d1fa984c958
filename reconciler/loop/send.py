"""The one choke-point for Graph and ServiceNow writes: checks, intent, send once, result.

No remote write happens anywhere else, and none without a committed intent in the audit log (I1, I2). The lease is
checked in the transaction that commits the intent, so a writer that lost it writes neither.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from sqlmodel import Session

from desired_state.model import LineKey
from reconciler.clock import Clock
from reconciler.errors import RemoteError
from reconciler.line import Lane
from reconciler.model import Reply
from reconciler.store import journal
from reconciler.store.database import Database


class Stopped(Exception):
    """The choke-point refused a write; nothing was sent, and an intent that was recorded has a result that says so."""


@dataclass(frozen=True, slots=True)
class Write:
    """One remote write, described before it is sent. `body` is what an auditor needs to see, in JSON."""

    system: str  # graph, servicenow
    kind: str  # an action kind or an answer kind
    lane: Lane
    subject: str  # whom or what it changes: an object id or a ticket number
    keys: tuple[LineKey, ...]
    body: Mapping[str, Any]
    digest: str = ""
    plan_digest: str = ""


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

    `guard` is called inside the intent's transaction; it raises when the lease is lost or a switch stops the lane.
    `refuse` names why a kind of write may not be sent in this mode at all, or returns "".
    """

    database: Database
    tenant: str
    cycle: str
    clock: Clock
    guard: Callable[[Session, Write], None]
    refuse: Callable[[Write], str]
    sent: Sent = field(default_factory=Sent)
    notary: Witness | None = None

    def send(self, write: Write, call: Callable[[], Reply]) -> Reply:
        """Commit the intent, call once, commit the result.

        Raises:
            Stopped: a check failed, or the intent did not reach a second place that has to have it; nothing was sent.
            RemoteError: whatever the remote system said; its result is in the audit log.
        """
        self.check(write)
        if self.notary is not None and (why := self.notary.ready()):
            raise Stopped(why)
        described = {
            "system": write.system,
            "lines": [str(k) for k in write.keys],
            "what": dict(write.body),
            "digest": write.digest,
            "plan": write.plan_digest,
        }
        with self.database.write() as session:
            self.guard(session, write)
            intent = self._append(session, "intent", write, described)
        if self.notary is not None and (why := self.notary.witness(write)):
            self._result(write, intent, {"result": "stopped", "words": why})
            raise Stopped(why)
        if write.system == "graph":
            self.sent.graph += 1
        else:
            self.sent.servicenow += 1
        try:
            reply = call()
        except RemoteError as error:
            self._result(
                write,
                intent,
                {
                    "result": "failed",
                    "error": type(error).__name__,
                    "words": str(error),
                    "request_id": error.request_id,
                },
            )
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
        )
        return reply

    def check(self, write: Write) -> None:
        """Raise Stopped when this kind of write may not be sent in this mode at all."""
        why = self.refuse(write)
        if why:
            raise Stopped(why)

    def _result(self, write: Write, intent: int, body: Mapping[str, Any]) -> None:
        with self.database.write() as session:
            self._append(session, "result", write, {"intent": intent, **body})

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
