"""Stage 7: journal the verdicts, answer the tickets (through send), count.

A line's new state, its audit row and the answers it calls for are one transaction. Answers leave from that outbox, so
a crash between deciding and telling loses none, and before one is sent again the ticket is searched for its key (I6).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlmodel import Session

from desired_state import ledger
from desired_state.model import LineKey, Ticket
from reconciler.answers import Answer, Manners, Names, answers
from reconciler.clients.servicenow import ServiceNow
from reconciler.clock import Clock
from reconciler.digest import digest
from reconciler.errors import Next, RemoteError
from reconciler.lifecycle import Phase
from reconciler.loop.guards import Limits, within
from reconciler.loop.pull import OUR_MARK
from reconciler.loop.send import Sender, Stopped, Write
from reconciler.model import AnswerKind, Ending, Lane, Reply, Result, Trip
from reconciler.store import journal, lines, outbox
from reconciler.store.database import Database

DAY = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Desk:
    """How this tenant answers its tickets."""

    tenant: str
    database: Database
    servicenow: ServiceNow
    clock: Clock
    limits: Limits
    manners: Callable[[Ticket], Manners]
    names: Names


@dataclass(slots=True)
class Told:
    """What was answered in this cycle, by ticket; guards that stopped answers; what could not be told yet."""

    given: dict[str, tuple[AnswerKind, ...]] = field(default_factory=dict)
    trips: tuple[Trip, ...] = ()
    problems: list[str] = field(default_factory=list)


def record(endings: Sequence[Ending], desk: Desk, *, plan_digest: str, cycle: str, at: datetime) -> None:
    """Keep what changed, with the answers that it calls for. A line that stands as before writes nothing (I10)."""
    by_ticket: dict[str, list[Ending]] = {}
    for ending in endings:
        by_ticket.setdefault(ending.state.key.ticket, []).append(ending)
    for group in by_ticket.values():
        ticket = group[0].finding.line.ticket
        before = {e.state.key: e.gated.proposal.finding.line.state for e in group}
        phases = {key: state.phase if state is not None else None for key, state in before.items()}
        owed = answers(ticket, group, phases, desk.manners(ticket), desk.names, tenant=desk.tenant, at=at)
        if not owed and all(e.state == before[e.state.key] for e in group):
            continue
        with desk.database.write() as session:
            for ending in group:
                _keep(session, desk.tenant, ending, phases[ending.state.key], plan_digest, cycle, at)
            for answer in owed:
                outbox.intend(session, desk.tenant, answer, at)


def _keep(
    session: Session, tenant: str, ending: Ending, old: Phase | None, plan_digest: str, cycle: str, at: datetime
) -> None:
    state, first = ending.state, ending.gated.proposal.finding
    if not lines.save(session, tenant, state, at):
        return
    if state.phase is Phase.GRANTED and old is not Phase.GRANTED:
        by_us = any(o.result is Result.APPLIED for o in ending.outcomes) or state.attempts > 0
        ledger.append(session, tenant, ledger.Granted(state.key, at, state.ends_at, by_us), at)
    proof = ending.finding.proof
    body = {
        "from": old.value if old is not None else None,
        "to": state.phase.value,
        "verdict": state.verdict.value if state.verdict is not None else None,
        "cause": state.cause,
        "tier": state.tier,
        "found": first.cause.value if first.cause is not None else None,
        "sentence": state.note or first.sentence,
        "user": state.user,
        "proof": {"access": proof.access.value, "plan": proof.plan, "sku": proof.sku} if proof is not None else None,
        "covered_by": ending.finding.covered_by,
        "decision": ending.gated.decision.value,
        "rules": [dict(j) for j in ending.gated.judged],
        "digest": ending.gated.proposal.digest,
        "plan": plan_digest,
    }
    journal.append(session, tenant, kind="line_moved", subject=str(state.key), body=body, at=at, cycle=cycle)


def deliver(desk: Desk, sender: Sender, *, plan_digest: str, only: frozenset[str]) -> Told:
    """Send what the outbox owes, oldest first; `only` names the tickets in scope, empty means all."""
    told = Told()
    at = desk.clock.now()
    with desk.database.read() as session:
        owed = [o for o in outbox.unsent(session, desk.tenant) if not only or o.answer.ticket in only]
        used = outbox.tickets_answered_since(session, desk.tenant, at - DAY)
    if not owed:
        return told
    fresh = {o.answer.ticket for o in owed} - used
    trip = within(
        Lane.ANSWERS, len(fresh), used_today=len(used), limits=desk.limits, digest=plan_digest, what="tickets"
    )
    if trip is not None:
        told.trips = (trip,)
        return told
    failed: set[str] = set()
    for item in owed:
        ticket = item.answer.ticket
        if ticket in failed:
            continue  # the note comes before the reopening; what follows a failure waits for it
        try:
            _give(item, desk, sender, plan_digest)
        except Stopped as stopped:
            told.problems.append(f"{ticket} was not answered: {stopped}")
            failed.add(ticket)
        except RemoteError as error:
            told.problems.append(f"{ticket} was not answered yet: {error}")
            failed.add(ticket)
            if error.then is Next.STOP:
                break
        else:
            told.given[ticket] = (*told.given.get(ticket, ()), item.answer.kind)
    return told


def _give(item: outbox.Owed, desk: Desk, sender: Sender, plan_digest: str) -> None:
    """Give one answer unless the ticket has it already, and remember that it was given."""
    answer = item.answer
    if item.tries and _is_there(answer, desk.servicenow):
        _mark(desk, answer.key, outbox.State.CONFIRMED, "found on the ticket")
        return
    _mark(desk, answer.key, outbox.State.SENT, "")
    write = Write(
        system="servicenow",
        kind=answer.kind.value,
        lane=Lane.ANSWERS,
        subject=answer.ticket,
        keys=answer.lines,
        body={"key": answer.key, "target": answer.target, "title": answer.title, "text_sha256": digest(answer.text)},
        plan_digest=plan_digest,
    )
    remote: list[str] = []
    try:
        sender.send(write, lambda: _call(answer, desk.servicenow, remote))
    except RemoteError as error:
        if error.then is not Next.LOOK and error.then is not Next.REQUEUE:
            _mark(desk, answer.key, outbox.State.FAILED, str(error)[:200])
        raise
    _mark(desk, answer.key, outbox.State.CONFIRMED, remote[0] if remote else "")


def _mark(desk: Desk, key: str, state: outbox.State, remote_id: str) -> None:
    with desk.database.write() as session:
        outbox.mark(session, desk.tenant, key, state, remote_id, desk.clock.now())


def _is_there(answer: Answer, servicenow: ServiceNow) -> bool:
    match answer.kind:
        case AnswerKind.NOTE | AnswerKind.QUESTION:
            return servicenow.has_note(answer.target, answer.key) is True
        case AnswerKind.TASK:
            return servicenow.find_task(f"{OUR_MARK}{answer.key}") is not None
        case AnswerKind.REOPENED:
            return servicenow.state_of(answer.target).is_active is True
        case AnswerKind.CLOSED:
            return servicenow.task(answer.target).is_active is False


def _call(answer: Answer, servicenow: ServiceNow, remote: list[str]) -> Reply: ...


def told_by_ticket(told: Iterable[Told]) -> Mapping[str, tuple[AnswerKind, ...]]:
    """Answers of several deliveries, by ticket."""
    merged: dict[str, tuple[AnswerKind, ...]] = {}
    for one in told:
        for ticket, kinds in one.given.items():
            merged[ticket] = (*merged.get(ticket, ()), *kinds)
    return merged


def _lines(answer: Answer) -> tuple[LineKey, ...]:
    return answer.lines
