"""What lines of one person share: who else needs what they have, and what was given for lines that ended before.

Decides on values alone.

A line whose period is over may leave its licence to another line of the same person. From then on the licence counts
as given for that one, so that the last of them gives it back (I9), and nothing else ever does (I3).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from desired_state.catalogue import Catalogue
from desired_state.ledger import Standing
from desired_state.model import Given, LineKey, Says, UserId
from reconciler.lifecycle import FINAL, Phase
from reconciler.line import LineState, Other

KEPT, REVOKED = "kept by ", "revoked"  # why an entitlement ended: another line has its licence now, or nobody
_COUNTING = (Says.APPROVED, Says.FULFILLED)
_HAS = frozenset({Phase.GRANTED, Phase.DRIFTED, Phase.EXPIRING, Phase.REVOKING, Phase.CONVERGING, Phase.VERIFYING})


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
        counts = entitlement.request.says in _COUNTING or (state is not None and state.phase in _HAS)
        if product is None or asks or not counts:
            continue
        given = (*(standing.given if standing.is_by_us else ()), *(state.given if state is not None else ()))
        other = Other(standing.key, product, entitlement.request.due_since, given)
        found.setdefault(entitlement.user, []).append(other)
    return {user: tuple(sorted(lines, key=lambda o: o.key)) for user, lines in found.items()}


def handed_on(standings: Iterable[Standing]) -> dict[LineKey, tuple[Given, ...]]:
    """What each line has from lines that ended before and left it their licence, oldest first."""
    left: dict[LineKey, list[LineKey]] = {}
    own: dict[LineKey, tuple[Given, ...]] = {}
    for standing in standings:
        own[standing.key] = standing.given if standing.is_by_us else ()
        if standing.ended_at is not None and standing.ended_why.startswith(KEPT):
            left.setdefault(_key(standing.ended_why.removeprefix(KEPT)), []).append(standing.key)

    def of(key: LineKey, seen: frozenset[LineKey]) -> tuple[Given, ...]:
        before = sorted(set(left.get(key, ())) - seen)
        return tuple(g for one in before for g in (*of(one, seen | {one}), *own.get(one, ())))

    return {key: of(key, frozenset({key})) for key in left}


def kept_by(key: LineKey) -> str:
    """Why an entitlement ended, for the ledger, when its licence stays for another line."""
    return f"{KEPT}{key}"


def _key(text: str) -> LineKey:
    ticket, _, line = text.rpartition("/")
    return LineKey(ticket, int(line))
