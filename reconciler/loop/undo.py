"""Taking back: the actions that do it, and where a line stands afterwards. Pure.

An action removes exactly what `Drift.take_back` names and what is observed there directly, newest first, each with
what would give it back. A usage location is never among it: it cannot be unset, and every account of an undo says so.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from desired_state.model import Given, GivenKind, PlanId, SkuId
from reconciler.causes import Cause
from reconciler.lifecycle import Phase
from reconciler.line import Closing, Decision, DriftKind, Finding, Gated, LineState, Observed, Rest
from reconciler.loop import takeback
from reconciler.loop.bounds import Bounds
from reconciler.loop.clashes import clash
from reconciler.loop.holding import holding
from reconciler.loop.new_plans import has_come_true
from reconciler.model import Action, ActionKind, Grant, ObservedGroup, ObservedUser, Outcome, Result, Undo
from reconciler.seats.ledger import Purse

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
UNDO_TRIES_MAX = 20  # of writes for one line, whatever they were: then a person has to finish it,
UNDO_TRIED_FOR = 2  # but not before the undo had as long as the attempt; in spans of `retry_window` since that began
UNDO_WAITS_MAX = 4  # the same where there is nothing to send yet: a group lets go late, or there is no seat


def take_back(finding: Finding, observed: Observed, bounds: Bounds, seats: Purse | None = None) -> tuple[Action, ...]:
    """The actions for everything in `take_back` that the person has directly, newest first.

    What was taken away for it is given back last, once it clashes with nothing any more and a seat of it is free.
    """
    user, drift = finding.user, finding.drift
    assert user is not None and user.assignments is not None and drift is not None
    made: list[Action] = []
    for given in drift.take_back:
        whole = any(g.kind is GivenKind.LICENSE and g.sku == given.sku for g in drift.take_back)
        match given.kind:
            case GivenKind.LICENSE:
                made += _remove(finding, user, given, bounds)
            case GivenKind.PLANS if not whole:
                made += _switch_off(finding, user, given, bounds)
            case GivenKind.MEMBER:
                made.append(_leave(finding, user, given, observed))
            case GivenKind.REPLACED:
                made += _give_back(finding, user, given, observed, bounds, seats)
            case _:
                pass  # a usage location stays, and plans go with their licence
    return tuple(made)


def _off(user: ObservedUser, sku: SkuId | None) -> frozenset[PlanId] | None:
    """The plans that are off in the direct assignment of a SKU, None when there is none."""
    row = next((a for a in user.assignments or () if a.sku == sku and a.group is None), None)
    return row.disabled_plans if row is not None else None


def _licence(sku: SkuId, off: Iterable[PlanId], bounds: Bounds) -> dict[str, Any]:
    return {"sku": bounds.sku(sku), "sku_id": sku, "disabled_plans": sorted(bounds.plan(p) for p in off)}


def _remove(finding: Finding, user: ObservedUser, given: Given, bounds: Bounds) -> list[Action]:
    off = _off(user, given.sku)
    if off is None or given.sku is None:
        return []
    before = {"licence": _licence(given.sku, off, bounds)}
    inverse: dict[str, Any] = {"add": [{"sku_id": given.sku, "disabled_plans": sorted(off)}], "remove": []}
    is_undone = finding.drift is not None and finding.drift.kind is DriftKind.HALF_DONE
    gone = [(sku, plans) for sku, plans in given.instead_of if _off(user, sku) is None]
    if is_undone and gone:  # a failed exchange: what it took away is given back in the same call
        after = {"licences": [_licence(sku, plans, bounds) for sku, plans in gone]}
        inverse["remove"] = [sku for sku, _ in gone]
        back = _action(ActionKind.ASSIGN_LICENSE, finding, user, given, before, after, inverse)
        return [replace(back, add=tuple(Grant(sku, frozenset(p)) for sku, p in gone), remove=(given.sku,))]
    action = _action(ActionKind.REMOVE_LICENSE, finding, user, given, before, {"licence": None}, inverse)
    return [replace(action, remove=(given.sku,))]


def _switch_off(finding: Finding, user: ObservedUser, given: Given, bounds: Bounds) -> list[Action]:
    off = _off(user, given.sku)
    if off is None or given.sku is None or set(given.plans) <= off:
        return []
    after = off | set(given.plans)
    inverse = {"add": [{"sku_id": given.sku, "disabled_plans": sorted(off)}], "remove": []}
    shown = {"licence": _licence(given.sku, off, bounds)}, {"licence": _licence(given.sku, after, bounds)}
    action = _action(ActionKind.ASSIGN_LICENSE, finding, user, given, *shown, inverse)
    return [replace(action, add=(Grant(given.sku, after),))]


def _leave(finding: Finding, user: ObservedUser, given: Given, observed: Observed) -> Action:
    assert given.group is not None
    group = observed.groups.get(given.group)
    name, id = (group.name, group.id) if isinstance(group, ObservedGroup) else (given.group, given.group)
    before, inverse = {"group": {"name": name, "id": id}}, {"add_group_member": id}
    action = _action(ActionKind.REMOVE_GROUP_MEMBER, finding, user, given, before, {"group": None}, inverse)
    return replace(action, group=id)


def _give_back(
    finding: Finding, user: ObservedUser, given: Given, observed: Observed, bounds: Bounds, seats: Purse | None
) -> list[Action]:
    """Assign again, exactly as it was, what was taken away for a group's licence that came to nothing."""
    if given.sku is None or _off(user, given.sku) is not None:
        return []
    grant, held = Grant(given.sku, frozenset(given.plans)), holding(user, observed)
    if given.sku not in held.contents or clash(held, held.changed(add=(grant,)), bounds) is not None:
        return []
    if seats is not None:
        if not seats.has(user.id, given.sku):
            return []
        seats.take(user.id, given.sku)
    after, inverse = {"licence": _licence(given.sku, given.plans, bounds)}, {"add": [], "remove": [given.sku]}
    action = _action(ActionKind.ASSIGN_LICENSE, finding, user, given, {"licence": None}, after, inverse)
    return [replace(action, add=(grant,))]


