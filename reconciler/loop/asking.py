"""Which lines ask people, whom, and what they are shown; and when a request has lost its object. Pure.

Decides on values alone: who is found for a stage is `approvers`, keeping and telling is `approving`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from desired_state.model import Product, Request, Says, SkuId
from desired_state.proposals import agent_of, is_software
from reconciler.approvals.envelope import Envelope, Planned, beyond
from reconciler.approvals.routes import Label, Need, Route, RouteBook, unopened
from reconciler.approvals.values import Approval, Assurance, Human, State
from reconciler.causes import UNSEEN, Cause
from reconciler.digest import plain
from reconciler.line import Decision, Gated, Observed, Rest
from reconciler.loop.lasting import lasting
from reconciler.model import Action, ActionKind, Undo


@dataclass(frozen=True, slots=True)
class Parties:
    """Who a request is for, who asked and who ordered, as accounts."""

    beneficiary: Human
    requester: Human
    opener: Human


def label_of(gated: Gated, *, agents: frozenset[str], mode: str) -> Label | None:
    """Why people are asked about a line here; None where nobody is.

    A ticket that waits in ServiceNow is asked about only where our own rules name who decides, or software ordered it.
    """
    finding = gated.proposal.finding
    if gated.decision is not Decision.AWAITING or gated.asks_nobody or mode == "observe":
        return None
    request = finding.line.declared
    if not isinstance(request, Request) or finding.user is None or finding.line.product is None:
        return None
    if not gated.proposal.actions and not gated.proposal.short_of and gated.proposal.with_ is None:
        return None
    is_new = request.says in (Says.APPROVED, Says.WAITING)
    if is_new and is_software(request.opened_by, agents):
        return Label.PROPOSAL
    if is_new and needs_of(gated):
        return Label.RULE
    if request.says is Says.WAITING:
        return None
    if is_new and agents and not request.opened_by:
        return Label.PROPOSAL
    if finding.line.is_unapproved:
        return Label.UNAPPROVED
    if is_new and any(j.get("outcome") == "cannot_tell" for j in gated.judged):
        return Label.UNCLEAR
    if finding.drift is not None and finding.drift.needs_person:
        return Label.PERSON
    return Label.SUGGEST


def needs_of(gated: Gated) -> tuple[Need, ...]:
    """The stages that rules ask for, in order."""
    if gated.ruling is None:
        return ()
    return tuple(
        Need(s.stage, s.quorum, s.ticket_approval_suffices, Assurance(s.assurance), s.needs_comment)
        for s in gated.ruling.stages
    )


def draft(
    gated: Gated,
    route: Route,
    book: RouteBook,
    parties: Parties,
    observed: Observed,
    *,
    id: str,
    tenant: str,
    at: datetime,
) -> Approval:
    """A request for exactly what the proposal would do, with none of its stages opened."""
    finding = gated.proposal.finding
    trusts = book.terms.opener_may_approve or (gated.ruling is not None and gated.ruling.trusts_opener)
    return Approval(
        id=id,
        tenant=tenant,
        line=finding.key,
        digest=gated.proposal.digest,
        subject=dict(gated.proposal.subject),
        shown=shown(gated, parties, observed),
        stages=tuple(unopened(spec) for spec in route.stages),
        created_at=at,
        requester=parties.requester,
        beneficiary=parties.beneficiary,
        opener=parties.opener,
        # Whoever answers for the software that proposed it never approves it (I8).
        terms=replace(book.terms, opener_may_approve=trusts and route.label is not Label.PROPOSAL),
        label=route.label.value,
    )


def covered_by_ticket(gated: Gated) -> str:
    """Why the ticket's own approval does not cover what would be done, for people; "" where it does (I7)."""
    finding = gated.proposal.finding
    request, product = finding.line.declared, finding.line.product
    if not isinstance(request, Request) or product is None or finding.user is None:
        return "it cannot be told what was asked for"
    actions = gated.proposal.actions
    period = plain(request.period)
    buys = any(a.add for a in actions) or not actions or any(a.kind is ActionKind.ADD_GROUP_MEMBER for a in actions)
    envelope = Envelope(
        person=finding.user.id,
        product=product.key,
        period=period,
        price_cap=request.price_cap,
        removals=frozenset(product.replaced_skus),
    )
    plan = Planned(
        people={a.user for a in actions},
        products={a.product for a in actions},
        period=period,
        price=product.price if buys else Decimal(0),
        removals=[sku for a in actions for sku in _removed(a)],
    )
    return beyond(envelope, plan)


def _removed(action: Action) -> list[SkuId]:
    """What an action takes away for good: a SKU that is added in the same call is only changed."""
    added = {grant.sku for grant in action.add}
    return [sku for sku in action.remove if sku not in added]


