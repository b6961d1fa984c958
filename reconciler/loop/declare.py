"""One ticket into the ledger: what it was read to say, line by line, and what of it is a new decision.

What was read once stands until it is read again (I4). A ticket that we reopened ourselves is not news (I6).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from sqlmodel import Session

from desired_state import ledger
from desired_state.hiding import is_open
from desired_state.intake import Intake, called_off, intake
from desired_state.model import OUR_MARK, LineKey, Person, Refusal, Request, Says, Ticket, Why
from reconciler.digest import digest, plain
from reconciler.lifecycle import FINAL, Phase
from reconciler.line import LineState
from reconciler.loop.ending import renewed
from reconciler.loop.mentions import Mentioned
from reconciler.loop.reader import Reader
from reconciler.model import AnswerKind
from reconciler.store import journal, lines, outbox

RENEWED = "the ticket changed"


def declare(
    reader: Reader,
    session: Session,
    ticket: Ticket,
    mentioned: Mentioned,
    known: Mapping[LineKey, LineState],
    before: dict[LineKey, ledger.Standing],
    cycle: str,
    at: datetime,
    *,
    is_first: bool,
) -> bool:
    """Declare one ticket; `before` is how its lines stand, and is kept up to date. True when a line was renewed."""
    taken = intake(
        ticket,
        reader.items[ticket.item],
        mentioned.people,
        reader.catalogue,
        at=at,
        our_groups=reader.our_groups,
        our_accounts=reader.our_accounts,
        words=reader.words,
        zone=reader.zone,
        named=mentioned.named,
    )
    news: list[Request | Refusal] = []
    is_renewed = False
    is_ours = _is_our_reopening(taken.says, known) and _was_reopened(reader, session, ticket)
    is_hidden = is_open(ticket, reader.items[ticket.item])
    for line in tuple(_as_known(ticket, taken, before, is_hidden=is_hidden)):
        standing = before.get(line.key)
        if is_ours and standing is not None and not _asks_something_else(standing, line):
            continue
        change = ledger.Declared(line) if isinstance(line, Request) else ledger.Refused(line)
        is_news = standing is None or _asks_something_else(standing, line) or _is_settled_anew(standing, line)
        stood = standing if standing is not None else ledger.Standing(line.key)
        before[line.key] = ledger.append_to(session, reader.tenant, stood, change, at)
        if before[line.key] is not stood and is_news:
            news.append(line)
            is_renewed |= _renew(reader, session, known.get(line.key), cycle, at)
    told = taken.lines if is_first else news
    if told:
        _tell_seen(session, reader.tenant, ticket, told, cycle, at)
    return is_renewed


def _as_known(
    ticket: Ticket, taken: Intake, before: Mapping[LineKey, ledger.Standing], *, is_hidden: bool
) -> Iterator[Request | Refusal]:
    """The lines as they are declared: what was read once stands until it is read again (I4), or is called off."""
    unread = {line.key for line in taken.lines if is_hidden or _is_unread(line)}
    stood = {key: standing for key, standing in before.items() if key.ticket == ticket.number}
    yield from (line for line in taken.lines if line.key not in unread or not _says_more(stood.get(line.key), line))
    if unread:
        read = {line.key for line in taken.lines} - unread  # a form that is hidden shows none of its other lines
        asked = (s.request for key, s in stood.items() if key not in read and s.request is not None)
        now = (called_off(ticket, taken, request) or _with_person_shown(ticket, request) for request in asked)
        yield from (line for line in now if line is not None)


def _with_person_shown(ticket: Ticket, request: Request) -> Request | None:
    """A request of a hidden form, with its person as they read now: a renamed person is not looked for by the old name.

    None when nobody is shown, or reads as before.
    """
    shown = {p.sys_id: p for p in (ticket.requested_for, ticket.opened_by) if p is not None}
    before = request.claim.person
    person = shown.get(before.sys_id) if before is not None else None
    if person is None or person == before:
        return None
    return replace(request, claim=replace(request.claim, person=person))


def _says_more(standing: ledger.Standing | None, line: Request | Refusal) -> bool:
    """Whether what stands was read from the form, and the line that is hidden now says nothing else."""
    if standing is None:
        return False
    refused = standing.declaration if isinstance(standing.declaration, Refusal) else None
    is_same = refused is not None and isinstance(line, Refusal) and refused.why is line.why
    return standing.request is not None or is_same


def _tell_seen(
    session: Session, tenant: str, ticket: Ticket, news: Sequence[Request | Refusal], cycle: str, at: datetime
) -> None:
    """What a ticket was read to say, once for each time that it says something new."""
    asked = [
        {"line": str(line.key), "product": line.product, "says": line.says.value, "period": plain(line.period)}
        if isinstance(line, Request)
        else {"line": str(line.key), "product": line.product, "refused": line.why.value}
        for line in news
    ]
    body = {
        "sys_id": ticket.sys_id,
        "item": ticket.item_name,
        "state": ticket.state,
        "stage": ticket.stage,
        "approval": ticket.approval,
        "mod_count": ticket.mod_count,
        "updated_at": ticket.updated_at,
        "requester": _named(ticket.requested_for),
        "opener": _named(ticket.opened_by),
        "digest": digest(ticket),
        "asked": asked,
        "lines": [str(line.key) for line in news],
    }
    journal.append(session, tenant, kind="ticket.seen", subject=ticket.number, body=body, at=at, cycle=cycle)


def _named(person: Person | None) -> dict[str, str] | None:
    return {"user_name": person.user_name or "", "email": person.email or ""} if person is not None else None


def _is_our_reopening(says: Says, known: Mapping[LineKey, LineState]) -> bool:
    """An open ticket whose lines are with a person: when we opened it, that is what we did, not what is asked."""
    open_again = says in (Says.APPROVED, Says.WAITING, Says.INCONSISTENT)
    return open_again and any(state.phase is Phase.REVIEW for state in known.values())


def _was_reopened(reader: Reader, session: Session, ticket: Ticket) -> bool:
    """Whether we opened it: by its mark, or, where another system's id stands there, by what we sent."""
    if ticket.correlation_id.startswith(OUR_MARK):
        return True
    sent = (outbox.State.SENT, outbox.State.CONFIRMED)
    owed = outbox.of_ticket(session, reader.tenant, ticket.number)
    return any(o.answer.kind is AnswerKind.REOPENED and o.state in sent for o in owed)


