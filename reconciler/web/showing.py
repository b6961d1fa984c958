"""A request for approval as its page shows it to one person. Pure: values in, plain facts for a template out.

`Approval.shown` is written when the request opens. What it does not say is "not known" on the page, never left out
as if there were nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from reconciler.approvals.judge import waits_for
from reconciler.approvals.values import Approval, Decision, Human, Stage, State, Verdict, same

NOT_KNOWN = "not known"
_STATES: Mapping[State, str] = {
    State.DRAFT: "is being prepared",
    State.PENDING: "waits for an answer",
    State.APPROVED: "is approved and will be carried out",
    State.EXECUTING: "is approved and is being carried out",
    State.DONE: "was approved and carried out",
    State.FAILED: "was approved, and carrying it out failed",
    State.PARTLY: "was approved and carried out in part",
    State.REJECTED: "was rejected",
    State.EXPIRED: "expired without an answer",
    State.CANCELLED: "was cancelled",
    State.VOID: "is void, because what would be done has changed",
    State.SUPERSEDED: "is settled: no approval is needed any more",
}
_CHANNELS = {"page": "on this page", "servicenow": "in ServiceNow", "break_glass": "from a terminal, as break-glass"}


@dataclass(frozen=True, slots=True)
class Answer:
    """One decision, for people."""

    name: str
    verdict: str
    decided_at: datetime
    comment: str
    where: str
    acting_for: str
    assurance: str


@dataclass(frozen=True, slots=True)
class StageShown:
    """One stage. `standing` is one of now, passed, later, ended; `why` is how its approvers were found."""

    name: str
    standing: str
    sentence: str
    why: str
    approvers: tuple[str, ...]
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """Everything that the page says."""

    id: str
    headline: str
    state: str
    digest: str
    ticket: str
    facts: tuple[tuple[str, str], ...]
    why: str
    proposed_by: str
    asked_because: str
    changes: tuple[tuple[str, str, str, str], ...]
    irreversible: tuple[str, ...] | None
    rules: tuple[tuple[str, str, str], ...] | None
    stages: tuple[StageShown, ...]
    created_at: datetime
    expires_at: datetime | None
    valid_until: datetime | None
    is_open: bool
    is_mine: bool
    mine: Answer | None
    stage: str
    stage_name: str
    comment_min: int
    needs_comment: bool
    reason: str


def show(approval: Approval, human: Human, at: datetime, *, changers: Collection[str] = ()) -> Shown:
    """The request as this person sees it at this instant. `is_mine`: the open stage waits for their answer."""
    told, stage = approval.shown, approval.stage
    mine = next((d for d in reversed(approval.decisions) if same(d.actor, human)), None)
    product, person = _text(told.get("product")), _named(told.get("person"))
    return Shown(
        id=approval.id,
        headline=f"{product} for {person}",
        state=_STATES[approval.state],
        digest=approval.digest,
        ticket=approval.line.ticket,
        facts=_facts(approval),
        why=_text(told.get("why"), ""),
        proposed_by=_text(told.get("proposed_by"), ""),
        asked_because=_text(told.get("asked_because"), ""),
        changes=tuple(_change(row) for row in _rows(told, "changes")),
        irreversible=_sentences(told.get("irreversible")),
        rules=_rules(told),
        stages=tuple(_stage(approval, n, every) for n, every in enumerate(approval.stages)),
        created_at=approval.created_at,
        expires_at=stage.expires_at if stage is not None else None,
        valid_until=approval.valid_until,
        is_open=approval.state is State.PENDING,
        is_mine=waits_for(approval, human, at, changers=changers),
        mine=_answer(mine) if mine is not None else None,
        stage=stage.name if stage is not None else "",
        stage_name=_words(stage.name).capitalize() if stage is not None else "",
        comment_min=approval.terms.comment_min,
        needs_comment=stage is not None and stage.needs_comment,
        reason=approval.reason,
    )


def monthly_cost(approval: Approval) -> Decimal | None:
    """What it costs a month, None when that is not known."""
    cost = approval.shown.get("cost")
    value = cost.get("monthly") if isinstance(cost, Mapping) else None
    try:
        found = Decimal(value) if isinstance(value, str | int) else None
    except InvalidOperation:
        return None
    return found if found is not None and found.is_finite() else None


def _facts(approval: Approval) -> tuple[tuple[str, str], ...]:
    told = approval.shown
    cost, seats = monthly_cost(approval), told.get("seats")
    free = seats.get("free") if isinstance(seats, Mapping) else None
    of = seats.get("of") if isinstance(seats, Mapping) else None
    counted = NOT_KNOWN if free is None else f"{free} free" + (f" of {of}" if of is not None else "")
    rows = [
        ("For", _person(told.get("person"))),
        ("Licence", _text(told.get("product"))),
        ("Given", _text(told.get("path"))),
        ("Period", _text(told.get("period"))),
        ("Cost", NOT_KNOWN if cost is None else f"{cost} a month"),
        ("Cost centre", _text(told.get("cost_center"))),
        ("Seats", counted),
        ("Asked for by", _person(told.get("requester"))),
        ("Ordered by", _person(told.get("opener"))),
        ("Ticket", f"{approval.line.ticket}, line {approval.line.line}"),
    ]
    return tuple(rows)


def _stage(approval: Approval, number: int, stage: Stage) -> StageShown:
    given = tuple(_answer(d) for d in approval.decisions if d.stage == stage.name)
    if number < approval.at or (approval.state is not State.PENDING and number == approval.at and given):
        standing, sentence = ("passed", "decided") if number < approval.at else ("ended", "decided here")
    elif approval.state is not State.PENDING:
        standing, sentence = "ended", "not decided" if number == approval.at and stage.opened_at else "not reached"
    elif number > approval.at:
        standing, sentence = "later", "not open yet"
    elif stage.opened_at is None:
        standing, sentence = "later", "opens with the next cycle, which looks up who is asked"
    else:
        left = stage.quorum - sum(1 for d in approval.decisions if d.stage == stage.name)
        standing, sentence = "now", f"waits for {left} answer{'s' if left != 1 else ''}"
    names = tuple(_human(h) for h in stage.everyone)
    return StageShown(_words(stage.name).capitalize(), standing, sentence, stage.why, names, given)


def _change(row: Mapping[str, Any]) -> tuple[str, str, str, str]:
    undo = _text(row.get("undo"))
    known = {"reversible": "yes", "irreversible": "no"}
    return _text(row.get("what")), _value(row.get("before")), _value(row.get("after")), known.get(undo, _words(undo))


def _value(value: object, depth: int = 0) -> str:
    """A recorded state in words; ids are left out, they are in the record."""
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case Mapping() if depth < 3:
            if set(value) == {"licence"}:
                return _value(value["licence"], depth + 1)
            named = {str(n): v for n, v in value.items() if not str(n).endswith("_id") and v != []}
            said = [(_words(n), _value(v, depth + 1)) for n, v in named.items()]
            return "; ".join(v if n == "sku" else f"{n}: {v}" for n, v in said) or "none"
        case list() if depth < 3:
            return ", ".join(_value(every, depth + 1) for every in value) or "none"
    return str(value)


def _answer(decision: Decision) -> Answer:
    return Answer(
        name=_human(decision.actor),
        verdict="approved" if decision.verdict is Verdict.APPROVE else "rejected",
        decided_at=decision.decided_at,
        comment=decision.comment,
        where=_CHANNELS[decision.channel.value],
        acting_for=_human(decision.acting_for) if decision.acting_for is not None else "",
        assurance=decision.assurance.value,
    )


def _rules(told: Mapping[str, Any]) -> tuple[tuple[str, str, str], ...] | None:
    if not isinstance(told.get("rules"), list):
        return None
    return tuple(
        (_text(r.get("rule")), _words(_text(r.get("outcome"))), _text(r.get("sentence"), ""))
        for r in _rows(told, "rules")
    )


def _rows(told: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = told.get(name)
    return [row for row in found if isinstance(row, Mapping)] if isinstance(found, list) else []


def _sentences(value: object) -> tuple[str, ...] | None:
    return tuple(str(every) for every in value) if isinstance(value, list) else None


def _person(value: object) -> str:
    if isinstance(value, Mapping):
        name, upn = _text(value.get("name"), ""), _text(value.get("upn"), "")
        return f"{name} ({upn})" if name and upn else name or upn or NOT_KNOWN
    return _text(value)


def _named(value: object) -> str:
    """A person in a headline; the sign-in name is among the facts below it."""
    name = value.get("name") if isinstance(value, Mapping) else None
    return str(name) if name else _person(value)


def _human(human: Human) -> str:
    return human.name or human.upn or human.oid or NOT_KNOWN


def _text(value: object, nothing: str = NOT_KNOWN) -> str:
    return nothing if value is None or value == "" else str(value)


def _words(name: str) -> str:
    return name.replace("_", " ")
