"""Stage 4: plan, rules, approvals and guards decide what may be sent: cleared, held, awaiting, planned, stopped. Pure.

Rules judge what is not fulfilled yet; a ticket that was approved and closed under older rules is verified, not judged
again. Deny wins; missing data means ask, never allow. Whatever is not cleared here is not sent, and the choke-point
in `send` checks mode and lease once more.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from desired_state.model import ProductKey, Request, Says
from desired_state.rules import RuleFacts, RuleHit, Rules, evaluate
from reconciler.causes import Cause
from reconciler.lifecycle import Phase
from reconciler.line import (
    Closing,
    Decision,
    DriftKind,
    Finding,
    Gated,
    Lane,
    Plan,
    Proposal,
    Rest,
    Trip,
)
from reconciler.loop.guards.judge import judge
from reconciler.loop.guards.scope import Side
from reconciler.loop.guards.scope import judge as side_of
from reconciler.loop.guards.watch import Watch
from reconciler.loop.takeback import end_of
from reconciler.model import Verdict


@dataclass(frozen=True, slots=True)
class Policy:
    """What the configuration allows for one tenant. `modes` overrides `mode` per product."""

    mode: str = "observe"  # observe, suggest, enforce
    modes: Mapping[ProductKey, str] = field(default_factory=dict)
    act_on_tickets_since: datetime | None = None  # None: no ticket is too old by date
    act_max_age: timedelta = timedelta(days=30)
    held_tickets: Mapping[str, str] = field(default_factory=dict)
    held_products: Mapping[ProductKey, str] = field(default_factory=dict)
    agents: frozenset[str] = frozenset()  # user names of integration and agent accounts

    def mode_of(self, product: ProductKey) -> str:
        return self.modes.get(product, self.mode)


@dataclass(frozen=True, slots=True)
class Gates:
    """Every proposal after judgement, in order, and the guards that tripped.

    `released` are the plans that a person let through and that are part of this one, with the lane that goes out whole.
    """

    gated: tuple[Gated, ...]
    trips: tuple[Trip, ...]
    plan_digest: str
    released: Mapping[str, Lane | None] = field(default_factory=dict)


def gate(plan: Plan, rules: Rules, *, policy: Policy, watch: Watch, at: datetime) -> Gates:
    """Judge each proposal, then each lane as a whole."""
    judged = judge((_judge(proposal, rules, policy, watch, at) for proposal in plan.proposals), watch)
    return Gates(judged.gated, judged.trips, plan.digest, judged.released)


def _judge(proposal: Proposal, rules: Rules, policy: Policy, watch: Watch, at: datetime) -> Gated:
    finding = proposal.finding
    if finding.rest in (Rest.REFUSE, Rest.CANCEL) and finding.cause is None:
        return Gated(proposal, Decision.CLEARED)
    standing = side_of(finding, watch.scope, watch.register)
    if standing.side is Side.OUT:
        return Gated(replace(proposal, actions=()), Decision.HELD, Cause.USER_OUT_OF_SCOPE, standing.why)
    if standing.side is Side.UNREAD:  # as an account that could not be read: nothing is done, nothing is forgotten
        unread = replace(
            finding,
            rest=Rest.HOLD,
            cause=Cause.REMOTE_FAILING,
            sentence=standing.why,
            drift=None,
            closing=None,
            aftermath=None,
        )
        return Gated(replace(proposal, finding=unread, actions=(), blocked=None), Decision.CLEARED)
    kept = policy.held_tickets.get(finding.key.ticket)
    if kept is None and finding.line.product is not None:
        kept = policy.held_products.get(finding.line.product.key)
    if kept is not None:
        return _kept(proposal, kept)
    resting = _resting(finding, at)
    if resting:
        return Gated(proposal, Decision.HELD, finding.cause, resting)
    if finding.line.hold and finding.rest is Rest.ACT:
        return Gated(replace(proposal, actions=()), Decision.HELD, Cause.HELD_BY_PERSON, finding.line.hold)
    if _is_giving_back(finding):
        return _may_take_back(proposal, policy)
    old = _too_old(finding, policy, at)
    if old and finding.rest not in (Rest.PROVEN, Rest.OVER):
        return Gated(proposal, Decision.HELD, finding.cause, old, may_answer=False)
    if old:
        return Gated(proposal, Decision.CLEARED, may_answer=False)
    if finding.rest is not Rest.ACT:
        return Gated(proposal, Decision.CLEARED)
    if proposal.blocked is not None and not proposal.short_of:
        return Gated(proposal, Decision.HELD, proposal.blocked, proposal.sentence)
    judged = _may_write(proposal, rules, policy)
    if proposal.short_of and judged.decision is Decision.CLEARED:
        return replace(judged, decision=Decision.QUEUED, cause=proposal.blocked, sentence=proposal.sentence)
    if proposal.short_of and judged.decision is Decision.PLANNED:
        return replace(judged, cause=proposal.blocked, sentence=proposal.sentence)
    return judged


def _kept(proposal: Proposal, reason: str) -> Gated:
    """A line that the configuration keeps our hands off is reported, and its access is not vouched for."""
    finding = proposal.finding
    if finding.verdict is Verdict.TRUE:
        finding = replace(finding, verdict=Verdict.UNKNOWN, cause=Cause.UNKNOWN)
    return Gated(replace(proposal, finding=finding, actions=()), Decision.HELD, finding.cause, reason)


def _too_old(finding: Finding, policy: Policy, at: datetime) -> str:
    declared = finding.line.declared
    since = declared.due_since if isinstance(declared, Request) else finding.line.ticket.updated_at
    if policy.act_on_tickets_since is not None and since < policy.act_on_tickets_since:
        return f"The ticket is older than {policy.act_on_tickets_since:%Y-%m-%d}; it is reported only."
    if at - since > policy.act_max_age:
        return f"The ticket is older than {policy.act_max_age.days} days; it is reported only."
    return ""


def _resting(finding: Finding, at: datetime) -> str:
    """Why a line is not taken up again now although it may differ: a person has it, or its backoff runs."""
    state = finding.line.state
    if state is None or finding.rest is Rest.PROVEN:
        return ""
    if state.phase is Phase.REVIEW:
        return state.note or "A person has this line."
    tried = (Phase.CONVERGING, Phase.VERIFYING, Phase.WAITING_FOR_SEAT, Phase.REVOKING)
    is_tried = state.phase in tried and finding.rest is Rest.ACT
    if is_tried and state.next_at is not None and state.next_at > at:
        return f"The last attempt had no effect yet; the next one is due at {state.next_at:%Y-%m-%d %H:%M:%S} UTC."
    return ""


def _is_giving_back(finding: Finding) -> bool:
    """What we gave is ours to take back, however old its ticket is: the end of a period, or of an attempt, is news."""
    ours = finding.line.is_by_us or (finding.line.state is not None and bool(finding.line.state.given))
    return ours and (finding.closing is not None or (finding.drift is not None and bool(finding.drift.take_back)))


def _may_take_back(proposal: Proposal, policy: Policy) -> Gated:
    """The rules say who may be given something; taking back is judged by mode, scope and limits alone."""
    finding = proposal.finding
    assert finding.line.product is not None
    mode = policy.mode_of(finding.line.product.key)
    if finding.rest is Rest.ACT and _is_inferred(finding):
        first = "The end of the period is news; it is looked at in a later cycle before anything is taken back."
        return Gated(proposal, Decision.HELD, finding.cause, first)
    if finding.rest is not Rest.ACT or mode == "enforce":
        return Gated(proposal, Decision.CLEARED)
    if mode == "suggest":
        return Gated(proposal, Decision.AWAITING, finding.cause, "In mode suggest every change needs a person.")
    return Gated(proposal, Decision.PLANNED, finding.cause, "In mode observe nothing is changed.")


def _is_inferred(finding: Finding) -> bool:
    """Whether this end is news: nobody knew of one, or only of a later day. What was known since the grant is none."""
    state = finding.line.state
    if finding.closing is not Closing.DUE or state is None:
        return False
    end = end_of(finding.line, state.granted_at)
    return state.ends_at is None or end is None or end < state.ends_at - timedelta(days=1)


def _may_write(proposal: Proposal, rules: Rules, policy: Policy) -> Gated:
    finding = proposal.finding
    request, product, user = finding.line.declared, finding.line.product, finding.user
    assert isinstance(request, Request) and product is not None and user is not None

    def decided(decision: Decision, cause: Cause | None, sentence: str, hits: tuple[RuleHit, ...] = ()) -> Gated:
        return Gated(proposal, decision, cause, sentence, tuple(_as_json(h) for h in hits))

    hits = evaluate(rules, _facts(finding, request))  # for the record also where the ticket is closed already
    if request.says is Says.APPROVED:
        if policy.agents and not request.opened_by:
            sentence = "Who ordered it cannot be read, so it may be an agent's proposal; a person decides."
            return decided(Decision.AWAITING, None, sentence, hits)
        if request.opened_by in policy.agents:
            sentence = "The order came from an integration or agent account, which can only propose."
            return decided(Decision.AWAITING, None, sentence, hits)
        approving = frozenset(r.id for r in rules.rules if r.kind == "auto_approve")
        stopped = _ruled(hits, approving)
        if stopped is not None:
            decision, cause, sentence = stopped
            return decided(decision, cause, sentence, hits)
    if finding.drift is not None and finding.drift.needs_person:
        return decided(Decision.AWAITING, finding.cause, finding.sentence, hits)
    mode = policy.mode_of(product.key)
    if mode == "enforce":
        return decided(Decision.CLEARED, None, "", hits)
    if mode == "suggest":
        return decided(Decision.AWAITING, finding.cause, "In mode suggest every change needs a person.", hits)
    return decided(Decision.PLANNED, finding.cause, "In mode observe nothing is changed.", hits)


def _facts(finding: Finding, request: Request) -> RuleFacts:
    user, person, product = finding.user, finding.line.person, finding.line.product
    assert user is not None and product is not None and finding.drift is not None
    switches_on = finding.drift.kind is DriftKind.PLAN_OFF
    return RuleFacts(
        product=product.key,
        product_name=product.name,
        price=Decimal(0) if switches_on else product.price,
        department=(person.department if person is not None else None) or user.department,
        cost_center=_cost_center(finding, request),
        employee_type=user.employee_type,
        country=user.usage_location or user.country,
        title=person.title if person is not None else None,
        has_end=not request.period.is_open,
        period_days=_period_days(request),
        says=request.says,
        change="enable_plan" if switches_on else "assign",
    )


_SYS_ID = re.compile(r"[0-9a-f]{32}")


def _cost_center(finding: Finding, request: Request) -> str | None:
    """The name that was typed, or the person's own; a reference that nobody resolved is not a name."""
    person = finding.line.person
    typed = "" if _SYS_ID.fullmatch(request.cost_center) else request.cost_center
    return typed or (person.cost_center if person is not None else None) or None


