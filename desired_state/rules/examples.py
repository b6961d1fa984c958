"""Example requests with what the rules should say of each: the table behind `reconciler rules test`. Pure.

A file is TOML with one `[[examples]]` a request. What an example leaves out is not known to the rules, but the price,
which is the product's, and what rules have approved today, which is nothing.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from desired_state.catalogue import Catalogue
from desired_state.model import ProductKey
from desired_state.overlays import Price
from desired_state.rules.facts import Change, RuleFacts, Spent, StageName, folded
from desired_state.rules.kinds import Word
from desired_state.rules.ruling import Rules, Ruling, Saying, judge

Fault = tuple[tuple[str | int, ...], str]


class Used(BaseModel):
    """What a rule has approved today already, in an example."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: Annotated[int, Field(ge=0)] = 0
    cost: Price = Decimal(0)


class Example(BaseModel):
    """One request, and what is expected of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Word
    product: Word
    expect: Saying
    hits: tuple[str, ...] | None = None  # rules that have to be hit, all of them; others may be
    stages: tuple[StageName, ...] | None = None  # exactly these, in this order
    price: Price | None = None  # a month; the product's own where it is left out
    user: str | None = None  # sign-in name
    department: str | None = None
    cost_center: str | None = None
    employee_type: str | None = None
    country: str | None = None
    title: str | None = None
    groups: tuple[str, ...] | None = None  # of those that rules name; the person is in no other of them
    holds: tuple[str, ...] | None = None  # products that the person has
    days: Annotated[int, Field(ge=1)] | None = None  # how long the period is
    ends: bool = False  # it ends, and nobody knows how long it is
    change: Change = "assign"
    opener: str | None = None  # user name of who ordered
    approved_today: dict[str, Used] = Field(default_factory=dict)  # by rule

    def facts(self, catalogue: Catalogue, rules: Rules) -> RuleFacts:
        """What the rules are told."""
        product = catalogue.product(self.product)
        assert product is not None  # `faults` has said so
        price = Decimal(0) if self.change == "enable_plan" else product.price
        inside = None if self.groups is None else {folded(group) for group in self.groups}
        return RuleFacts(
            product=product.key,
            product_name=product.name,
            price=self.price if self.price is not None else price,
            department=self.department,
            cost_center=self.cost_center,
            employee_type=self.employee_type,
            country=self.country,
            title=self.title,
            has_end=self.ends or self.days is not None,
            period_days=self.days,
            change=self.change,
            names=None if self.user is None else frozenset({self.user.strip().lower()}),
            groups={} if inside is None else {folded(g): folded(g) in inside for g in rules.group_names()},
            holds=None if self.holds is None else frozenset(ProductKey(key) for key in self.holds) - {product.key},
            opener=self.opener,
            spent={rule: Spent(used.count, used.cost) for rule, used in self.approved_today.items()},
        )


class Examples(BaseModel):
    """A whole file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    examples: Annotated[tuple[Example, ...], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Tried:
    """One example, judged. `wrong` are sentences, none when it is as expected."""

    example: Example
    ruling: Ruling
    wrong: tuple[str, ...]


def faults(found: Examples, rules: Rules, catalogue: Catalogue) -> Iterator[Fault]:
    """Names in the file that name nothing, each with its place and the closest right word."""
    ids = [rule.id for rule in rules.rules]
    groups = {folded(name): name for name in rules.group_names()}
    for number, example in enumerate(found.examples):
        where = f"example '{example.name}'"
        for key in ("product", "holds"):
            for name in [example.product] if key == "product" else example.holds or ():
                if catalogue.product(name) is None:
                    hint = _none(catalogue.closest(name))
                    yield ("examples", number, key), f"{where} names the product '{name}', {hint}"
        for key, names in (("hits", example.hits or ()), ("approved_today", example.approved_today)):
            for name in names:
                if name not in ids:
                    yield ("examples", number, key), f"{where} names the rule '{name}', {_none(_near(name, ids))}"
        for name in example.groups or ():
            if folded(name) not in groups:
                near = _near(folded(name), groups)
                told = groups[near] if near is not None else None
                yield (
                    ("examples", number, "groups"),
                    f"{where} names the group '{name}', which no rule does{_mean(told)}",
                )


def try_out(found: Examples, rules: Rules, catalogue: Catalogue) -> tuple[Tried, ...]:
    """Judge every example, in the order of the file."""
    named = rules.hash()
    return tuple(_tried(e, judge(rules, e.facts(catalogue, rules), rules_hash=named)) for e in found.examples)


def _tried(example: Example, ruling: Ruling) -> Tried:
    wrong = []
    if ruling.says != example.expect:
        wrong.append(f"expected is '{example.expect}', and the rules say '{ruling.says}'")
    hit = {h.rule for h in ruling.hits if h.outcome == "hit"}
    wrong += [f"rule '{name}' should be hit" for name in example.hits or () if name not in hit]
    stages = tuple(stage.stage for stage in ruling.stages)
    if example.stages is not None and stages != example.stages:
        wrong.append(f"expected are the stages {_list(example.stages)}, and the rules ask for {_list(stages)}")
    return Tried(example, ruling, tuple(wrong))


def _list(words: Iterable[str]) -> str:
    return ", ".join(words) or "none"


def _near(name: str, choices: Iterable[str] | Mapping[str, str]) -> str | None:
    return next(iter(difflib.get_close_matches(name, list(choices), n=1, cutoff=0.6)), None)


def _mean(near: str | None) -> str:
    return f"; did you mean '{near}'?" if near else ""


def _none(near: str | None) -> str:
    return f"which does not exist{_mean(near)}"
