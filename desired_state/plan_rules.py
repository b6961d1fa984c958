"""Which service plans exclude each other or need another one, and which a change would newly break. Pure after loading.

Built-in rules come from plan_rules.toml beside this file, with its sources; what a tenant's own refusals taught is
merged in by the caller and counts like a hard rule. A rule that is broken already is nobody's news: only what a change
would newly break is reported.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cache, cached_property
from importlib import resources
from itertools import combinations, product
from typing import Any

from desired_state.model import PlanId


class Enforcement(StrEnum):
    HARD = "hard"  # Microsoft refuses it: no write
    ADVISORY = "advisory"  # a warning, never in the way
    CONTESTED = "contested"  # sources disagree: tried, and a refusal is learnt


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Two plans that nobody can have together; `a` sorts before `b`."""

    a: PlanId
    b: PlanId
    enforcement: Enforcement = Enforcement.HARD
    learnt_at: datetime | None = None  # when Graph's refusal taught it, None: built in


@dataclass(frozen=True, slots=True)
class Need:
    """A plan that works only together with one of some others."""

    plan: PlanId
    any_of: tuple[PlanId, ...]
    enforcement: Enforcement = Enforcement.HARD
    learnt_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A plan that is not sold for some usage locations."""

    plan: PlanId
    not_in: frozenset[str]
    enforcement: Enforcement = Enforcement.ADVISORY


Rule = Exclusion | Need


def exclusion(one: PlanId, other: PlanId, enforcement: Enforcement = Enforcement.HARD, **more: Any) -> Exclusion:
    """The rule of a pair, whichever way round it is named."""
    a, b = sorted((one, other))
    return Exclusion(a, b, enforcement, **more)


@dataclass(frozen=True)
class PlanRules:
    """All rules between plans that hold for one tenant; `names` are display names of the plans they name."""

    exclusions: tuple[Exclusion, ...] = ()
    needs: tuple[Need, ...] = ()
    places: tuple[Place, ...] = ()
    names: Mapping[PlanId, str] = field(default_factory=dict)

    def violations(self, enabled: Collection[PlanId]) -> tuple[Rule, ...]:
        """Every rule that this set of enabled plans breaks, the stricter ones first."""
        on = frozenset(enabled)
        broken: list[Rule] = [x for x in self._touched(on) if x.a in on and x.b in on]
        broken += [n for n in self.needs if n.plan in on and on.isdisjoint(n.any_of)]
        return tuple(sorted(broken, key=_rank))

    def newly_broken(self, before: Collection[PlanId], after: Collection[PlanId]) -> tuple[Rule, ...]:
        """The rules that `after` breaks and `before` does not: what the change itself would cause."""
        known = frozenset(self.violations(before))
        return tuple(rule for rule in self.violations(after) if rule not in known)

    def between(self, some: Collection[PlanId], others: Collection[PlanId]) -> tuple[Exclusion, ...]:
        """Exclusions of a plan of the one set with a plan of the other, the stricter ones first."""
        one, other = frozenset(some), frozenset(others)
        found = (x for x in self._touched(one) if (x.a in one and x.b in other) or (x.b in one and x.a in other))
        return tuple(sorted(found, key=_rank))

    def out_of_place(self, plans: Collection[PlanId], country: str) -> tuple[Place, ...]:
        """Plans among these that are not sold for this usage location (ISO 3166 alpha-2)."""
        return tuple(p for p in self.places if p.plan in plans and country.upper() in p.not_in)

    def with_learnt(self, learnt: Iterable[Rule]) -> PlanRules:
        """The rules with those that refusals taught; of two about the same plans the learnt one counts."""
        exclusions = {(x.a, x.b): x for x in self.exclusions}
        needs = {(n.plan, frozenset(n.any_of)): n for n in self.needs}
        for rule in learnt:
            if isinstance(rule, Exclusion):
                exclusions[(rule.a, rule.b)] = rule
            else:
                needs[(rule.plan, frozenset(rule.any_of))] = rule
        return PlanRules(tuple(exclusions.values()), tuple(needs.values()), self.places, self.names)

    def _touched(self, plans: frozenset[PlanId]) -> Iterable[Exclusion]:
        return dict.fromkeys(x for plan in sorted(plans) for x in self._of_plan.get(plan, ()))

    @cached_property
    def _of_plan(self) -> Mapping[PlanId, tuple[Exclusion, ...]]:
        found: dict[PlanId, list[Exclusion]] = {}
        for x in self.exclusions:
            found.setdefault(x.a, []).append(x)
            found.setdefault(x.b, []).append(x)
        return {plan: tuple(rules) for plan, rules in found.items()}


_STRICTEST = (Enforcement.HARD, Enforcement.ADVISORY, Enforcement.CONTESTED)


def _rank(rule: Rule) -> tuple[int, bool, tuple[PlanId, ...]]:
    plans = (rule.a, rule.b) if isinstance(rule, Exclusion) else (rule.plan, *rule.any_of)
    return _STRICTEST.index(rule.enforcement), isinstance(rule, Need), plans


@cache
def load_plan_rules() -> PlanRules:
    """Read plan_rules.toml, once: it is a frozen value."""
    text = resources.files("desired_state").joinpath("plan_rules.toml").read_text(encoding="utf-8")
    data: dict[str, Any] = tomllib.loads(text)
    ids = {name: PlanId(id) for name, (id, _) in data["plans"].items()}
    return PlanRules(
        tuple(
            exclusion(ids[a], ids[b], Enforcement(row["enforcement"]))
            for row in data["exclusions"]
            for a, b in (product(row["plans"], row["others"]) if "others" in row else combinations(row["plans"], 2))
        ),
        tuple(
            Need(ids[plan], tuple(ids[p] for p in row["any_of"]), Enforcement(row["enforcement"]))
            for row in data["needs"]
            for plan in row["plans"]
        ),
        tuple(
            Place(ids[plan], frozenset(row["not_in"]), Enforcement(row["enforcement"]))
            for row in data["places"]
            for plan in row["plans"]
        ),
        {ids[name]: display for name, (_, display) in data["plans"].items()},
    )
