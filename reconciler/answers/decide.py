"""Which answers a ticket is owed. Pure.

Level-triggered: a line remembers what its ticket was last told about it (`LineState.told`), and what it would be told
now is compared with that. A ticket is answered as a whole, once all its lines have come to rest, and each change of an
episode at most once (I6): the key of an answer is derived from what happened, so a retry or a restart finds it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from desired_state.model import OUR_MARK, LineKey, Says, Ticket
from reconciler.answers import words
from reconciler.answers.evidence import AuditHead, evidence
from reconciler.answers.owners import owner_of
from reconciler.answers.values import (
    COMMENT_LENGTH_MAX,
    COMPLETE,
    INCOMPLETE,
    ITEM,
    LEVELS,
    NOTE_LENGTH_MAX,
    REQUEST,
    Answer,
    Deed,
    Manners,
    Names,
)
from reconciler.causes import CAUSES, UNSEEN, Cause, Owner, TicketAnswer
from reconciler.digest import digest
from reconciler.lifecycle import Phase
from reconciler.line import Closing, Decision, Ending, LineState, Rest
from reconciler.model import AnswerKind, Verdict

# Lines in one of these are on their way: within the cycle or within their window.
MOVING = frozenset({Phase.RECEIVED, Phase.APPROVED, Phase.CONVERGING, Phase.VERIFYING, Phase.REVOKING})
# An account that cannot be read just now is read again: for so long the ticket waits with what else it has to be told.
UNREADABLE_AT_MOST = timedelta(days=1)
# A permission that is missing is told to whoever grants it, once it is no passing answer of one replica.
UNPERMITTED_AT_LEAST = timedelta(hours=1)
AT_EASE = (Phase.GRANTED.value, Phase.EXPIRING.value)


class Matter(StrEnum):
    """What a ticket is told about one line."""

    GRANTED = "granted"
    WAITING = "waiting"
    QUESTION = "question"  # to the requester
    ASKED = "asked"  # a question to the owner
    HANDED_BACK = "handed_back"
    UNREPAIRED = "unrepaired"  # false, and this mode only looks
    UNPERMITTED = "unpermitted"  # we may not read or change what it needs
    KEPT = "kept"  # a person works on it
    LEFT = "left"
    ENDED = "ended"  # others took it away, and that is accepted here
    REMINDED = "reminded"
    REVOKED = "revoked"
    REFUSED = "refused"  # whoever was asked said no
    UNANSWERED = "unanswered"  # whoever was asked said nothing


FOR_PEOPLE = frozenset({Matter.ASKED, Matter.HANDED_BACK, Matter.UNREPAIRED, Matter.UNANSWERED, Matter.UNPERMITTED})
Deeds = Mapping[LineKey, Sequence[Deed]]


class _Answer(Protocol):
    def __call__(
        self,
        kind: AnswerKind,
        target: str,
        text: str,
        *,
        title: str = "",
        group: str = "",
        comment: str = "",
        marks: bool = False,
        state: str = COMPLETE,
        more: str = "",
    ) -> Answer: ...


def answers(
    ticket: Ticket,
    endings: Sequence[Ending],
    manners: Manners,
    names: Names,
    *,
    tenant: str,
    at: datetime,
    deeds: Deeds | None = None,
    head: AuditHead | None = None,
) -> tuple[Answer, ...]:
    """What this cycle owes the ticket: a note or a question, the evidence, then tasks, a reopening or a closing.

    `endings` are all lines of the ticket; `deeds` what was sent for them in their present episode, oldest first.
    """
    done = deeds or {}
    if not is_at_rest(endings, at):
        return ()
    matters = {e.state.key: m for e in endings if (m := matter(e, done.get(e.state.key, ()))) is not None}
    news = [e for e in endings if e.state.key in matters and _is_news(e)]
    manners = replace(manners, level=level_of(endings, manners))
    if not news or manners.level == "silent":
        return ()
    facts = [[str(e.state.key), e.state.episode, e.state.phase.value, e.state.cause] for e in news]
    keys = tuple(e.state.key for e in news)

    def answer(
        kind: AnswerKind,
        target: str,
        text: str,
        *,
        title: str = "",
        group: str = "",
        comment: str = "",
        marks: bool = False,
        state: str = COMPLETE,
        more: str = "",
    ) -> Answer:
        named = {"tenant": tenant, "ticket": ticket.number, "kind": kind.value, "target": target, "news": facts}
        key = digest(named | ({"more": more} if more else {}))[:20]
        return Answer(kind, key, ticket.number, target, keys, text, title, group, comment, marks, state)

    told_as = words.Telling(endings, {k: m.value for k, m in matters.items()}, names, done, at)
    text = words.work_note(told_as)[:NOTE_LENGTH_MAX]
    comment = words.comment(told_as, [e.state.key for e in news])[:COMMENT_LENGTH_MAX]
    asks = any(matters[e.state.key] in (Matter.QUESTION, Matter.ASKED) for e in news)
    kind = AnswerKind.QUESTION if asks else AnswerKind.NOTE
    said = comment if manners.level == "full" else ""
    given = [answer(kind, ticket.sys_id, text, comment=said, marks=not ticket.correlation_id)]
    if manners.evidence and any(matters[e.state.key] in _PROVED for e in news):
        file = evidence(ticket, endings, done, names, key=given[0].key, tenant=tenant, head=head, at=at)
        given.append(answer(AnswerKind.EVIDENCE, ticket.sys_id, file, title=f"license-reconciler-{given[0].key}.json"))
    mine = [e for e in news if matters[e.state.key] in FOR_PEOPLE]
    if mine:
        given += _hand_over(ticket, mine, matters, manners, told_as, answer)
    else:
        given += _close(ticket, endings, matters, manners, text, answer)
        given += _withdraw(ticket, endings, manners, text, answer)
    return tuple(given)


_PROVED = frozenset({Matter.GRANTED, Matter.HANDED_BACK, Matter.REVOKED})


def told(endings: Sequence[Ending], at: datetime, deeds: Deeds | None = None) -> dict[LineKey, str]:
    """What each line remembers from now on of what its ticket was told.

    What nobody was told leaves the memory as it is, so that the end of a trouble is news only where the trouble was.
    """
    kept = {e.state.key: _told_before(e) for e in endings}
    if not is_at_rest(endings, at):
        return kept
    for ending in endings:
        is_well = ending.state.phase is Phase.GRANTED and not _is_unseen(ending.state)
        if is_well or matter(ending, (deeds or {}).get(ending.state.key, ())):
            kept[ending.state.key] = signature(ending.state)
    return kept


def signature(state: LineState) -> str:
    """What a ticket is told about a line, in short: told once, it is no news."""
    return f"{state.episode}/{state.phase.value}/{state.cause or '-'}"


def is_at_rest(endings: Iterable[Ending], at: datetime) -> bool:
    """Whether no line of a ticket is on its way: until then it is told nothing about any of them.

    What a guard stopped is on its way too: it goes out when a person has looked, or by itself a little later.
    """
    return not any(
        e.state.phase in MOVING or e.gated.decision is Decision.STOPPED or _is_unreadable(e.state, at) for e in endings
    )


def _is_unseen(state: LineState) -> bool:
    """Whether nobody looked: a grant is one still, and what is found at the next look is told, if it is news."""
    return state.cause is not None and Cause(state.cause) in UNSEEN


def _is_unreadable(state: LineState, at: datetime) -> bool:
    waits = {Cause.REMOTE_FAILING.value: UNREADABLE_AT_MOST, Cause.PERMISSION_MISSING.value: UNPERMITTED_AT_LEAST}
    span = waits.get(state.cause or "") if state.phase is Phase.HELD else None
    return span is not None and (state.since is None or at - state.since < span)


def matter(ending: Ending, deeds: Sequence[Deed]) -> Matter | None:
    """What the ticket would be told about this line, whether or not it was told before; None for nothing."""
    gated, state = ending.gated, ending.state
    if not gated.may_answer or gated.decision is Decision.STOPPED:
        return None
    if gated.decision is Decision.PLANNED and gated.proposal.finding.verdict is Verdict.FALSE:
        return Matter.UNREPAIRED
    cause = Cause(state.cause) if state.cause is not None else None
    match state.phase:
        case Phase.GRANTED if _is_unseen(state):
            return None
        case Phase.GRANTED:
            was_asked = gated.proposal.finding.line.says is Says.APPROVED
            was_done = any(d.is_done for d in deeds)
            return Matter.GRANTED if was_asked or was_done or _was_in_trouble(ending) else None
        case Phase.WAITING_FOR_SEAT:
            return Matter.WAITING
        case Phase.DRIFTED if cause is Cause.REMOVED_LATER:
            return Matter.ASKED
        case Phase.EXPIRING if cause is None:
            return Matter.REMINDED
        case Phase.REVOKED:
            return Matter.REVOKED
        case Phase.REFUSED if cause is Cause.POLICY_REFUSED:
            return Matter.REFUSED
        case Phase.CANCELLED if cause is Cause.SUBJECT_LEFT:
            return Matter.LEFT
        case Phase.CANCELLED if cause is Cause.REMOVED_LATER:
            return Matter.ENDED
        case Phase.HELD | Phase.REVIEW | Phase.EXPIRING if cause is not None:
            return _stuck(ending, cause)
        case _:
            return None


def _stuck(ending: Ending, cause: Cause) -> Matter | None:
    facts, phase = CAUSES[cause], ending.state.phase
    if cause is Cause.EXPIRED_NOT_REMOVED:
        is_proposed = ending.finding.closing is Closing.PROPOSED
        return Matter.ASKED if is_proposed or phase is Phase.REVIEW else None
    if cause is Cause.REMOVED_LATER or ending.finding.question is not None:
        return Matter.ASKED
    if phase is Phase.HELD and cause is Cause.HELD_BY_PERSON:
        return Matter.KEPT
    if phase is Phase.HELD and cause is Cause.PERMISSION_MISSING:
        return Matter.UNPERMITTED
    is_open = ending.finding.line.says is not Says.FULFILLED  # nobody answers in a ticket that is closed
    if phase is Phase.HELD and is_open and facts.answer is TicketAnswer.QUESTION and facts.owner is Owner.REQUESTER:
        return Matter.QUESTION
    # Only what the ticket promised or was promised goes back; a mere doubt goes to review in silence.
    is_doubt = ending.finding.rest is Rest.REVIEW
    if phase is Phase.REVIEW and not is_doubt and cause is Cause.POLICY_REFUSED:
        is_dearer = ending.gated.proposal.blocked is Cause.POLICY_REFUSED  # than was approved; nobody was asked
        return Matter.HANDED_BACK if is_dearer else Matter.UNANSWERED
    if phase is Phase.REVIEW and not is_doubt and facts.answer is TicketAnswer.HAND_BACK:
        return Matter.HANDED_BACK
    return None


def _told_before(ending: Ending) -> str:
    before = ending.gated.proposal.finding.line.state
    return before.told if before is not None else ""


def _was_in_trouble(ending: Ending) -> bool:
    """Whether the last thing that the ticket was told about the line is that it does not work."""
    _, _, rest = _told_before(ending).partition("/")
    return bool(rest) and rest.partition("/")[0] not in AT_EASE


def _is_news(ending: Ending) -> bool:
    return signature(ending.state) != _told_before(ending)


def level_of(endings: Sequence[Ending], manners: Manners) -> str:
    """The narrowest level of the tenant and of the products that the ticket is about."""
    keys = [e.finding.line.product.key for e in endings if e.finding.line.product is not None]
    return min([manners.level, *(manners.levels.get(k, manners.level) for k in keys)], key=LEVELS.index)


def _hand_over(
    ticket: Ticket,
    mine: Sequence[Ending],
    matters: Mapping[LineKey, Matter],
    manners: Manners,
    telling: words.Telling,
    answer: _Answer,
) -> Iterable[Answer]:
    """A task for each owner whose move it is, and the reopening of a ticket that was closed and is not true."""
    if manners.level not in ("task", "full"):
        return
    for owner in dict.fromkeys(owner_of(e) for e in mine):
        theirs = [e for e in mine if owner_of(e) == owner]
        group = manners.queues.get(owner, manners.follow_up_group)
        if group:
            title, text = words.task(telling, ticket.number, theirs, owner)
            yield answer(
                AnswerKind.TASK, ticket.sys_id, text[:NOTE_LENGTH_MAX], title=title[:160], group=group, more=owner
            )
    back = [e for e in mine if matters[e.state.key] is Matter.HANDED_BACK]  # what a mode merely looks at stays closed
    is_closed = ticket.is_active is not True and any(e.finding.line.says is Says.FULFILLED for e in back)
    if manners.level == "full" and manners.may_reopen and is_closed:
        text = words.reopening(telling)
        yield answer(AnswerKind.REOPENED, ticket.sys_id, text)
        if ticket.request:
            yield answer(AnswerKind.REOPENED, ticket.request, text, title=REQUEST)


_SETTLED = (Phase.GRANTED, Phase.EXPIRING, Phase.REVOKED)


def _withdraw(
    ticket: Ticket, endings: Sequence[Ending], manners: Manners, text: str, answer: _Answer
) -> Iterable[Answer]:
    """Follow-up tasks of ours whose reason is gone are closed; one that somebody has taken is theirs to close."""
    if manners.level != "full" or any(e.state.phase not in _SETTLED for e in endings):
        return
    for task in ticket.tasks:
        if task.is_active and not task.assigned_to and task.correlation_id.startswith(OUR_MARK):
            yield answer(AnswerKind.CLOSED, task.sys_id, text)


def _close(
    ticket: Ticket,
    endings: Sequence[Ending],
    matters: Mapping[LineKey, Matter],
    manners: Manners,
    text: str,
    answer: _Answer,
) -> Iterable[Answer]:
    """Our own task is closed when every line is granted or refused; the item itself only where no flow owns it.

    Where people refused all of it, nothing was fulfilled: it is closed incomplete.
    """
    if manners.level != "full" or manners.closes == "none":
        return
    is_given = [e.state.phase is Phase.GRANTED for e in endings]
    is_settled = [
        given or matters.get(e.state.key) is Matter.REFUSED for e, given in zip(endings, is_given, strict=True)
    ]
    if not all(is_settled) or any(e.finding.line.says is not Says.APPROVED for e in endings):
        return
    state = COMPLETE if any(is_given) else INCOMPLETE
    if manners.closes == "item":
        yield answer(AnswerKind.CLOSED, ticket.sys_id, text, title=ITEM, state=state)
        return
    for task in ticket.tasks:
        is_follow_up = task.correlation_id.startswith(OUR_MARK)
        is_ours = task.is_active and not task.assigned_to and task.assignment_group in manners.our_groups
        if is_ours and not is_follow_up:
            yield answer(AnswerKind.CLOSED, task.sys_id, text, state=state)
