"""Stage 5: what is cleared, in order, through `send`. Licence writes are serial per tenant (graph.md, rule 1).

Just before a person is changed, that person is read again: when the world has moved since the plan was made, nothing
is sent and the next cycle plans anew. A reply is a hint; `verify` decides what is true.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from desired_state.model import Given, GivenKind, LineKey, PlanId
from desired_state.plan_rules import Need, Rule, exclusion
from reconciler.causes import Cause
from reconciler.clients.graph import Graph
from reconciler.clients.graph.refusals import Refusal, RefusalReason, read_refusal
from reconciler.clock import Clock
from reconciler.errors import Forbidden, Next, NotFound, OutcomeUnknown, Rejected, RemoteError
from reconciler.line import (
    Decision,
    Finding,
    Gated,
    Observed,
    Weight,
)
from reconciler.loop.diff import Windows, diff
from reconciler.loop.ending import PASSING
from reconciler.loop.guarding import Post
from reconciler.loop.guards import counted, lane_of
from reconciler.loop.guards.judge import CIRCUIT, KILL
from reconciler.loop.lasting import lasting
from reconciler.loop.look import Eyes, look
from reconciler.loop.readback import Batch, canaries
from reconciler.loop.send import Sender, Stopped, Write
from reconciler.model import (
    Action,
    ActionKind,
    Grant,
    ObservedUser,
    Outcome,
    Reply,
    Result,
)

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

    @property
    def graph(self) -> Graph:
        return self.eyes.graph


def execute(
    gated: Iterable[Gated], observed: Observed, hands: Hands, *, plan_digest: str, progress: Callable[[str], None]
) -> dict[LineKey, tuple[Outcome, ...]]:
    """Carry out the cleared proposals, oldest first; every action gets an outcome."""
    every = tuple(gated)
    cleared = [g for g in every if g.decision is Decision.CLEARED and g.proposal.actions]
    if not cleared:
        return {}
    fresh = _fresh(cleared, every, observed, hands)
    sender = hands.sender
    batch = Batch(hands.graph, hands.clock, sender.database, sender.tenant, sender.cycle, hands.post, canaries(cleared))
    outcomes: dict[LineKey, tuple[Outcome, ...]] = {}
    stop = ""
    for g in cleared:
        actions, finding = g.proposal.actions, g.proposal.finding
        if stop:
            outcomes[finding.key] = tuple(Outcome(a, Result.SKIPPED, stop) for a in actions)
            continue
        if not _is_unmoved(finding, fresh[finding.key]):
            why = "The account changed while the plan was made; it is planned anew."
            outcomes[finding.key] = tuple(Outcome(a, Result.SKIPPED, why) for a in actions)
            continue
        if g.proposal.after is not None and not _is_done(outcomes.get(g.proposal.after, ())):
            why = f"It builds on {g.proposal.after}, which was not done."
            outcomes[finding.key] = tuple(Outcome(a, Result.SKIPPED, why) for a in actions)
            continue
        held = batch.may_go(g, plan_digest)
        if held:
            outcomes[finding.key] = tuple(Outcome(a, Result.SKIPPED, held) for a in actions)
            continue
        progress(f"{finding.key}: {', '.join(a.kind.value for a in actions)}")
        outcomes[finding.key], stop = _carry_out(g, hands, plan_digest)
        batch.went(outcomes[finding.key])
    batch.end()
    return outcomes


def _is_done(outcomes: tuple[Outcome, ...]) -> bool:
    return bool(outcomes) and all(o.result is Result.APPLIED for o in outcomes)


def _fresh(cleared: list[Gated], every: tuple[Gated, ...], observed: Observed, hands: Hands) -> dict[LineKey, Finding]:
    lines = [g.proposal.finding.line for g in cleared]
    among = [g.proposal.finding.line for g in every]
    at = hands.clock.now()
    again = replace(
        look(hands.eyes, lines, observed.skus.values(), at=at, groups=observed.groups), audits=observed.audits
    )
    found = diff(lines, again, at=at, windows=hands.windows, among=among)
    hands.post.admit(found)  # by the names that the accounts have now
    return {f.key: f for f in found}


def _is_unmoved(planned: Finding, now: Finding) -> bool:
    """What the plan was made from is still there: the same drift, from the same country and licences."""
    before, after = planned.user, now.user
    return (
        planned.drift == now.drift
        and before is not None
        and after is not None
        and (before.usage_location, before.country, before.skus) == (after.usage_location, after.country, after.skus)
    )


def _carry_out(gated: Gated, hands: Hands, plan_digest: str) -> tuple[tuple[Outcome, ...], str]:
    """Outcomes of one line's actions, and why nothing more may be sent in this cycle ("" when it may)."""
    done: list[Outcome] = []
    actions = gated.proposal.actions
    for n, action in enumerate(actions):
        weight = gated.weights[n] if n < len(gated.weights) else None
        outcome, stop = _do(action, weight, gated, hands, plan_digest)
        done.append(outcome)
        if outcome.result is not Result.APPLIED:
            rest = "An earlier step of this change was not done."
            if outcome.result is Result.FAILED and _is_final(outcome):
                done[:n] = _undo(done[:n], outcome, gated, hands, plan_digest)
            done.extend(Outcome(a, Result.SKIPPED, rest) for a in actions[n + 1 :])
            return tuple(done), stop
    return tuple(done), ""


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
        said, _ = _do(back, None, gated, hands, plan_digest)  # what it restores was weighed with the change
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


