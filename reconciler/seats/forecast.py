"""When seats are known to come free: the ends of grants that we will take back. Pure.

Only what is certain is counted: a licence that we gave, directly, with an end, for a product that is revoked by
itself. Seats that somebody buys or gives up come on top; nobody can know them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from desired_state.model import GivenKind, LineKey, ProductKey, SkuId, UserId
from reconciler.lifecycle import Phase
from reconciler.line import Line

_HAS = frozenset({Phase.GRANTED, Phase.DRIFTED, Phase.EXPIRING, Phase.REVOKING})


@dataclass(frozen=True, slots=True, order=True)
class End:
    """A seat that comes free at an instant, because the grant of this line ends then."""

    at: datetime
    sku: SkuId
    key: LineKey


def ends(lines: Iterable[Line]) -> tuple[End, ...]:
    """The known ends, soonest first. A person who needs the product for another line too keeps it until the last."""
    shared: dict[tuple[UserId, ProductKey], list[Line]] = {}
    for line in lines:
        if line.state is None or line.state.phase not in _HAS or line.state.user is None or line.product is None:
            continue
        shared.setdefault((line.state.user, line.product.key), []).append(line)
    found = (_end(together) for together in shared.values())
    return tuple(sorted(end for end in found if end is not None))


def _end(together: Sequence[Line]) -> End | None:
    ends_at = {line.key: line.state.ends_at for line in together if line.state is not None}
    if None in ends_at.values():
        return None
    at, key = max((at, key) for key, at in ends_at.items() if at is not None)
    product = together[0].product
    gave = [g.sku for x in together if x.state for g in x.state.given if g.kind is GivenKind.LICENSE and g.sku]
    if not gave or product is None or product.keeps_data:
        return None
    return End(at + timedelta(seconds=product.grace_s), gave[-1], key)


def likely(place: int, known: Iterable[End], sku: SkuId, at: datetime) -> datetime | None:
    """When the seat for a place in the queue (1 is next) comes free as far as is known; None: nothing is known."""
    still = sorted(end.at for end in known if end.sku == sku and end.at > at)
    return still[place - 1] if 0 < place <= len(still) else None
