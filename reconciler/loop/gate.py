"""Stage 4: plan, rules, approvals and guards decide what may be sent: cleared, held, awaiting, planned, stopped. Pure.

Rules judge what is not fulfilled yet; a ticket that was approved and closed under older rules is verified, not judged
again. Deny wins; missing data means ask, never allow. Whatever is not cleared here is not sent, and the choke-point
in `send` checks mode and lease once more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal

from desired_state.model import ProductKey, Request, Says, UserId
from desired_state.proposals import is_software
from desired_state.rules import Rules
from reconciler.causes import Cause
from reconciler.lifecycle import Phase
from reconciler.line import (
    Closing,
    Decision,
    Finding,
    Gated,
    Lane,
    LineState,
    Plan,
    Proposal,
    Rest,
    Trip,
)
from reconciler.loop.approved import Approvals, approved
from reconciler.loop.ending import WORKING, is_unpermitted
from reconciler.loop.guards.judge import judge
from reconciler.loop.guards.scope import Side
from reconciler.loop.guards.scope import judge as side_of
from reconciler.loop.guards.watch import Watch
from reconciler.loop.judging import Bench, Evidence, hit_as_json, refused, wants_person
from reconciler.loop.new_plans import is_about, left
from reconciler.loop.takeback import end_of
from reconciler.model import Verdict
from reconciler.share import WHOLE, side
from reconciler.share import Side as Canary


@dataclass(frozen=True, slots=True)
class Policy:
    """What the configuration allows for one tenant. `modes` overrides `mode` per product.

    `share` is how many of the people are enforced for, 0 to 1; `shares` narrows it per product.
    """

    mode: str = "observe"  # observe, suggest, enforce
    modes: Mapping[ProductKey, str] = field(default_factory=dict)
    act_on_tickets_since: datetime | None = None  # None: no ticket is too old by date
    act_max_age: timedelta = timedelta(days=30)
    held_tickets: Mapping[str, str] = field(default_factory=dict)
    held_products: Mapping[ProductKey, str] = field(default_factory=dict)
    agents: frozenset[str] = frozenset()  # user names of integration and agent accounts
    directory: str = ""  # its id: people have their places by it
    share: Decimal = WHOLE
    shares: Mapping[ProductKey, Decimal] = field(default_factory=dict)

    def mode_of(self, product: ProductKey) -> str:
        return self.modes.get(product, self.mode)

    def share_of(self, product: ProductKey) -> Decimal:
        """How many of the people a product is enforced for: the narrower of its own share and the tenant's."""
        return min(self.share, self.shares.get(product, self.share))

    def canary(self, product: ProductKey, user: UserId | None) -> Canary | None:
        """On which side of the share a person is; None where everybody is enforced for, or nobody is."""
        share = self.share_of(product)
        if self.mode_of(product) != "enforce" or share >= WHOLE or user is None:
            return None
        return side(share, directory=self.directory, subject=user)

    def mode_for(self, product: ProductKey, user: UserId | None) -> str:
        """The mode that counts for one person: whoever is not among the first is treated as in suggest."""
        mode, found = self.mode_of(product), self.canary(product, user)
        return "suggest" if found is not None and not found.is_in else mode


@dataclass(frozen=True, slots=True)
class Gates:
    """Every proposal after judgement, in order, and the guards that tripped.

    `released` are the plans that a person let through and that are part of this one, with the lane that goes out whole.
    """

    gated: tuple[Gated, ...]
    trips: tuple[Trip, ...]
    plan_digest: str
    released: Mapping[str, Lane | None] = field(default_factory=dict)


def gate(
    plan: Plan,
    rules: Rules,
    *,
    policy: Policy,
    watch: Watch,
    at: datetime,
    evidence: Evidence | None = None,
    approvals: Approvals | None = None,
) -> Gates:
    """Judge each proposal, then each lane as a whole. `evidence` is what rules ask about besides the lines, `approvals`
    are the newest requests of the lines."""
    bench, asked = Bench(rules, evidence or Evidence()), approvals or {}
    bench.expect(plan.proposals)
    each = tuple(
        bench.seen(
            approved(
                replace(_judge(proposal, bench, policy, watch, at), canary=_canary(proposal, policy)),
                asked,
                mode_of(proposal, policy),
                at,
            )
        )
        for proposal in plan.proposals
    )
    judged = judge(each, watch)
    return Gates(tuple(left(g) for g in _shared(judged.gated)), judged.trips, plan.digest, judged.released)


