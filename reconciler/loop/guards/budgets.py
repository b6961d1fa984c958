"""Limits on how much one cycle and one day may change. Pure.

A lane is all or nothing: when a limit is passed, none of the lane's writes are sent, the plan that tripped it is named
by its digest, and the other lanes go on. Counting is by users who gain or lose something in effect, not by requests.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal

from reconciler.allowance import Allowance
from reconciler.line import Lane, Trip, Weight
from reconciler.model import Action, ActionKind

CYCLE, DAY, COST, PRODUCT = "cycle budget", "day budget", "cost budget", "product budget"
_ANY = Allowance(1_000_000)


def _defaults() -> dict[Lane, Allowance]:
    return {
        Lane.GRANTS: Allowance(50, Decimal(10), 250),
        Lane.REMOVALS: Allowance(5, Decimal(2), 50),
        Lane.USAGE_LOCATIONS: Allowance(50, Decimal(10), 250),
        Lane.ANSWERS: Allowance(20),
    }


@dataclass(frozen=True, slots=True)
class ProductLimits:
    """The same for what is done because of one product, whichever SKU it takes. A lane left out has no limit."""

    per_cycle: Mapping[Lane, Allowance] = field(default_factory=dict)
    per_day: Mapping[Lane, Allowance] = field(default_factory=dict)
    cost_per_cycle: Decimal | None = None
    cost_per_day: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Users a lane may touch, per cycle and, counting what was done before, per 24 hours (architecture.md section 7).

    `people` is the number of users in scope that shares are taken of, None while nobody could count them. Costs are
    what a month costs more than before; None: no cap.
    """

    per_cycle: Mapping[Lane, Allowance] = field(default_factory=_defaults)
    per_day: Mapping[Lane, Allowance] = field(default_factory=_defaults)
    answers_per_group: int = 5
    answers_per_ticket: int = 4
    cost_per_cycle: Decimal | None = None
    cost_per_day: Decimal | None = None
    people: int | None = None
    products: Mapping[str, ProductLimits] = field(default_factory=dict)  # by key, beside the lanes' own

    def of_product(self, key: str) -> Limits:
        """What one product may change, as limits of its own; what it does not say is not limited here."""
        own = self.products[key]
        return Limits(
            {lane: own.per_cycle.get(lane) or _ANY for lane in Lane},
            {lane: own.per_day.get(lane) or _ANY for lane in Lane},
            cost_per_cycle=own.cost_per_cycle,
            cost_per_day=own.cost_per_day,
            people=self.people,
        )

    def of_cycle(self, lane: Lane) -> int:
        return self.per_cycle[lane].of(self.people)

    def of_day(self, lane: Lane) -> int:
        return self.per_day[lane].of(self.people)


@dataclass(frozen=True, slots=True)
class Used:
    """Who was touched in a lane already (users; tickets for answers), and the monthly cost that was added."""

    users: Mapping[Lane, frozenset[str]] = field(default_factory=dict)
    cost: Decimal = Decimal(0)
    by_product: Mapping[str, Used] = field(default_factory=dict)  # the same of each product alone

    def of(self, lane: Lane) -> frozenset[str]:
        return self.users.get(lane, frozenset())

    def of_product(self, key: str) -> Used:
        return self.by_product.get(key) or Used()


def counted(action: Action, weight: Weight) -> frozenset[Lane]:
    """The lanes in whose budgets the person of an action counts."""
    if action.kind is ActionKind.SET_USAGE_LOCATION:
        return frozenset({Lane.USAGE_LOCATIONS})
    return frozenset(
        ({Lane.GRANTS} if weight.gains else set()) | ({Lane.REMOVALS} if weight.losses else set()),
    )


def within(
    lane: Lane, wanted: Iterable[str], *, used: frozenset[str], limits: Limits, digest: str, what: str = "accounts"
) -> Trip | None:
    """None when those that are `wanted` fit into the lane, else the trip that freezes it."""
    who = frozenset(wanted)
    per_cycle, per_day = limits.of_cycle(lane), limits.of_day(lane)
    if len(who) > per_cycle:
        return Trip(
            CYCLE,
            lane,
            len(who),
            per_cycle,
            digest,
            f"{len(who)} {what} in lane {lane} are more than the {per_cycle} that one cycle may change; "
            "nothing of this lane was sent.",
        )
    if who and len(used | who) > per_day:
        return Trip(
            DAY,
            lane,
            len(used | who),
            per_day,
            digest,
            f"{len(who)} {what} in lane {lane} on top of {len(used)} in the last 24 hours are more than the {per_day} "
            "that one day may change; nothing of this lane was sent.",
        )
    return None


def affordable(wanted: Decimal, *, used: Decimal, limits: Limits, digest: str, what: str = "") -> Trip | None:
    """None when the monthly cost fits, else the trip that freezes the grants. `what` it is for, where not for all."""
    caps = ((Decimal(0), limits.cost_per_cycle, "one cycle"), (used, limits.cost_per_day, "one day"))
    for before, cap, whose in caps:
        if cap is not None and wanted and before + wanted > cap:
            on_top = f" on top of {before:.2f} in the last 24 hours" if before else ""
            return Trip(
                COST,
                Lane.GRANTS,
                int((before + wanted).to_integral_value()),
                int(cap),
                digest,
                f"{wanted:.2f} a month more{what}{on_top} are more than the {cap:.2f} that {whose} may add; "
                "nothing of this lane was sent.",
            )
    return None


def product_within(
    lane: Lane, key: str, wanted: Iterable[str], cost: Decimal, *, used: Used, limits: Limits, digest: str
) -> Trip | None:
    """None when what is wanted because of one product fits into its own budgets, else the trip, which names both."""
    own, spent = limits.of_product(key), used.of_product(key)
    what = f"accounts for product {key}"
    trip = within(lane, wanted, used=spent.of(lane), limits=own, digest=digest, what=what)
    if trip is None and lane is Lane.GRANTS:
        trip = affordable(cost, used=spent.cost, limits=own, digest=digest, what=f" for product {key} in lane {lane}")
    return replace(trip, guard=PRODUCT) if trip is not None else None
