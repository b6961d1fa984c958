"""Requests for approval, cycle by cycle: opened for what awaits people, aged, taken in, voided, spent and concluded.

A request is opened for one digest and ends with it. Everything that a person or a clock did meanwhile is looked at
first, then the lines are judged, then whoever has to be asked is asked. `consume` stands in the transaction of a
write's intent: a request that is void by then stops the write (I7), for whichever way the cycle was started.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlmodel import Session

from desired_state.model import LineKey, ProductKey, UserId
from reconciler.approvals.clocks import Due, due, has_lapsed, is_ahead, reminded, rests, resumes
from reconciler.approvals.judge import opens_next
from reconciler.approvals.machine import OPEN, move
from reconciler.approvals.routes import RouteBook, escalated, lost, settle
from reconciler.approvals.values import Approval, Channel, Delegation, Human, State, among, new_id
from reconciler.clients.graph import Graph
from reconciler.clients.servicenow import ServiceNow
from reconciler.clock import Clock
from reconciler.errors import NotFound, Rejected, RemoteError
from reconciler.lifecycle import FINAL, Phase
from reconciler.line import Decision, Ending, Gated, Line, Observed
from reconciler.loop.approved import lapse
from reconciler.loop.approvers import Approvers, human_of
from reconciler.loop.asking import Parties, draft, label_of, needs_of, overtaken
from reconciler.loop.nativity import take_in
from reconciler.loop.send import Stopped, Write
from reconciler.loop.stops import is_stopped, killed_at
from reconciler.store import approvals
from reconciler.store.approvals import Tell
from reconciler.store.database import Database

_RESTFUL = FINAL | {Phase.GRANTED}
_CARRIED_OUT = (Phase.GRANTED, Phase.EXPIRING, Phase.REVOKED)
_GIVEN_UP = (Phase.REVIEW, Phase.CANCELLED, Phase.REFUSED)


@dataclass(frozen=True, slots=True)
class Asking:
    """How a tenant asks people. `software` are user names that no person answers with, `ids` gives 16 random bytes."""

    tenant: str
    tenant_id: str
    database: Database
    clock: Clock
    graph: Graph
    servicenow: ServiceNow
    book: RouteBook
    ids: Callable[[], bytes]
    agents: frozenset[str] = frozenset()
    software: frozenset[str] = frozenset()
    mode_of: Callable[[ProductKey, UserId | None], str] = lambda *_: "observe"  # for a product and a person
    tell: Tell | None = None


@dataclass(slots=True)
class Round:
    """One cycle's asking: whom it looked up, and what could not be read."""

    asking: Asking
    cycle: str
    approvers: Approvers
    problems: list[str] = field(default_factory=list)


def begin_round(asking: Asking, cycle: str) -> Round:
    return Round(asking, cycle, Approvers(asking.tenant_id, asking.graph, asking.servicenow))


def standing(asking: Asking, lines: Iterable[Line]) -> dict[LineKey, Approval]:
    """The newest request of every line that may wait for one, or act on one."""
    tickets = {line.key.ticket for line in lines if line.state is None or line.state.phase not in _RESTFUL}
    with asking.database.read() as session:
        return approvals.newest(session, asking.tenant, tickets)


# --- before the lines are judged ----------------------------------------------------------------------------------


def tend(round_: Round, lines: Iterable[Line], at: datetime, *, is_whole: bool) -> None:
    """Let the clocks run, take the role from who has lost it, open the stages that are next."""
    asking = round_.asking
    known = {line.key: line for line in lines}
    with asking.database.read() as session:
        every = approvals.unfinished(session, asking.tenant)
    mine = [a for a in every if a.line in known or is_whole]
    humans = [h for a in mine for h in _acting(a)]
    try:
        can = round_.approvers.standing(humans)
    except RemoteError as error:
        round_.problems.append(f"whether approvers still have their role could not be read: {error}")
        can = {}
    killed = killed_at(asking.database, asking.tenant, mine)
    for approval in mine:
        try:
            if killed is not None and is_stopped(approval, killed):
                why = f"The kill switch was thrown at {killed:%Y-%m-%d %H:%M} UTC, after it was approved."
                _end(round_, approval, State.VOID, why, at)
                continue
            _tend(round_, approval, known.get(approval.line), can, at)
        except RemoteError as error:
            round_.problems.append(f"request {approval.id}: who may approve could not be read: {error}")


