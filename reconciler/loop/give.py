"""Give answers through the choke-point, unless their tickets have them already, and remember that they were given.

A note and the closing of a task are looked at afterwards, those of many tickets in one request; until then they are
sent and not confirmed, so a process that dies in between looks for them first.

What was sent without a reply is looked for first (`landed.py`). What is never sent again although nobody can see it is
a person's, and the audit log says what we do not know.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from desired_state.model import Task, Ticket
from reconciler.answers import ITEM, REQUEST, Answer, Manners
from reconciler.clients.servicenow import ServiceNow
from reconciler.digest import digest
from reconciler.errors import (
    Forbidden,
    Next,
    OutcomeUnknown,
    RemoteError,
    SignInFailed,
    Throttled,
    Unavailable,
    Withheld,
)
from reconciler.line import Lane
from reconciler.loop import handback
from reconciler.loop.desk import Desk
from reconciler.loop.landed import ORDERED, is_there, mark_of, why_not_again
from reconciler.loop.looking import Looks, missing_notes, open_tasks
from reconciler.loop.reader import KNOWN_MARK
from reconciler.loop.send import Sender, Stopped, Write
from reconciler.model import AnswerKind, Reply
from reconciler.store import journal, outbox, tickets

NOTES = (AnswerKind.NOTE, AnswerKind.QUESTION)


@dataclass(frozen=True, slots=True)
class Given:
    """What the ticket has now. `explanation` is what the desk is told when that differs from what was wanted."""

    kinds: tuple[AnswerKind, ...] = ()
    explanation: str = ""
    remote_id: str = ""
    is_seen: bool = True  # False: it was accepted, and nobody has looked yet


@dataclass(frozen=True, slots=True)
class Giver:
    """Gives answers of one cycle."""

    desk: Desk
    sender: Sender
    plan_digest: str
    looks: Looks

    def expect(self, items: Sequence[outbox.Owed]) -> None:
        """These are given next, in this order."""
        closings = (o.answer for o in items if o.answer.kind is AnswerKind.CLOSED and o.answer.title != ITEM)
        self.looks.expect([answer.target for answer in closings])

    def look_back(self, sent: Sequence[tuple[Answer, Given]]) -> tuple[dict[str, RemoteError], dict[str, Task]]:
        """Look at answers that were accepted: keys of those that are not there, or cannot be seen, with what is wrong.

        The others are confirmed; of those that closed a task it is said how that reads now.
        """
        notes = [a for a, _ in sent if a.kind in NOTES]
        wrong = missing_notes(self.desk.servicenow, notes) if notes else {}
        closed = [a for a, _ in sent if a.kind not in NOTES]
        still_open, tasks = open_tasks(self.desk.servicenow, closed)
        wrong |= still_open
        at = self.desk.clock.now()
        with self.desk.database.write() as session:
            for answer, given in sent:
                if answer.key not in wrong:
                    outbox.mark(session, self.desk.tenant, answer.key, outbox.State.CONFIRMED, given.remote_id, at)
                    continue
                body = {"key": answer.key, "kind": answer.kind.value, "why": str(wrong[answer.key])[:200]}
                about = {"lines": [str(k) for k in answer.lines]}
                journal.append(
                    session,
                    self.desk.tenant,
                    kind="answer.unseen",
                    subject=answer.ticket,
                    body=body | about,
                    at=at,
                    cycle=self.sender.cycle,
                )
        return wrong, tasks

    def give(self, item: outbox.Owed) -> Given:
        """Give one answer, or find that the ticket has it.

        Raises:
            Stopped: a check of ours failed, or it is not repeated; a person has to look.
            RemoteError: it was not given; the outbox knows whether it may have been.
        """
        answer = item.answer
        self.sender.check(self._write(answer))
        if item.tries and self._is_settled(item):
            return Given()
        try:
            given = self._send(answer)
        except Forbidden as error:
            found = is_there(answer, self.desk.servicenow)
            if found is True:  # what failed was to show it to us
                given = Given((answer.kind,))
            elif not answer.marks or found is None:
                self._fail(answer.key, str(error)[:200])
                raise
            else:
                given = self._send(replace(answer, marks=False))  # the correlation id may be what it forbids
        if given.is_seen:
            self._mark(answer.key, outbox.State.CONFIRMED, given.remote_id)
        return given

    def _send(self, answer: Answer) -> Given:
        try:
            return self._dispatch(answer)
        except (Throttled, Unavailable, SignInFailed):
            self._unsend(answer.key)
            raise
        except RemoteError as error:
            if error.then is Next.BLOCK and not isinstance(error, Forbidden):
                self._fail(answer.key, str(error)[:200])
            raise

    def _dispatch(self, answer: Answer) -> Given:
        servicenow = self.desk.servicenow
        match answer.kind:
            case AnswerKind.NOTE | AnswerKind.QUESTION:
                self.once(answer, lambda: _note(answer, servicenow))
                return Given((answer.kind,), is_seen=False)
            case AnswerKind.EVIDENCE:
                self.once(answer, lambda: _attach(answer, servicenow))
            case AnswerKind.TASK:
                ticket = self._shown(answer)  # before it is announced: nothing may come between an intent and its write
                made = self.once(answer, lambda: self._task(answer, ticket))
                return Given((answer.kind,), remote_id=made.record)
            case AnswerKind.CLOSED if answer.title == ITEM:
                self.once(answer, lambda: _close_item(answer, servicenow))
            case AnswerKind.CLOSED:
                return self._close_task(answer)
            case AnswerKind.REOPENED:
                return self._reopen(answer)
        return Given((answer.kind,))

    def once(self, answer: Answer, call: Callable[[], Reply], **more: Any) -> Reply:
        """One remote write of an answer, with its intent, marked as sent right before it leaves."""

        def marked() -> Reply:  # once the intent is kept and every check has passed
            self._mark(answer.key, outbox.State.SENT, ORDERED if more.get("way") == handback.ORDER else "")
            try:
                return call()
            except Withheld:  # it may not leave any more, and did not
                if not self.sender.is_over:  # else it may be somebody else's by now
                    self._unsend(answer.key)
                raise

        return self.sender.send(self._write(answer, **more), marked)

    def _write(self, answer: Answer, **more: Any) -> Write:
        body = {"key": answer.key, "target": answer.target, "title": answer.title, "text_sha256": digest(answer.text)}
        if answer.comment:
            body["comment_sha256"] = digest(answer.comment)
        if answer.marks:
            body["correlation_id"] = f"{KNOWN_MARK}{answer.key}"
        return Write(
            system="servicenow",
            kind=answer.kind.value,
            lane=Lane.ANSWERS,
            subject=answer.ticket,
            keys=answer.lines,
            body=body | more,
            plan_digest=self.plan_digest,
        )

    def _task(self, answer: Answer, ticket: Ticket) -> Reply:
        made = self.desk.servicenow.create_task(
            ticket,
            key=mark_of(answer),
            short_description=answer.title,
            description=answer.text,
            assignment_group=answer.group,
        )
        return Reply("", "", 201, made.number)

    def _shown(self, answer: Answer) -> Ticket:
        found = self.desk.servicenow.tickets_by_number([answer.ticket])
        if not found:
            raise Unavailable("servicenow", f"ticket {answer.ticket} is not shown now")
        return found[0]

    def _close_task(self, answer: Answer) -> Given:
        """Close our task, unless a colleague has taken it meanwhile: then it is theirs."""
        now = self.looks.task(answer.target)
        if now.is_active is False:
            return Given(remote_id=f"{now.number} was closed already")
        if now.assigned_to:
            return Given(remote_id=f"{now.number} was taken by a person")
        self.once(answer, lambda: _close(answer, now, self.desk.servicenow))
        return Given((answer.kind,), remote_id=now.number, is_seen=False)

    def _reopen(self, answer: Answer) -> Given:
        with self.desk.database.read() as session:
            known = tickets.load(session, self.desk.tenant, numbers={answer.ticket})
            owed = outbox.of_ticket(session, self.desk.tenant, answer.ticket)
        ticket = known.get(answer.ticket)
        manners = self.desk.manners(ticket) if ticket is not None else Manners()
        work = handback.Work(
            answer,
            ticket or self._shown(answer),
            manners,
            self.desk.servicenow,
            self.desk.clock,
            lambda call, way: self.once(answer, call, way=way),
            _tasks(owed, answer),
        )
        came_to = handback.reopen_request(work) if answer.title == REQUEST else handback.reopen(work)
        kinds = (answer.kind,) if came_to.is_open else (AnswerKind.TASK,) if came_to.made_task else ()
        return Given(kinds, came_to.explanation, came_to.remote_id)

    def _is_settled(self, item: outbox.Owed) -> bool:
        """Look whether an answer that was sent before has reached its ticket. What cannot be seen is not sent twice.

        Raises:
            OutcomeUnknown: it cannot be told yet.
            Stopped: it is not repeated; a person has to look.
        """
        answer = item.answer
        found = is_there(answer, self.desk.servicenow)
        if found is True:
            self._mark(answer.key, outbox.State.CONFIRMED, "found on the ticket")
            return True
        if why := why_not_again(item, found, self.desk.clock.now()):
            self._give_up(answer, why)
            raise Stopped(f"the {answer.kind} is not repeated, because {why}; a person has to look")
        return False

    def _give_up(self, answer: Answer, why: str) -> None:
        """Leave it to a person, and keep what we do not know about it."""
        at = self.desk.clock.now()
        body = {"key": answer.key, "kind": answer.kind.value, "target": answer.target, "why": why}
        about = {"lines": [str(k) for k in answer.lines]}
        with self.desk.database.write() as session:
            outbox.mark(session, self.desk.tenant, answer.key, outbox.State.FAILED, why, at)
            journal.append(
                session,
                self.desk.tenant,
                kind="answer.given_up",
                subject=answer.ticket,
                body=body | about,
                at=at,
                cycle=self.sender.cycle,
            )

    def _mark(self, key: str, state: outbox.State, remote_id: str) -> None:
        with self.desk.database.write() as session:
            outbox.mark(session, self.desk.tenant, key, state, remote_id, self.desk.clock.now())

    def _fail(self, key: str, why: str) -> None:
        self._mark(key, outbox.State.FAILED, why)

    def _unsend(self, key: str) -> None:
        """It was certainly not done: as if it had not been tried."""
        with self.desk.database.write() as session:
            found = outbox.get(session, self.desk.tenant, key)
            if found is not None and found.state is outbox.State.SENT:
                outbox.mark(session, self.desk.tenant, key, outbox.State.INTENDED, "", self.desk.clock.now())


def _tasks(owed: tuple[outbox.Owed, ...], answer: Answer) -> str:
    """Numbers of the follow-up tasks that carry the same lines, "" when there are none."""
    mine = [
        o.remote_id
        for o in owed
        if o.answer.kind is AnswerKind.TASK
        and o.state is outbox.State.CONFIRMED
        and set(o.answer.lines) & set(answer.lines)
    ]
    return ", ".join(n for n in mine if n)


def _note(answer: Answer, servicenow: ServiceNow) -> Reply:
    correlation = f"{KNOWN_MARK}{answer.key}" if answer.marks else ""
    return servicenow.add_note(
        answer.target, answer.text, key=answer.key, comment=answer.comment, correlation=correlation
    )


def _attach(answer: Answer, servicenow: ServiceNow) -> Reply:
    made = servicenow.attach(answer.target, answer.title, "application/json", answer.text.encode())
    return Reply("", "", 201, made)


def _close_item(answer: Answer, servicenow: ServiceNow) -> Reply:
    state = servicenow.close_item(answer.target, close_notes=answer.text, state=answer.state)
    if state.is_active is not False:
        raise OutcomeUnknown("servicenow", "the ticket reads open after it was closed")
    return Reply(state.request_id, "")


def _close(answer: Answer, task: Task, servicenow: ServiceNow) -> Reply:
    sent = servicenow.close_task(answer.target, close_notes=answer.text, state=answer.state)
    return replace(sent, record=task.number)
