"""What the directory's log tells of one person's licences after an instant: turns, each with how much it says. Pure.

The log says that a licence changed in one entry and what changed often only in a sibling, or cuts it (graph.md
section 5).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from desired_state.model import GroupId, SkuId
from reconciler.loop.attribution import LEFT, LICENCE, UPDATE, has_left, is_sibling, is_whole, part
from reconciler.model import AuditEvent, AuditTrail

_WORD = re.compile(r"[a-z0-9_-]+")


class Turn(StrEnum):
    GAINED = "gained"
    LOST = "lost"
    SWITCHED_ON = "switched_on"  # held before and after; the service that was asked for was off and is on
    SWITCHED_OFF = "switched_off"
    CHANGED = "changed"  # held before and after, in another way
    OTHER = "other"  # another licence
    UNTOLD = "untold"  # a licence changed, and the log does not say which


@dataclass(frozen=True, slots=True)
class Told:
    at: datetime
    turn: Turn


def turns(
    trail: AuditTrail,
    skus: Collection[SkuId],
    *,
    services: Collection[str] = (),
    group: GroupId | None = None,
    since: datetime,
    until: datetime,
) -> tuple[Told, ...]:
    """The licence changes of one person between two instants, oldest first, as far as `skus` are concerned.

    `services` are ids and names of the plans that prove the product: an entry lists those that are off. Leaving
    `group`, which carries the licence, is losing it.
    """
    events = sorted(
        (e for e in trail.events if since <= e.at <= until and e.result.lower() in ("success", "")),
        key=lambda e: (e.at, e.id),
    )
    heads = [e for e in events if e.activity.lower() == LICENCE]
    told = [e for e in events if e.activity.lower() == UPDATE]
    found = [Told(h.at, _turn([h, *(t for t in told if is_sibling(t, h))], skus, services)) for h in heads]
    for event in told:
        if not any(is_sibling(event, h) for h in heads):
            turn = _turn([event], skus, services)
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


# Of several entries about one change the one that says most counts.
_TELLING = (Turn.LOST, Turn.GAINED, Turn.SWITCHED_OFF, Turn.SWITCHED_ON, Turn.CHANGED, Turn.UNTOLD, Turn.OTHER)


def _turn(events: Sequence[AuditEvent], skus: Collection[SkuId], services: Collection[str]) -> Turn:
    said = {
        _says(old, new, skus, services)
        for event in events
        for name, old, new in event.changes
        if "license" in name.lower()
    }
    return next((turn for turn in _TELLING if turn in said), Turn.UNTOLD)


def _says(old: str, new: str, skus: Collection[SkuId], services: Collection[str]) -> Turn:
    if not (is_whole(old) and is_whole(new)):
        return Turn.UNTOLD
    before, after = [part(old, sku) for sku in skus], [part(new, sku) for sku in skus]
    if any(before) and not any(after):
        return Turn.LOST
    if any(after) and not any(before):
        return Turn.GAINED
    if before == after:
        return Turn.OTHER
    was_off, is_off = _mentions(before, services), _mentions(after, services)
    if was_off == is_off:
        return Turn.CHANGED
    return Turn.SWITCHED_ON if was_off else Turn.SWITCHED_OFF


def _mentions(parts: Sequence[str], services: Collection[str]) -> bool:
    """Whether a service is named as one that is off. Whole words: one plan's name may be the start of another's."""
    words = {word for text in parts for word in _WORD.findall(text.lower())}
    return any(service.lower() in words for service in services)
