"""What rules are told about a line, and what their word means for it. Pure; the gate calls it.

Rules judge what is known: an account that could not be read, a group that nobody could look into and a price that
nobody configured are unknown, and what is unknown allows nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any

from desired_state.model import LineKey, Product, ProductKey, Request, UserId
from desired_state.rules import RuleFacts, RuleHit, Rules, Ruling, Spent, judge
from reconciler.causes import Cause
from reconciler.line import Decision, DriftKind, Finding, Gated, Line, Proposal, Rest
from reconciler.model import ObservedUser

_YES = "approved"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What rules ask about besides the line itself.

    `products` are all of the site's. `groups` says of each person which of the groups that rules name they are in,
    directly or through another one. `approved` are the lines that rules approved by themselves within 24 hours, with
    what each costs a month; None: that is not known.
    """

    products: Mapping[ProductKey, Product] = field(default_factory=dict)
    groups: Mapping[UserId, Mapping[str, bool | None]] = field(default_factory=dict)
    approved: Mapping[str, Mapping[LineKey, Decimal]] | None = field(default_factory=dict)

    def spent(self, line: LineKey, now: Mapping[str, Mapping[LineKey, Decimal]]) -> Mapping[str, Spent] | None:
        """What each rule has approved for other lines: before, and `now` in this cycle. A retry is no second one."""
        if self.approved is None:
            return None
        found: dict[str, Spent] = {}
        for rule in sorted({*self.approved, *now}):
            costs = {**self.approved.get(rule, {}), **now.get(rule, {})}
            others = [cost for key, cost in costs.items() if key != line]
            found[rule] = Spent(len(others), sum(others, Decimal(0)))
        return found


@dataclass(slots=True)
class Bench:
    """Judges the lines of one plan in turn: what was allowed for an earlier line counts for the later ones."""

    rules: Rules
    evidence: Evidence
    named: str = ""  # hash of the rules
    coming: dict[UserId, dict[LineKey, ProductKey]] = field(default_factory=dict)  # what people are about to get
    now: dict[str, dict[LineKey, Decimal]] = field(default_factory=dict)  # what rules approved in this cycle

    def expect(self, proposals: Iterable[Proposal]) -> None:
        """What was sent for some lines and has not arrived yet is as good as held."""
        for finding in (p.finding for p in proposals):
            if finding.rest is Rest.WAIT and finding.line.state is not None and finding.line.state.attempts:
                self._expect(finding)

    def rule(self, finding: Finding, request: Request) -> Ruling:
        """What the rules say about one line."""
        self.named = self.named or self.rules.hash()
        others = {k: p for k, p in self.coming.get(_user(finding), {}).items() if k != finding.key}
        facts = facts_of(finding, request, self.evidence, coming=frozenset(others.values()), now=self.now)
        return judge(self.rules, facts, rules_hash=self.named)

    def seen(self, gated: Gated) -> Gated:
        """Remember what was allowed."""
        finding = gated.proposal.finding
        if gated.decision in (Decision.CLEARED, Decision.QUEUED) and finding.rest is Rest.ACT:
            self._expect(finding)
            if gated.approved_by and gated.ruling is not None:
                price = gated.ruling.facts.price or Decimal(0)
                self.now.setdefault(gated.approved_by, {})[finding.key] = price
        return gated

    def _expect(self, finding: Finding) -> None:
        if finding.user is not None and finding.line.product is not None:
            self.coming.setdefault(finding.user.id, {})[finding.key] = finding.line.product.key


def _user(finding: Finding) -> UserId:
    assert finding.user is not None
    return finding.user.id


