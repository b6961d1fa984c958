"""A request for approval as its page shows it to one person. Pure: values in, plain facts for a template out.

`Approval.shown` is written when the request opens. What it does not say is "not known" on the page, never left out
as if there were nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation

from reconciler.approvals.judge import waits_for
from reconciler.approvals.values import Approval, Decision, Human, Stage, State, Verdict, same
from reconciler.cards import facts

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
    product, named = facts.text(told.get("product")), _named(told.get("person"))
    never, rules = facts.irreversible_of(approval), facts.rules_of(approval)
    return Shown(
        id=approval.id,
        headline=f"{product} for {named}",
        state="expired, and is asked about anew" if approval.is_renewed else _STATES[approval.state],
        digest=approval.digest,
        ticket=approval.line.ticket,
        facts=_facts(approval),
        why=facts.text(told.get("why"), ""),
        proposed_by=facts.text(told.get("proposed_by"), ""),
        asked_because=facts.text(told.get("asked_because"), ""),
        changes=tuple(facts.changes_of(approval) or ()),
        irreversible=tuple(never) if never is not None else None,
        rules=tuple(rules) if rules is not None else None,
        stages=tuple(_stage(approval, n, every) for n, every in enumerate(approval.stages)),
        created_at=approval.created_at,
        expires_at=stage.expires_at if stage is not None else None,
        valid_until=approval.valid_until,
        is_open=approval.state is State.PENDING,
        is_mine=waits_for(approval, human, at, changers=changers),
        mine=_answer(mine) if mine is not None else None,
        stage=stage.name if stage is not None else "",
        stage_name=facts.words(stage.name).capitalize() if stage is not None else "",
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
    cost = monthly_cost(approval)
    rows = [
        ("For", facts.person(told.get("person"))),
        ("Licence", facts.text(told.get("product"))),
        ("Given", facts.text(told.get("path"))),
        ("Period", facts.text(told.get("period"))),
        ("Cost", facts.NOT_KNOWN if cost is None else f"{cost} a month"),
        ("Cost centre", facts.text(told.get("cost_center"))),
        ("Seats", facts.seats(told.get("seats"))),
        ("Asked for by", facts.person(told.get("requester"))),
        ("Ordered by", facts.person(told.get("opener"))),
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
    names = tuple(facts.human(h) for h in stage.everyone)
    return StageShown(facts.words(stage.name).capitalize(), standing, sentence, stage.why, names, given)


def _answer(decision: Decision) -> Answer:
    return Answer(
        name=facts.human(decision.actor),
        verdict="approved" if decision.verdict is Verdict.APPROVE else "rejected",
        decided_at=decision.decided_at,
        comment=decision.comment,
        where=_CHANNELS[decision.channel.value],
        acting_for=facts.human(decision.acting_for) if decision.acting_for is not None else "",
        assurance=decision.assurance.value,
    )


def _named(value: object) -> str:
    """A person in a headline; the sign-in name is among the facts below it."""
    name = value.get("name") if isinstance(value, Mapping) else None
    return str(name) if name else facts.person(value)
