"""One change: how it is described, sent, and what its reply means. What leaves together is in `together`.

A reply is a hint; `verify` decides what is true.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from desired_state.model import Given, GivenKind, PlanId, UserId
from desired_state.plan_rules import Need, Rule, exclusion
from reconciler.causes import Cause
from reconciler.clients.graph import Graph
from reconciler.clients.graph.refusals import Refusal, RefusalReason, read_refusal
from reconciler.clock import Clock
from reconciler.errors import Forbidden, Next, NotFound, OutcomeUnknown, Rejected, RemoteError
from reconciler.line import Gated
from reconciler.loop.diff import Windows
from reconciler.loop.ending import PASSING
from reconciler.loop.guarding import Post
from reconciler.loop.guards import counted, lane_of
from reconciler.loop.guards.judge import CIRCUIT, KILL
from reconciler.loop.lasting import lasting
from reconciler.loop.look import Eyes
from reconciler.loop.rereading import Beside, when_asked
from reconciler.loop.send import Sender, Stopped, Told, Write
from reconciler.model import Action, ActionKind, Grant, ObservedUser, Outcome, Reply, Result

SLICE = 250  # requests; people are read when the slice before theirs begins to leave: no longer ago than 500 requests
LOCATION_WAITS_S = (1.0, 2.0, 4.0, 8.0, 15.0)  # a replica may lag behind a write by seconds (graph.md section 8)


@dataclass(frozen=True, slots=True)
class Hands:
    """What execute works with."""

    eyes: Eyes
    sender: Sender
    clock: Clock
    windows: Windows
    plan_names: Mapping[PlanId, str]
    post: Post
    slice_requests: int = SLICE
    beside: Beside = when_asked
    seen: dict[UserId, ObservedUser] = field(default_factory=dict)  # accounts read by id since they were written to

    @property
    def graph(self) -> Graph:
        return self.eyes.graph


def carry_out(
    gated: Gated, hands: Hands, plan_digest: str, done: Sequence[Outcome] = ()
) -> tuple[tuple[Outcome, ...], str]:
    """Outcomes of one line's actions, and why nothing more may be sent in this cycle ("" when it may).

    `done` are those of its first actions, where they left together with others before.
    """
    outcomes, actions, stop = list(done), gated.proposal.actions, ""
    for n, action in enumerate(actions):
        if n == len(outcomes):
            outcome, stop = do(gated, n, action, hands, plan_digest)
            outcomes.append(outcome)
        if outcomes[n].result is not Result.APPLIED:
            refused, rest = outcomes[n], "An earlier step of this change was not done."
            if refused.result is Result.FAILED and _is_final(refused):
                outcomes[:n] = _undo(outcomes[:n], refused, gated, hands, plan_digest)
            outcomes.extend(Outcome(a, Result.SKIPPED, rest) for a in actions[n + 1 :])
            return tuple(outcomes), stop
    return tuple(outcomes), ""


def _is_final(outcome: Outcome) -> bool:
    """Whether it was refused for a reason that does not pass by itself; what may have been done is looked at first."""
    return not outcome.is_unsure and outcome.cause is not None and Cause(outcome.cause) not in PASSING


def _undo(done: list[Outcome], refused: Outcome, gated: Gated, hands: Hands, plan_digest: str) -> list[Outcome]:
    """Take back at once, newest first, what earlier steps of a change did that cannot be finished (I12).

    Nobody is left without the licence that was taken away for it, or in a group for nothing. A usage location stays.
    """
    undone = list(done)
    for n, outcome in reversed(list(enumerate(done))):
        back = _back(outcome.action)
        if back is None or outcome.result is not Result.APPLIED:
            continue
        said, _ = do(gated, None, back, hands, plan_digest)  # what it restores was weighed with the change
        if said.result is not Result.APPLIED:
            break
        undone[n] = replace(outcome, result=Result.ROLLED_BACK, why=f"It was taken back, because: {refused.why}")
    return undone


def _back(action: Action) -> Action | None:
    """What undoes a step, None for a step that gave and took nothing of ours, or that is left as it is."""
    base = replace(action, before=action.after, after=action.before, inverse=None, given=(), takes_back=action.given)
    match action.given:
        case (Given(kind=GivenKind.MEMBER),):
            return replace(base, kind=ActionKind.REMOVE_GROUP_MEMBER)
        case (Given(kind=GivenKind.REPLACED, sku=sku, plans=off),) if sku is not None:
            return replace(base, kind=ActionKind.ASSIGN_LICENSE, add=(Grant(sku, frozenset(off)),), remove=())
    return None


def _lasting(action: Action, gated: Gated) -> list[str]:
    product = gated.proposal.finding.line.product
    return list(lasting(action, product)) if product is not None else []


def write_of(gated: Gated, place: int | None, action: Action, plan_digest: str) -> Write:
    """The write that an action of a change is announced as; `place` is where it stands in it, None for an undo."""
    weight = gated.weights[place] if place is not None and place < len(gated.weights) else None
    return Write(
        system="graph",
        kind=action.kind.value,
        lane=lane_of(action),
        subject=action.user,
        keys=action.keys,
        body={
            "before": action.before,
            "after": action.after,
            "undo": action.undo.value,
            "inverse": action.inverse,
            "product": action.product,
            "requests": list(gated.proposal.serves),
            "lasting": _lasting(action, gated),
        },
        digest=gated.proposal.digest,
        plan_digest=plan_digest,
        counts=counted(action, weight) if weight is not None else None,
        cost=weight.cost if weight is not None else Decimal(0),
    )


def do(gated: Gated, place: int | None, action: Action, hands: Hands, plan_digest: str) -> tuple[Outcome, str]:
    """Send one action by itself, and wait until its location can be read where it sets one."""
    told: Told
    try:
        told = _send(action, write_of(gated, place, action, plan_digest), hands)
    except (Stopped, RemoteError) as error:
        told = error
    outcome, stop = outcome_of(action, told, hands.plan_names)
    is_there = outcome.result is not Result.APPLIED or action.kind is not ActionKind.SET_USAGE_LOCATION
    return outcome if is_there or seen_located([action], hands) else unseen(outcome), stop


def outcome_of(action: Action, told: Told, plan_names: Mapping[PlanId, str]) -> tuple[Outcome, str]:
    """What became of an action by what was told of its write, and why nothing more may be sent ("" when it may)."""
    match told:
        case Stopped():
            is_lane_alone = told.trip is not None and told.trip.guard not in (KILL, CIRCUIT)
            return Outcome(action, Result.SKIPPED, str(told)), "" if is_lane_alone else str(told)
        case RemoteError():
            return _failed(action, told, plan_names), str(told) if told.then is Next.STOP else ""
    if told.status >= 400:  # refused, because it was so already: not our doing, so not ours to take back
        return Outcome(replace(action, given=()), Result.APPLIED, "It was so already.", told.request_id), ""
    return Outcome(action, Result.APPLIED, "", told.request_id), ""


def unseen(outcome: Outcome) -> Outcome:
    """The outcome of a usage location that was accepted and cannot be read."""
    return Outcome(
        outcome.action,
        Result.FAILED,
        "The usage location was accepted and is not readable yet; the licence waits for it.",
        outcome.request_id,
        Cause.USAGE_LOCATION_MISSING.value,
        is_unsure=True,
    )


def _send(action: Action, write: Write, hands: Hands) -> Reply:
    """One write; a refusal that only says "the location is not replicated yet" is waited out, bounded."""
    graph, send = hands.graph, hands.sender.send
    if action.kind is ActionKind.SET_USAGE_LOCATION:
        country = action.country
        assert country is not None
        return send(write, lambda: graph.set_usage_location(action.user, country))
    if action.kind in (ActionKind.ADD_GROUP_MEMBER, ActionKind.REMOVE_GROUP_MEMBER):
        return send(write, lambda: membership(action, graph))
    if action.kind is ActionKind.REPROCESS:
        return send(write, lambda: graph.reprocess_user(action.user))
    if action.kind is ActionKind.REMOVE_LICENSE:
        return send(write, lambda: removal(action, graph))
    for wait_s in (2.0, 8.0, 0.0):
        try:
            return send(write, lambda: graph.assign_license(action.user, add=action.add, remove=action.remove))
        except Rejected as refused:
            reason = read_refusal(refused.status, refused.code, refused.detail).reason
            if reason is not RefusalReason.USAGE_LOCATION or not wait_s:
                raise
            hands.clock.sleep(wait_s)
    raise AssertionError("unreachable: the last try returns or raises")


def membership(action: Action, graph: Graph) -> Reply:
    """Put a person into a group or take them out; that it is so already is no failure (graph.md section 8)."""
    assert action.group is not None
    try:
        if action.kind is ActionKind.ADD_GROUP_MEMBER:
            return graph.add_group_member(action.group, action.user)
        return graph.remove_group_member(action.group, action.user)
    except Rejected as refused:
        if read_refusal(refused.status, refused.code, refused.detail).reason is not RefusalReason.ALREADY_MEMBER:
            raise
        return Reply(refused.request_id, refused.client_request_id, refused.status)
    except NotFound as missing:
        if action.kind is ActionKind.ADD_GROUP_MEMBER:
            raise
        graph.group(action.group)  # not a member, unless it is the group that is missing: then this raises
        return Reply(missing.request_id, missing.client_request_id, 404)


def removal(action: Action, graph: Graph) -> Reply:
    """Take direct licences away; that they are not held any more is no failure."""
    try:
        return graph.assign_license(action.user, remove=action.remove)
    except Rejected as refused:
        if read_refusal(refused.status, refused.code, refused.detail).reason is not RefusalReason.NOT_HELD:
            raise
        return Reply(refused.request_id, refused.client_request_id, refused.status)


def seen_located(actions: Iterable[Action], hands: Hands) -> frozenset[UserId]:
    """Whose new usage location can be read: all of them are waited for together, and not for longer than one."""
    left = {action.user: action.country for action in actions}
    seen: set[UserId] = set()
    for wait_s in (0.0, *LOCATION_WAITS_S):
        if not left:
            break
        hands.clock.sleep(wait_s)
        for user, found in hands.graph.users(sorted(left)).items():
            if isinstance(found, ObservedUser) and found.usage_location == left[user]:
                seen.add(user)
        left = {user: country for user, country in left.items() if user not in seen}
    return frozenset(seen)


_CAUSES = {
    RefusalReason.USAGE_LOCATION: Cause.USAGE_LOCATION_REFUSED,
    RefusalReason.NOT_ALLOWED_THERE: Cause.USAGE_LOCATION_REFUSED,
    RefusalReason.NO_SEAT: Cause.NO_SEAT,
    RefusalReason.EXCLUSIVE: Cause.PLAN_CONFLICT,
    RefusalReason.DEPENDENCY: Cause.DEPENDENCY_MISSING,
    RefusalReason.INHERITED: Cause.GROUP_PENDING,  # just after the person left the group: wait (graph.md section 8)
}


def _failed(action: Action, error: RemoteError, plan_names: Mapping[PlanId, str]) -> Outcome:
    taught: Rule | None = None
    words = ""
    match error:
        case Rejected():
            refusal = read_refusal(error.status, error.code, error.detail)
            cause = _CAUSES.get(refusal.reason, Cause.UNKNOWN)
            why = _sentence(refusal, error, plan_names)
            taught, words = _lesson(refusal), error.detail
        case Forbidden():
            cause, why = Cause.PERMISSION_MISSING, str(error)
        case NotFound():
            cause, why = Cause.USER_MISSING, str(error)
        case _:
            cause, why = Cause.REMOTE_FAILING, str(error)
    is_unsure = isinstance(error, OutcomeUnknown)
    return Outcome(action, Result.FAILED, why, error.request_id, cause.value, is_unsure, taught, words)


def _lesson(refusal: Refusal) -> Rule | None:
    """The rule between plans that a refusal names; that one of several needed plans is enough is our reading."""
    match refusal.reason:
        case RefusalReason.EXCLUSIVE if len(refusal.plans) == 2:
            return exclusion(*refusal.plans)
        case RefusalReason.DEPENDENCY if len(refusal.plans) > 1:
            return Need(refusal.plans[0], refusal.plans[1:])
    return None


def _sentence(refusal: Refusal, error: Rejected, names: Mapping[PlanId, str]) -> str:
    plans = [names.get(p, p) for p in refusal.plans]
    match refusal.reason:
        case RefusalReason.EXCLUSIVE if len(plans) == 2:
            return f"{plans[0]} and {plans[1]} exclude each other."
        case RefusalReason.DEPENDENCY if len(plans) > 1:
            return f"{plans[0]} needs {' or '.join(plans[1:])}."
        case RefusalReason.NOT_ALLOWED_THERE if plans:
            return f"{' and '.join(plans)} is not allowed in the usage location of the account."
        case _:
            return f"Microsoft Graph refused it ({error.code}): {error.detail}"
