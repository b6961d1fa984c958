"""Answers that tickets are owed: kept whole, in the transaction of the state that calls for them, until given (I6).

The key of an answer is derived from what happened and stands for one answer for ever: deciding it again adds nothing.
An answer goes intended → sent → confirmed | failed, or back to intended when it is certain that nothing was done. What
was sent without a trustworthy reply stays owed, and `tries` tells whoever sends it again to look for it on the ticket
first. What is confirmed stays so. What was overtaken by newer news before it was sent is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec
from sqlalchemy import Row, Select, bindparam, func, insert, select, update
from sqlmodel import Session

from desired_state.rows import table_of
from reconciler.answers import Answer
from reconciler.backoff import delay
from reconciler.model import AnswerKind
from reconciler.store.rows.tickets import AnswerRow

RETRY_BASE_S, RETRY_CAP_S = 60.0, 3600.0
_NOTES = (AnswerKind.NOTE.value, AnswerKind.QUESTION.value)


class State(StrEnum):
    """Where an answer stands."""

    INTENDED = "intended"
    SENT = "sent"  # the request may have left; its outcome is not known
    CONFIRMED = "confirmed"
    FAILED = "failed"  # refused for good; a person has to look
    DROPPED = "dropped"  # never sent: newer news took its place


OWED = (State.INTENDED.value, State.SENT.value)  # what has still to be given, or looked for
_BEFORE: dict[State, tuple[State, ...]] = {
    State.INTENDED: (State.SENT,),  # it turned out that nothing had left
    State.SENT: (State.INTENDED, State.SENT),
    State.CONFIRMED: (State.INTENDED, State.SENT, State.FAILED),
    State.FAILED: (State.INTENDED, State.SENT),
    State.DROPPED: (State.INTENDED,),
}


_TABLE = table_of(AnswerRow)
_C = _TABLE.c
_OF_TENANT, _SINCE = _C.tenant == bindparam("tenant"), _C.sent_at >= bindparam("since")
_ALL = select(_TABLE).where(_OF_TENANT).order_by(_C.id)
_ONE = _ALL.where(_C.op_key == bindparam("key"))
_OF_TICKET = _ALL.where(_C.ticket == bindparam("ticket"))
_IN_STATES = _ALL.where(_C.state.in_(bindparam("states", expanding=True)))
_WAITS = select(_C.ticket, _C.next_at).where(_OF_TENANT, _C.state.in_(bindparam("states", expanding=True)))
_TICKETS_SINCE = select(_C.ticket).where(_OF_TENANT, _SINCE).distinct()
_GROUPS_SINCE = (
    select(_C.group, func.count(func.distinct(_C.ticket))).where(_OF_TENANT, _C.group != "", _SINCE).group_by(_C.group)
)
_NOTES_SINCE = select(_C.ticket, func.count()).where(_OF_TENANT, _C.kind.in_(_NOTES), _SINCE).group_by(_C.ticket)
_ADD = insert(_TABLE).inline()
_CHANGE = update(_TABLE).where(_C.tenant == bindparam("of_tenant"), _C.op_key == bindparam("of_key"))
_CLAIM = _CHANGE.where(_C.state.in_(bindparam("before", expanding=True)))
_COUNTING = {State.SENT: _CLAIM.values(tries=_C.tries + 1), State.INTENDED: _CLAIM.values(tries=_C.tries - 1)}
_DROP = (
    update(_TABLE)
    .where(_C.tenant == bindparam("of_tenant"), _C.ticket == bindparam("of_ticket"))
    .where(_C.state == State.INTENDED.value, _C.tries == 0)
    .values(state=State.DROPPED.value)
)
_ENCODE = msgspec.json.Encoder(order="deterministic").encode
_DECODE = msgspec.json.Decoder(Answer).decode


@dataclass(frozen=True, slots=True)
class Owed:
    """One answer and what became of it so far. `tries` counts how often it was sent, `failures` how often in vain."""

    answer: Answer
    state: State
    tries: int
    remote_id: str
    intended_at: datetime
    sent_at: datetime | None = None
    failures: int = 0
    next_at: datetime | None = None


class UnknownAnswer(Exception):
    """A defect of ours: an answer was marked that is not in the outbox, or that cannot go there from where it is."""


def intend(session: Session, tenant: str, answer: Answer, at: datetime) -> bool:
    """Owe an answer; False, and nothing written, when its key is known already, unless it was dropped unsent."""
    known = get(session, tenant, answer.key)
    if known is not None and known.state is not State.DROPPED:
        return False
    values = {
        "state": State.INTENDED.value,
        "body": _ENCODE(answer).decode(),
        "intended_at": at,
        "changed_at": at,
        "next_at": None,
    }
    if known is not None:
        session.connection().execute(_CHANGE, {"of_tenant": tenant, "of_key": answer.key} | values)
        return True
    named = {"op_key": answer.key, "ticket": answer.ticket, "kind": answer.kind.value, "group": answer.group}
    # One statement an answer: ids give the order of giving.
    session.connection().execute(_ADD, {"tenant": tenant, "remote_id": "", "tries": 0, "failures": 0} | named | values)
    return True


def mark(session: Session, tenant: str, key: str, state: State, remote_id: str, at: datetime) -> None:
    """Say what became of an answer; `remote_id` "" keeps what is known, but for INTENDED: it was not tried. Going to
    SENT counts as a try.

    Raises:
        UnknownAnswer: there is no such answer, or it cannot go there from where it stands.
    """
    values: dict[str, object] = {"state": state.value, "changed_at": at}
    if remote_id or state is State.INTENDED:
        values["remote_id"] = remote_id
    if state in (State.SENT, State.INTENDED):
        values["sent_at"] = at if state is State.SENT else None
    named = {"of_tenant": tenant, "of_key": key, "before": [s.value for s in _BEFORE[state]]}
    claim = _COUNTING.get(state, _CLAIM)
    if session.connection().execute(claim, named | values).rowcount != 1:
        found = get(session, tenant, key)
        stands = f"stands at {found.state}" if found is not None else "is not in the outbox"
        raise UnknownAnswer(f"answer {key} cannot become {state}: it {stands}")


def postpone(session: Session, tenant: str, key: str, at: datetime) -> None:
    """Count a failure and wait before the next try: not after the first, then one minute, doubling up to an hour."""
    found = get(session, tenant, key)
    if found is None or found.state not in (State.INTENDED, State.SENT):
        return
    failures = found.failures + 1
    wait_s = delay(failures - 1, base_s=RETRY_BASE_S, cap_s=RETRY_CAP_S, chance=1.0) if failures > 1 else 0.0
    values = {"failures": failures, "next_at": at + timedelta(seconds=wait_s)}
    session.connection().execute(_CHANGE, {"of_tenant": tenant, "of_key": key} | values)


def drop_unsent(session: Session, tenant: str, ticket: str, at: datetime) -> None:
    """Drop what a ticket is owed and was never sent: what it is told now says how things stand now."""
    session.connection().execute(_DROP, {"of_tenant": tenant, "of_ticket": ticket, "changed_at": at})


def get(session: Session, tenant: str, key: str) -> Owed | None:
    """The answer with this key; None when it was never owed."""
    found = _find(session, _ONE, tenant, key=key)
    return found[0] if found else None


def unsent(session: Session, tenant: str) -> tuple[Owed, ...]:
    """What is owed and not known to be given, in the order in which it was decided."""
    return _find(session, _IN_STATES, tenant, states=list(OWED))


def due_tickets(session: Session, tenant: str, at: datetime) -> frozenset[str]:
    """Tickets that are owed something and need not wait for it any more."""
    waits: dict[str, bool] = {}
    for ticket, next_at in session.connection().execute(_WAITS, {"tenant": tenant, "states": list(OWED)}):
        waits[ticket] = waits.get(ticket, False) or (next_at is not None and next_at > at)
    return frozenset(ticket for ticket, is_waiting in waits.items() if not is_waiting)


def failed(session: Session, tenant: str) -> tuple[Owed, ...]:
    """What could not be given and is not tried again: a person has to look."""
    return _find(session, _IN_STATES, tenant, states=[State.FAILED.value])


def of_ticket(session: Session, tenant: str, ticket: str) -> tuple[Owed, ...]:
    """Every answer of one ticket, in the order in which they were decided."""
    return _find(session, _OF_TICKET, tenant, ticket=ticket)


def tickets_answered_since(session: Session, tenant: str, since: datetime) -> frozenset[str]:
    """Tickets that were sent something at `since` or later, landed or not: what the answers' budget counts."""
    return frozenset(session.connection().execute(_TICKETS_SINCE, {"tenant": tenant, "since": since}).scalars())


def groups_answered_since(session: Session, tenant: str, since: datetime) -> dict[str, int]:
    """How many tickets of each assignment group (sys_id) were sent something at `since` or later."""
    found = session.connection().execute(_GROUPS_SINCE, {"tenant": tenant, "since": since})
    return {row[0]: row[1] for row in found}


def notes_since(session: Session, tenant: str, since: datetime) -> dict[str, int]:
    """How many notes and questions each ticket was sent at `since` or later."""
    found = session.connection().execute(_NOTES_SINCE, {"tenant": tenant, "since": since})
    return {row[0]: row[1] for row in found}


def _find(session: Session, query: Select[Any], tenant: str, **values: Any) -> tuple[Owed, ...]:
    return tuple(_owed(row) for row in session.connection().execute(query, {"tenant": tenant} | values))


def _owed(row: Row[Any]) -> Owed:
    answer = _DECODE(row.body)
    return Owed(
        answer,
        State(row.state),
        row.tries,
        row.remote_id,
        row.intended_at,
        row.sent_at,
        row.failures,
        row.next_at,
    )
