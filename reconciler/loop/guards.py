"""Limits on how much one cycle and one day may change. Pure.

A lane is all or nothing: when a limit is passed, none of the lane's writes are sent, the plan that tripped it is named
by its digest, and the other lanes go on. Counting is by users who gain or lose something, not by requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from reconciler.line import Lane, Trip
from reconciler.model import Action, ActionKind

_LANES = {
    ActionKind.SET_USAGE_LOCATION: Lane.USAGE_LOCATIONS,
    ActionKind.ASSIGN_LICENSE: Lane.GRANTS,
    ActionKind.ADD_GROUP_MEMBER: Lane.GRANTS,
    ActionKind.REPROCESS: Lane.GRANTS,
    ActionKind.REMOVE_LICENSE: Lane.REMOVALS,
    ActionKind.REMOVE_GROUP_MEMBER: Lane.REMOVALS,
}


@dataclass(frozen=True, slots=True)
class Limits:
    """Users a lane may touch, per cycle and, counting what was done before, per 24 hours.

    Defaults are the floors of architecture.md section 7; a share of the tenant may raise them in configuration.
    """

    per_cycle: Mapping[Lane, int] = field(
        default_factory=lambda: {Lane.GRANTS: 50, Lane.REMOVALS: 5, Lane.USAGE_LOCATIONS: 50, Lane.ANSWERS: 20}
    )
    per_day: Mapping[Lane, int] = field(
        default_factory=lambda: {Lane.GRANTS: 50, Lane.REMOVALS: 5, Lane.USAGE_LOCATIONS: 50, Lane.ANSWERS: 20}
    )
    answers_per_group: int = 5
    answers_per_ticket: int = 4


def lane_of(action: Action) -> Lane:
    """The lane an action is counted in; a call that adds and removes counts as a removal, the stricter one."""
    return Lane.REMOVALS if action.remove or action.takes_back else _LANES[action.kind]


def within(
    lane: Lane, wanted: int, *, used_today: int, limits: Limits, digest: str, what: str = "accounts"
) -> Trip | None:
    """None when `wanted` more fit into the lane, else the trip that freezes it."""
    per_cycle, per_day = limits.per_cycle[lane], limits.per_day[lane]
    if wanted > per_cycle:
        return Trip(
            "cycle budget",
            lane,
            wanted,
            per_cycle,
            digest,
            f"{wanted} {what} in lane {lane} are more than the {per_cycle} that one cycle may change; "
            "nothing of this lane was sent.",
        )
    if wanted and used_today + wanted > per_day:
        return Trip(
            "day budget",
            lane,
            used_today + wanted,
            per_day,
            digest,
            f"{wanted} {what} in lane {lane} on top of {used_today} in the last 24 hours are more than the {per_day} "
            "that one day may change; nothing of this lane was sent.",
        )
    return None
