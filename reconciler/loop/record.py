"""Stage 7: journal the verdicts, answer the tickets (through send), count.

A line's new state, its audit row and the answers it calls for are one transaction. Answers leave from that outbox, so
a crash between deciding and telling loses none, and before one is sent again the ticket is searched for its key (I6).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlmodel import Session

from desired_state import ledger
from desired_state.model import LineKey, Ticket
from reconciler.answers import ITEM, Answer, Manners, Names, answers
from reconciler.clients.servicenow import ServiceNow
from reconciler.clock import Clock
from reconciler.digest import digest
from reconciler.errors import Next, OutcomeUnknown, RemoteError, SignInFailed, Throttled, Unavailable
from reconciler.lifecycle import Phase
from reconciler.line import (
    Decision,
    Ending,
    Lane,
    Trip,
)
from reconciler.loop.aftermath import ADOPTED, as_json
from reconciler.loop.ending import started
from reconciler.loop.gate import Gates
from reconciler.loop.guards import Limits, within
from reconciler.loop.pull import OUR_MARK
from reconciler.loop.send import Sender, Stopped, Write
from reconciler.loop.shared import REVOKED, kept_by
from reconciler.model import AnswerKind, Reply, Result
from reconciler.store import journal, lines, outbox
from reconciler.store.database import Database

DAY = timedelta(hours=24)
TRIES_MAX = 5  # of a change of state: a rule that turns it back each time has the last word
PATIENCE = timedelta(days=3)  # an answer that is not there after this is a person's to give


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
        earlier = _earlier(group, desk, cycle)
        owed = answers(
            ticket,
            group,
            phases,
            desk.manners(ticket),
            desk.names,
            tenant=desk.tenant,
            at=at,
            earlier=earlier,
        )
        if not owed and all(e.state == before[e.state.key] for e in group):
            continue
        with desk.database.write() as session:
            for ending in group:
                key = ending.state.key
                _keep(session, desk.tenant, ending, phases[key], plan_digest, cycle, at, was_sent=key in earlier)
            for answer in owed:
                outbox.intend(session, desk.tenant, answer, at)


def _earlier(group: Sequence[Ending], desk: Desk, cycle: str) -> dict[LineKey, tuple[str, ...]]:
    """What former cycles sent to the directory for lines that were tried before, from the audit log."""
    tried = {e.state.key for e in group if e.state.attempts > (1 if e.outcomes else 0)}
    if not tried:
        return {}
    with desk.database.read() as session:
        rows = journal.rows_for(session, desk.tenant, group[0].state.key.ticket)
    results = {row.body.get("intent"): row for row in rows if row.kind == "result"}
    found: dict[LineKey, list[str]] = {}
    for row in rows:
        if row.kind != "intent" or row.cycle == cycle or row.body.get("system") != "graph":
            continue
        said = results.get(row.seq)
        if said is not None and said.body.get("result") != "accepted" and said.body.get("error") != "OutcomeUnknown":
            continue
        outcome = (
            "accepted" if said is not None and said.body.get("result") == "accepted" else "sent, its reply was not seen"
        )
        what = f"{_change(row.body.get('what') or {})} ({outcome}, {row.at:%Y-%m-%d %H:%M} UTC)"
        for key in tried & {_key(text) for text in row.body.get("lines") or ()}:
            found.setdefault(key, []).append(what)
    return {key: tuple(words) for key, words in found.items()}


def _key(text: str) -> LineKey:
    ticket, _, line = text.rpartition("/")
    return LineKey(ticket, int(line))


def _change(what: Mapping[str, Any]) -> str:
    """A recorded change in words."""
    after = what.get("after") or {}
    if "usage_location" in after:
        return f"usage location set to {after['usage_location']} (this cannot be undone)"
    return f"{(after.get('licence') or {}).get('sku', 'the licence')} assigned"


def _saved(ending: Ending) -> str | None:
    """What need not be bought a month, because a bundle that the person holds brings it already."""
    product = ending.finding.line.product
    if ending.finding.covered_by is None or product is None or product.price is None:
        return None
    return f"{product.price:.2f}"


def begin(gates: Gates, desk: Desk, *, cycle: str, at: datetime) -> None:
    """Remember, before the first write, which lines are being changed and what was found wrong with them.

    Should this process die, the next cycle knows that a change was under way, and the ticket is told all the same.
    """
    starting = [g for g in gates.gated if g.decision is Decision.CLEARED and g.proposal.actions]
    if not starting:
        return
    with desk.database.write() as session:
        for gated in starting:
            state = started(gated, at)
            if lines.save(session, desk.tenant, state, at):
                body = {
                    "from": gated.proposal.finding.line.state.phase.value
                    if gated.proposal.finding.line.state
                    else None,
                    "to": state.phase.value,
                    "verdict": state.verdict.value if state.verdict is not None else None,
                    "cause": state.cause,
                    "sentence": state.note,
                    **({"priority": priority} if (priority := gated.proposal.finding.line.priority) else {}),
                    "decision": gated.decision.value,
                    "rules": [dict(j) for j in gated.judged],
                    "digest": gated.proposal.digest,
                    "plan": gates.plan_digest,
                }
                journal.append(
                    session, desk.tenant, kind="line_moved", subject=str(state.key), body=body, at=at, cycle=cycle
                )


def _keep(
    session: Session,
    tenant: str,
    ending: Ending,
    old: Phase | None,
    plan_digest: str,
    cycle: str,
    at: datetime,
    *,
    was_sent: bool,
) -> None:
    state, first = ending.state, ending.gated.proposal.finding
    if not lines.save(session, tenant, state, at):
        return
    if state.phase in (Phase.GRANTED, Phase.EXPIRING):  # says nothing new, and adds no row, unless the end has moved
        by_us = any(o.result is Result.APPLIED or o.is_unsure for o in ending.outcomes) or was_sent
        granted = ledger.Granted(state.key, state.granted_at or at, state.ends_at, by_us, state.given)
        ledger.append(session, tenant, granted, at)
    if state.phase is Phase.CANCELLED and first.aftermath is not None:
        ledger.append(session, tenant, ledger.Ended(state.key, at, why=ADOPTED), at)
    if state.phase is Phase.REVOKED:
        why = kept_by(ending.finding.heir) if ending.finding.heir is not None else REVOKED
        ledger.append(session, tenant, ledger.Ended(state.key, at, why), at)
    proof = ending.finding.proof
    before = Phase.CONVERGING if ending.outcomes else old  # `begin` has moved what was about to be changed
    body = {
        "from": before.value if before is not None else None,
        "to": state.phase.value,
        "verdict": state.verdict.value if state.verdict is not None else None,
        "cause": state.cause,
        "tier": state.tier,
        "found": first.cause.value if first.cause is not None else None,
        "sentence": state.note or first.sentence,
        **({"priority": first.line.priority} if first.line.priority else {}),
        "user": state.user,
        "proof": {"access": proof.access.value, "plan": proof.plan, "sku": proof.sku} if proof is not None else None,
        "aftermath": as_json(first.aftermath),
        "covered_by": ending.finding.covered_by,
        "saved_monthly": _saved(ending),
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
        by_group = outbox.groups_answered_since(session, desk.tenant, at - DAY)
    if not owed:
        return told
    trip = _trip(owed, used, by_group, desk.limits, plan_digest)
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


def _trip(
    owed: Sequence[outbox.Owed],
    used: frozenset[str],
    by_group: Mapping[str, int],
    limits: Limits,
    plan_digest: str,
) -> Trip | None:
    """The guard that keeps all answers back, None when they fit: tickets told, and tickets a group."""
    fresh = [o for o in owed if o.answer.ticket not in used]
    tickets = {o.answer.ticket for o in fresh}
    trip = within(Lane.ANSWERS, len(tickets), used_today=len(used), limits=limits, digest=plan_digest, what="tickets")
    if trip is not None:
        return trip
    for group in sorted({o.answer.group for o in fresh} - {""}):
        wanted = by_group.get(group, 0) + len({o.answer.ticket for o in fresh if o.answer.group == group})
        if wanted > limits.answers_per_group:
            sentence = (
                f"{wanted} tickets for group {group} are more than the {limits.answers_per_group} that one group "
                "gets in a day; no ticket was answered."
            )
            return Trip("group budget", Lane.ANSWERS, wanted, limits.answers_per_group, plan_digest, sentence)
    return None


def _give(item: outbox.Owed, desk: Desk, sender: Sender, plan_digest: str) -> None:
    """Give one answer unless the ticket has it already, and remember that it was given."""
    answer = item.answer
    if item.tries and _is_settled(item, desk):
        return
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
    sender.check(write)

    def call() -> Reply:  # marked once the intent is kept and every check has passed, right before it leaves
        _mark(desk, answer.key, outbox.State.SENT, "")
        return _call(answer, desk.servicenow, remote)

    try:
        sender.send(write, call)
    except (Throttled, Unavailable, SignInFailed):
        _mark(desk, answer.key, outbox.State.INTENDED, "")  # certainly not done: as if it had not been tried
        raise
    except RemoteError as error:
        if error.then is Next.BLOCK:
            _mark(desk, answer.key, outbox.State.FAILED, str(error)[:200])
        raise
    _mark(desk, answer.key, outbox.State.CONFIRMED, remote[0] if remote else "")


def _mark(desk: Desk, key: str, state: outbox.State, remote_id: str) -> None:
    with desk.database.write() as session:
        outbox.mark(session, desk.tenant, key, state, remote_id, desk.clock.now())


def _is_settled(item: outbox.Owed, desk: Desk) -> bool:
    """Look whether an answer that was sent before has reached its ticket. What cannot be seen is not sent twice."""
    answer = item.answer
    is_there = _is_there(answer, desk.servicenow)
    if is_there is True:
        _mark(desk, answer.key, outbox.State.CONFIRMED, "found on the ticket")
        return True
    is_old = desk.clock.now() - item.intended_at > PATIENCE
    is_undone = item.tries >= TRIES_MAX and answer.kind in (AnswerKind.REOPENED, AnswerKind.CLOSED)
    if is_there is None or is_old or is_undone:
        why = "its journal cannot be read" if is_there is None else f"it was not there after {item.tries} tries"
        _mark(desk, answer.key, outbox.State.FAILED, why)
        raise Stopped(f"the {answer.kind} is not repeated, because {why}; a person has to look")
    return False


def _is_there(answer: Answer, servicenow: ServiceNow) -> bool | None:
    """Whether the ticket has the answer; None when that cannot be told."""
    match answer.kind:
        case AnswerKind.NOTE | AnswerKind.QUESTION:
            return servicenow.has_note(answer.target, answer.key)
        case AnswerKind.TASK:
            return servicenow.find_task(_mark_of(answer)) is not None
        case AnswerKind.REOPENED:
            return servicenow.state_of(answer.target).is_active
        case AnswerKind.CLOSED:
            look = servicenow.state_of if answer.title == ITEM else servicenow.task
            is_active = look(answer.target).is_active
            return None if is_active is None else not is_active


def _is_missing(answer: Answer, servicenow: ServiceNow) -> bool:
    """Whether a note that was accepted is certainly not there; a look that fails says nothing."""
    try:
        return servicenow.has_note(answer.target, answer.key) is False
    except RemoteError:
        return False


def _mark_of(answer: Answer) -> str:
    return f"{OUR_MARK}{answer.key}"


def _call(answer: Answer, servicenow: ServiceNow, remote: list[str]) -> Reply:
    """Send one answer. What changes a state is believed only when it reads back so (servicenow.md section 10)."""
    match answer.kind:
        case AnswerKind.NOTE | AnswerKind.QUESTION:
            visible = answer.kind is AnswerKind.QUESTION
            reply = servicenow.add_note(answer.target, answer.text, key=answer.key, visible_to_requester=visible)
            if _is_missing(answer, servicenow):
                raise OutcomeUnknown("servicenow", "the note was accepted and is not on the ticket")
            return reply
        case AnswerKind.TASK:
            tickets = servicenow.tickets_by_number([answer.ticket])
            if not tickets:
                raise Unavailable("servicenow", f"ticket {answer.ticket} is not shown now")
            made = servicenow.create_task(
                tickets[0],
                key=_mark_of(answer),
                short_description=answer.title,
                description=answer.text,
                assignment_group=answer.group,
            )
            remote.append(made.number)
            return Reply("", "", 201)
        case AnswerKind.REOPENED:
            state = servicenow.reopen(answer.target, correlation=_mark_of(answer))
            if state.is_active is not True:
                detail = "the ticket reads closed after it was reopened"
                raise OutcomeUnknown("servicenow", detail)
            return Reply(state.request_id, "")
        case AnswerKind.CLOSED if answer.title == ITEM:
            state = servicenow.close_item(answer.target, close_notes=answer.text)
            if state.is_active is not False:
                detail = "the ticket reads open after it was closed"
                raise OutcomeUnknown("servicenow", detail)
            return Reply(state.request_id, "")
        case AnswerKind.CLOSED:
            task = servicenow.close_task(answer.target, close_notes=answer.text)
            if task.is_active is not False:
                detail = f"task {task.number} reads open after it was closed"
                raise OutcomeUnknown("servicenow", detail)
            remote.append(task.number)
            return Reply("", "")
