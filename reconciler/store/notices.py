"""Notices that people are owed: kept in the transaction of the state that calls for them, told at least once.

A notice has one key for ever, so its cause may be seen as often as it likes. It goes queued → sent | dead | dropped.
Each try is claimed before it is made, by one conditional update that also sets the time of the next one: two senders
never make the same try, and one that is killed on the way leaves a notice that is tried again. So a card can arrive
twice, which says at worst twice what was true, and its link carries no authority. What is settled keeps no card.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec
from sqlalchemy import delete, func, update
from sqlmodel import Session, col, select

from reconciler.approvals.values import Human
from reconciler.backoff import delay
from reconciler.cards.values import Channel, Kind, Notice
from reconciler.store import journal
from reconciler.store.rows.notices import NoticeRow

RETRY_BASE_S, RETRY_CAP_S = 120.0, 21_600.0  # with jitter: 1 minute or more at first, 6 hours at most
TRIES_MAX = 12  # about a day and a half, then nobody tries again
UNREACHED_TRIES = 3  # so many failures of everything that was to be told about a request raise the alarm
KEPT = timedelta(days=90)
PROBLEM_MAX = 300


class State(StrEnum):
    """Where a notice stands."""

    QUEUED = "queued"
    SENT = "sent"
    DEAD = "dead"  # not tried again; a person has to look at the webhook or at the recipient
    DROPPED = "dropped"  # never sent: the request that it asks about was settled before


@dataclass(frozen=True, slots=True)
class Owed:
    """A notice with what became of it so far. `tries` are those that were begun."""

    id: int
    notice: Notice
    state: State
    tries: int
    queued_at: datetime
    next_at: datetime
    sent_at: datetime | None = None
    is_proven: bool = False
    problem: str = ""
    batch: str = ""


@dataclass(frozen=True, slots=True)
class Unreached:
    """A request that was told to nobody, and by what that is known."""

    request: str
    ticket: str
    problem: str


def queue(session: Session, tenant: str, notice: Notice, at: datetime, *, problem: str = "") -> bool:
    """Owe a notice; False, and nothing written, when it was owed before.

    One that has no way to anybody is kept as dead at once, with its row in the audit log.
    """
    known = select(NoticeRow.id).where(NoticeRow.tenant == tenant, NoticeRow.op_key == notice.key)
    if session.exec(known).first() is not None:
        return False
    is_dead = notice.channel is Channel.NONE
    if is_dead:
        problem = problem or "there is no channel by which anybody could be told"
    row = NoticeRow(
        tenant=tenant,
        op_key=notice.key,
        kind=notice.kind.value,
        event=notice.event,
        request=notice.request,
        ticket=notice.ticket,
        recipient=notice.recipient,
        channel=notice.channel.value,
        digest=notice.digest,
        line=notice.line,
        person=msgspec.json.encode(notice.person).decode() if notice.person is not None else "",
        body="" if is_dead else msgspec.json.encode(notice.body).decode(),
        state=(State.DEAD if is_dead else State.QUEUED).value,
        problem=problem,
        queued_at=at,
        next_at=at,
        settled_at=at if is_dead else None,
    )
    session.add(row)
    session.flush()
    if is_dead:
        _audit(session, tenant, _owed(row), "notify.failed", at, problem=problem)
    return True


def due(session: Session, tenant: str, at: datetime, *, limit: int = 500) -> tuple[Owed, ...]:
    """What is to be told now, the oldest first."""
    where = (NoticeRow.tenant == tenant, NoticeRow.state == State.QUEUED.value, col(NoticeRow.next_at) <= at)
    return _find(session, *where, limit=limit)


def of_request(session: Session, tenant: str, request: str) -> tuple[Owed, ...]:
    """Everything that was or is to be told about a request, the oldest first."""
    return _find(session, NoticeRow.tenant == tenant, NoticeRow.request == request)


def settled(session: Session, tenant: str, state: State, *, limit: int = 500) -> tuple[Owed, ...]:
    """What stands at `state`, the oldest first."""
    return _find(session, NoticeRow.tenant == tenant, NoticeRow.state == state.value, limit=limit)


def sent_since(
    session: Session, tenant: str, recipient: str, since: datetime, *, channel: Channel = Channel.TEAMS
) -> tuple[tuple[str, datetime], ...]:
    """Kind and instant of what one recipient was sent by a channel after `since`, a row for each notice."""
    where = (
        NoticeRow.tenant == tenant,
        NoticeRow.recipient == recipient,
        NoticeRow.channel == channel.value,
        col(NoticeRow.sent_at) > since,
    )
    rows = session.exec(select(NoticeRow.kind, NoticeRow.sent_at).where(*where).order_by(col(NoticeRow.sent_at)))
    return tuple((kind, at) for kind, at in rows if at is not None)


def claim(
    session: Session, tenant: str, owed: Collection[Owed], at: datetime, *, chance: float, batch: str = ""
) -> tuple[Owed, ...]:
    """Begin a try of each; those that nobody else has begun meanwhile. `chance` in [0, 1) sets the next one.

    `batch` is what this and every later try of them is sent as, where the server may know it again.
    """
    mine = []
    for one in owed:
        wait_s = delay(one.tries + 1, base_s=RETRY_BASE_S, cap_s=RETRY_CAP_S, chance=chance)
        taken = update(NoticeRow).where(
            col(NoticeRow.id) == one.id,
            col(NoticeRow.tenant) == tenant,
            col(NoticeRow.state) == State.QUEUED.value,
            col(NoticeRow.tries) == one.tries,
        )
        values = {"tries": one.tries + 1, "next_at": at + timedelta(seconds=wait_s), "batch": batch or one.batch}
        if session.connection().execute(taken.values(values)).rowcount == 1:
            mine.append(one)
    return tuple(mine)


def sent(
    session: Session,
    tenant: str,
    owed: Owed,
    at: datetime,
    *,
    is_proven: bool,
    run: str = "",
    in_digest: int = 0,
    note: str = "",
    **more: Any,
) -> None:
    """It was taken, or posted for certain where `is_proven`. `in_digest`: with how many others in one card.

    `note` is kept with it, for example that it may have arrived twice; `more` goes into the audit log.
    """
    values: dict[str, Any] = {"state": State.SENT.value, "sent_at": at, "settled_at": at, "body": "", "problem": note}
    _set(session, tenant, owed, values | {"is_proven": is_proven})
    more |= {"proven": is_proven, "run": run} | ({"in_digest_of": in_digest} if in_digest else {})
    more |= {"note": note} if note else {}
    _audit(session, tenant, owed, "notify.sent", at, **more)


def failed(
    session: Session,
    tenant: str,
    owed: Owed,
    at: datetime,
    *,
    problem: str,
    is_final: bool = False,
    retry_at: datetime | None = None,
) -> bool:
    """A try that was claimed has failed. True, and told in the audit log, when it was the last one.

    `retry_at` is what the server asked for: the next try is never earlier.
    """
    is_dead = is_final or owed.tries + 1 >= TRIES_MAX
    values: dict[str, Any] = {"problem": problem[:PROBLEM_MAX]}
    if is_dead:
        values |= {"state": State.DEAD.value, "settled_at": at, "body": ""}
    elif retry_at is not None:
        row = session.get(NoticeRow, owed.id, populate_existing=True)
        values["next_at"] = max(retry_at, row.next_at if row is not None else retry_at)
    _set(session, tenant, owed, values)
    if is_dead:
        _audit(session, tenant, owed, "notify.failed", at, problem=problem[:PROBLEM_MAX])
    return is_dead


def put_off(session: Session, tenant: str, owed: Owed, until: datetime) -> None:
    """Not now: quiet hours, or the webhook has had enough for the moment. Not a try."""
    _set(session, tenant, owed, {"next_at": until})


def drop(session: Session, tenant: str, owed: Owed, at: datetime) -> None:
    """It need not be told any more."""
    _set(session, tenant, owed, {"state": State.DROPPED.value, "settled_at": at, "body": ""})


def unreached(session: Session, tenant: str, requests: Collection[str]) -> tuple[Unreached, ...]:
    """Of these requests, those whose asking reached nobody: nothing was sent, and nothing is likely to be soon."""
    found = []
    for request in sorted(set(requests)):
        where = (NoticeRow.tenant == tenant, NoticeRow.request == request, NoticeRow.kind == Kind.REQUEST.value)
        stages: dict[str, list[NoticeRow]] = {}
        for row in session.exec(
            select(NoticeRow).where(*where).order_by(col(NoticeRow.id)).execution_options(populate_existing=True)
        ):
            stages.setdefault("/".join(row.event.split("/")[:2]), []).append(row)
        if not stages:
            continue
        rows = list(stages.values())[-1]  # the stage that is open now
        if any(row.state == State.SENT.value for row in rows):
            continue
        if all(row.state == State.DEAD.value or row.tries >= UNREACHED_TRIES for row in rows):
            found.append(Unreached(request, rows[0].ticket, next((r.problem for r in rows if r.problem), "")))
    return tuple(found)


def alert(session: Session, tenant: str, found: Unreached, at: datetime) -> bool:
    """Record once that a request reached nobody. False when that was recorded before."""
    where = (NoticeRow.tenant == tenant, NoticeRow.request == found.request, NoticeRow.kind == Kind.REQUEST.value)
    rows = session.exec(select(NoticeRow).where(*where)).all()
    fresh = [row for row in rows if not row.is_alerted]
    if len(fresh) < len(rows) or not rows:
        return False
    for row in rows:
        row.is_alerted = True
    session.flush()
    body = {"request": found.request, "reached": 0, "lines": [found.ticket], "problem": found.problem}
    journal.append(session, tenant, kind="notify.failed", subject=found.request, body=body, at=at)
    return True


def counts(session: Session, tenant: str) -> dict[str, int]:
    """How many notices stand where."""
    query = select(NoticeRow.state, func.count()).where(NoticeRow.tenant == tenant).group_by(NoticeRow.state)
    return {state.value: 0 for state in State} | dict(session.exec(query).all())


def prune(session: Session, tenant: str, at: datetime) -> int:
    """Forget what was settled long ago; how many those were."""
    old = delete(NoticeRow).where(col(NoticeRow.tenant) == tenant, col(NoticeRow.settled_at) < at - KEPT)
    return int(session.connection().execute(old).rowcount)


def _set(session: Session, tenant: str, owed: Owed, values: dict[str, Any]) -> None:
    one = update(NoticeRow).where(
        col(NoticeRow.id) == owed.id, col(NoticeRow.tenant) == tenant, col(NoticeRow.state) == State.QUEUED.value
    )
    session.connection().execute(one.values(values))


def _find(session: Session, *where: Any, limit: int = 10_000) -> tuple[Owed, ...]:
    query = select(NoticeRow).where(*where).order_by(col(NoticeRow.id)).limit(limit)
    return tuple(_owed(row) for row in session.exec(query.execution_options(populate_existing=True)))


def _owed(row: NoticeRow) -> Owed:
    assert row.id is not None
    notice = Notice(
        Kind(row.kind),
        row.event,
        row.request,
        row.recipient,
        Channel(row.channel),
        row.digest,
        msgspec.json.decode(row.body) if row.body else {},
        row.line,
        row.ticket,
        msgspec.json.decode(row.person, type=Human) if row.person else None,
    )
    return Owed(
        row.id,
        notice,
        State(row.state),
        row.tries,
        row.queued_at,
        row.next_at,
        row.sent_at,
        row.is_proven,
        row.problem,
        row.batch,
    )


def _audit(session: Session, tenant: str, owed: Owed, kind: str, at: datetime, **more: Any) -> None:
    notice, human = owed.notice, owed.notice.person
    body: dict[str, Any] = {
        "event": notice.event,
        "request": notice.request,
        "channel": notice.channel.value,
        "digest": notice.digest,
        "tries": owed.tries + (notice.channel is not Channel.NONE),
        "lines": [notice.ticket] if notice.ticket else [],
        **more,
    }
    body["to"] = human.described if human is not None else notice.recipient
    journal.append(session, tenant, kind=kind, subject=notice.request, body=body, at=at)
