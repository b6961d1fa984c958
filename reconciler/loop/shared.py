"""What lines of one person share: who else needs what they have, and what was given for lines that ended before.

Decides on values alone.

A line whose period is over may leave its licence to another line of the same person. From then on the licence counts
as given for that one, so that the last of them gives it back (I9), and nothing else ever does (I3).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from desired_state.catalogue import Catalogue
from desired_state.ledger import Standing
from desired_state.model import Given, LineKey, ProductKey, Says, UserId
from reconciler.lifecycle import FINAL, Phase
from reconciler.line import LineState, Other

KEPT, REVOKED = "kept", "revoked"  # why an entitlement ended: its licence stayed for another line, or was taken back
_COUNTING = (Says.APPROVED, Says.FULFILLED)


def others_of(
    standings: Iterable[Standing],
    states: Mapping[LineKey, LineState],
    skipped: Mapping[LineKey, str],
    catalogue: Catalogue,
) -> dict[UserId, tuple[Other, ...]]:
    """The lines of each person that count now: approved or fulfilled, begun, not over, and not refused by us."""
    found: dict[UserId, list[Other]] = {}
    for standing in standings:
        entitlement = standing.entitlement
        if entitlement is None or not standing.is_current or standing.key in skipped:
            continue
        state, product = states.get(standing.key), catalogue.product(entitlement.request.product)
        asks = state is not None and (state.phase in FINAL or state.phase is Phase.AWAITING_APPROVAL)
        if product is None or asks or entitlement.request.says not in _COUNTING:
            continue
        found.setdefault(entitlement.user, []).append(Other(standing.key, product))
    return {user: tuple(sorted(lines, key=lambda o: o.key)) for user, lines in found.items()}


def handed_on(standings: Iterable[Standing]) -> dict[tuple[UserId, ProductKey], tuple[Given, ...]]:
    """What was given for lines that left it to another line of the same person and product, oldest first.

    What was taken back since, for whichever line, was given away with it.
    """
    kept: dict[tuple[UserId, ProductKey], list[tuple[datetime, Given]]] = {}
    revoked: dict[tuple[UserId, ProductKey], datetime] = {}
    for standing in standings:
        entitlement = standing.entitlement
        if entitlement is None or standing.ended_at is None:
            continue
        whose = entitlement.user, entitlement.request.product
        if standing.ended_why == KEPT and standing.is_by_us:
            kept.setdefault(whose, []).extend((standing.ended_at, g) for g in standing.given)
        if standing.ended_why == REVOKED:
            revoked[whose] = max(standing.ended_at, revoked.get(whose, standing.ended_at))
    return {
        whose: tuple(sorted({g for at, g in given if whose not in revoked or at > revoked[whose]}, key=_age))
        for whose, given in kept.items()
    }


def _age(given: Given) -> tuple[datetime, str, str, str]:
    return given.at, given.kind.value, given.sku or "", given.group or ""