def _period_days(request: Request) -> int | None:
    """Days that were asked for, counted from the request where only an end date is given."""
    period = request.period
    if period.duration_days is not None or period.ends_on is None:
        return period.duration_days
    return (period.ends_on - (period.starts_on or request.requested_at.date())).days


def _ruled(hits: tuple[RuleHit, ...], approving: frozenset[str]) -> tuple[Decision, Cause, str] | None:
    """The strictest thing the rules say: deny, then hold, then what a person must decide, else nothing.

    A rule that would approve by itself and cannot tell, merely does not approve: the ticket's own approval stands.
    """
    for effect in ("deny", "hold"):
        for hit in hits:
            if hit.effect == effect and hit.outcome == "hit":
                return Decision.HELD, Cause.POLICY_REFUSED, hit.sentence
    approves = any(h.effect == "auto_approve" and h.outcome == "hit" for h in hits)
    for hit in hits:
        unclear = hit.outcome == "cannot_tell" and hit.rule not in approving
        staged = hit.effect == "require_stage" and hit.outcome == "hit"
        asks = hit.effect == "ask" and hit.outcome == "hit" and not approves
        if unclear or staged or asks:
            return Decision.AWAITING, Cause.POLICY_REFUSED, hit.sentence
    return None


def _as_json(hit: RuleHit) -> Mapping[str, Any]:
    return {
        "rule": hit.rule,
        "outcome": hit.outcome,
        "effect": hit.effect,
        "sentence": hit.sentence,
        "inputs": dict(hit.inputs),
    }