def _asks_something_else(standing: ledger.Standing, line: Request | Refusal) -> bool:
    """Whether a person corrected a ticket that was handed back: another person, product or period."""
    request = standing.request
    if isinstance(line, Refusal):
        return False  # what cannot be read as a request asks for nothing else
    if request is None:
        return True
    return (_who(request), request.product, request.period) != (_who(line), line.product, line.period)


def _is_settled_anew(standing: ledger.Standing, line: Request | Refusal) -> bool:
    """Whether the ticket was approved, closed or cancelled again: a new decision about the same wish.

    Only a closing has an instant of its own; an approver's row moves with every reminder and comment on it.
    """
    request = standing.request
    if request is None or isinstance(line, Refusal):
        return True
    is_closed_again = line.says is Says.FULFILLED and request.due_since != line.due_since
    return request.says is not line.says or is_closed_again


def _who(request: Request) -> tuple[str | None, str | None]:
    person = request.claim.person
    return request.claim.upn, person.sys_id if person is not None else None


def _renew(reader: Reader, session: Session, state: LineState | None, cycle: str, at: datetime) -> bool:
    """A line that had come to its end is a new decision when its ticket says something new. True when it was one."""
    if state is None or state.phase not in (FINAL | {Phase.REVIEW}):
        return False
    fresh = renewed(state, at)
    if lines.save(session, reader.tenant, fresh, at):
        journal.append(
            session,
            reader.tenant,
            kind="line_moved",
            subject=str(state.key),
            body={"from": state.phase.value, "to": fresh.phase.value, "why": RENEWED},
            at=at,
            cycle=cycle,
        )
    return True


def _is_unread(declaration: object) -> bool:
    return isinstance(declaration, Refusal) and declaration.why is Why.UNKNOWN
