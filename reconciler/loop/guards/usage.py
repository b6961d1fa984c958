"""What of the limits of a day is used: of each lane, of the cost, and of each product with budgets of its own. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from reconciler.line import Lane
from reconciler.loop.guards.budgets import Limits, Used

COST = "cost"


@dataclass(frozen=True, slots=True)
class Usage:
    """One budget: how much was used in the last 24 hours, and what a day and a cycle may take.

    `what` is a lane, counted in people (tickets for answers), or "cost", in money a month more. `product` is "" for
    what holds for all together. None: there is no such limit.
    """

    what: str
    used: int | Decimal
    per_day: int | Decimal | None
    per_cycle: int | Decimal | None
    product: str = ""

    def as_json(self) -> dict[str, Any]:
        """As `status` and `guards show` have it: people as numbers, money as text."""
        told = {"used": self.used, "per_day": self.per_day, "per_cycle": self.per_cycle}
        plain = {key: f"{value:.2f}" if isinstance(value, Decimal) else value for key, value in told.items()}
        return ({"product": self.product} if self.product else {}) | {"what": self.what, **plain}


def usage(limits: Limits, used: Used) -> tuple[Usage, ...]:
    """Every budget that there is, those of single products after those of all; lanes in their order, cost last."""
    lanes = [Usage(lane.value, len(used.of(lane)), limits.of_day(lane), limits.of_cycle(lane)) for lane in Lane]
    own = [row for key in sorted(limits.products) for row in _of_product(key, limits, used.of_product(key))]
    return (*lanes, Usage(COST, used.cost, limits.cost_per_day, limits.cost_per_cycle), *own)


def _of_product(key: str, limits: Limits, used: Used) -> Iterator[Usage]:
    mine = limits.products[key]
    for lane in Lane:
        day, cycle = mine.per_day.get(lane), mine.per_cycle.get(lane)
        if day is not None or cycle is not None:
            people = limits.people
            yield Usage(
                lane.value,
                len(used.of(lane)),
                day.of(people) if day is not None else None,
                cycle.of(people) if cycle is not None else None,
                key,
            )
    if mine.cost_per_day is not None or mine.cost_per_cycle is not None:
        yield Usage(COST, used.cost, mine.cost_per_day, mine.cost_per_cycle, key)