def _shared(gated: Iterable[Gated]) -> Iterable[Gated]:
    """Lines with what stops the change that they share: nothing comes of it for them either."""
    every = tuple(gated)
    stopped = {g.proposal.finding.key: g for g in every if g.decision is Decision.STOPPED}
    for g in every:
        carrier = stopped.get(g.proposal.with_) if g.proposal.with_ is not None else None
        if carrier is None or g.decision is not Decision.CLEARED:
            yield g
        else:
            yield replace(g, decision=Decision.STOPPED, cause=carrier.cause, sentence=carrier.sentence)


def mode_of(proposal: Proposal, policy: Policy) -> str:
    """The mode that counts for one line: that of its product and person.

    What we gave is taken back, and what is half done goes on, by the mode of the product alone: a share that is
    narrowed meanwhile leaves nobody half way, and nothing past its end (I9, I12).
    """
    line = proposal.finding.line
    if line.product is None:
        return policy.mode
    if _is_bound(proposal.finding):
        return policy.mode_of(line.product.key)
    return policy.mode_for(line.product.key, line.account)


def _is_bound(finding: Finding) -> bool:
    """Whether something of ours is there that has to be taken back or finished, whoever is among the first by now.

    What people approved goes on by their approval, which says how far it reaches (I7).
    """
    state = finding.line.state
    is_begun = state is not None and state.phase in WORKING and bool(finding.there) and not finding.line.is_approved
    return is_begun or _is_giving_back(finding)


def _canary(proposal: Proposal, policy: Policy) -> Canary | None:
    """On which side of the share the person is, where there is something to be sent and the share counts for it."""
    line = proposal.finding.line
    is_asked = bool(proposal.actions or proposal.with_ or proposal.short_of) and not _is_bound(proposal.finding)
    return policy.canary(line.product.key, line.account) if is_asked and line.product is not None else None


def _suggested(proposal: Proposal, policy: Policy) -> str:
    """Why a person is asked though no rule wants it."""
    found = _canary(proposal, policy)
    return found.sentence() if found is not None and not found.is_in else "In mode suggest every change needs a person."


def _judge(proposal: Proposal, bench: Bench, policy: Policy, watch: Watch, at: datetime) -> Gated:
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
    resting = _resting(proposal, at)
    if resting:
        return Gated(proposal, Decision.HELD, finding.cause, resting)
    if finding.line.hold and finding.rest is Rest.ACT:
        return Gated(replace(proposal, actions=()), Decision.HELD, Cause.HELD_BY_PERSON, finding.line.hold)
    if _is_giving_back(finding):
        return _may_take_back(proposal, policy)
    old = "" if finding.decided is not None else _too_old(finding, policy, at)  # a person's word is news
    if old and finding.rest not in (Rest.PROVEN, Rest.OVER):
        return Gated(proposal, Decision.HELD, finding.cause, old, may_answer=False)
    if is_about(finding):
        return replace(_may_switch_off(proposal, policy), may_answer=not old)
    if old:
        return Gated(proposal, Decision.CLEARED, may_answer=False)
    if finding.rest is not Rest.ACT:
        return Gated(proposal, Decision.CLEARED)
    if finding.line.says is Says.WAITING:
        return _waiting(proposal, bench, policy)
    if proposal.blocked is not None and not proposal.short_of:
        return Gated(proposal, Decision.HELD, proposal.blocked, proposal.sentence)
    judged = _may_write(proposal, bench, policy)
    if proposal.short_of and judged.decision is Decision.CLEARED:
        return replace(judged, decision=Decision.QUEUED, cause=proposal.blocked, sentence=proposal.sentence)
    if proposal.short_of and judged.decision is Decision.PLANNED:
        return replace(judged, cause=proposal.blocked, sentence=proposal.sentence)
    return judged


def _waiting(proposal: Proposal, bench: Bench, policy: Policy) -> Gated:
    """A ticket that nobody has approved yet: our rules may name who is to be asked here, and nothing else clears it."""
    if proposal.blocked is None or proposal.short_of:
        judged = _may_write(proposal, bench, policy)
        if judged.decision is Decision.AWAITING:
            return judged
    sentence = "The ticket waits for an approval in ServiceNow."
    return Gated(replace(proposal, actions=()), Decision.AWAITING, None, sentence, asks_nobody=True)


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


def _resting(proposal: Proposal, at: datetime) -> str:
    """Why a line is not taken up again now although it may differ: a person has it, or its backoff runs."""
    finding, state = proposal.finding, proposal.finding.line.state
    if state is None or finding.rest is Rest.PROVEN:
        return ""
    if state.phase is Phase.REVIEW and finding.decided is None and not _is_answered(proposal, state):
        return state.note or "A person has this line."
    tried = (Phase.CONVERGING, Phase.VERIFYING, Phase.WAITING_FOR_SEAT, Phase.REVOKING)
    is_tried = (state.phase in tried or is_unpermitted(state)) and finding.rest is Rest.ACT
    if is_tried and state.next_at is not None and state.next_at > at:
        return f"The last attempt had no effect yet; the next one is due at {state.next_at:%Y-%m-%d %H:%M:%S} UTC."
    return ""


