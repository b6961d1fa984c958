"""Give the tickets what the outbox owes them: in order, within limits, each answer once (I6).

Before an answer is sent again, its ticket is searched for its key. What cannot be given now is tried again with
growing waits; what is refused for good shows in `status` and is a person's to look at.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from datetime import timedelta

from desired_state.model import LineKey
from reconciler.answers import REQUEST, Answer
from reconciler.digest import digest
from reconciler.errors import Next, RemoteError, Spent, Throttled
from reconciler.lifecycle import Phase
from reconciler.line import Lane, LineState, Trip
from reconciler.loop.desk import Desk, Told
from reconciler.loop.give import Given, Giver
from reconciler.loop.guarding import Post
from reconciler.loop.guards import Limits, within
from reconciler.loop.guards.judge import CIRCUIT, FREEZE, KILL
from reconciler.loop.looking import Looks
from reconciler.loop.pauses import Pause, uninterrupted
from reconciler.loop.send import Sender, Stopped
from reconciler.model import AnswerKind
from reconciler.store import lines, outbox

DAY = timedelta(hours=24)
NOTES = (AnswerKind.NOTE, AnswerKind.QUESTION)
TICKETS_MAX = 200  # answered side by side: what was sent is looked at by lists of as many ids as an address holds


def deliver(
    desk: Desk,
    sender: Sender,
    post: Post,
    *,
    plan_digest: str,
    only: frozenset[str],
    pause: Pause = uninterrupted,
) -> Told:
    """Send what the outbox owes, oldest first; `only` names the tickets in scope, empty means all."""
    told = Told()
    at = desk.clock.now()
    with desk.database.read() as session:
        every = [o for o in outbox.unsent(session, desk.tenant) if not only or o.answer.ticket in only]
        used = outbox.tickets_answered_since(session, desk.tenant, at - DAY)
        by_group = outbox.groups_answered_since(session, desk.tenant, at - DAY)
        notes = outbox.notes_since(session, desk.tenant, at - DAY)
        outdated = _outdated(every, lines.load(session, desk.tenant, tickets={o.answer.ticket for o in every}))
    waiting = {o.answer.ticket for o in every if o.next_at is not None and o.next_at > at}
    full = _full(every, notes, desk.limits.answers_per_ticket)
    owed = [
        o
        for o in every
        if o.answer.ticket not in waiting | full and o.answer.key not in outdated and post.may_answer(o.answer.lines)
    ]
    told.trips = tuple(_too_often(ticket, notes[ticket], desk.limits) for ticket in sorted(full))
    stop = post.watch.stop(Lane.ANSWERS)
    if not owed or stop is not None:  # what is stopped is told by the gate's trip, and stays owed
        return told
    lane = digest({"lane": Lane.ANSWERS.value, "answers": sorted(o.answer.key for o in owed)})
    trip = _trip(owed, used, by_group, desk.limits, lane) or post.circuit(Lane.ANSWERS, len(owed), lane)
    if trip is not None and not post.let_through(lane, Lane.ANSWERS):
        told.trips = (*told.trips, trip)
        post.keep([trip], [_shown(o) for o in owed])
        return told
    _give_all(owed, Giver(desk, sender, plan_digest, Looks(desk.servicenow, desk.clock)), desk, told, pause)
    return told


_SETTLED = frozenset({Phase.GRANTED, Phase.EXPIRING, Phase.REVOKING, Phase.REVOKED, Phase.REFUSED})


def _outdated(owed: Sequence[outbox.Owed], stands: Mapping[LineKey, LineState]) -> frozenset[str]:
    """Keys of answers that would close a ticket as settled, and of what was to be said with it, while it is not.

    What was granted when they were decided may be gone by the time they can be given. They wait: what the line is told
    next takes their place, or the access comes back.
    """
    open_ = {key.ticket for key, state in stands.items() if state.phase not in _SETTLED}
    closings = [o for o in owed if o.answer.kind is AnswerKind.CLOSED]
    undone = {(o.answer.ticket, o.intended_at) for o in closings if o.answer.ticket in open_}
    return frozenset(o.answer.key for o in owed if (o.answer.ticket, o.intended_at) in undone)


def _give_all(owed: Sequence[outbox.Owed], giver: Giver, desk: Desk, told: Told, pause: Pause) -> None:
    """Some tickets at a time, in rounds of one answer each: what a round sent is looked at before the next one.

    What is owed to a ticket that another cycle answers between two rounds is that one's to give.
    """
    answered: set[str] = set()
    queues: dict[str, deque[outbox.Owed]] = {}
    for item in owed:
        queues.setdefault(item.answer.ticket, deque()).append(item)
    tickets = list(queues)
    for n in range(0, len(tickets), TICKETS_MAX):
        open_ = {ticket: queues[ticket] for ticket in tickets[n : n + TICKETS_MAX] if ticket not in answered}
        while open_:
            if not _round(open_, giver, desk, told):
                return
            answered |= pause()
            open_ = {ticket: queue for ticket, queue in open_.items() if queue and ticket not in answered}


def _round(queues: Mapping[str, deque[outbox.Owed]], giver: Giver, desk: Desk, told: Told) -> bool:
    """The next answer of each ticket. The queue of one that failed is emptied: the note comes before the reopening,
    and what follows a failure waits for it. False when nothing more can be told now.
    """
    items = [queue.popleft() for queue in queues.values()]
    giver.expect(items)
    sent: list[tuple[outbox.Owed, Given]] = []
    goes_on = True
    for item in items:
        ticket = item.answer.ticket
        try:
            given = giver.give(item)
        except Stopped as stopped:
            _count(desk, item.answer.kind, "stopped")
            if stopped.trip is None:
                told.problems.append(f"{ticket} was not answered: {stopped}")
            elif stopped.trip.guard in (KILL, FREEZE, CIRCUIT):  # it all stays owed
                goes_on = False
                break
            queues[ticket].clear()
        except Throttled as error:  # whoever is asked next is told the same, and each try would be announced
            _count(desk, item.answer.kind, "failed")
            told.problems.append(f"{ticket} was not answered yet, and nobody after it: {error}")
            if not isinstance(error, Spent):  # what we did not send ourselves was no try
                _postpone(desk, item)
            goes_on = False
            break
        except RemoteError as error:
            _failed(item, error, desk, told)
            if item.answer.kind is not AnswerKind.EVIDENCE or error.then is not Next.BLOCK:
                queues[ticket].clear()  # a ticket that takes no file is told everything else
            if error.then is Next.STOP:
                goes_on = False
                break
        else:
            if given.is_seen:
                told.ours.is_all = told.ours.is_all and not given.kinds
                _given(item, given, queues[ticket], desk, told)
            else:
                sent.append((item, given))
    wrong, tasks = giver.look_back([(item.answer, given) for item, given in sent]) if sent else ({}, {})
    for item, given in sent:
        unseen = wrong.get(item.answer.key)
        if unseen is not None:
            _failed(item, unseen, desk, told)
            queues[item.answer.ticket].clear()
            goes_on = goes_on and unseen.then is not Next.STOP
        else:
            if item.answer.key in tasks:
                of_ticket = told.ours.tasks.get(item.answer.ticket, ())
                told.ours.tasks[item.answer.ticket] = (*of_ticket, tasks[item.answer.key])
            _given(item, given, queues[item.answer.ticket], desk, told)
    return goes_on


def _given(item: outbox.Owed, given: Given, queue: deque[outbox.Owed], desk: Desk, told: Told) -> None:
    if not given.is_seen and item.answer.kind in NOTES:
        told.ours.notes[item.answer.ticket] += 1
    elif not given.is_seen:
        told.ours.closed.add(item.answer.target)
    for kind in given.kinds:
        told.add(item.answer.ticket, kind)
    kinds = given.kinds or (item.answer.kind,)  # none: it was there already, and its reply was lost
    for kind in kinds:
        _count(desk, kind, "given")
    if AnswerKind.REOPENED in kinds and item.answer.title != REQUEST:
        _count_reopened(desk, item.answer)
    if given.explanation:
        queue.appendleft(_explain(desk, item.answer, given.explanation))


def _failed(item: outbox.Owed, error: RemoteError, desk: Desk, told: Told) -> None:
    told.ours.is_all = False  # it may have been written all the same
    _count(desk, item.answer.kind, "failed")
    told.problems.append(f"{item.answer.ticket} was not answered yet: {error}")
    _postpone(desk, item)


def _count(desk: Desk, kind: AnswerKind, result: str) -> None:
    if kind is not AnswerKind.EVIDENCE:  # it goes with another answer
        desk.meter.answered(kind.value, result)


def _count_reopened(desk: Desk, answer: Answer) -> None:
    """Once for each product and cause; lines that were told of beside them have none."""
    with desk.database.read() as session:
        stands = lines.load(session, desk.tenant, tickets={answer.ticket})
    mine = [stands[key] for key in answer.lines if key in stands]
    wrong = [state for state in mine if state.cause is not None] or mine
    for product, cause in sorted({(state.product, state.cause or "") for state in wrong}):
        desk.meter.reopened(product, cause)


def _postpone(desk: Desk, item: outbox.Owed) -> None:
    with desk.database.write() as session:
        outbox.postpone(session, desk.tenant, item.answer.key, desk.clock.now())


def _explain(desk: Desk, answer: Answer, text: str) -> outbox.Owed:
    """Owe the desk a sentence about what an answer became, when that is not what the note said."""
    key = digest({"about": answer.key, "said": "what became of it"})[:20]
    note = Answer(AnswerKind.NOTE, key, answer.ticket, _item(desk, answer), answer.lines, text)
    with desk.database.write() as session:
        outbox.intend(session, desk.tenant, note, desk.clock.now())
        found = outbox.get(session, desk.tenant, key)
    assert found is not None
    return found


def _item(desk: Desk, answer: Answer) -> str:
    """The ticket's own record: an answer about its request has that one as its target."""
    with desk.database.read() as session:
        owed = outbox.of_ticket(session, desk.tenant, answer.ticket)
    return next((o.answer.target for o in owed if o.answer.kind in NOTES), answer.target)


def _full(owed: Sequence[outbox.Owed], notes: Mapping[str, int], limit: int) -> set[str]:
    """Tickets that were told enough for a day and would be told more."""
    wanting = {o.answer.ticket for o in owed if o.answer.kind in NOTES and not o.tries}
    return {ticket for ticket in wanting if notes.get(ticket, 0) >= limit}


def _shown(owed: outbox.Owed) -> dict[str, str]:
    return {
        "line": str(owed.answer.lines[0]) if owed.answer.lines else owed.answer.ticket,
        "kind": owed.answer.kind.value,
    }


def _too_often(ticket: str, count: int, limits: Limits) -> Trip:
    sentence = (
        f"{ticket} was told {count} things in the last 24 hours, and a ticket is told {limits.answers_per_ticket} "
        f"a day at most; what is new waits. Look at why it changes so often: `reconciler explain {ticket}`."
    )
    return Trip("ticket budget", Lane.ANSWERS, count + 1, limits.answers_per_ticket, "", sentence)


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
    trip = within(Lane.ANSWERS, tickets, used=used, limits=limits, digest=plan_digest, what="tickets")
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
