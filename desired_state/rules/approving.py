"""Kinds of rules about approval: what needs none, whose approval is needed, and when an opener's own counts. Pure.

A rule that approves has positive conditions only, and what is not known approves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from desired_state.overlays import Price
from desired_state.rules.facts import (
    Assurance,
    Change,
    RuleFacts,
    RuleHit,
    Spent,
    StageName,
    StageNeed,
    fits,
    folded,
    looked_at,
    not_known,
    plain_price,
    unknown,
)
from desired_state.rules.kinds import Inputs, RuleBase, Words


class StageAsked(BaseModel):
    """One stage of a rule: its name alone, or a table with what it has to be like."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: StageName
    quorum: Annotated[int, Field(ge=1, le=20)] | None = None
    ticket_approval_suffices: bool | None = None
    assurance: Assurance | None = None
    comment: bool | None = None  # whether a yes needs a reason too


def _as_table(value: Any) -> Any:
    return {"stage": value} if isinstance(value, str) else value


class AutoApprove(RuleBase):
    """What needs no person's approval: everything that is listed here has to be known and to hold.

    `per_day` and `cost_per_day` (more a month than before) limit what it approves within 24 hours. A person looks at
    `sample_percent` of it afterwards.
    """

    kind: Literal["auto_approve"]
    price_max: Price  # more a month than now, for one line
    changes: Annotated[tuple[Change, ...], Field(min_length=1)] | None = None
    departments: Words | None = None
    cost_centers: Words | None = None
    employee_types: Words | None = None
    countries: Words | None = None
    titles: Words | None = None
    groups: Words | None = None
    per_day: Annotated[int, Field(ge=1, le=100_000)] = 50
    cost_per_day: Price | None = None
    sample_percent: Annotated[int, Field(ge=0, le=100)] = 5

    @model_validator(mode="after")
    def _is_narrow(self) -> AutoApprove:
        if not (self.products or self.changes or self.conditions()):
            raise ValueError(
                "needs a positive condition: products, changes, departments, cost_centers, employee_types, countries, "
                "titles or groups"
            )
        return self

    def evaluate(self, facts: RuleFacts) -> RuleHit:
        inputs: Inputs = {"price": plain_price(facts.price), "price_max": plain_price(self.price_max)}
        if not self.concerns(facts):
            return RuleHit(self.id, "not_applicable", "auto_approve", f"It is not about {facts.name}.")
        asked = self.conditions() | ({"change": self.changes} if self.changes is not None else {})
        said: dict[str, bool | None] = {"price": None if facts.price is None else facts.price <= self.price_max}
        for name, allowed in asked.items():
            inputs |= looked_at(name, allowed, facts)
            said[name] = fits(name, allowed, facts)
        if False in said.values():
            return RuleHit(self.id, "missed", "auto_approve", "It approves less than what is asked for.", inputs)
        unclear = [name for name, inside in said.items() if inside is None]
        if facts.spent is None:
            unclear.append("number of today's approvals")
        if unclear or facts.spent is None or facts.price is None:
            return RuleHit(self.id, "cannot_tell", "auto_approve", not_known(unclear, self.id), inputs)
        return self._within(facts.spent.get(self.id, Spent()), facts.price, inputs)

    def _within(self, spent: Spent, price: Decimal, inputs: Inputs) -> RuleHit:
        inputs |= {"approved_today": spent.count, "per_day": self.per_day}
        if spent.count >= self.per_day:
            sentence = f"It has approved {spent.count} within a day, and {self.per_day} is its limit."
            return RuleHit(self.id, "missed", "auto_approve", sentence, inputs)
        if self.cost_per_day is not None:
            inputs |= {"cost_today": plain_price(spent.cost), "cost_per_day": plain_price(self.cost_per_day)}
            if spent.cost + price > self.cost_per_day:
                sentence = f"With {spent.cost + price:.2f} a month within a day it would pass {self.cost_per_day:.2f}."
                return RuleHit(self.id, "missed", "auto_approve", sentence, inputs)
        return RuleHit(self.id, "hit", "auto_approve", f"Rule '{self.id}' approves this without a person.", inputs)


