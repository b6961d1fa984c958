"""What is allowed, as data: typed rules and what each of them says about one request. Pure.

Rules are evaluated in file order, all of them, with no short cut, so that the account of a decision names every
rule and its result. Judging is not done here: the gate combines the hits (deny wins). Two things always hold:
data that is missing never allows anything (the outcome is "cannot_tell", which the gate turns into a question to a
person, and which approves nothing), and a rule that approves by itself has positive conditions only.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from desired_state.model import ProductKey, Says
from desired_state.overlays import Price

Outcome = Literal["hit", "missed", "not_applicable", "cannot_tell"]
Effect = Literal["deny", "hold", "ask", "auto_approve", "require_stage"]
Change = Literal["none", "enable_plan", "assign", "join_group"]
Stage = Literal["manager", "cost_center_owner", "license_admin", "telecom", "security_officer", "service_desk"]
Words = Annotated[tuple[str, ...], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class RuleFacts:
    """What rules may look at, for one line. None is "not known" and never satisfies a condition.

    `price` is what granting the line would cost more each month: 0 when nothing has to be bought. `change` is the
    largest change that the plan would make for the line.
    """

    product: ProductKey
    product_name: str = ""
    price: Decimal | None = None
    department: str | None = None
    cost_center: str | None = None
    employee_type: str | None = None
    country: str | None = None
    title: str | None = None
    has_end: bool = False
    period_days: int | None = None
    says: Says = Says.APPROVED
    change: Change | None = None


@dataclass(frozen=True, slots=True)
class RuleHit:
    """What one rule says about one line. `inputs` are the facts that it looked at, as plain JSON values.

    `effect` is the rule's own and counts when the outcome is "hit"; with "cannot_tell" a person has to be asked.
    """

    rule: str
    outcome: Outcome
    effect: Effect
    sentence: str
    inputs: Mapping[str, str | int | bool | None] = field(default_factory=dict)
    stages: tuple[str, ...] = ()  # for require_stage, in order


def _slug(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", name):
        raise ValueError("an id is written with lower-case letters, digits and -")
    return name


class _Rule(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, AfterValidator(_slug)]
    tenants: tuple[str, ...] = ()  # () means all of them
    products: tuple[str, ...] = ()  # () means all of them

    def concerns(self, facts: RuleFacts) -> bool:
        return not self.products or facts.product in self.products

    def product_keys(self) -> tuple[str, ...]:
        return self.products

    def evaluate(self, facts: RuleFacts) -> RuleHit:
        raise NotImplementedError


class Eligibility(_Rule):
    """Who may have the products at all: every list that is given has to hold the person's own value."""

    kind: Literal["eligibility"]
    departments: Words | None = None
    cost_centers: Words | None = None
    employee_types: Words | None = None
    countries: Words | None = None

    @model_validator(mode="after")
    def _limits_something(self) -> Eligibility:
        if not any((self.departments, self.cost_centers, self.employee_types, self.countries)):
            raise ValueError("needs at least one of departments, cost_centers, employee_types, countries")
        return self

    def evaluate(self, facts: RuleFacts) -> RuleHit:
        limits = {
            "department": (self.departments, facts.department),
            "cost_center": (self.cost_centers, facts.cost_center),
            "employee_type": (self.employee_types, facts.employee_type),
            "country": (self.countries, facts.country),
        }
        asked = {name: (allowed, value) for name, (allowed, value) in limits.items() if allowed is not None}
        inputs = {name: value for name, (_, value) in asked.items()}
        if not self.concerns(facts):
            return RuleHit(self.id, "not_applicable", "deny", f"It is not about {_name(facts)}.")
        for name, (allowed, value) in asked.items():  # a value that is out outranks one that is not known
            if not _unknown(value) and not _among(value, allowed):
                sentence = f"{_name(facts)} is for {_label(name)} {_any_of(allowed)}; this person's is '{value}'."
                return RuleHit(self.id, "hit", "deny", sentence, inputs)
        unknown = [name for name, (_, value) in asked.items() if _unknown(value)]
        if unknown:
            return RuleHit(self.id, "cannot_tell", "deny", _not_known(unknown, self.id), inputs)
        return RuleHit(self.id, "missed", "deny", "The person is among those who may have it.", inputs)