def _do(action: Action, weight: Weight | None, gated: Gated, hands: Hands, plan_digest: str) -> tuple[Outcome, str]:
    write = Write(
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
    try:
        reply = _send(action, write, hands)
    except Stopped as stopped:
        is_lane_alone = stopped.trip is not None and stopped.trip.guard not in (KILL, CIRCUIT)
        return Outcome(action, Result.SKIPPED, str(stopped)), "" if is_lane_alone else str(stopped)
    except RemoteError as error:
        return _failed(action, error, hands), str(error) if error.then is Next.STOP else ""
    if action.kind is ActionKind.SET_USAGE_LOCATION and not _location_is_seen(action, hands):
        return Outcome(
            action,
            Result.FAILED,
            "The usage location was accepted and is not readable yet; the licence waits for it.",
            reply.request_id,
            Cause.USAGE_LOCATION_MISSING.value,
            is_unsure=True,
        ), ""
    if reply.status >= 400:  # refused, because it was so already: not our doing, so not ours to take back
        return Outcome(replace(action, given=()), Result.APPLIED, "It was so already.", reply.request_id), ""
    return Outcome(action, Result.APPLIED, "", reply.request_id), ""


def _send(action: Action, write: Write, hands: Hands) -> Reply:
    """One write; a refusal that only says "the location is not replicated yet" is waited out, bounded."""
    graph, send = hands.graph, hands.sender.send
    if action.kind is ActionKind.SET_USAGE_LOCATION:
        country = action.country
        assert country is not None
        return send(write, lambda: graph.set_usage_location(action.user, country))
    if action.kind in (ActionKind.ADD_GROUP_MEMBER, ActionKind.REMOVE_GROUP_MEMBER):
        return send(write, lambda: _membership(action, graph))
    if action.kind is ActionKind.REPROCESS:
        return send(write, lambda: graph.reprocess_user(action.user))
    if action.kind is ActionKind.REMOVE_LICENSE:
        return send(write, lambda: _removal(action, graph))
    for wait_s in (2.0, 8.0, 0.0):
        try:
            return send(write, lambda: graph.assign_license(action.user, add=action.add, remove=action.remove))
        except Rejected as refused:
            reason = read_refusal(refused.status, refused.code, refused.detail).reason
            if reason is not RefusalReason.USAGE_LOCATION or not wait_s:
                raise
            hands.clock.sleep(wait_s)
    raise AssertionError("unreachable: the last try returns or raises")


def _membership(action: Action, graph: Graph) -> Reply:
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


def _removal(action: Action, graph: Graph) -> Reply:
    """Take direct licences away; that they are not held any more is no failure."""
    try:
        return graph.assign_license(action.user, remove=action.remove)
    except Rejected as refused:
        if read_refusal(refused.status, refused.code, refused.detail).reason is not RefusalReason.NOT_HELD:
            raise
        return Reply(refused.request_id, refused.client_request_id, refused.status)


def _location_is_seen(action: Action, hands: Hands) -> bool:
    for wait_s in (0.0, *LOCATION_WAITS_S):
        hands.clock.sleep(wait_s)
        found = hands.graph.users([action.user]).get(action.user)
        if isinstance(found, ObservedUser) and found.usage_location == action.country:
            return True
    return False


_CAUSES = {
    RefusalReason.USAGE_LOCATION: Cause.USAGE_LOCATION_REFUSED,
    RefusalReason.NOT_ALLOWED_THERE: Cause.USAGE_LOCATION_REFUSED,
    RefusalReason.NO_SEAT: Cause.NO_SEAT,
    RefusalReason.EXCLUSIVE: Cause.PLAN_CONFLICT,
    RefusalReason.DEPENDENCY: Cause.DEPENDENCY_MISSING,
    RefusalReason.INHERITED: Cause.GROUP_PENDING,  # just after the person left the group: wait (graph.md section 8)
}


def _failed(action: Action, error: RemoteError, hands: Hands) -> Outcome:
    taught: Rule | None = None
    words = ""
    match error:
        case Rejected():
            refusal = read_refusal(error.status, error.code, error.detail)
            cause = _CAUSES.get(refusal.reason, Cause.UNKNOWN)
            why = _sentence(refusal, error, hands.plan_names)
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


def _has_effect(outcome: Outcome) -> bool:
    """A usage location was read back already, and alone it gives no access."""
    is_access = outcome.action.kind is not ActionKind.SET_USAGE_LOCATION
    return is_access and (outcome.result is Result.APPLIED or outcome.is_unsure)


def acted_on(outcomes: Mapping[LineKey, tuple[Outcome, ...]]) -> frozenset[LineKey]:
    """Lines for which something was sent whose effect has to be looked at: applied, or of unknown outcome."""
    return frozenset(key for key, done in outcomes.items() if any(_has_effect(o) for o in done))