def _action(
    kind: ActionKind,
    finding: Finding,
    user: ObservedUser,
    given: Given,
    before: dict[str, Any],
    after: dict[str, Any],
    inverse: dict[str, Any],
) -> Action:
    assert finding.line.product is not None
    undo = Undo.REVERSIBLE
    key = finding.line.product.key
    return Action(kind, user.id, key, (finding.key,), before, after, undo, inverse, takes_back=(given,))


# --- where it stands afterwards ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stand:
    """Phase, cause and sentence of a line on its way out; `failed`: the next try waits."""

    phase: Phase
    cause: Cause | None
    note: str
    failed: bool = False


def is_ending(gated: Gated, last: Finding) -> bool:
    """Whether this module says where the line stands: its period is over, or what it was given is undone."""
    drift = gated.proposal.finding.drift
    if drift is not None and drift.take_back:
        return True
    if gated.decision is not Decision.CLEARED:
        return last.closing in (Closing.DUE, Closing.GRACE)
    return last.closing not in (None, Closing.NEAR)


def stand(
    gated: Gated, last: Finding, outcomes: tuple[Outcome, ...], old: LineState | None, at: datetime, retry: timedelta
) -> Stand:
    """Where a line stands whose end has come, or that is undone. `retry` is how long a change is tried again."""
    drift = gated.proposal.finding.drift
    if drift is not None and drift.kind is DriftKind.HALF_DONE:
        waited = at - old.since if old is not None and old.since is not None else timedelta(0)
        return _undone(gated, last, outcomes, old, waited=waited, retry=retry)
    if gated.decision is not Decision.CLEARED:
        phase = old.phase if old is not None and old.phase is Phase.REVOKING else Phase.EXPIRING
        return Stand(phase, gated.cause, gated.sentence)
    match last.closing:
        case Closing.KEPT:
            return Stand(Phase.REVOKED, None, last.sentence)
        case Closing.GRACE:
            return Stand(Phase.EXPIRING, None, last.sentence)
        case Closing.PROPOSED if last.rest is Rest.HAND_BACK:
            return Stand(Phase.REVIEW, last.cause, last.sentence)
        case Closing.PROPOSED:
            return Stand(Phase.HELD, last.cause, last.sentence)
        case Closing.GONE if outcomes or (old is not None and old.phase is Phase.REVOKING):
            return Stand(Phase.REVOKED, None, _revoked(last, outcomes))
        case Closing.GONE:
            return Stand(Phase.REVOKING, None, f"{last.sentence} It is looked at once more.")
    return _revoking(gated, last, outcomes, old, at, retry)


def _revoked(last: Finding, outcomes: Sequence[Outcome]) -> str:
    sent = [o.action for o in outcomes if o.result is Result.APPLIED or o.is_unsure]
    taken = [words(g, a) for a in sent for g in a.takes_back]
    return f"{last.sentence} Taken back: {', '.join(taken)}." if taken else last.sentence