def _acting(approval: Approval) -> tuple[Human, ...]:
    """Whose role counts now: who can answer the open stage, or who has answered what is not carried out yet."""
    if approval.stage is not None:
        return (*approval.stage.approvers, *approval.stage.alternates)
    return tuple(h for d in approval.decisions for h in d.humans) if approval.state is State.APPROVED else ()


def _tend(round_: Round, approval: Approval, line: Line | None, can: Mapping[str, bool], at: datetime) -> None:
    if has_lapsed(approval, at):
        _end(round_, approval, State.EXPIRED, lapse(approval), at)
        return
    if approval.state is State.APPROVED and round_.asking.book.voids_on_lost_role:
        why = _lost_role(round_, approval, line, can)
        if why:
            _end(round_, approval, State.VOID, why, at)
        return
    if approval.state is not State.PENDING:
        return
    if opens_next(approval) and line is not None:
        approval = _open_stage(round_, approval, line, at) or approval
    asked_for = due(approval, at)
    if Due.EXPIRE in asked_for:
        stage = approval.stage
        assert stage is not None
        why = f"Nobody answered request {approval.id} ({stage.name.replace('_', ' ')}) in time; a person has to decide."
        _end(round_, approval, State.EXPIRED, why, at)
        return
    if Due.ESCALATE in asked_for:
        spec = round_.asking.book.spec(approval.stages[approval.at].name)
        others = round_.approvers.named(spec.escalate_to)
        _change(round_, approval, lambda a: escalated(a, others, at), at, "approval.escalated", "approval.escalated")
    if Due.REMIND in asked_for:
        _change(round_, approval, lambda a: reminded(a, at), at, "approval.reminded", "approval.reminder")
    gone = lost(approval, can)
    if gone is not approval and line is not None:
        stage = gone.stage
        assert stage is not None
        _change(round_, approval, lambda a: lost(a, can) if a.at == gone.at else None, at, "approval.lost_role")
        if len(stage.everyone) < stage.quorum:
            _open_stage(round_, gone, line, at)


def _lost_role(round_: Round, approval: Approval, line: Line | None, can: Mapping[str, bool]) -> str:
    """Why the answers do not stand any more before they were acted on (A9), "" where they do."""
    for decision in approval.decisions:
        if decision.channel is Channel.BREAK_GLASS:
            continue
        gone = next((h for h in decision.humans if can.get(h.oid) is False), None)
        if gone is not None:
            return f"{gone.name or gone.upn}, who approved it, has no active account any more."
        stage = next((s for s in approval.stages if s.name == decision.stage), None)
        if stage is None or stage.is_fallback or line is None:
            continue
        found, _ = round_.approvers.found(round_.asking.book.spec(stage.name), approval, line)
        answered = decision.acting_for or decision.actor
        if not among(answered, (*(c.human for c in found), *stage.alternates)):
            return f"{answered.name or answered.upn}, who approved it, is not {stage.name.replace('_', ' ')} any more."
    return ""


def _open_stage(round_: Round, approval: Approval, line: Line, at: datetime) -> Approval | None:
    """Look up who answers the next stage, and open it. Raises RemoteError for what could not be read."""
    resolved = _settled(round_, approval, line, at)
    stage = resolved.stages[resolved.at]

    def opened(now: Approval) -> Approval | None:
        if now.state is not State.PENDING or now.at != resolved.at:
            return None
        stages = list(now.stages)
        stages[now.at] = stage
        return replace(now, stages=tuple(stages))

    return _change(round_, approval, opened, at, "approval.stage_opened", "approval.request")