def shown(gated: Gated, parties: Parties, observed: Observed) -> dict[str, Any]:
    """Facts for the people who decide: JSON values. What was typed is verbatim, and inert only where it is shown."""
    finding = gated.proposal.finding
    request, product, ticket = finding.line.declared, finding.line.product, finding.line.ticket
    assert isinstance(request, Request) and product is not None
    person = finding.line.person
    return {
        "ticket": finding.key.ticket,
        "ticket_sys_id": ticket.sys_id,
        "line": finding.key.line,
        "item": ticket.item_name,
        "person": _name(parties.beneficiary),
        "requester": _name(parties.requester),
        "opener": _name(parties.opener),
        "product": product.name,
        "path": "direct" if product.group is None or product.path.value == "direct" else f"group {product.group}",
        "period": _period(request),
        "why": request.justification,
        "cost": {"monthly": f"{product.price:.2f}" if product.price is not None else None},
        "cost_center": (person.cost_center if person is not None else None) or request.cost_center or None,
        "seats": _seats(gated, observed),
        "rules": [{k: j.get(k) for k in ("rule", "outcome", "sentence")} for j in gated.judged],
        "changes": [_change(a, product) for a in gated.proposal.actions],
        "irreversible": [said for a in gated.proposal.actions for said in _lasting(a, product)],
        "asked_because": gated.sentence,
        "proposed_by": _proposed_by(request, parties),
    }


def _proposed_by(request: Request, parties: Parties) -> str:
    """The software that ordered it, "" where a person did."""
    agent = agent_of(request.opened_by)
    if agent:
        return f"AI agent {agent}"
    return parties.opener.name if request.opened_by and not parties.opener.oid else ""


def _name(human: Human) -> dict[str, str]:
    return {"name": human.name, "upn": human.upn}


def _period(request: Request) -> str:
    period = request.period
    begins = f"from {period.starts_on.isoformat()} " if period.starts_on is not None else ""
    if period.ends_on is not None:
        return f"{begins}until {period.ends_on.isoformat()}"
    if period.duration_days is not None:
        return f"{begins}for {period.duration_days} days from the grant"
    return f"{begins}without end"


def _seats(gated: Gated, observed: Observed) -> dict[str, Any]:
    product = gated.proposal.finding.line.product
    assert product is not None
    bought = [g.sku for a in gated.proposal.actions for g in a.add] or list(product.candidate_skus)
    sku = next((observed.skus[s] for s in bought if s in observed.skus), None)
    return {"free": sku.seats_free, "of": sku.enabled} if sku is not None else {"free": None, "of": None}


def _change(action: Action, product: Product) -> dict[str, Any]:
    in_part = action.undo is not Undo.IRREVERSIBLE and lasting(action, product)
    return {
        "what": action.kind.value.replace("_", " "),
        "before": plain(action.before),
        "after": plain(action.after),
        "undo": "in_part" if in_part else action.undo.value,
    }


def _lasting(action: Action, product: Product) -> tuple[str, ...]:
    """The same sentences that the log keeps before the write; never none for what cannot be taken back."""
    said = lasting(action, product)
    if action.undo is Undo.IRREVERSIBLE and not said:
        return (f"{action.kind.value.replace('_', ' ')} cannot be taken back.",)
    return said


# --- what becomes of a request whose line has moved ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Over:
    """A request that has lost its object: where it goes, and why, for people."""

    state: State
    reason: str


def overtaken(approval: Approval, gated: Gated) -> Over | None:
    """What becomes of an open request by what its line is found to be now; None: it stands (A8, A9)."""
    finding = gated.proposal.finding
    if approval.state is State.EXECUTING:
        return None
    match finding.line.says:
        case Says.CANCELLED:
            return Over(State.CANCELLED, "The ticket was cancelled.")
        case Says.REJECTED:
            return Over(State.CANCELLED, "The ticket was rejected in ServiceNow.")
    if finding.rest is Rest.PROVEN:
        return Over(State.CANCELLED, "The access is there; nothing is left to be approved.")
    if finding.cause is Cause.SUBJECT_LEFT:
        return Over(State.VOID, "The account was disabled.")
    if gated.cause is Cause.USER_OUT_OF_SCOPE or finding.cause is Cause.USER_OUT_OF_SCOPE:
        return Over(State.VOID, "The account is not in scope any more.")
    if finding.rest in (Rest.CANCEL, Rest.REFUSE, Rest.OVER):
        return Over(State.CANCELLED, f"Nothing is asked for any more. {finding.sentence}".strip())
    if gated.decision in (Decision.AWAITING, Decision.CLEARED, Decision.QUEUED, Decision.STOPPED):
        return _moved(approval, gated)
    if finding.rest is Rest.REVIEW and finding.cause not in UNSEEN:
        return Over(State.VOID, f"A person has to look at the line first. {finding.sentence}".strip())
    if gated.cause is Cause.POLICY_REFUSED and gated.decision is Decision.HELD:
        return Over(State.VOID, f"The rules do not allow it now. {gated.sentence}".strip())
    return None


def _moved(approval: Approval, gated: Gated) -> Over | None:
    proposal = gated.proposal
    if gated.decision is Decision.CLEARED and not gated.approval:
        return Over(State.SUPERSEDED, "No approval is needed for it any more.")
    if not proposal.digest or proposal.digest == approval.digest:
        return None
    if gated.asks_nobody:
        return Over(State.VOID, "The plan has changed; it is not to be approved here any more.")
    return Over(State.VOID, f"The plan has changed: {differs(approval.subject, proposal.subject)}.")


def differs(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Which parts of the approved document are not what they were, by name."""
    names = sorted({*before, *after})
    moved = [name.replace("_", " ") for name in names if plain(before.get(name)) != plain(after.get(name))]
    return ", ".join(moved) or "the document"
