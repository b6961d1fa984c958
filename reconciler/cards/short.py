"""The small cards: for channels, outcomes, guards, break-glass, digests and tests. Pure.

A channel is read by many: there stand number, product, link and mention, and nothing that says about whom it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from reconciler.approvals.values import Approval, Decision, Human, State, Verdict
from reconciler.cards.check import SIZE_MAX, checked, message
from reconciler.cards.facts import facts_of, human, text, words
from reconciler.cards.links import Links
from reconciler.cards.parts import Element, facts, heading, open_url, run, runs, said, small, typed
from reconciler.cards.request import card_of, instant
from reconciler.cards.text import LENGTH_MAX, callable_name, inert

MENTIONS_MAX = 10
DIGEST_MAX = 40
_ENDED: Mapping[State, str] = {
    State.APPROVED: "Approved, and will be carried out",
    State.EXECUTING: "Approved, and being carried out",
    State.DONE: "Approved and carried out",
    State.FAILED: "Approved, and carrying it out failed",
    State.PARTLY: "Approved, and carried out in part",
    State.REJECTED: "Rejected",
    State.EXPIRED: "Expired without an answer",
    State.CANCELLED: "Cancelled, nothing is asked for any more",
    State.VOID: "Void, what would be done has changed",
    State.SUPERSEDED: "Settled, no approval is needed any more",
    State.PENDING: "Waits for the next answer",
    State.DRAFT: "Being prepared",
}


def channel_card(approval: Approval, links: Links, title: str, called: Sequence[Human] = ()) -> Element:
    """One request in a channel. `called` are mentioned: who has no chat of their own that we could reach."""
    url = links.request(approval.id)
    rows = [("Ticket", approval.line.ticket), ("Licence", text(approval.shown.get("product")))]
    names = [callable_name(human(who)) for who in called[:MENTIONS_MAX]]
    tags = [f"<at>{name}</at>" for name in names]
    body = [heading(title, is_first=True), facts(rows, LENGTH_MAX)]
    if tags:
        body.append({"type": "TextBlock", "wrap": True, "text": f"Waiting for {', '.join(tags)}"})
    card = card_of(body, [open_url("Open the request", url)], f"{title}: {approval.id}. Open {url}")
    entities = [
        {"type": "mention", "text": tag, "mentioned": {"id": inert(who.oid or who.upn, 120), "name": name}}
        for tag, name, who in zip(tags, names, called, strict=False)
    ]
    if entities:
        card["msteams"] = {**card["msteams"], "entities": entities}
    return checked(card, links)


def outcome_card(approval: Approval, links: Links) -> Element:
    """How a request ended, for somebody who was asked."""
    title = _ENDED[approval.state]
    url = links.request(approval.id)
    kept = ("User", "Licence", "Cost a month", "Ticket")
    rows = [row for row in facts_of(approval) if row[0] in kept]
    rows += [(_verdict(d), f"{human(d.actor)} ({words(d.stage)}, {words(d.channel.value)})") for d in _last(approval)]
    body = [
        heading(title, is_first=True),
        said(approval.id, isSubtle=True, spacing="None"),
        facts(rows, LENGTH_MAX),
        *([runs(run(approval.reason, LENGTH_MAX))] if approval.reason else []),
        *(typed("Reason (typed by the person who answered)", d.comment, 250) for d in _last(approval) if d.comment),
        small("Nothing is to be done about an earlier card of this request."),
    ]
    return checked(card_of(body, [open_url("Open the request", url)], f"{title}: {approval.id}. Open {url}"), links)


def requester_card(approval: Approval, links: Links) -> Element:
    """How a request ended, for whoever asked: what it was for, and where to read more. The pages are not for them."""
    title = _ENDED[approval.state]
    ticket = links.ticket(approval.shown.get("ticket_sys_id"))
    rows = [("Ticket", approval.line.ticket), ("Licence", text(approval.shown.get("product")))]
    body = [
        heading(title, is_first=True),
        facts(rows, LENGTH_MAX),
        small("Why, and what happens next, stands in the ticket."),
    ]
    actions = [open_url("Open ticket", ticket)] if ticket else []
    return checked(card_of(body, actions, f"{title}: {approval.line.ticket}"), links)


def break_glass_card(approval: Approval, links: Links) -> Element:
    """Somebody used the emergency way. Loud, and for everybody who could have been asked."""
    url = links.request(approval.id)
    title = "Break-glass approval was used"
    rows = [row for row in facts_of(approval) if row[0] in ("Licence", "Ticket")]
    rows += [("Signed by", human(d.actor)) for d in approval.decisions if d.channel.value == "break_glass"][:4]
    body = [
        heading(title, is_first=True),
        said(
            "It was approved from a terminal, past its usual approvers. Somebody has to review it.", color="Attention"
        ),
        said(approval.id, isSubtle=True, spacing="None"),
        facts(rows, LENGTH_MAX),
    ]
    return checked(card_of(body, [open_url("Open the request", url)], f"{title}: {approval.id}. Open {url}"), links)


def guard_card(links: Links, *, guard: str, lane: str, wanted: int, limit: int, digest: str, sentence: str) -> Element:
    """A guard stopped a lane before its first write; a named person can let this plan through once."""
    title = "A guard stopped a plan"
    rows: list[tuple[str, object]] = [
        ("Guard", words(guard)),
        ("Lane", words(lane)),
        ("Wanted", wanted),
        ("Limit", limit),
        ("Why", sentence),
        ("Plan sha256", digest[:16]),
    ]
    body = [
        heading(title, is_first=True),
        said("Nothing of this lane was written. Other lanes go on."),
        facts(rows, LENGTH_MAX),
    ]
    url = links.page("guards")
    return checked(card_of(body, [open_url("Open the guards", url)], f"{title}. Open {url}"), links)


def sample_card(links: Links, *, ticket: str, line: int, rule: str) -> Element:
    """A rule approved this without a person, and it is one of those that a person looks at afterwards."""
    title = "Please look at what a rule approved"
    rows = [("Ticket", f"{ticket}, line {line}"), ("Rule", rule)]
    body = [
        heading(title, is_first=True),
        said("Nobody was asked before. Look at it, then say so in the terminal: reconciler rules reviewed."),
        facts(rows, LENGTH_MAX),
    ]
    url = links.chain(ticket)
    return checked(card_of(body, [open_url("Open the ticket's chain", url)], f"{title}: {ticket}. Open {url}"), links)


def digest_card(links: Links, lines: Iterable[str], *, count: int) -> Element:
    """Many notices in one; `lines` say one each, in words that need not be ours."""
    title = f"{count} notices in one"
    url = links.page("inbox")
    every = list(lines)
    for shown in (DIGEST_MAX, 20, 10, 5, 0):
        kept = every[:shown]
        body = [
            heading(title, is_first=True),
            *(runs(run(line, 200)) for line in kept),
            *([said(f"and {count - len(kept)} more, see the page")] if count > len(kept) else []),
        ]
        card = card_of(body, [open_url("Open what waits for you", url)], f"{title}. Open {url}")
        if len(message(card)) <= SIZE_MAX:
            break
    return checked(card, links)


def trial_card(links: Links, *, tenant: str, at: datetime) -> Element:
    """What `notify test` sends."""
    title = "Test of the license reconciler"
    url = links.page("inbox")
    body = [
        heading(title, is_first=True),
        said(f"Cards for this place arrive. Sent at {instant(at)}."),
        facts([("Tenant", tenant)], LENGTH_MAX),
        small("Nobody has to do anything."),
    ]
    return checked(card_of(body, [open_url("Open what waits for you", url)], f"{title}. Open {url}"), links)


def _last(approval: Approval) -> tuple[Decision, ...]:
    return approval.decisions[-3:]


def _verdict(decision: Decision) -> str:
    return "Approved by" if decision.verdict is Verdict.APPROVE else "Rejected by"