def _revoking(
    gated: Gated, last: Finding, outcomes: tuple[Outcome, ...], old: LineState | None, at: datetime, retry: timedelta
) -> Stand:
    first = gated.proposal.finding
    if not outcomes:
        note = "This would be taken back now." if last.rest is Rest.ACT else last.sentence
        return Stand(Phase.REVOKING, last.cause or first.cause, note)
    broken = next((o for o in outcomes if o.result in (Result.FAILED, Result.SKIPPED)), None)
    since = old.since if old is not None and old.phase is Phase.REVOKING and old.since else at
    if broken is None:
        note = last.sentence if last.rest is Rest.WAIT else "The licence was taken back; its effect is awaited."
    else:
        note = broken.why
    if at - since >= retry and (broken is None or broken.result is Result.FAILED):
        return Stand(Phase.REVIEW, Cause.UNKNOWN, f"{tried_for(retry)} to take the licence back: {note}")
    return Stand(Phase.REVOKING, first.cause, note, failed=broken is None or broken.result is Result.FAILED)


def _undone(
    gated: Gated,
    last: Finding,
    outcomes: tuple[Outcome, ...],
    old: LineState | None,
    *,
    waited: timedelta,
    retry: timedelta,
) -> Stand:
    """A grant that failed is undone: then it goes to a person, with an exact record of what was and what stays."""
    first = gated.proposal.finding
    working = old.phase if old is not None and old.phase in (Phase.CONVERGING, Phase.VERIFYING) else Phase.VERIFYING
    if gated.decision is not Decision.CLEARED:
        return Stand(working, first.cause, gated.sentence or first.sentence)
    if last.rest is Rest.PROVEN:
        return Stand(Phase.GRANTED, None, "")
    left = _left(first, last)
    if not outcomes and not gated.proposal.actions and waited >= UNDO_WAITS_MAX * retry:
        return Stand(Phase.REVIEW, first.cause, f"{first.sentence} {undo_record(gated, left)}")
    if not outcomes:
        return Stand(working, first.cause, first.sentence)
    broken = next((o for o in outcomes if o.result in (Result.FAILED, Result.SKIPPED)), None)
    record = f"{first.sentence} {undo_record(gated, left)}"
    if not left:
        return Stand(Phase.REVIEW, first.cause, record)
    if old is not None and old.attempts >= UNDO_TRIES_MAX and waited >= UNDO_TRIED_FOR * retry:
        return Stand(Phase.REVIEW, first.cause, record)
    if all(g.kind is GivenKind.REPLACED for g in left) and broken is None:
        return Stand(Phase.CONVERGING, first.cause, first.sentence, failed=True)  # the rest follows in its turn
    why = broken.why if broken is not None else "What was given is taken back; its effect is awaited."
    return Stand(Phase.CONVERGING, first.cause, why, failed=True)


def _left(first: Finding, last: Finding) -> tuple[Given, ...]:
    """What is to be taken back and is still there; all of it while no later look has said otherwise."""
    wanted = first.drift.take_back if first.drift is not None else ()
    if last is first or last.there is None:
        return wanted
    return tuple(g for g in wanted if g in last.there)


def undo_record(gated: Gated, left: Sequence[Given]) -> str:
    """What was taken back, what was not, and what cannot be."""
    first, actions = gated.proposal.finding, gated.proposal.actions
    wanted = first.drift.take_back if first.drift is not None else ()
    named = {g: words(g, a) for a in actions for g in a.takes_back}
    done = [named.get(g, words(g)) for g in wanted if g not in left]
    parts = [f"Taken back: {', '.join(done)}." if done else "Nothing was taken back."]
    if left:
        parts.append(f"Not taken back: {', '.join(named.get(g, words(g)) for g in left)}.")
    given = first.line.state.given if first.line.state is not None else ()
    stays = [words(g) for g in given if g.kind is GivenKind.LOCATION and g.is_seen]
    if stays:
        parts.append(f"Stays, because it cannot be undone: {', '.join(stays)}.")
    return " ".join(parts)


def tried_for(span: timedelta) -> str:
    return f"It was tried for {span.total_seconds() / 3600:.0f} h without success"


def words(given: Given, action: Action | None = None) -> str:
    """One thing that was given, for people, by the names that the action which takes it back has for it."""
    before = action.before if action is not None else {}
    after = action.after if action is not None else {}
    sku = (before.get("licence") or after.get("licence") or {}).get("sku", given.sku)
    match given.kind:
        case GivenKind.LOCATION:
            return f"usage location {given.country}"
        case GivenKind.LICENSE:
            return f"licence {sku}"
        case GivenKind.PLANS:
            return f"{_count(given)} of {sku}"
        case GivenKind.REPLACED:
            return f"the removal of licence {sku}"
        case GivenKind.WITHHELD:
            return f"the switching off of {_count(given)} of {sku}"
        case GivenKind.MEMBER:
            return f"membership in {(before.get('group') or {}).get('name', given.group)}"


def _count(given: Given) -> str:
    return f"{len(given.plans)} service plan{'s' if len(given.plans) > 1 else ''}"


# --- what stays remembered -----------------------------------------------------------------------------------------


