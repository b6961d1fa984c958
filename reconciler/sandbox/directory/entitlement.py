"""What assignments add up to: effective plans, and the rules between plans. Pure.

Facts, graph.md section 7: with several assignments of a SKU in force, enabled plans are the union, so the effective
disabled plans are the intersection; nothing can switch off a plan that another assignment enables.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from reconciler.sandbox.directory import refusals
from reconciler.sandbox.directory.catalogue import Catalogue
from reconciler.sandbox.directory.records import Assignment, Sku
from reconciler.sandbox.directory.refusals import Refused


class Violation(NamedTuple):
    """A rule between plans that a set of plans breaks."""

    kind: str
    """"exclusive" or "dependency"."""
    plan_id: str
    """The plan to blame: the dependent one, or the first of the pair."""
    others: tuple[str, ...]
    """The other of the pair, or the plans of which one is needed."""

    def as_refusal(self) -> Refused:
        if self.kind == "exclusive":
            return refusals.exclusive((self.plan_id, *self.others))
        return refusals.dependency(self.plan_id, self.others)

    @property
    def error(self) -> str:
        """The word for it in licenseAssignmentStates."""
        return "MutuallyExclusiveViolation" if self.kind == "exclusive" else "DependencyViolation"

    def touches(self, plan_ids: Iterable[str]) -> bool:
        """Whether one of these plans takes part in breaking the rule."""
        mine = set(plan_ids)
        return self.plan_id in mine or (self.kind == "exclusive" and self.others[0] in mine)


def effective_licences(assignments: Iterable[Assignment]) -> dict[str, list[str]]:
    """SKU -> plans that are off for the user, over all assignments in force; in order of first assignment."""
    disabled: dict[str, list[str]] = {}
    for a in assignments:
        if not a.is_in_force:
            continue
        if a.sku_id in disabled:
            disabled[a.sku_id] = [p for p in disabled[a.sku_id] if p in a.disabled]
        else:
            disabled[a.sku_id] = list(a.disabled)
    return disabled


def enabled_plans(assignments: Iterable[Assignment], skus: Mapping[str, Sku]) -> set[str]:
    """Plans that are on for the user."""
    enabled: set[str] = set()
    for a in assignments:
        if a.is_in_force:
            off = set(a.disabled)
            enabled.update(p for p in skus[a.sku_id].plan_ids if p not in off)
    return enabled


def violations(plans: set[str], rules: Catalogue, *, advisory: bool) -> set[Violation]:
    """Every rule that this set of enabled plans breaks. `advisory` takes the rules that are not certain too."""
    broken: set[Violation] = set()
    for pair in rules.exclusions:
        if (advisory or pair.enforcement == "hard") and pair.plans[0] in plans and pair.plans[1] in plans:
            broken.add(Violation("exclusive", pair.plans[0], (pair.plans[1],)))
    for need in rules.requirements:
        if (advisory or need.enforcement == "hard") and need.plan in plans and plans.isdisjoint(need.any_of):
            broken.add(Violation("dependency", need.plan, need.any_of))
    return broken
