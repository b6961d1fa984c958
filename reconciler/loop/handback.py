"""Putting a closed ticket back into people's hands, by the first way that verifies. Source: servicenow.md section 10.

The ways, in order: the customer's own endpoint, a change of state and active, the follow-up task, a new order of an
item for manual review. Instances refuse the first two or turn them back, so only what reads open counts. A ticket that
stays closed is not lost: its task carries it, and the desk is told so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from desired_state.model import OUR_MARK, Ticket
from reconciler.answers import Answer, Manners
from reconciler.clients.servicenow import HIDDEN, SYSTEM, ServiceNow
from reconciler.clock import Clock
from reconciler.errors import Next, OutcomeUnknown, RemoteError
from reconciler.loop.reader import KNOWN_MARK
from reconciler.model import Reply

ORDER = "order"  # the way that leaves nothing to look for: sent once, whatever becomes of it
SETTLES_S = 3.0  # until a rule that runs after the change has had its say


@dataclass(frozen=True, slots=True)
class CameTo:
    """What became of a reopening. `explanation` is for the desk, "" when it is as wanted."""

    is_open: bool
    explanation: str = ""
    remote_id: str = ""
    made_task: bool = False


@dataclass(frozen=True, slots=True)
class Work:
    """One ticket to hand back. `send` makes one remote write with its audit intent, naming the way; `tasks` are the
    numbers of follow-up tasks that carry it already."""

    answer: Answer
    ticket: Ticket
    manners: Manners
    servicenow: ServiceNow
    clock: Clock
    send: Callable[[Callable[[], Reply], str], Reply]
    tasks: str

    @property
    def mark(self) -> str:
        return f"{OUR_MARK}{self.answer.key}"

    @property
    def may_mark(self) -> bool:
        """The correlation id is free, or ours: another system's is left alone."""
        return not self.ticket.correlation_id or self.ticket.correlation_id.startswith((OUR_MARK, KNOWN_MARK))


def reopen(work: Work) -> CameTo:
    """Open the ticket again, or leave it with a task or an order.

    Raises:
        RemoteError: nothing could be done now, or it cannot be seen what was done.
    """
    if _is_open(work):
        return CameTo(True, remote_id="it was open already")
    words = []
    if work.manners.reopen_path:
        refused = _try(work, "script", _by_script(work))
        if refused is None and _is_open(work):
            return CameTo(True, remote_id="by the instance's own endpoint")
        words.append(f"its own endpoint {refused or 'left it closed'}")
    refused = _try(work, "patch", _by_patch(work))
    if _stays_open(work):
        return CameTo(True)
    words.append(f"a change of state {refused or 'was accepted and turned back'}")
    return _instead(work, "; ".join(words))


def reopen_request(work: Work) -> CameTo:
    """Open the request above a ticket that is open again: a closed request with an open item contradicts itself."""
    if not _is_open(work, work.ticket.sys_id):
        return CameTo(False, remote_id="the ticket itself stayed closed")
    target = work.answer.target
    if work.servicenow.request_state(target).is_active is True:
        return CameTo(False, remote_id="it was open already")

    def call() -> Reply:
        state = work.servicenow.reopen_request(target, request_state=work.manners.reopened_request_state or None)
        return Reply(state.request_id, "")

    refused = _try(work, "request", call)
    if work.servicenow.request_state(target).is_active is True:
        return CameTo(True)
    name = work.ticket.request_number or "the request"
    why = refused or "was accepted and turned back"
    text = f"{work.ticket.number} is open again; {name} above it stays closed, because opening it {why}. " + (
        "Please open it by hand if your reports need both to agree."
    )
    return CameTo(False, text)


def _try(work: Work, way: str, call: Callable[[], Reply]) -> str | None:
    """Send one write; why it was refused, None when it was accepted or nobody can tell: the caller looks."""
    try:
        work.send(call, way)
    except OutcomeUnknown as unknown:
        if way != "script":
            raise
        return f"gave no clear answer ({unknown.why})"
    except RemoteError as error:
        if error.then is not Next.BLOCK:
            raise
        return f"was refused ({error})"
    return None


def _by_script(work: Work) -> Callable[[], Reply]:
    def call() -> Reply:
        work.servicenow.reopen_by_script(
            work.manners.reopen_path, work.ticket, correlation=work.mark, reason=work.answer.text
        )
        return Reply("", "")

    return call


def _by_patch(work: Work) -> Callable[[], Reply]:
    def call() -> Reply:
        mark = work.mark if work.may_mark else None
        stage = work.manners.reopened_stage or None  # no rule of the platform sets it
        return Reply(work.servicenow.reopen(work.answer.target, stage=stage, correlation=mark).request_id, "")

    return call


def _is_open(work: Work, target: str = "") -> bool:
    return work.servicenow.state_of(target or work.answer.target).is_active is True


def _stays_open(work: Work) -> bool:
    """It reads open, and still does a moment later."""
    if not _is_open(work):
        return False
    work.clock.sleep(SETTLES_S)
    return _is_open(work)


def _instead(work: Work, words: str) -> CameTo:
    """A task carries what could not be reopened; where there is none, and an item is named, an order does."""
    number = work.ticket.number
    closed = f"{number} could not be opened again: {words}."
    if work.tasks:
        return CameTo(False, f"{closed} The work is in {work.tasks}.", f"instead: {work.tasks}")
    if work.manners.follow_up_group:
        made: list[str] = []

        def create() -> Reply:
            task = work.servicenow.create_task(
                work.ticket,
                key=work.mark,
                short_description=f"{number}: licence access is missing, the ticket stays closed"[:160],
                description=work.answer.text,
                assignment_group=work.manners.follow_up_group,
            )
            made.append(task.number)
            return Reply("", "", 201, task.number)

        known = work.servicenow.find_task(work.mark)
        if known is HIDDEN:
            raise OutcomeUnknown(SYSTEM, "the task that stands in for the ticket may be there, hidden from us")
        if known is None:
            work.send(create, "task")
        task_number = known.number if known is not None else made[0]
        return CameTo(False, f"{closed} The work is in {task_number}.", f"instead: {task_number}", made_task=True)
    if work.manners.review_item:
        ordered: list[str] = []

        def order() -> Reply:
            variables = {work.manners.review_variable: f"{number}: {work.answer.text}"}
            ordered.append(work.servicenow.order(work.manners.review_item, variables))
            return Reply("", "", 200, ordered[0])

        work.send(order, ORDER)
        return CameTo(False, f"{closed} It was ordered anew as {ordered[0]}.", f"instead: {ordered[0]}")
    return CameTo(False, f"{closed} Nobody has it in a queue; please open it by hand.")