def _settled(round_: Round, approval: Approval, line: Line, at: datetime) -> Approval:
    asking, approvers = round_.asking, round_.approvers
    stage = approval.stages[approval.at]
    spec = replace(asking.book.spec(stage.name), quorum=stage.quorum)
    found, why = approvers.found(spec, approval, line)
    fallback, desk = approvers.named(spec.fallback), approvers.named(asking.book.desk)
    settled = settle(approval, spec, found, fallback=fallback, desk=desk, at=at, why=why)
    people = settled.stages[settled.at].approvers
    deputies = _deputies(round_, people)
    return settle(approval, spec, found, fallback=fallback, desk=desk, at=at, why=why, delegations=deputies)


def _deputies(round_: Round, people: Collection[Human]) -> tuple[Delegation, ...]:
    """Who stands in for them in ServiceNow; an approver that it does not know has nobody there."""
    sys_ids = []
    for human in people:
        try:
            person = round_.asking.servicenow.person_by(email=human.upn) if human.upn else None
        except (Rejected, NotFound):
            person = None
        if person is not None:
            sys_ids.append(person.sys_id)
    return round_.approvers.delegations(sys_ids)


# --- once the lines are judged ------------------------------------------------------------------------------------


def ask(round_: Round, gated: Iterable[Gated], observed: Observed, at: datetime) -> bool:
    """Open a request for every line that awaits people, end those that have lost their object, and take in what was
    answered in ServiceNow. True when a line may be judged otherwise now."""
    every = tuple(gated)
    asked = standing(round_.asking, (g.proposal.finding.line for g in every))
    changed = False
    for one in every:
        try:
            changed |= _ask(round_, one, asked.get(one.proposal.finding.key), observed, at)
        except RemoteError as error:
            round_.problems.append(f"{one.proposal.finding.key}: who may approve it could not be read: {error}")
    return changed


def _ask(round_: Round, gated: Gated, newest: Approval | None, observed: Observed, at: datetime) -> bool:
    asking, finding = round_.asking, gated.proposal.finding
    product = finding.line.product
    mode = asking.mode_of(product.key, finding.line.account) if product is not None else "observe"
    label = label_of(gated, agents=asking.agents, mode=mode)
    changed = False
    if newest is not None and newest.state in OPEN:
        newest, changed = _still_open(round_, gated, newest, at)
    if label is None:
        return changed
    if newest is None or newest.state not in OPEN:
        is_over = newest is not None and newest.state in (State.REJECTED, State.EXPIRED)
        is_answered = is_over and newest is not None and not newest.is_renewed
        if is_answered and newest is not None and newest.digest == gated.proposal.digest:
            return changed
        parties = _parties(round_, gated)
        if parties is None:
            return changed
        route = asking.book.route(label, needs_of(gated))
        id = new_id(asking.ids())
        fresh = draft(gated, route, asking.book, parties, observed, id=id, tenant=asking.tenant, at=at)
        settled = _settled(round_, fresh, finding.line, at)
        with asking.database.write() as session:
            newest = approvals.open_(session, settled, cycle=round_.cycle, tell=asking.tell)
        changed = True
    if newest.state is State.PENDING:
        changed |= take_in(
            round_.asking.database,
            round_.asking.servicenow,
            round_.approvers,
            newest,
            gated,
            software=asking.software,
            at=at,
            tell=asking.tell,
            open_stage=lambda a: _open_stage(round_, a, finding.line, at),
        )
    return changed


def _still_open(round_: Round, gated: Gated, approval: Approval, at: datetime) -> tuple[Approval | None, bool]:
    """The request if it still stands, and whether it was ended."""
    if approval.state is State.EXECUTING:
        is_spent = gated.decision is Decision.AWAITING and gated.proposal.digest != approval.digest
        if is_spent and not gated.asks_nobody:
            state = gated.proposal.finding.line.state
            to = State.PARTLY if state is not None and state.given else State.FAILED
            _end(round_, approval, to, "What is left to be done is not what was approved.", at)
            return None, True
        return approval, False
    over = overtaken(approval, gated)
    if over is None:
        return approval, False
    _end(round_, approval, over.state, over.reason, at)
    return None, True


