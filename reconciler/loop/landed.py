"""Whether an answer that was sent has reached its ticket, and what to do where that cannot be seen.

It is sent again only when it is certainly not there: nothing that matches was counted, and no transaction of the
instance could still make it show. What may be there and is hidden from us stays unknown: after an hour of looking it is
a person's. `Giver` asks before it sends anything a second time.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from desired_state.model import OUR_MARK
from reconciler.answers import ITEM, REQUEST, Answer
from reconciler.clients.servicenow import HIDDEN, SYSTEM, ServiceNow
from reconciler.errors import OutcomeUnknown
from reconciler.model import AnswerKind
from reconciler.store import outbox

TRIES_MAX = 5  # of a change of state: a rule that turns it back each time has the last word
PATIENCE = timedelta(days=3)  # an answer that is not there after this is a person's to give
LATE = timedelta(minutes=5)  # no transaction runs longer, so nothing shows later (servicenow.md sections 6 and 13)
UNSEEN, LOOKS = timedelta(hours=1), 3  # for how long, and how often, what may be hidden is looked for
CHANGES = (AnswerKind.REOPENED, AnswerKind.CLOSED)
ORDERED = "ordered, no reply yet"


def why_not_again(item: outbox.Owed, is_there: bool | None, now: datetime) -> str:
    """Why an answer that was sent, and is not seen on its ticket, is never sent again; "" when it is.

    Raises:
        OutcomeUnknown: that cannot be told yet.
    """
    kind, waited = item.answer.kind, now - (item.sent_at or item.intended_at)
    if is_there is None:
        if waited < UNSEEN or item.failures <= LOOKS:
            raise OutcomeUnknown(SYSTEM, f"the {kind} may be there, hidden from us")
        return "it may be there, hidden from us"
    if waited < LATE:
        raise OutcomeUnknown(SYSTEM, f"the {kind} is not there, and may still show")
    if item.remote_id == ORDERED:
        return "it was ordered and no reply came, and an order has no key that could be looked for"
    if now - item.intended_at > PATIENCE or (item.tries >= TRIES_MAX and kind in CHANGES):
        return f"it was not there after {item.tries} tries"
    return ""


def is_there(answer: Answer, servicenow: ServiceNow) -> bool | None:
    """Whether the ticket has the answer; None when that cannot be told: what is hidden may be it."""
    match answer.kind:
        case AnswerKind.NOTE | AnswerKind.QUESTION:
            return servicenow.has_note(answer.target, answer.key)
        case AnswerKind.EVIDENCE:
            return _is_found(servicenow.find_attachment(answer.target, answer.title))
        case AnswerKind.TASK:
            return _is_found(servicenow.find_task(mark_of(answer)))
        case AnswerKind.REOPENED if answer.title == REQUEST:
            return servicenow.request_state(answer.target).is_active
        case AnswerKind.REOPENED:
            return servicenow.state_of(answer.target).is_active
        case AnswerKind.CLOSED:
            look = servicenow.state_of if answer.title == ITEM else servicenow.task
            is_active = look(answer.target).is_active
            return None if is_active is None else not is_active


def _is_found(found: object) -> bool | None:
    return None if found is HIDDEN else found is not None


def mark_of(answer: Answer) -> str:
    """The correlation id of the task that an answer is."""
    return f"{OUR_MARK}{answer.key}"
