"""Who is told what about a request, by which way. Pure.

An approver with a chat that we can reach gets the full card there. A channel is read by many: it gets number, product,
link, and a mention of those who can be reached in no other way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from desired_state.model import LineKey
from reconciler.approvals.values import Approval, Human, State, among, same
from reconciler.approvals.values import Channel as By
from reconciler.cards.facts import text
from reconciler.cards.links import Links
from reconciler.cards.request import request_card
from reconciler.cards.short import break_glass_card, channel_card, guard_card, outcome_card, sample_card
from reconciler.cards.values import Channel, Kind, Notice

DESK, PERSON = "channel:desk", "person:"
_NEED_A_PERSON = {
    State.EXPIRED: "A request expired without an answer",
    State.FAILED: "What was approved could not be carried out",
    State.PARTLY: "What was approved was carried out in part",
}
_RESULTS = frozenset({State.DONE, State.FAILED, State.PARTLY})


@dataclass(frozen=True, slots=True)
class Ways:
    """How people are reached. `has_chat`: whether a sign-in name has a chat of its own that we can post to."""

    links: Links
    has_desk: bool
    has_chat: Callable[[str], bool]


def notices(event: str, approval: Approval, ways: Ways) -> tuple[Notice, ...]:
    """What an event of a request makes to be told; none for what nobody needs to hear."""
    loud = _break_glass(approval, ways)
    match event:
        case "approval.request" | "approval.escalated":
            return (*loud, *_asked(approval, ways))
        case "approval.reminder":
            return (*loud, *_reminded(approval, ways))
        case "approval.outcome":
            return (*loud, *_ended(approval, ways))
    return loud


def guard_notice(ways: Ways, *, tenant: str, **trip: Any) -> tuple[Notice, ...]:
    """That a guard stopped a lane; `trip` has guard, lane, wanted, limit, digest and sentence."""
    if not ways.has_desk:
        return ()
    line = f"{trip['guard']} stopped {trip['lane']}: {trip['sentence']}"
    event = f"{Kind.GUARD.value}/{trip['guard']}/{trip['lane']}"
    card = guard_card(ways.links, **trip)
    return (Notice(Kind.GUARD, event, tenant, DESK, Channel.TEAMS, trip["digest"], card, line),)


def sample_notice(ways: Ways, *, line: LineKey, rule: str, digest: str) -> tuple[Notice, ...]:
    """That a person has to look at what a rule approved; the desk is told, once for each line, rule and digest."""
    if not ways.has_desk:
        return ()
    card = sample_card(ways.links, ticket=line.ticket, line=line.line, rule=rule)
    told = f"{line.ticket}: approved by the rule {rule}, please look at it"
    event = f"{Kind.SAMPLE.value}/{rule}"
    return (Notice(Kind.SAMPLE, event, str(line), DESK, Channel.TEAMS, digest, card, told, str(line)),)


def person(human: Human) -> str:
    return f"{PERSON}{human.upn.lower()}"


def _asked(approval: Approval, ways: Ways) -> tuple[Notice, ...]:
    stage = approval.stage
    if stage is None or stage.opened_at is None:
        return ()
    people = _unanswered(approval)
    chats = [h for h in people if ways.has_chat(h.upn)]
    event = f"{Kind.REQUEST.value}/{stage.name}"
    found = [_to(Kind.REQUEST, event, approval, h, request_card(approval, ways.links)) for h in chats] if chats else []
    if ways.has_desk:
        others = [h for h in people if not ways.has_chat(h.upn)]
        escalated = "/escalated" if stage.escalated_at is not None and others else ""
        card = channel_card(approval, ways.links, "Licence approval needed", others)
        found.append(_desk(Kind.REQUEST, event + escalated, approval, card, "waits for approval"))
    if not found:
        found.append(nobody(event, approval))
    return tuple(found)


def _reminded(approval: Approval, ways: Ways) -> tuple[Notice, ...]:
    stage = approval.stage
    if stage is None:
        return ()
    event = f"{Kind.REMINDER.value}/{stage.name}/{stage.reminded}"
    people = _unanswered(approval)
    number = max(1, stage.reminded)
    found = [
        _to(Kind.REMINDER, event, approval, h, request_card(approval, ways.links, reminder=number))
        for h in people
        if ways.has_chat(h.upn)
    ]
    others = [h for h in people if not ways.has_chat(h.upn)]
    if ways.has_desk and others:
        card = channel_card(approval, ways.links, "Reminder: licence approval needed", others)
        found.append(_desk(Kind.REMINDER, event, approval, card, "still waits for approval"))
    return tuple(found)


def _ended(approval: Approval, ways: Ways) -> tuple[Notice, ...]:
    """To whoever was asked, but not to whose answer it was; what was carried out, to whoever agreed to it."""
    event = f"{Kind.OUTCOME.value}/{approval.state.value}"
    if approval.state in _RESULTS:
        people = [h for d in approval.decisions for h in (d.actor,)]
    else:
        last = approval.decisions[-1].actor if approval.decisions else None
        settled = approval.state in (State.APPROVED, State.REJECTED)
        asked = [h for s in approval.stages if s.opened_at is not None for h in s.everyone]
        people = [h for h in asked if not (settled and same(h, last))]
    card = outcome_card(approval, ways.links)
    found = [_to(Kind.OUTCOME, event, approval, h, card) for h in _once(people) if ways.has_chat(h.upn)]
    title = _NEED_A_PERSON.get(approval.state)
    if title is not None and ways.has_desk:
        note = channel_card(approval, ways.links, title)
        found.append(_desk(Kind.OUTCOME, event, approval, note, title.lower()))
    return tuple(found)


def _break_glass(approval: Approval, ways: Ways) -> tuple[Notice, ...]:
    signed = [d for d in approval.decisions if d.channel is By.BREAK_GLASS]
    if not signed:
        return ()
    event = f"{Kind.BREAK_GLASS.value}/{len(signed)}"
    card = break_glass_card(approval, ways.links)
    people = [h for s in approval.stages for h in s.everyone if not among(h, [d.actor for d in signed])]
    found = [_to(Kind.BREAK_GLASS, event, approval, h, card) for h in _once(people) if ways.has_chat(h.upn)]
    if ways.has_desk:
        found.append(_desk(Kind.BREAK_GLASS, event, approval, card, "was approved by break-glass"))
    return tuple(found)


def _unanswered(approval: Approval) -> tuple[Human, ...]:
    stage = approval.stage
    if stage is None:
        return ()
    given = [h for d in approval.decisions if d.stage == stage.name for h in d.humans]
    return _once(h for h in stage.everyone if not among(h, given))


def _once(people: Iterable[Human]) -> tuple[Human, ...]:
    found: list[Human] = []
    for human in people:
        if not among(human, found):
            found.append(human)
    return tuple(found)


def _to(kind: Kind, event: str, approval: Approval, human: Human, card: Mapping[str, Any]) -> Notice:
    line = f"{approval.line.ticket}, {text(approval.shown.get('product'))}: {kind.value.rpartition('.')[2]}"
    return Notice(
        kind, event, approval.id, person(human), Channel.TEAMS, approval.digest, card, line, str(approval.line), human
    )


def _desk(kind: Kind, event: str, approval: Approval, card: Mapping[str, Any], what: str) -> Notice:
    line = f"{approval.line.ticket}, {text(approval.shown.get('product'))}: {what}"
    return Notice(kind, event, approval.id, DESK, Channel.TEAMS, approval.digest, card, line, str(approval.line))


def nobody(event: str, approval: Approval) -> Notice:
    """What stands for a notice that cannot be made, so that this is seen."""
    return Notice(Kind.REQUEST, event, approval.id, "nobody", Channel.NONE, approval.digest, {}, "", str(approval.line))
