"""What a change does to one person in effect: services gained and lost over every path, and what it costs. Pure.

A licence that somebody keeps by a group is no loss when its direct copy goes; a plan that is switched off is one. What
cannot be worked out counts as a gain or a loss of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from desired_state.model import GroupId, PlanId, SkuId
from reconciler.line import Gone, Unread, Weight
from reconciler.model import Action, ActionKind, ObservedGroup, ObservedUser, SubscribedSku

DIRECT = GroupId("")
Held = dict[tuple[SkuId, GroupId], frozenset[PlanId]]  # a licence and its path -> plans that are off


@dataclass(frozen=True, slots=True)
class Scales:
    """What weighing takes: which plans a SKU has, which licences a group carries, what a SKU costs a month."""

    skus: Mapping[SkuId, SubscribedSku] = field(default_factory=dict)
    groups: Mapping[GroupId, ObservedGroup | Gone | Unread] = field(default_factory=dict)
    prices: Mapping[SkuId, Decimal] = field(default_factory=dict)

    def weigh(self, user: ObservedUser | None, actions: Iterable[Action]) -> tuple[Weight, ...]:
        """One weight for each action, in order: the later ones build on the earlier ones."""
        held = _held(user)
        found = []
        for action in actions:
            if held is None:
                found.append(_guess(action))
                continue
            after, unclear = self._after(held, action)
            found.append(self._weight(held, after, unclear))
            held = after
        return tuple(found)

    def _weight(self, before: Held, after: Held, unclear: Weight) -> Weight:
        had, has = self._services(before), self._services(after)
        skus, skus_now = {sku for sku, _ in before}, {sku for sku, _ in after}
        cost = self._cost(skus_now - skus) - self._cost(skus - skus_now)
        return Weight(len(has - had) + unclear.gains, len(had - has) + unclear.losses, max(cost, Decimal(0)))

    def _cost(self, skus: Iterable[SkuId]) -> Decimal:
        return sum((self.prices.get(sku, Decimal(0)) for sku in skus), Decimal(0))

    def _services(self, held: Held) -> frozenset[str]:
        found: set[str] = set()
        for (sku, _), off in held.items():
            known = self.skus.get(sku)
            if known is None or not known.plans:
                found.add(f"{sku} without {sorted(off)}" if off else str(sku))
            else:
                found |= {plan for plan in known.plans if plan not in off}
        return frozenset(found)

    def _after(self, held: Held, action: Action) -> tuple[Held, Weight]:
        after = dict(held)
        for sku in action.remove:
            after.pop((sku, DIRECT), None)
        match action.kind:
            case ActionKind.ASSIGN_LICENSE:
                after |= {(grant.sku, DIRECT): grant.disabled_plans for grant in action.add}
            case ActionKind.ADD_GROUP_MEMBER:
                group = self.groups.get(action.group) if action.group is not None else None
                if not isinstance(group, ObservedGroup) or group.licenses is None:
                    return after, Weight(gains=1)
                after |= {(grant.sku, group.id): grant.disabled_plans for grant in group.licenses}
            case ActionKind.REMOVE_GROUP_MEMBER:
                mine = [key for key in after if key[1] == action.group]
                for key in mine:
                    del after[key]
                return after, Weight(losses=0 if mine else 1)
            case ActionKind.REPROCESS:
                return after, Weight(gains=1)
            case _:
                pass
        return after, Weight()


def _held(user: ObservedUser | None) -> Held | None:
    if user is None or user.assignments is None:
        return None
    return {(a.sku, a.group or DIRECT): a.disabled_plans for a in user.assignments if a.is_in_force}


def _guess(action: Action) -> Weight:
    """By its kind alone, for an account whose licences are not shown."""
    removes = bool(action.remove or action.takes_back) or action.kind is ActionKind.REMOVE_GROUP_MEMBER
    gives = bool(action.add) or action.kind in (ActionKind.ADD_GROUP_MEMBER, ActionKind.REPROCESS)
    return Weight(int(gives), int(removes))