class RoleProduct(_Rule):
    """What people of a role get: `product`, and none of `instead_of`. Titles may hold * and ?."""

    kind: Literal["role_product"]
    titles: Words
    product: str
    instead_of: Words
    products: Annotated[tuple[str, ...], Field(max_length=0)] = ()

    def concerns(self, facts: RuleFacts) -> bool:
        return facts.product in self.instead_of

    def product_keys(self) -> tuple[str, ...]:
        return (self.product, *self.instead_of)

    def evaluate(self, facts: RuleFacts) -> RuleHit:
        inputs = {"title": facts.title}
        if not self.concerns(facts):
            return RuleHit(self.id, "not_applicable", "deny", f"It is not about {_name(facts)}.")
        if _unknown(facts.title):
            return RuleHit(self.id, "cannot_tell", "deny", _not_known(["title"], self.id), inputs)
        title = _folded(facts.title)
        if any(fnmatch.fnmatchcase(title, _folded(pattern)) for pattern in self.titles):
            sentence = f"People with the title '{facts.title}' get {self.product}, not {_name(facts)}."
            return RuleHit(self.id, "hit", "deny", sentence, inputs)
        return RuleHit(self.id, "missed", "deny", "The person has another role.", inputs)


class EndDateRequired(_Rule):
    """A period has to end: for these kinds of employee, these products, or both; after `max_days` at the latest."""

    kind: Literal["end_date_required"]
    employee_types: Words | None = None
    max_days: Annotated[int, Field(ge=1, le=3650)] | None = None

    @model_validator(mode="after")
    def _limits_something(self) -> EndDateRequired:
        if not self.employee_types and not self.products:
            raise ValueError("needs employee_types or products: it would hold every request")
        return self

    def evaluate(self, facts: RuleFacts) -> RuleHit:
        inputs = {
            "employee_type": facts.employee_type,
            "has_end": facts.has_end,
            "period_days": facts.period_days,
            "max_days": self.max_days,
        }
        if not self.concerns(facts):
            return RuleHit(self.id, "not_applicable", "hold", f"It is not about {_name(facts)}.")
        is_fine = facts.has_end and (
            self.max_days is None or (facts.period_days is not None and facts.period_days <= self.max_days)
        )
        if is_fine:
            return RuleHit(self.id, "missed", "hold", "The period ends in time.", inputs)
        if self.employee_types is not None:
            if _unknown(facts.employee_type):
                return RuleHit(self.id, "cannot_tell", "hold", _not_known(["employee_type"], self.id), inputs)
            if not _among(facts.employee_type, self.employee_types):
                return RuleHit(self.id, "not_applicable", "hold", "It is not about this kind of employee.", inputs)
        if facts.has_end and facts.period_days is None:
            return RuleHit(self.id, "cannot_tell", "hold", _not_known(["length of the period"], self.id), inputs)
        return RuleHit(self.id, "hit", "hold", self._sentence(facts), inputs)

    def _sentence(self, facts: RuleFacts) -> str:
        who = f" for {_any_of(self.employee_types)}" if self.employee_types else ""
        limit = f" of at most {self.max_days} days" if self.max_days else ""
        if facts.has_end:
            return f"{_name(facts)}{who} is limited to {self.max_days} days; {facts.period_days} were asked for."
        return f"{_name(facts)}{who} needs an end date{limit}. Please answer with the date it should end."


