"""How many licences lose their new plans in one cycle: what the budgets leave over, and never more than half. Pure.

A plan that Microsoft adds makes everybody differ at once who has the licence. Nothing is urgent about it, so it trips
no guard and stops nobody else: as many go as there is room for, and the others wait for the next day.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from reconciler.line import Decision, Gated, Lane
from reconciler.loop.guards.breakers import Circuit
from reconciler.loop.guards.budgets import Limits, Used, counted
from reconciler.loop.guards.lanes import lanes_of
from reconciler.loop.guards.watch import Watch, system_of
from reconciler.loop.new_plans import is_about

_LANE = Lane.REMOVALS


def paced(gated: Sequence[Gated], watch: Watch) -> tuple[Gated, ...]:
    """The changes after those that only switch new plans off have been held to what is left for them, first come."""
    late = [g for g in gated if _goes(g) and is_about(g.proposal.finding)]
    if not late:
        return tuple(gated)
    closed = _closed(watch)
    others = [g for g in gated if _goes(g) and not is_about(g.proposal.finding)]
    room = _room(watch.limits, watch.used, _people(others))
    rooms = {
        key: _room(watch.limits.of_product(key), watch.used.of_product(key), _people(others, key))
        for key in watch.limits.products
    }
    waiting: dict[int, str] = {}
    for g in late:
        key = g.proposal.actions[0].product
        if closed or room < 1 or rooms.get(key, 1) < 1:
            waiting[id(g)] = closed or (
                f"no more than half of what lane {_LANE.value} may change goes to this, and that is used for now."
            )
            continue
        room -= 1
        if key in rooms:
            rooms[key] -= 1
    return tuple(
        replace(g, decision=Decision.STOPPED, sentence=waiting[id(g)]) if id(g) in waiting else g for g in gated
    )


def _goes(gated: Gated) -> bool:
    return gated.decision is Decision.CLEARED and bool(gated.proposal.actions)


def _closed(watch: Watch) -> str:
    """Why nothing of this kind goes now, "" where something may: what speaks against removals speaks against it."""
    circuit = watch.circuits.get(system_of(_LANE), Circuit())
    if circuit.is_open(watch.at):
        return f"nothing is sent to {system_of(_LANE)}, because {circuit.why}"
    return f"nothing is taken away, because {watch.short}." if watch.short else ""


def _people(others: Iterable[Gated], product: str = "") -> frozenset[str]:
    """Whom the other changes of this cycle take something from."""
    removals = (
        a
        for g in others
        for a, weight in zip(g.proposal.actions, g.weights, strict=True)
        if _LANE in counted(a, weight) or _LANE in lanes_of(g)
    )
    return frozenset(a.user for a in removals if not product or a.product == product)


def _room(limits: Limits, used: Used, wanted: frozenset[str]) -> int:
    """For how many people there is room in half of the lane's budgets, beside those that are `wanted` by others."""
    cycle, day = limits.of_cycle(_LANE), limits.of_day(_LANE)
    return min((cycle + 1) // 2, (day + 1) // 2 - len(used.of(_LANE))) - len(wanted)