def about_to_give(old: Sequence[Given], gated: Gated) -> tuple[Given, ...]:
    """Kept before the first write, so that a crash forgets nothing that may have to be taken back or waited for, and
    nothing that an undo was about to take back."""
    every = _with(old, (_unseen(g) for a in gated.proposal.actions for g in a.given))
    return _leaving(every, gated.proposal.finding)


def _leaving(every: Sequence[Given], first: Finding) -> tuple[Given, ...]:
    """What an undo takes back is known as that until it is seen to be gone: nothing is given in its place again."""
    if first.drift is None or first.drift.kind is not DriftKind.HALF_DONE:
        return tuple(every)
    undone = {same(g) for g in first.drift.take_back}
    return tuple(replace(g, is_leaving=True) if same(g) in undone else g for g in every)


def _unseen(given: Given) -> Given:
    """A location whose write may not have happened: one that is not there then does not mean "overwritten"."""
    return replace(given, is_seen=False) if given.kind is GivenKind.LOCATION else given


def after(first: Finding, last: Finding, outcomes: Sequence[Outcome], phase: Phase) -> tuple[Given, ...]:
    """What is remembered at the end of the cycle: what certainly failed was not given, what was taken back is gone."""
    old = first.line.state.given if first.line.state is not None else ()
    if phase is Phase.REVOKED:
        return ()
    done = [g for o in outcomes if o.result is Result.APPLIED for g in o.action.given]
    unsure = [_unseen(g) for o in outcomes if o.is_unsure for g in o.action.given]
    left = _left(first, last)
    gone = [g for g in (first.drift.take_back if first.drift is not None else ()) if g not in left]
    kept = tuple(_looked_for(g, last) for g in _with(old, (*done, *unsure)) if g not in gone)
    if phase not in (Phase.CONVERGING, Phase.VERIFYING):
        kept = tuple(replace(g, is_leaving=False) for g in kept)
    elif outcomes:
        kept = _leaving(kept, first)
    if phase is Phase.REVOKING:
        kept = _with(kept, (replace(g, has_left=True) for g in takeback.gone(last) if g.kind is GivenKind.MEMBER))
    if phase not in (Phase.REVIEW, Phase.DRIFTED) or last.there is None:
        return kept
    # What came to nothing is not ours, and what was switched off in it is nobody's business any more.
    there = {g.sku for g in last.there if g.kind is GivenKind.LICENSE}
    stays = (g for g in kept if g.kind is GivenKind.LOCATION or g in last.there or _is_of(g, there))
    return tuple(stays)


def _is_of(given: Given, licences: Collection[SkuId | None]) -> bool:
    """Whether it is about the plans of a licence that is still there."""
    return given.kind is GivenKind.WITHHELD and given.sku in licences


def _with(old: Sequence[Given], new: Iterable[Given]) -> tuple[Given, ...]:
    """What was given before and now, once each: a repeated change counts from its last time."""
    latest = {same(g): g for g in (*old, *new)}
    return tuple(sorted(latest.values(), key=lambda g: g.at))


def same(given: Given) -> Given:
    """What was given, whenever that was: equal for a change and its repetition."""
    return replace(given, at=EPOCH, is_seen=True, is_leaving=False, has_left=False)


def _looked_for(given: Given, last: Finding) -> Given:
    if given.kind is GivenKind.WITHHELD:
        is_there = has_come_true(given, last.user)
    else:
        is_there = last.user is not None and bool(given.country) and last.user.usage_location == given.country
    return replace(given, is_seen=True) if is_there else given


def rolled_back(gated: Gated, last: Finding, outcomes: Sequence[Outcome]) -> tuple[Outcome, ...]:
    """What an undone grant had given, as the actions of then, now that a later look has seen it gone."""
    first = gated.proposal.finding
    if first.drift is None or first.drift.kind is not DriftKind.HALF_DONE or not outcomes:
        return ()
    left = _left(first, last)
    gone = [a for a in gated.proposal.actions if not any(g in left for g in a.takes_back)]
    return tuple(Outcome(_original(a), Result.ROLLED_BACK, first.sentence) for a in reversed(gone))


_GAVE = {
    ActionKind.REMOVE_LICENSE: ActionKind.ASSIGN_LICENSE,
    ActionKind.ASSIGN_LICENSE: ActionKind.ASSIGN_LICENSE,
    ActionKind.REMOVE_GROUP_MEMBER: ActionKind.ADD_GROUP_MEMBER,
}


def _original(action: Action) -> Action:
    return replace(
        action,
        kind=_GAVE[action.kind] if action.takes_back[0].kind is not GivenKind.REPLACED else ActionKind.REMOVE_LICENSE,
        before=action.after,
        after=action.before,
        inverse=None,
        remove=(),
        given=action.takes_back,
        takes_back=(),
    )
