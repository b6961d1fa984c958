"""Which lane an action belongs to, and what names the plan of one lane. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from desired_state.model import GivenKind
from reconciler.digest import digest, plain
from reconciler.line import Gated, Lane
from reconciler.model import Action, ActionKind

_LANES = {
    ActionKind.SET_USAGE_LOCATION: Lane.USAGE_LOCATIONS,
    ActionKind.ASSIGN_LICENSE: Lane.GRANTS,
    ActionKind.ADD_GROUP_MEMBER: Lane.GRANTS,
    ActionKind.REPROCESS: Lane.GRANTS,
    ActionKind.REMOVE_LICENSE: Lane.REMOVALS,
    ActionKind.REMOVE_GROUP_MEMBER: Lane.REMOVALS,
}
DIRECTORY = (Lane.GRANTS, Lane.REMOVALS, Lane.USAGE_LOCATIONS)


def lane_of(action: Action) -> Lane:
    """The lane an action is stopped with; a call that adds and removes is a removal, the stricter one."""
    takes = bool(action.remove or action.takes_back) or any(g.kind is GivenKind.WITHHELD for g in action.given)
    return Lane.REMOVALS if takes else _LANES[action.kind]


def lanes_of(gated: Gated) -> frozenset[Lane]:
    """Every lane that a change needs: it is whole or not at all."""
    return frozenset(lane_of(action) for action in gated.proposal.actions)


def lane_digest(lane: Lane, gated: Iterable[Gated]) -> str:
    """What names a lane's plan: the same requests with the same actions have the same name in every cycle (I11)."""
    named = [
        [str(g.proposal.finding.key), g.proposal.digest, [_shown(a) for a in g.proposal.actions]]
        for g in sorted(gated, key=lambda g: g.proposal.finding.key)
    ]
    return digest({"lane": lane.value, "changes": named})


def _shown(action: Action) -> object:
    return plain({"kind": action.kind, "user": action.user, "before": action.before, "after": action.after})