def _parties(round_: Round, gated: Gated) -> Parties | None:
    """Nobody is asked while it cannot be read who ordered it or for whom: that person could be the one who is asked."""
    finding = gated.proposal.finding
    ticket, user = finding.line.ticket, finding.user
    requester = round_.approvers.human(ticket.requested_for)
    opener = round_.approvers.human(ticket.opened_by)
    if user is None or requester is None or opener is None:
        return None
    return Parties(human_of(user, round_.asking.tenant_id), requester, opener)


# --- at the write, and after it -----------------------------------------------------------------------------------


def due_for(gated: Iterable[Gated]) -> dict[LineKey, tuple[str, str]]:
    """Lines that are sent because people agreed: id and digest of the request that has to hold."""
    return {
        g.proposal.finding.key: (g.approval, g.proposal.digest)
        for g in gated
        if g.decision is Decision.CLEARED and g.approval
    }


def consume(
    asking: Asking, session: Session, write: Write, needed: Mapping[LineKey, tuple[str, str]], cycle: str
) -> None:
    """In the transaction of an intent: every request that this write rests on still holds, and is being carried out.

    Raises:
        Stopped: one does not hold any more; nothing is sent.
    """
    at = asking.clock.now()
    for key in write.keys:
        if key not in needed:
            continue
        id, digest = needed[key]
        approvals.change(
            session,
            asking.tenant,
            id,
            lambda a: (
                move(resumes(a, at), State.EXECUTING) if a.state is State.APPROVED and not has_lapsed(a, at) else None
            ),
            at,
            cycle=cycle,
        )
        approval = approvals.load(session, asking.tenant, id)
        if approval is not None and is_ahead(approval, at):
            raise Stopped(f"the clock went back behind the answers to request {id}; how old they are cannot be told")
        if approval is None or approval.state is not State.EXECUTING or approval.digest != digest:
            state = approval.state.value if approval is not None else "not there"
            raise Stopped(f"the approval that it rests on does not hold any more: request {id} is {state}")


def conclude(round_: Round, endings: Iterable[Ending], at: datetime) -> None:
    """What became of what people agreed to: done, failed or partly; what could not be begun yet does not age."""
    asking = round_.asking
    every = {e.state.key: e for e in endings}
    with asking.database.read() as session:
        begun = [a for a in approvals.unfinished(session, asking.tenant) if a.line in every]
    for approval in begun:
        ending = every[approval.line]
        if approval.state is State.APPROVED:
            with asking.database.write() as session:
                approvals.change(session, asking.tenant, approval.id, lambda a: rests(a, at), at, cycle=round_.cycle)
        if approval.state is not State.EXECUTING:
            continue
        if ending.state.phase in _CARRIED_OUT:
            _end(round_, approval, State.DONE, "", at)
        elif ending.state.phase in _GIVEN_UP:
            to = State.PARTLY if ending.state.given else State.FAILED
            _end(round_, approval, to, ending.state.note, at)


def _end(round_: Round, approval: Approval, to: State, reason: str, at: datetime) -> None:
    """Move the request if it stands where it was seen: a decision that came between is not overwritten."""

    def ended(now: Approval) -> Approval | None:
        return move(now, to, reason=reason) if now.state is approval.state and now.at == approval.at else None

    _change(round_, approval, ended, at, "", "approval.outcome")


def _change(
    round_: Round,
    approval: Approval,
    changed: Callable[[Approval], Approval | None],
    at: datetime,
    kind: str,
    event: str = "",
) -> Approval | None:
    asking = round_.asking
    with asking.database.write() as session:
        return approvals.change(
            session,
            asking.tenant,
            approval.id,
            changed,
            at,
            kind=kind,
            cycle=round_.cycle,
            event=event,
            tell=asking.tell,
        )