class AutoApprove(_Rule):
    """What needs no person's approval: everything that is listed here has to be known and to hold."""

    kind: Literal["auto_approve"]
    price_max: Price  # more a month than now, for one line
    changes: Annotated[tuple[Change, ...], Field(min_length=1)] | None = None
    departments: Words | None = None
    employee_types: Words | None = None

    @model_validator(mode="after")
    def _is_narrow(self) -> AutoApprove:
        if not (self.products or self.changes or self.departments or self.employee_types):
            raise ValueError("needs a positive condition: products, changes, departments or employee_types")
        return self

    def evaluate(self, facts: RuleFacts) -> RuleHit:
        inputs: dict[str, str | int | bool | None] = {"price": _plain(facts.price), "price_max": _plain(self.price_max)}
        if not self.concerns(facts):
            return RuleHit(self.id, "not_applicable", "auto_approve", f"It is not about {_name(facts)}.")
        unknown = ["price"] if facts.price is None else []
        fails = facts.price is not None and facts.price > self.price_max
        conditions: tuple[tuple[str, tuple[str, ...] | None, str | None], ...] = (
            ("change", self.changes, facts.change),
            ("department", self.departments, facts.department),
            ("employee_type", self.employee_types, facts.employee_type),
        )
        for name, allowed, value in conditions:
            if allowed is None:
                continue
            inputs[name] = value
            if _unknown(value):
                unknown.append(name)
            elif not _among(value, allowed):
                fails = True
        if fails:
            return RuleHit(self.id, "missed", "auto_approve", "It approves less than what is asked for.", inputs)
        if unknown:
            return RuleHit(self.id, "cannot_tell", "auto_approve", _not_known(unknown, self.id), inputs)
        return RuleHit(self.id, "hit", "auto_approve", f"Rule '{self.id}' approves this without a person.", inputs)


class StageRequired(_Rule):
    """Who else has to approve: for these products, or above a price a month, or both."""

    kind: Literal["stage_required"]
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)]
    price_above: Price | None = None

    @model_validator(mode="after")
    def _limits_something(self) -> StageRequired:
        if not self.products and self.price_above is None:
            raise ValueError("needs products or price_above")
        return self

    def evaluate(self, facts: RuleFacts) -> RuleHit:
        inputs = {"price": _plain(facts.price), "price_above": _plain(self.price_above)}
        if not self.concerns(facts):
            return RuleHit(self.id, "not_applicable", "require_stage", f"It is not about {_name(facts)}.")
        if self.price_above is not None:
            if facts.price is None:
                sentence = _not_known(["price"], self.id)
                return RuleHit(self.id, "cannot_tell", "require_stage", sentence, inputs, stages=self.stages)
            if facts.price <= self.price_above:
                return RuleHit(self.id, "missed", "require_stage", "It costs less than that.", inputs)
        who = " and then ".join(stage.replace("_", " ") for stage in self.stages)
        sentence = f"{_name(facts)} needs the approval of the {who}."
        return RuleHit(self.id, "hit", "require_stage", sentence, inputs, stages=self.stages)


Rule = Annotated[
    Eligibility | RoleProduct | EndDateRequired | AutoApprove | StageRequired,
    Field(discriminator="kind"),
]


class Rules(BaseModel):
    """All rules, in file order; ids are unique."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rules: tuple[Rule, ...] = ()

    @model_validator(mode="after")
    def _ids_are_unique(self) -> Rules:
        seen: set[str] = set()
        for rule in self.rules:
            if rule.id in seen:
                raise ValueError(f"two rules have the id '{rule.id}'")
            seen.add(rule.id)
        return self

    def for_tenant(self, name: str) -> Rules:
        return Rules(rules=tuple(rule for rule in self.rules if not rule.tenants or name in rule.tenants))


def evaluate(rules: Rules | Iterable[Rule], facts: RuleFacts) -> tuple[RuleHit, ...]:
    """What every rule says about one line, in file order. Filter by tenant first."""
    each = rules.rules if isinstance(rules, Rules) else rules
    return tuple(rule.evaluate(facts) for rule in each)


def _name(facts: RuleFacts) -> str:
    return facts.product_name or facts.product


def _unknown(value: str | None) -> bool:
    """A field that was not shown or is blank tells nothing about the person."""
    return value is None or not value.strip()


def _among(value: str | None, allowed: Iterable[str]) -> bool:
    return value is not None and _folded(value) in {_folded(word) for word in allowed}


def _folded(text: str | None) -> str:
    return " ".join((text or "").split()).casefold()


def _plain(price: Decimal | None) -> str | None:
    return None if price is None else format(price, "f")


def _label(name: str) -> str:
    return name.replace("_", " ")


def _any_of(words: Iterable[str] | None) -> str:
    names = [f"'{word}'" for word in words or ()]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _not_known(names: Iterable[str], rule: str) -> str:
    what = " and ".join(_label(name) for name in names)
    return f"The {what} is not known, so rule '{rule}' cannot be checked; a person has to decide."
