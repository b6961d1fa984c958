"""What the audit log tells of one line, as sentences and as facts. Pure: rows in, values out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from desired_state.model import LineKey


class Row(Protocol):
    """A row of the audit log."""

    @property
    def seq(self) -> int: ...
    @property
    def at(self) -> datetime: ...
    @property
    def kind(self) -> str: ...
    @property
    def subject(self) -> str: ...
    @property
    def body(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened, as the audit log tells it. `changes` are sentences of a before and after."""

    seq: int
    at: datetime
    kind: str
    what: str
    facts: Mapping[str, Any]
    changes: tuple[str, ...] = ()


def events_of(rows: Sequence[Row], key: LineKey) -> tuple[Event, ...]:
    """What rows of a ticket's log say about one of its lines, oldest first; a result goes with its intent."""
    mine = [row for row in rows if _is_about(row, str(key))]
    intents = {row.seq for row in mine if row.kind == "intent"}
    results = [row for row in rows if row.kind == "result" and row.body.get("intent") in intents]
    every = {row.seq: row for row in (*mine, *results)}
    return tuple(_event(every[seq]) for seq in sorted(every))


def _is_about(row: Row, key: str) -> bool:
    return row.subject == key or key in (row.body.get("lines") or ())


def _event(row: Row) -> Event:
    body = row.body
    match row.kind:
        case "bound":
            what = f"bound to {body.get('upn')} (object {body.get('user')})"
        case "ticket.seen":
            what = f"read in the ticket: {_asked(body)}"
        case "plan.built":
            what = f"part of the plan {str(body.get('plan'))[:16]}, which was carried out"
        case "intent":
            what = f"about to send {body.get('action')} to {body.get('system')}"
        case "result":
            said = body.get("words") or f"request {body.get('request_id') or '-'}"
            what = f"{body.get('action')}: {body.get('result')}, {said}"
        case "line_moved":
            stays = body.get("from") == body.get("to")
            said = f": {body['sentence']}" if body.get("to") == "granted" and body.get("sentence") else ""
            what = f"still {body.get('to')}{said}" if stays else f"{body.get('from') or 'new'} → {body.get('to')}"
            if body.get("covered_by"):
                saved = f", {body['saved_monthly']} a month saved" if body.get("saved_monthly") else ""
                what += f": covered by another licence of the person, nothing was bought{saved}"
            what += _side(body.get("canary"))
            lost = body.get("aftermath") or {}
            if lost:
                by = f" by {lost['actor']}, {lost['confidence']}" if lost.get("actor") else ""
                what += f": {lost.get('loss')}{by}"
        case "learnt":
            what = f"learnt from the refusal, and counts for everybody from now on: {body.get('words')}"
        case "proposal.filed":
            what = f"proposed by AI agent {body.get('agent')}, for whom {body.get('owner')} answers"
        case "proposal.withdrawn":
            what = f"withdrawn by AI agent {body.get('agent')}"
        case kind if kind.startswith("question."):
            what = _answer(kind.removeprefix("question."), body)
        case "auto_approved":
            what = f"approved by rule {body.get('rule')}, without a person"
        case kind if kind.startswith("approval."):
            what = _approval(kind.removeprefix("approval."), body)
        case "answer.given_up":
            what = f"the {body.get('kind')} is not sent again, because {body.get('why')}; a person has to look"
        case "answer.unseen":
            what = f"the {body.get('kind')} was accepted and is not seen on the ticket: {body.get('why')}"
        case "readback":
            found = "as it should be" if body.get("present") is True else "not as it should be yet"
            what = f"read again after {body.get('action')}: {found}"
        case "notify.sent" | "notify.failed":
            went = "told by" if row.kind == "notify.sent" else "could not be told by"
            what = f"{_name(body.get('to'))} {went} {body.get('channel')}: {_event_name(body.get('event'))}"
        case _:
            what = row.kind
    return Event(row.seq, row.at, row.kind, what, body, _changes(body))