def _is_answered(proposal: Proposal, state: LineState) -> bool:
    """Whether the directory shows that people did what they were asked for: the country that was missing is known."""
    was_asked = state.cause == Cause.USAGE_LOCATION_MISSING.value and not state.attempts
    return was_asked and proposal.finding.rest is Rest.ACT and proposal.blocked is not Cause.USAGE_LOCATION_MISSING


def _is_giving_back(finding: Finding) -> bool:
    """What we gave is ours to take back, however old its ticket is: the end of a period, or of an attempt, is news."""
    ours = finding.line.is_by_us or (finding.line.state is not None and bool(finding.line.state.given))
    is_back = finding.closing is not None or (finding.drift is not None and bool(finding.drift.take_back))
    return is_back and (ours or finding.decided is not None)


def _may_take_back(proposal: Proposal, policy: Policy) -> Gated:
    """The rules say who may be given something; taking back is judged by mode, scope and limits alone."""
    finding = proposal.finding
    mode = mode_of(proposal, policy)
    if finding.rest is Rest.ACT and _is_inferred(finding):
        first = "The end of the period is news; it is looked at in a later cycle before anything is taken back."
        return Gated(proposal, Decision.HELD, finding.cause, first)
    if finding.rest is not Rest.ACT or mode == "enforce":
        return Gated(proposal, Decision.CLEARED)
    if mode == "suggest":
        return Gated(proposal, Decision.AWAITING, finding.cause, _suggested(proposal, policy))
    return Gated(proposal, Decision.PLANNED, finding.cause, "In mode observe nothing is changed.")


def _may_switch_off(proposal: Proposal, policy: Policy) -> Gated:
    """New plans of what we gave are news however old its ticket is. Nobody is asked about them one by one: what is
    configured for the product is the word for all of them."""
    mode = mode_of(proposal, policy)
    if mode == "enforce" or not proposal.actions:
        return Gated(proposal, Decision.CLEARED)
    return Gated(proposal, Decision.PLANNED, None, f"in mode {mode} they are left as they are.")


def _is_inferred(finding: Finding) -> bool:
    """Whether this end is news: nobody knew of one, or only of a later day. What was known since the grant is none."""
    state = finding.line.state
    if finding.closing is not Closing.DUE or state is None or finding.decided is not None:
        return False
    end = end_of(finding.line, state.granted_at)
    return state.ends_at is None or end is None or end < state.ends_at - timedelta(days=1)


def _may_write(proposal: Proposal, bench: Bench, policy: Policy) -> Gated:
    finding = proposal.finding
    request, product, user = finding.line.declared, finding.line.product, finding.user
    assert isinstance(request, Request) and product is not None and user is not None
    ruling = bench.rule(finding, request)  # for the record also where the ticket is closed already
    judged = tuple(hit_as_json(hit) for hit in ruling.hits)

    def decided(decision: Decision, cause: Cause | None, sentence: str) -> Gated:
        return Gated(proposal, decision, cause, sentence, judged, ruling=ruling)

    by_rule = ""
    if request.says in (Says.APPROVED, Says.WAITING):
        no = refused(ruling)
        if no is not None:
            return decided(*no)
        if policy.agents and not request.opened_by:
            sentence = "Who ordered it cannot be read, so it may be an agent's proposal; a person decides."
            return decided(Decision.AWAITING, None, sentence)
        if is_software(request.opened_by, policy.agents):
            sentence = "The order came from an integration or agent account, which can only propose."
            return decided(Decision.AWAITING, None, sentence)
        asked = wants_person(ruling, finding.line)
        if asked is not None:
            return decided(*asked)
        if request.says is Says.WAITING:
            return decided(Decision.AWAITING, None, "The ticket still waits for its approval.")
        by_rule = ruling.approved_by if finding.line.is_unapproved else ""
    if finding.drift is not None and finding.drift.needs_person:
        return decided(Decision.AWAITING, finding.cause, finding.sentence)
    mode = mode_of(proposal, policy)
    if mode == "enforce":
        return replace(decided(Decision.CLEARED, None, ""), approved_by=by_rule)
    if mode == "suggest":
        return decided(Decision.AWAITING, finding.cause, _suggested(proposal, policy))
    return decided(Decision.PLANNED, finding.cause, "In mode observe nothing is changed.")
