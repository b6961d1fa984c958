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

import msgspec
from sqlalchemy import func, update
from sqlmodel import Session, col, select

from reconciler.answers import Answer
from reconciler.backoff import delay
from reconciler.model import AnswerKind
from reconciler.store.tables import AnswerRow

RETRY_BASE_S, RETRY_CAP_S = 60.0, 3600.0
_NOTES = (AnswerKind.NOTE.value, AnswerKind.QUESTION.value)


class State(StrEnum):
    """Where an answer stands."""

    INTENDED = "intended"
    SENT = "sent"  # the request may have left; its outcome is not known
    CONFIRMED = "confirmed"
    FAILED = "failed"  # refused for good; a person has to look
    DROPPED = "dropped"  # never sent: newer news took its place


_BEFORE: dict[State, tuple[State, ...]] = {
    State.INTENDED: (State.SENT,),  # it turned out that nothing had left
    State.SENT: (State.INTENDED, State.SENT),
    State.CONFIRMED: (State.INTENDED, State.SENT, State.FAILED),
    State.FAILED: (State.INTENDED, State.SENT),
    State.DROPPED: (State.INTENDED,),
}


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
    body = msgspec.json.encode(answer, order="deterministic").decode()
    if known is not None:
        again = update(AnswerRow).where(col(AnswerRow.tenant) == tenant, col(AnswerRow.op_key) == answer.key)
        session.connection().execute(
            again.values(state=State.INTENDED.value, body=body, intended_at=at, changed_at=at, next_at=None)
        )
        return True
    session.add(
        AnswerRow(
            tenant=tenant,
            op_key=answer.key,
            ticket=answer.ticket,
            kind=answer.kind.value,
            group=answer.group,
            body=body,
            state=State.INTENDED.value,
            intended_at=at,
            changed_at=at,
        )
    )
    session.flush()  # one at a time: ids give the order of giving
    return True


def mark(session: Session, tenant: str, key: str, state: State, remote_id: str, at: datetime) -> None:
    """Say what became of an answer; `remote_id` "" keeps what is known. Going to SENT counts as a try.

    Raises:
        UnknownAnswer: there is no such answer, or it cannot go there from where it stands.
    """
    values: dict[str, object] = {"state": state.value, "changed_at": at}
    if remote_id:
        values["remote_id"] = remote_id
    if state is State.SENT:
        values |= {"tries": AnswerRow.tries + 1, "sent_at": at}
    if state is State.INTENDED:
        values |= {"tries": AnswerRow.tries - 1, "sent_at": None}
    claim = update(AnswerRow).where(
        col(AnswerRow.tenant) == tenant,
        col(AnswerRow.op_key) == key,
        col(AnswerRow.state).in_([s.value for s in _BEFORE[state]]),
    )
    if session.connection().execute(claim.values(values)).rowcount != 1:
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
    claim = update(AnswerRow).where(col(AnswerRow.tenant) == tenant, col(AnswerRow.op_key) == key)
    session.connection().execute(claim.values(failures=failures, next_at=at + timedelta(seconds=wait_s)))


def drop_unsent(session: Session, tenant: str, ticket: str, at: datetime) -> None:
    """Drop what a ticket is owed and was never sent: what it is told now says how things stand now."""
    unsent_ones = update(AnswerRow).where(
        col(AnswerRow.tenant) == tenant,
        col(AnswerRow.ticket) == ticket,
        col(AnswerRow.state) == State.INTENDED.value,
        col(AnswerRow.tries) == 0,
    )
    session.connection().execute(unsent_ones.values(state=State.DROPPED.value, changed_at=at))


def get(session: Session, tenant: str, key: str) -> Owed | None:
    """The answer with this key; None when it was never owed."""
    found = _find(session, tenant, AnswerRow.op_key == key)
    return found[0] if found else None


def unsent(session: Session, tenant: str) -> tuple[Owed, ...]:
    """What is owed and not known to be given, in the order in which it was decided."""
    return _find(session, tenant, col(AnswerRow.state).in_([State.INTENDED.value, State.SENT.value]))


def failed(session: Session, tenant: str) -> tuple[Owed, ...]:
    """What could not be given and is not tried again: a person has to look."""
    return _find(session, tenant, AnswerRow.state == State.FAILED.value)


def of_ticket(session: Session, tenant: str, ticket: str) -> tuple[Owed, ...]:
    """Every answer of one ticket, in the order in which they were decided."""
    return _find(session, tenant, AnswerRow.ticket == ticket)


def tickets_answered_since(session: Session, tenant: str, since: datetime) -> frozenset[str]:
    """Tickets that were sent something at `since` or later, landed or not: what the answers' budget counts."""
    query = select(AnswerRow.ticket).where(AnswerRow.tenant == tenant, col(AnswerRow.sent_at) >= since)
    return frozenset(session.exec(query.distinct()))


def groups_answered_since(session: Session, tenant: str, since: datetime) -> dict[str, int]:
    """How many tickets of each assignment group (sys_id) were sent something at `since` or later."""
    tickets = func.count(func.distinct(AnswerRow.ticket))
    query = select(AnswerRow.group, tickets).where(
        AnswerRow.tenant == tenant, AnswerRow.group != "", col(AnswerRow.sent_at) >= since
    )
    return dict(session.exec(query.group_by(AnswerRow.group)).all())


def notes_since(session: Session, tenant: str, since: datetime) -> dict[str, int]:
    """How many notes and questions each ticket was sent at `since` or later."""
    query = select(AnswerRow.ticket, func.count()).where(
        AnswerRow.tenant == tenant, col(AnswerRow.kind).in_(_NOTES), col(AnswerRow.sent_at) >= since
    )
    return dict(session.exec(query.group_by(AnswerRow.ticket)).all())


def _find(session: Session, tenant: str, condition: object) -> tuple[Owed, ...]:
    query = select(AnswerRow).where(AnswerRow.tenant == tenant, condition)  # type: ignore[arg-type]
    fresh = query.order_by(col(AnswerRow.id)).execution_options(populate_existing=True)  # `mark` goes around rows
    return tuple(_owed(row) for row in session.exec(fresh))


def _owed(row: AnswerRow) -> Owed:
    answer = msgspec.json.decode(row.body, type=Answer)
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