def _side(canary: object) -> str:
    """On which side of the share the person was, where only a share of the people was enforced for."""
    if not isinstance(canary, Mapping):
        return ""
    side = "among" if canary.get("is_in") is True else "not among"
    return (
        f" ({side} the share {canary.get('share')} that is enforced for: the person's place is {canary.get('place')})"
    )


def _asked(body: Mapping[str, Any]) -> str:
    words = [str(body.get(name)) for name in ("state", "stage", "approval") if body.get(name)]
    return f"state {', '.join(words)}" if words else "nothing that says where it stands"


def _answer(kind: str, body: Mapping[str, Any]) -> str:
    """What a person said about access that is not as it was granted, and what became of that."""
    word, by = body.get("word"), body.get("by")
    if kind == "decided":
        return f"{by} decided: {word}, so {body.get('leads_to')} ({body.get('reason')})"
    became = "was carried out" if kind == "done" else f"is {kind}"
    return f"what {by} decided ({word}) {became}{f': {why}' if (why := body.get('why')) else ''}"


def _approval(kind: str, body: Mapping[str, Any]) -> str:
    """One move of a request for approval."""
    id, reason = body.get("id") or body.get("approval"), body.get("reason")
    match kind:
        case "requested":
            asked = [_name(a) for s in (body.get("stages") or ())[:1] for a in s.get("approvers") or ()]
            return f"request {id} opened, asks {', '.join(asked) or 'nobody yet'}"
        case "decided":
            by, for_ = _name(body.get("actor")), body.get("acting_for")
            who = f"{by} for {_name(for_)}" if for_ else by
            said = {"approve": "approved", "reject": "rejected"}.get(str(body.get("verdict")), str(body.get("verdict")))
            sure = f"{body.get('channel')}, assurance {body.get('assurance')}"
            return f"request {id} {said} by {who} ({sure})"
        case "viewed" | "view_denied":
            seen = "read" if kind == "viewed" else "not shown to"
            return f"request {id} {seen} {'by ' if kind == 'viewed' else ''}{_name(body.get('who'))}"
        case _:
            return f"request {id} {kind.replace('_', ' ')}{f': {reason}' if reason else ''}"


def _event_name(event: object) -> str:
    return str(event or "notice").partition("/")[0].replace(".", " ").replace("_", " ")


def _name(who: object) -> str:
    if not isinstance(who, Mapping):
        return str(who or "somebody")
    return str(who.get("name") or who.get("upn") or "somebody")


def _changes(body: Mapping[str, Any]) -> tuple[str, ...]:
    """The recorded before and after, as deepdiff says it."""
    told = body.get("what")
    if not isinstance(told, Mapping) or "before" not in told or "after" not in told:
        return ()
    from deepdiff import DeepDiff

    before, after = _flat(told["before"]), _flat(told["after"])
    names = [*before, *(name for name in after if name not in before)]
    old, new = ({n: _text(side.get(n)) for n in names} for side in (before, after))
    shown = DeepDiff(old, new, verbose_level=2).pretty()
    return tuple(_ROOT.sub(r"\1", line) for line in str(shown).splitlines() if line.strip())


def _text(value: object) -> str:
    """A side of a difference in words, so that what is new, gone or several reads like the rest."""
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None or value == "" else str(value)


_ROOT = re.compile(r"root\['([^']+)'\]")


def _flat(value: Mapping[str, Any]) -> dict[str, Any]:
    """The recorded value with its licence spelled out, so that a difference reads as a sentence."""
    flat = {name: inner for name, inner in value.items() if name not in ("licence", "licences")}
    if "licences" in value:  # several at once: an exchange
        flat |= {"licence": [every["sku"] for every in value["licences"]]}
        flat |= {"plans switched off": [plan for every in value["licences"] for plan in every["disabled_plans"]]}
    if "licence" in value:
        licence = value["licence"] or {}
        flat |= {"licence": licence.get("sku", "none"), "plans switched off": licence.get("disabled_plans", [])}
    return flat