class StageRequired(RuleBase):
    """Who else has to approve: for these products, or above a price a month, or both.

    What a stage does not say for itself, the rule says for all of its stages.
    """

    kind: Literal["stage_required"]
    stages: Annotated[tuple[Annotated[StageAsked, BeforeValidator(_as_table)], ...], Field(min_length=1)]
    price_above: Price | None = None
    quorum: Annotated[int, Field(ge=1, le=20)] = 1
    ticket_approval_suffices: bool = False
    assurance: Assurance = "low"
    comment: bool = False

    @model_validator(mode="after")
    def _limits_something(self) -> StageRequired:
        if not self.products and self.price_above is None:
            raise ValueError("needs products or price_above")
        names = [asked.stage for asked in self.stages]
        for name in (name for name in names if names.count(name) > 1):
            raise ValueError(f"names the stage '{name}' twice; give it a quorum instead")
        return self

    def needs(self) -> tuple[StageNeed, ...]:
        """Its stages, in order, with everything said."""
        return tuple(
            StageNeed(
                s.stage,
                self.quorum if s.quorum is None else s.quorum,
                self.ticket_approval_suffices if s.ticket_approval_suffices is None else s.ticket_approval_suffices,
                self.assurance if s.assurance is None else s.assurance,
                self.comment if s.comment is None else s.comment,
            )
            for s in self.stages
        )

    def evaluate(self, facts: RuleFacts) -> RuleHit:
        inputs: Inputs = {"price": plain_price(facts.price), "price_above": plain_price(self.price_above)}
        if not self.concerns(facts):
            return RuleHit(self.id, "not_applicable", "require_stage", f"It is not about {facts.name}.")
        if self.price_above is not None:
            if facts.price is None:
                sentence = not_known(["price"], self.id)
                return RuleHit(self.id, "cannot_tell", "require_stage", sentence, inputs, self.needs())
            if facts.price <= self.price_above:
                return RuleHit(self.id, "missed", "require_stage", "It costs less than that.", inputs)
        who = " and then ".join(_called(need) for need in self.needs())
        sentence = f"{facts.name} needs the approval of the {who}."
        return RuleHit(self.id, "hit", "require_stage", sentence, inputs, self.needs())


def _called(need: StageNeed) -> str:
    name = need.stage.replace("_", " ")
    return name if need.quorum == 1 else f"{name} ({need.quorum} of them)"


class OpenerApproves(RuleBase):
    """Who orders for others and may approve that too: their approval in the ticket counts, up to a price.

    Nobody ever approves what is for themselves, whatever a rule says.
    """

    kind: Literal["opener_approves"]
    openers: Words  # user names in the ticket system
    price_max: Price | None = None

    def evaluate(self, facts: RuleFacts) -> RuleHit:
        inputs: Inputs = {
            "opener": facts.opener,
            "price": plain_price(facts.price),
            "price_max": plain_price(self.price_max),
        }
        if not self.concerns(facts):
            return RuleHit(self.id, "not_applicable", "trust_opener", f"It is not about {facts.name}.")
        said: Mapping[str, bool | None] = {
            "opener": None if unknown(facts.opener) else folded(facts.opener) in {folded(o) for o in self.openers},
            "price": _up_to(facts.price, self.price_max),
        }
        if False in said.values():
            return RuleHit(self.id, "missed", "trust_opener", "It is not about this opener, or not so dear.", inputs)
        unclear = [name for name, inside in said.items() if inside is None]
        if unclear:
            return RuleHit(self.id, "cannot_tell", "trust_opener", not_known(unclear, self.id), inputs)
        return RuleHit(self.id, "hit", "trust_opener", f"{facts.opener} may approve what they order.", inputs)


def _up_to(price: Decimal | None, limit: Decimal | None) -> bool | None:
    if limit is None:
        return True
    return None if price is None else price <= limit
