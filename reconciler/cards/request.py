"""The card of one request, for an approver's own chat: everything that the decision is about. Pure.

It informs and links; the decision is taken on the page, after sign-in. What does not fit into the size that Teams takes
is cut in a fixed order, the list of changes first, and the card says how much is left out; the page has all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from reconciler.approvals.values import Approval, Stage
from reconciler.cards.check import SIZE_MAX, VERSION, BadCard, checked, message
from reconciler.cards.facts import changes_of, facts_of, irreversible_of, rules_of, words
from reconciler.cards.links import Links
from reconciler.cards.parts import GAP, Element, facts, heading, open_url, run, runs, said, small, table, typed
from reconciler.cards.text import LENGTH_MAX, inert

SCHEMA = "http://adaptivecards.io/schemas/adaptive-card.json"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a request a card shows."""

    changes: int = 20
    rules: int = 20
    lasting: int = 10
    length: int = LENGTH_MAX


# Tried in turn until the card fits: fewer changes, then fewer rules and sentences, at last shorter texts.
_LADDER = (
    *(Limits(changes=n) for n in (20, 10, 5, 2, 0)),
    *(Limits(changes=0, rules=n, lasting=n) for n in (8, 3)),
    *(Limits(changes=0, rules=1, lasting=1, length=n) for n in (250, 120, 60, 30)),
)


def request_card(approval: Approval, links: Links, *, reminder: int = 0) -> Element:
    """Ask for a decision, for the first time or, with the number of a reminder, again. Raises BadCard."""
    for limits in _LADDER:
        card = _card(approval, links, reminder, limits)
        if len(message(card)) <= SIZE_MAX:
            return checked(card, links)
    raise BadCard(f"request {approval.id} does not fit into a card")


def card_of(body: Sequence[Element], actions: Sequence[Element], fallback: str) -> Element:
    """The frame of every card of ours. `fallback` is read where no card is drawn: words of ours and links."""
    return {
        "type": "AdaptiveCard",
        "$schema": SCHEMA,
        "version": VERSION,
        "lang": "en",
        "fallbackText": fallback,
        "msteams": {"width": "Full"},
        "body": list(body),
        "actions": list(actions),
    }


def _card(approval: Approval, links: Links, reminder: int, limits: Limits) -> Element:
    url, ticket = links.request(approval.id), links.ticket(approval.shown.get("ticket_sys_id"))
    stage = approval.stage
    title = "Reminder: licence approval needed" if reminder else "Licence approval needed"
    body = [
        heading(title, is_first=True),
        said(f"{approval.id}{_until(stage)}", isSubtle=True, spacing="None"),
        *([said(_stage(approval, stage), spacing="None")] if stage is not None else []),
        facts(facts_of(approval), limits.length),
        typed("Justification (typed by the requester)", approval.shown.get("why") or "", limits.length),
        *_rules(approval, limits),
        *_changes(approval, limits),
        *_lasting(approval, limits),
        small(f"Request sha256 {approval.digest[:16]} (void if anything above changes)"),
        small("Nothing is decided here: the button opens the page, where you sign in."),
    ]
    actions = [open_url("Review and decide", url), *([open_url("Open ticket", ticket)] if ticket else [])]
    return card_of(body, actions, f"{title}: {approval.id}. Open {url}")


def _until(stage: Stage | None) -> str:
    ends = stage.expires_at if stage is not None else None
    return f", decide before {instant(ends)}" if ends is not None else ""


def instant(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _stage(approval: Approval, stage: Stage) -> str:
    name = "".join(c for c in words(stage.name) if c.isascii() and (c.isalnum() or c == " "))
    given = sum(1 for d in approval.decisions if d.stage == stage.name)
    left = max(0, stage.quorum - given)
    of = f"Stage {approval.at + 1} of {len(approval.stages)}"
    return f"{of}: {name}, waits for {left} answer{'s' if left != 1 else ''}"


def _rules(approval: Approval, limits: Limits) -> list[Element]:
    found = rules_of(approval)
    if found is None:
        return [heading("Rules"), said("It is not known which rules were judged.")]
    if not found:
        return [heading("Rules"), said("No rule is about this request.")]
    shown = found[: limits.rules]
    lines = [
        runs(
            run(f"{rule}: {outcome}", limits.length, weight="Bolder"),
            *([GAP, run(sentence, limits.length)] if sentence else []),
        )
        for rule, outcome, sentence in (_spaced(row) for row in shown)
    ]
    return [heading("Rules"), *lines, *_more(len(found) - len(shown))]


def _spaced(row: tuple[str, str, str]) -> tuple[str, str, str]:
    rule, outcome, sentence = row
    return rule, outcome, f"({sentence.rstrip('.')})" if inert(sentence) else ""


def _changes(approval: Approval, limits: Limits) -> list[Element]:
    title, found = heading("What will change"), changes_of(approval)
    if found is None:
        return [title, said("It is not known what would change; the page may say more.")]
    if not found:
        return [title, said("Nothing can be changed yet; a change needs a new approval if it differs.")]
    shown = found[: limits.changes]
    rows = [title]
    if shown:
        rows.append(table(("Change", "Before", "After", "Can be undone"), shown, (2, 2, 2, 1), limits.length))
    return [*rows, *_more(len(found) - len(shown))]


def _lasting(approval: Approval, limits: Limits) -> list[Element]:
    title, found = heading("What cannot be undone"), irreversible_of(approval)
    if found is None:
        return [title, said("It is not known what could not be undone.")]
    if not found:
        return [title, said("Nothing: all of it can be undone.")]
    shown = found[: limits.lasting]
    return [title, *(runs(run(sentence, limits.length)) for sentence in shown), *_more(len(found) - len(shown))]


def _more(count: int) -> list[Element]:
    return [said(f"and {count} more, see the page")] if count > 0 else []
