"""Who is told what about a request, by which way. Pure.

An approver with a chat that we can reach gets the full card there, one without gets it by mail. A channel is read by
many: it gets number, product, link, and a mention of those who can be reached in no other way. By mail the service desk
gets what the channel gets, the licence admins what stopped or went past people, and a requester how the request ended.
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
from reconciler.cards.short import (
    break_glass_card,
    channel_card,
    guard_card,
    outcome_card,
    requester_card,
    sample_card,
)
from reconciler.cards.values import Channel, Kind, Notice

DESK, PERSON = "channel:desk", "person:"
DESK_MAIL, ADMIN_MAIL, REQUESTER = "desk:", "admin:", "requester:"  # by mail: each address is told by itself
_NEED_A_PERSON = {
    State.EXPIRED: "A request expired without an answer",
    State.FAILED: "What was approved could not be carried out",
    State.PARTLY: "What was approved was carried out in part",
}
_RESULTS = frozenset({State.DONE, State.FAILED, State.PARTLY})
_TOLD_TO_REQUESTER = frozenset({State.REJECTED, State.EXPIRED, State.DONE})
_FOR_ADMINS = frozenset({State.FAILED, State.PARTLY})


@dataclass(frozen=True, slots=True)
class Mails:
    """Who is reached by mail. `address_of` gives the address of a sign-in name, "" where there is none.

    `people`: whoever is asked gets mail, and with `beside_chats` also who has a chat. `requesters`: they are told how
    their request ended.
    """

    address_of: Callable[[str], str]
    desk: tuple[str, ...] = ()
    admins: tuple[str, ...] = ()
    people: bool = True
    beside_chats: bool = False
    requesters: bool = False

    def of(self, recipient: str) -> str:
        """The address of a recipient of ours, "" for one who is not told by mail any more."""
        if recipient.startswith((PERSON, REQUESTER)):
            return self.address_of(recipient.partition(":")[2])
        for prefix, known in ((DESK_MAIL, self.desk), (ADMIN_MAIL, self.admins_or_desk)):
            address = recipient.removeprefix(prefix)
            if recipient.startswith(prefix) and address in known:
                return address
        return ""

    @property
    def admins_or_desk(self) -> tuple[str, ...]:
        """Whoever is told what stopped or went past people: the desk, where no licence admin is named."""
        return self.admins or self.desk


@dataclass(frozen=True, slots=True)
class Ways:
    """How people are reached. `has_chat`: whether a sign-in name has a chat of its own that we can post to."""

    links: Links
    has_desk: bool
    has_chat: Callable[[str], bool]
    mails: Mails | None = None

    def has_mail(self, upn: str) -> bool:
        """Whether this person is told by mail."""
        if self.mails is None or not self.mails.people or not self.mails.address_of(upn):
            return False
        return self.mails.beside_chats or not self.has_chat(upn)

    def called(self, people: Iterable[Human]) -> list[Human]:
        """Those who can be reached by a mention in the channel only."""
        return [h for h in people if not self.has_chat(h.upn) and not self.has_mail(h.upn)]


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
    line = f"{trip['guard']} stopped {trip['lane']}: {trip['sentence']}"
    event = f"{Kind.GUARD.value}/{trip['guard']}/{trip['lane']}"
    card = guard_card(ways.links, **trip)
    return tuple(
        Notice(Kind.GUARD, event, tenant, to, channel, trip["digest"], card, line) for to, channel in _watchers(ways)
    )


def sample_notice(ways: Ways, *, line: LineKey, rule: str, digest: str, again: int = 0) -> tuple[Notice, ...]:
    """That a person has to look at what a rule approved; the desk is told, once for each line, rule and digest.

    `again` counts the reminders, each of which is told once as well.
    """
    card = sample_card(ways.links, ticket=line.ticket, line=line.line, rule=rule)
    told = f"{line.ticket}: approved by the rule {rule}, please look at it"
    event = f"{Kind.SAMPLE.value}/{rule}" + (f"/{again}" if again > 0 else "")
    return tuple(
        Notice(Kind.SAMPLE, event, str(line), to, channel, digest, card, told, str(line))
        for to, channel in _watchers(ways)
    )


def person(human: Human) -> str:
    return f"{PERSON}{human.upn.lower()}"


def _asked(approval: Approval, ways: Ways) -> tuple[Notice, ...]:
    stage = approval.stage
    if stage is None or stage.opened_at is None:
        return ()
    people = _unanswered(approval)
    event = f"{Kind.REQUEST.value}/{stage.name}"
    found = _people(Kind.REQUEST, event, approval, people, lambda: request_card(approval, ways.links), ways)
    title, what = "Licence approval needed", "waits for approval"
    if ways.has_desk:
        others = ways.called(people)
        escalated = "/escalated" if stage.escalated_at is not None and others else ""
        card = channel_card(approval, ways.links, title, others)
        found.append(_desk(Kind.REQUEST, event + escalated, approval, card, what))
    found += _desk_mails(Kind.REQUEST, event, approval, ways, title, what)
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
    asking = lambda: request_card(approval, ways.links, reminder=number)  # noqa: E731
    found = _people(Kind.REMINDER, event, approval, people, asking, ways)
    title, what = "Reminder: licence approval needed", "still waits for approval"
    others = ways.called(people)
    if ways.has_desk and others:
        card = channel_card(approval, ways.links, title, others)
        found.append(_desk(Kind.REMINDER, event, approval, card, what))
    if others:
        found += _desk_mails(Kind.REMINDER, event, approval, ways, title, what)
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
    found = _people(Kind.OUTCOME, event, approval, _once(people), lambda: outcome_card(approval, ways.links), ways)
    found += _requester(event, approval, ways)
    title = _NEED_A_PERSON.get(approval.state)
    if title is not None and ways.has_desk:
        note = channel_card(approval, ways.links, title)
        found.append(_desk(Kind.OUTCOME, event, approval, note, title.lower()))
    if title is not None:
        is_for_admins = approval.state in _FOR_ADMINS
        found += _desk_mails(Kind.OUTCOME, event, approval, ways, title, title.lower(), is_for_admins=is_for_admins)
    return tuple(found)


def _break_glass(approval: Approval, ways: Ways) -> tuple[Notice, ...]:
    signed = [d for d in approval.decisions if d.channel is By.BREAK_GLASS]
    if not signed:
        return ()
    event = f"{Kind.BREAK_GLASS.value}/{len(signed)}"
    card = break_glass_card(approval, ways.links)
    people = [h for s in approval.stages for h in s.everyone if not among(h, [d.actor for d in signed])]
    found = _people(Kind.BREAK_GLASS, event, approval, _once(people), lambda: card, ways)
    what = "was approved by break-glass"
    for to, channel in _watchers(ways):
        found.append(_desk(Kind.BREAK_GLASS, event, approval, card, what, to=to, channel=channel))
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


def _people(
    kind: Kind,
    event: str,
    approval: Approval,
    people: Iterable[Human],
    card: Callable[[], Mapping[str, Any]],
    ways: Ways,
) -> list[Notice]:
    """One card to each of these people, by chat, by mail or by both; it is made only where somebody gets it."""
    told = [
        (h, channel)
        for h in people
        for channel, reaches in ((Channel.TEAMS, ways.has_chat), (Channel.MAIL, ways.has_mail))
        if reaches(h.upn)
    ]
    made = card() if told else {}
    return [_to(kind, event, approval, h, made, channel) for h, channel in told]


def _desk_mails(
    kind: Kind, event: str, approval: Approval, ways: Ways, title: str, what: str, *, is_for_admins: bool = False
) -> list[Notice]:
    """What the service desk is told by mail, and where it is for them the licence admins: as in the channel, nobody is
    named."""
    if ways.mails is None:
        return []
    to = [f"{DESK_MAIL}{address}" for address in ways.mails.desk]
    to += [f"{ADMIN_MAIL}{a}" for a in ways.mails.admins if a not in ways.mails.desk] if is_for_admins else []
    card = channel_card(approval, ways.links, title) if to else {}
    return [_desk(kind, event, approval, card, what, to=one, channel=Channel.MAIL) for one in to]


def _requester(event: str, approval: Approval, ways: Ways) -> list[Notice]:
    """Whoever asked hears how it ended: no price, no rule, nobody's name and nobody's words."""
    human = approval.requester
    if ways.mails is None or not ways.mails.requesters or human is None or approval.state not in _TOLD_TO_REQUESTER:
        return []
    if not ways.mails.address_of(human.upn):
        return []
    card = requester_card(approval, ways.links)
    return [_to(Kind.OUTCOME, event, approval, human, card, Channel.MAIL, to=f"{REQUESTER}{human.upn.lower()}")]


def _watchers(ways: Ways) -> list[tuple[str, Channel]]:
    """Who is told what stopped a plan or went past people."""
    mails = ways.mails.admins_or_desk if ways.mails is not None else ()
    found = [(DESK, Channel.TEAMS)] if ways.has_desk else []
    return [*found, *((f"{ADMIN_MAIL}{address}", Channel.MAIL) for address in mails)]


def _to(
    kind: Kind,
    event: str,
    approval: Approval,
    human: Human,
    card: Mapping[str, Any],
    channel: Channel = Channel.TEAMS,
    *,
    to: str = "",
) -> Notice:
    what = approval.state.value if to else kind.value.rpartition(".")[2]
    line = f"{approval.line.ticket}, {text(approval.shown.get('product'))}: {what}"
    recipient, ticket = to or person(human), str(approval.line)
    return Notice(kind, event, approval.id, recipient, channel, approval.digest, card, line, ticket, human)


def _desk(
    kind: Kind,
    event: str,
    approval: Approval,
    card: Mapping[str, Any],
    what: str,
    *,
    to: str = DESK,
    channel: Channel = Channel.TEAMS,
) -> Notice:
    line = f"{approval.line.ticket}, {text(approval.shown.get('product'))}: {what}"
    return Notice(kind, event, approval.id, to, channel, approval.digest, card, line, str(approval.line))


def nobody(event: str, approval: Approval) -> Notice:
    """What stands for a notice that cannot be made, so that this is seen."""
    return Notice(Kind.REQUEST, event, approval.id, "nobody", Channel.NONE, approval.digest, {}, "", str(approval.line))
