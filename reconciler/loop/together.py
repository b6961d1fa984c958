"""What leaves together: twenty members of a group in a request, a person's licences in one call, locations in batches.

Each change keeps an intent and a result of its own (`send`). A request that is refused as a whole is taken apart until
it is known whom the refusal is about, so that the others get what is theirs. Each part asks all guards, and people's
answers, once more before it leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from desired_state.model import UserId
from reconciler.clients.graph import Graph
from reconciler.clients.graph.refusals import RefusalReason, read_refusal
from reconciler.errors import Next, NotFound, Rejected, RemoteError, Throttled
from reconciler.line import Gated
from reconciler.loop.doing import Hands, membership, removal, write_of
from reconciler.loop.send import Stopped, Told, Write
from reconciler.model import Action, ActionKind

Step = tuple[Gated, int]  # a change, and which of its actions is meant
Ask = Callable[[Sequence[Step]], Sequence[Stopped | None]]  # why steps may not leave in other company, None: they may
_LICENCES = (ActionKind.ASSIGN_LICENSE, ActionKind.REMOVE_LICENSE)
_OF_THE_GROUP = (RefusalReason.SYNCED, RefusalReason.MAIL_GROUP, RefusalReason.DYNAMIC_GROUP)


def action_of(step: Step) -> Action:
    """The action that a step means."""
    return step[0].proposal.actions[step[1]]


def next_of(gated: Gated, place: int) -> Action | None:
    """What is left to do first of a change of which `place` actions are done; None for nothing."""
    return gated.proposal.actions[place] if place < len(gated.proposal.actions) else None


def shared_with(gated: Gated, place: int) -> tuple[ActionKind, str] | None:
    """What names the changes that may leave in one request with what is left of this one; None for none.

    Whoever joins the same group does, whatever follows; and the licences of one person, where nothing follows.
    """
    action = next_of(gated, place)
    if action is None:
        return None
    if action.kind is ActionKind.ADD_GROUP_MEMBER:
        return action.kind, action.group or ""
    is_last = len(gated.proposal.actions) == place + 1
    return (ActionKind.ASSIGN_LICENSE, action.user) if is_last and action.kind in _LICENCES else None


def go_together(one: Action, other: Action) -> bool:
    """Whether two actions that may leave together do: two people of a group, two licences of a person."""
    if one.kind is ActionKind.ADD_GROUP_MEMBER:
        return one.user != other.user
    return not _skus(one) & _skus(other)


def _skus(action: Action) -> frozenset[str]:
    return frozenset({*(grant.sku for grant in action.add), *action.remove})


def send_steps(steps: Sequence[Step], hands: Hands, plan_digest: str) -> tuple[Told, ...]:
    """Send what may leave of these steps, which are of one kind, together; what was told of each, in order."""
    writes = [write_of(gated, place, action_of((gated, place)), plan_digest) for gated, place in steps]
    found = {id(write): step for write, step in zip(writes, steps, strict=True)}
    write_for = {id(step): write for write, step in zip(writes, steps, strict=True)}

    def ask(again: Sequence[Step]) -> Sequence[Stopped | None]:
        return hands.sender.ask_again([write_for[id(step)] for step in again])

    def call(leaving: Sequence[Write]) -> Sequence[Told]:
        return _call([found[id(write)] for write in leaving], hands.graph, ask)

    is_one = action_of(steps[0]).kind is not ActionKind.SET_USAGE_LOCATION
    return hands.sender.send_together(writes, call, is_one=is_one)


def _call(steps: Sequence[Step], graph: Graph, ask: Ask) -> Sequence[Told]:
    actions = [action_of(step) for step in steps]
    match actions[0].kind:
        case ActionKind.SET_USAGE_LOCATION:
            located = _located(actions, graph)
            return [located[action.user] for action in actions]
        case ActionKind.ADD_GROUP_MEMBER:
            joined = _joined(steps, graph, ask)
            return [joined[action.user] for action in actions]
        case _:
            return _changed(steps, graph, ask)


def _located(actions: Sequence[Action], graph: Graph) -> Mapping[UserId, Told]:
    if len(actions) == 1:
        return {actions[0].user: graph.set_usage_location(actions[0].user, actions[0].country or "")}
    return {**graph.set_usage_locations({action.user: action.country or "" for action in actions})}


def _joined(steps: Sequence[Step], graph: Graph, ask: Ask) -> Mapping[UserId, Told]:
    """Put people into one group by halves of those that were refused, until every refusal is about one person."""
    actions = [action_of(step) for step in steps]
    group = actions[0].group
    assert group is not None
    if len(actions) == 1:
        try:
            return {actions[0].user: membership(actions[0], graph)}
        except RemoteError as error:
            return {actions[0].user: error}
    try:
        return dict.fromkeys(_users(actions), graph.add_group_members(group, _users(actions)))
    except (Rejected, NotFound) as refused:
        if isinstance(refused, Rejected) and _reason(refused) in _OF_THE_GROUP:
            return dict.fromkeys(_users(actions), refused)
    except RemoteError as error:
        return dict.fromkeys(_users(actions), error)
    half = len(actions) // 2
    first = _half(steps[:half], graph, ask)
    ended = next((told for told in first.values() if _ends(told)), None)
    if ended is not None:  # nothing was done for the others: they were refused with the whole
        return {**first, **dict.fromkeys(_users(actions[half:]), ended)}
    return {**first, **_half(steps[half:], graph, ask)}


def _half(steps: Sequence[Step], graph: Graph, ask: Ask) -> Mapping[UserId, Told]:
    """As many of a half as may leave still: a switch may have been thrown, or an answer taken back, since the whole."""
    answers = ask(steps)
    stopped = {action_of(step).user: why for step, why in zip(steps, answers, strict=True) if why is not None}
    left = [step for step, why in zip(steps, answers, strict=True) if why is None]
    return {**stopped, **(_joined(left, graph, ask) if left else {})}


def _ends(told: Told) -> bool:
    """Whether nothing should be sent after this answer: told to wait, or not let in."""
    return isinstance(told, RemoteError) and (isinstance(told, Throttled) or told.then is Next.STOP)


def _users(actions: Iterable[Action]) -> list[UserId]:
    return [action.user for action in actions]


def _reason(refused: Rejected) -> RefusalReason:
    return read_refusal(refused.status, refused.code, refused.detail).reason


def _changed(steps: Sequence[Step], graph: Graph, ask: Ask) -> Sequence[Told]:
    """All licences of one person in one call; when it is refused as a whole, each change by itself, in order."""
    actions = [action_of(step) for step in steps]
    add = [grant for action in actions for grant in action.add]
    remove = [sku for action in actions for sku in action.remove]
    try:
        return [graph.assign_license(actions[0].user, add=add, remove=remove)] * len(actions)
    except Rejected as refused:
        if len(steps) == 1:
            return [refused]
    except RemoteError as error:
        return [error] * len(actions)
    told: list[Told] = []
    for step in steps:
        ended = next((before for before in told if _ends(before)), None)
        told.append(ended if ended is not None else ask([step])[0] or _alone(action_of(step), graph))
    return told


def _alone(action: Action, graph: Graph) -> Told:
    try:
        if action.kind is ActionKind.REMOVE_LICENSE:
            return removal(action, graph)
        return graph.assign_license(action.user, add=action.add, remove=action.remove)
    except RemoteError as error:
        return error