def facts_of(
    finding: Finding,
    request: Request,
    evidence: Evidence,
    *,
    coming: AbstractSet[ProductKey] = frozenset(),
    now: Mapping[str, Mapping[LineKey, Decimal]] | None = None,
) -> RuleFacts:
    """The facts of a line that something would be changed for. `coming` are products that the person is about to get
    for other lines, `now` what rules approved in this cycle already."""
    user, person, product = finding.user, finding.line.person, finding.line.product
    assert user is not None and product is not None and finding.drift is not None
    switches_on = finding.drift.kind is DriftKind.PLAN_OFF
    joins = finding.drift.kind is DriftKind.NOT_MEMBER
    return RuleFacts(
        product=product.key,
        product_name=product.name,
        price=Decimal(0) if switches_on else product.price,
        department=(person.department if person is not None else None) or user.department,
        cost_center=(person.cost_center if person is not None else None) or None,  # never what somebody typed (I17)
        employee_type=user.employee_type,
        country=user.usage_location or user.country,
        title=person.title if person is not None else None,
        has_end=not request.period.is_open,
        period_days=_period_days(request),
        says=request.says,
        change="enable_plan" if switches_on else "join_group" if joins else "assign",
        names=frozenset({user.upn.lower(), user.id}),
        groups=evidence.groups.get(user.id, {}),
        holds=_holds(user, product, evidence, coming),
        opener=request.opened_by or None,
        spent=evidence.spent(finding.key, now or {}),
    )


def _holds(
    user: ObservedUser, product: Product, evidence: Evidence, coming: AbstractSet[ProductKey]
) -> frozenset[ProductKey] | None:
    """The other products that the person has a licence of or is about to get, but those that this one replaces."""
    skus = user.skus
    if skus is None or not evidence.products:
        return None
    held = {key for key, other in evidence.products.items() if skus & set(other.candidate_skus)}
    return frozenset((held | coming) - {product.key, *product.replaces})


def _period_days(request: Request) -> int | None:
    """Days that were asked for, counted from the request where only an end date is given."""
    period = request.period
    if period.duration_days is not None or period.ends_on is None:
        return period.duration_days
    return (period.ends_on - (period.starts_on or request.requested_at.date())).days


def refused(ruling: Ruling) -> tuple[Decision, Cause, str] | None:
    """What no approval can help against: a rule denies it, or it cannot be given as it was asked for."""
    if ruling.says in ("denied", "held"):
        return Decision.HELD, Cause.POLICY_REFUSED, ruling.sentence
    return None


def wants_person(ruling: Ruling, line: Line) -> tuple[Decision, Cause | None, str] | None:
    """Why a person has to decide: something is not known, a stage is asked for, or nobody who may has approved it.

    A rule that would approve by itself and cannot tell merely does not approve: the ticket's own approval stands.
    """
    if ruling.says in ("asked", "staged"):
        return Decision.AWAITING, Cause.POLICY_REFUSED, ruling.sentence
    if ruling.approved_by:
        return None
    if line.is_unapproved:
        sentence = "The form needs no approval, and no rule approves this by itself, so a person has to."
        return Decision.AWAITING, Cause.POLICY_REFUSED, sentence
    own = approved_alone(line)
    if own == "beneficiary":
        sentence = "Only the person whom it is for has approved the ticket; somebody else has to."
        return Decision.AWAITING, Cause.POLICY_REFUSED, sentence
    if own == "opener" and not ruling.trusts_opener:
        sentence = "Only the person who ordered it has approved the ticket, and no rule lets them."
        return Decision.AWAITING, Cause.POLICY_REFUSED, sentence
    return None


def approved_alone(line: Line) -> str:
    """Whose approval alone the ticket shows: "beneficiary", "opener", or "" for anybody else's.

    Also "" where it shows no single answer: then the ticket's own word counts, as far as it has one.
    """
    ticket = line.ticket
    yes = {row.approver for row in ticket.approvals if row.state.strip().casefold() == _YES and row.approver}
    own = {person.sys_id for person in (line.person, ticket.requested_for) if person is not None and person.sys_id}
    if not yes:
        return ""
    if yes <= own:
        return "beneficiary"
    opener = {ticket.opened_by.sys_id} if ticket.opened_by is not None else set()
    return "opener" if yes <= own | opener else ""


def hit_as_json(hit: RuleHit) -> Mapping[str, Any]:
    """One rule's account of a line, as it is kept."""
    told = {
        "rule": hit.rule,
        "outcome": hit.outcome,
        "effect": hit.effect,
        "sentence": hit.sentence,
        "inputs": dict(hit.inputs),
    }
    return told | ({"stages": [asdict(stage) for stage in hit.stages]} if hit.stages else {})
