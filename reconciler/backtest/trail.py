"""What the directory's log tells of one person's licences after an instant: turns, each with how much it says. Pure.

The log says that a licence changed in one entry and what changed often only in a sibling, or cuts it (graph.md
section 5).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from desired_state.model import GroupId, SkuId
from reconciler.loop.attribution import LEFT, LICENCE, UPDATE, has_left, is_sibling, is_whole, part
from reconciler.model import AuditEvent, AuditTrail


class Turn(StrEnum):
    GAINED = "gained"
    LOST = "lost"
    CHANGED = "changed"  # held before and after, in another way: a service was switched
    OTHER = "other"  # another licence
    UNTOLD = "untold"  # a licence changed, and the log does not say which


@dataclass(frozen=True, slots=True)
class Told:
    at: datetime
    turn: Turn


def turns(
    trail: AuditTrail, skus: Collection[SkuId], *, group: GroupId | None = None, since: datetime, until: datetime
) -> tuple[Told, ...]:
    """The licence changes of one person between two instants, oldest first, as far as `skus` are concerned.

    Leaving `group`, which carries the licence, is losing it.
    """
    events = sorted(
        (e for e in trail.events if since <= e.at <= until and e.result.lower() in ("success", "")),
        key=lambda e: (e.at, e.id),
    )
    heads = [e for e in events if e.activity.lower() == LICENCE]
    told = [e for e in events if e.activity.lower() == UPDATE]
    found = [Told(h.at, _turn([h, *(t for t in told if is_sibling(t, h))], skus)) for h in heads]
    for event in told:
        if not any(is_sibling(event, h) for h in heads):
            turn = _turn([event], skus)
            if turn in (
                Turn.GAINED,
                Turn.LOST,
                Turn.CHANGED,
            ):  # an update is about anything: it counts when it names
                found.append(Told(event.at, turn))
    if group is not None:
        left = ((e, has_left(e, group)) for e in events if e.activity.lower() == LEFT)
        found += [Told(e.at, Turn.UNTOLD if said is None else Turn.LOST) for e, said in left if said is not False]
    return tuple(sorted(found, key=lambda t: t.at))


def _turn(events: Sequence[AuditEvent], skus: Collection[SkuId]) -> Turn:
    said = {_says(old, new, skus) for e in events for name, old, new in e.changes if "license" in name.lower()}
    return next((t for t in (Turn.LOST, Turn.GAINED, Turn.CHANGED, Turn.UNTOLD, Turn.OTHER) if t in said), Turn.UNTOLD)


def _says(old: str, new: str, skus: Collection[SkuId]) -> Turn:
    if not (is_whole(old) and is_whole(new)):
        return Turn.UNTOLD
    before, after = [part(old, sku) for sku in skus], [part(new, sku) for sku in skus]
    if any(before) and not any(after):
        return Turn.LOST
    if any(after) and not any(before):
        return Turn.GAINED
    return Turn.CHANGED if before != after else Turn.OTHER
