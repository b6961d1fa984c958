"""What one person holds, and which service plans that leaves on. Pure.

With several assignments of one SKU the plans that are on are the union: nothing switches off what another assignment
switches on (graph.md section 7). What a SKU contains is what the tenant's own list says, never a catalogue.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from desired_state.model import GroupId, PlanId, SkuId
from reconciler.line import Observed, Unread
from reconciler.model import Grant, ObservedUser

Row = tuple[SkuId, GroupId | None]  # one assignment in force: of which SKU, by which group (None: direct)


@dataclass(frozen=True)
class Holding:
    """The assignments in force with the plans that are off in each, and what their SKUs contain (plan -> name)."""

    rows: Mapping[Row, frozenset[PlanId]]
    contents: Mapping[SkuId, Mapping[PlanId, str]]

    @cached_property
    def plans(self) -> Mapping[PlanId, tuple[Row, ...]]:
        """The plans that are on, and the assignments that bring them; direct ones first."""
        found: dict[PlanId, list[Row]] = {}
        for row in sorted(self.rows, key=lambda r: (r[1] is not None, r[0], r[1] or "")):
            for plan in self.contents.get(row[0], {}):
                if plan not in self.rows[row]:
                    found.setdefault(plan, []).append(row)
        return {plan: tuple(rows) for plan, rows in found.items()}

    def off(self, sku: SkuId) -> frozenset[PlanId] | None:
        """The plans that are off in the direct assignment of a SKU; None when it is not assigned directly."""
        return self.rows.get((sku, None))

    def on(self, sku: SkuId) -> frozenset[PlanId]:
        """The plans that the direct assignment of a SKU switches on."""
        off = self.off(sku)
        return frozenset() if off is None else frozenset(self.contents.get(sku, ())) - off

    def is_inherited(self, sku: SkuId) -> bool:
        return any(held == sku and group is not None for held, group in self.rows)

    def carriers(self, plan: PlanId) -> tuple[Row, ...]:
        """Every assignment whose SKU contains the plan, switched on or off."""
        return tuple(row for row in sorted(self.rows, key=str) if plan in self.contents.get(row[0], {}))

    def changed(self, add: Iterable[Grant] = (), remove: Collection[SkuId] = ()) -> Holding:
        """What is held after one assignLicense call: direct assignments are set and cleared, inherited ones stay."""
        kept = {row: off for row, off in self.rows.items() if row[1] is not None or row[0] not in remove}
        return replace(self, rows={**kept, **{(g.sku, None): g.disabled_plans for g in add}})

    def joined(self, group: GroupId, gives: Iterable[Grant], remove: Collection[SkuId] = ()) -> Holding:
        """What is held once a group is worked out for the person."""
        after = self.changed(remove=remove)
        return replace(after, rows={**after.rows, **{(g.sku, group): g.disabled_plans for g in gives}})


def holding(user: ObservedUser, observed: Observed) -> Holding:
    """What the directory showed of a person. A SKU that the tenant's list lacks is known by the person's details."""
    details = observed.details.get(user.id, ())
    contents: dict[SkuId, Mapping[PlanId, str]] = {}
    if not isinstance(details, Unread):
        contents = {d.sku: {plan: d.plan_names.get(plan, plan) for plan in d.plans} for d in details}
    contents |= {sku: owned.plans for sku, owned in observed.skus.items()}
    rows = {(a.sku, a.group): a.disabled_plans for a in user.assignments or () if a.is_in_force}
    return Holding(rows, contents)


def switched_on(off: frozenset[PlanId], wanted: Collection[PlanId]) -> frozenset[PlanId]:
    """The plans that stay off when some are switched on: every other plan keeps its state."""
    return off - frozenset(wanted)


def carried_over(sku: SkuId, predecessors: Collection[SkuId], before: Holding) -> frozenset[PlanId]:
    """Plans of a successor that stay off because they were off in every predecessor that has them.

    A plan is recognised by its id, and where no predecessor has that id by the family of its name: a suite's higher
    edition carries FORMS_PLAN_E5 where the lower one carries FORMS_PLAN_E3.
    """
    state: dict[PlanId, bool] = {}
    families: dict[str, bool] = {}
    for old in predecessors:
        off = before.off(old) or frozenset()
        for plan, name in before.contents.get(old, {}).items():
            state[plan] = state.get(plan, True) and plan in off
            families[family(name)] = families.get(family(name), True) and plan in off
    new = before.contents.get(sku, {})
    return frozenset(plan for plan, name in new.items() if state.get(plan, families.get(family(name), False)))


_EDITION = re.compile(r"(?:_[A-Z]?)?(?<!\d)\d{1,2}$")


def family(name: str) -> str:
    """The name of a plan without its edition: FORMS_PLAN_E3, FLOW_O365_P2 and WHITEBOARD_PLAN2 lose their ends."""
    text = name.strip().upper()
    return _EDITION.sub("", text) or text
