"""What people made of a line, against what would have been done in the directory. Pure.

A person's yes or no to exactly this request counts first. Else the directory is looked at: it came to the state that we
would have made, to another one that serves the ticket, or to neither. What cannot be told is never an agreement.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from desired_state.model import GroupId, Says, UserId
from desired_state.text import one_line
from reconciler.approvals.machine import OPEN
from reconciler.approvals.values import Approval, State, Verdict
from reconciler.causes import UNSEEN
from reconciler.lifecycle import Phase
from reconciler.line import ActorKind, Attribution, Confidence, Finding, LineState, Loss, Rest, Unread
from reconciler.model import ObservedUser, Result
from reconciler.model import Outcome as Done
from reconciler.promotion.effects import Effect
from reconciler.promotion.values import STILL, Found, Outcome, Shadow

_YES = frozenset({State.APPROVED, State.EXECUTING, State.DONE, State.FAILED, State.PARTLY})
_WITHDRAWN = frozenset({Says.REJECTED, Says.CANCELLED})
_STANDS = frozenset({Phase.GRANTED, Phase.EXPIRING, Phase.REVOKED})
Members = Mapping[tuple[GroupId, UserId], "bool | Unread"]


@dataclass(frozen=True, slots=True)
class Now:
    """What a cycle knows about a line. `finding` None: it was not looked at, and `state` is what is remembered.

    `is_ours`: we wrote for it since. `by`: who made the change, where the directory's log was asked.
    """

    at: datetime
    wait: timedelta
    state: LineState | None = None
    finding: Finding | None = None
    members: Members | None = None
    approval: Approval | None = None
    is_ours: bool = False
    by: Attribution | None = None
    outcomes: tuple[Done, ...] = ()


def judge(shadow: Shadow, now: Now) -> Found:
    """What became of a shadow that is waiting; `STILL` while nothing has."""
    if shadow.step == "enforce":
        return _enforced(shadow, now)
    answered = _answered(shadow, now.approval)
    if answered is not None:
        return answered
    if now.is_ours:
        return Found(Outcome.OVERTAKEN, "The change was made by us before people acted.")
    if now.approval is not None and now.approval.digest == shadow.digest and now.approval.state in OPEN:
        now = replace(now, wait=timedelta.max)  # a request has clocks of its own
    found = now.finding
    if found is None:
        return _over(shadow, now, Outcome.CANNOT_TELL, "The line was not looked at any more.")
    if found.line.says in _WITHDRAWN or found.rest in (Rest.CANCEL, Rest.REFUSE):
        return Found(Outcome.CANNOT_TELL, "The request was withdrawn, or the person left, before anybody acted.")
    user = found.user
    if user is None or user.assignments is None:
        return _over(shadow, now, Outcome.CANNOT_TELL, "The account could not be read when it was looked for.")
    if user.is_enabled is False:
        return Found(Outcome.CANNOT_TELL, "The account was disabled, so what became of it says nothing about this.")
    seen = [_seen(effect, shadow.base, found, user, now.members or {}) for effect in shadow.would]
    if all(s is True for s in seen):
        return _acted(Outcome.AGREED, "The directory came to the same state", now.by)
    others = [s for s in seen if isinstance(s, str)]
    if others:
        return _acted(Outcome.DIFFERED, f"People made something else of it: {'; '.join(others)}", now.by)
    if shadow.is_removal and not _is_to_be_removed(found) and found.cause not in UNSEEN:
        return _acted(Outcome.DIFFERED, "It was kept: the ticket does not call for a removal any more", now.by)
    if not shadow.is_removal and found.rest is Rest.PROVEN:
        return _acted(Outcome.DIFFERED, f"The access came by another way: {_way(found, user)}", now.by)
    if found.cause in UNSEEN:
        return _over(shadow, now, Outcome.CANNOT_TELL, "Whether the access is there could not be told in time.")
    if any(s is True for s in seen):
        return _over(shadow, now, Outcome.CANNOT_TELL, "Only a part of it was done.")
    return _over(shadow, now, Outcome.NOBODY_ACTED, "Nobody did anything about it in time.")


def _over(shadow: Shadow, now: Now, outcome: Outcome, why: str) -> Found:
    return Found(outcome, why) if now.at - shadow.recorded_at >= now.wait else STILL


def _answered(shadow: Shadow, approval: Approval | None) -> Found | None:
    if approval is None or approval.digest != shadow.digest:
        return None
    last = approval.decisions[-1] if approval.decisions else None
    who = (last.actor.name or last.actor.upn) if last is not None else ""
    when = last.decided_at if last is not None else None
    if approval.state in _YES and last is not None and last.verdict is Verdict.APPROVE:
        return Found(Outcome.AGREED, f"{who} approved it.", who, when)
    if approval.state is State.REJECTED:
        said = one_line(approval.reason, 300).rstrip(".")
        return Found(Outcome.DIFFERED, f"{who or 'Somebody'} rejected it{f': {said}' if said else ''}.", who, when)
    if approval.state is State.EXPIRED and not approval.is_renewed:
        return Found(Outcome.NOBODY_ACTED, "Nobody answered the request for approval in time.")
    return None


def _acted(outcome: Outcome, what: str, by: Attribution | None) -> Found:
    if by is None or by.confidence is Confidence.UNKNOWN:
        why = f": {by.why}" if by is not None and by.why else ""
        return Found(outcome, f"{what}; who did it is not known{why}.")
    if by.kind is ActorKind.US:
        return Found(Outcome.OVERTAKEN, f"{what}, by us.", by.name, by.at)
    sure = "" if by.confidence is Confidence.CERTAIN else " (likely)"
    return Found(outcome, f"{what}, by {by.name}{sure}.", by.name, by.at)


def _seen(
    effect: Effect, before: Mapping[str, Any], found: Finding, user: ObservedUser, members: Members
) -> bool | str | None:
    """Whether an effect is there: True, False, None for not known, or in words what is there instead.

    What is as it was `before` (`effects.base`) is nobody's doing.
    """
    rows = user.assignments or ()
    match effect["do"]:
        case "location":
            if not user.usage_location:
                return None if user.usage_location is None else False
            same = user.usage_location == effect["country"]
            return same or f"the usage location is {user.usage_location}, not {effect['country']}"
        case "licence":
            row = next((a for a in rows if a.sku == effect["sku"] and a.group is None), None)
            if row is None:
                return False
            off = sorted(row.disabled_plans)
            if off == before.get("off", {}).get(effect["sku"]):
                return False
            same = off == list(effect["off"])
            return same or f"{effect['name']} has other service plans switched off ({len(row.disabled_plans)})"
        case "without":
            return all(a.sku != effect["sku"] or a.group is not None for a in rows)
        case "member" | "left":
            known = members.get((effect["group"], user.id))
            through = any(a.group == effect["group"] for a in rows)
            is_in = known if isinstance(known, bool) else True if through else None
            return None if is_in is None else is_in is (effect["do"] == "member")
        case "reprocess":
            through = any(a.group == effect["group"] and a.is_in_force for a in rows)
            return through and found.rest is Rest.PROVEN
    return None


def _is_to_be_removed(found: Finding) -> bool:
    return found.closing is not None or (found.drift is not None and bool(found.drift.take_back))


def _way(found: Finding, user: ObservedUser) -> str:
    """Through which licence the access is there, and by which path."""
    sku = found.proof.sku if found.proof is not None else None
    rows = [a for a in user.assignments or () if a.sku == sku and a.is_in_force]
    path = "directly" if any(a.group is None for a in rows) else "by a group" if rows else "by a path that is not shown"
    return f"licence {sku or 'unknown'} {path}"


def _enforced(shadow: Shadow, now: Now) -> Found:
    """What we did ourselves agrees with people as long as nobody turns it back."""
    found, state = now.finding, now.state
    back = next((o for o in now.outcomes if o.result is Result.ROLLED_BACK), None)
    if back is not None:
        return Found(Outcome.DIFFERED, f"It was rolled back: {one_line(state.note if state else back.why, 300)}")
    lost = found.aftermath if found is not None else None
    if lost is not None and lost.loss is not Loss.ERROR and not (lost.by is not None and lost.by.kind is ActorKind.US):
        return _acted(Outcome.DIFFERED, f"What we gave was turned back ({lost.loss.value})", lost.by)
    if now.at - shadow.recorded_at < now.wait:
        return STILL
    if found is not None and state is not None and state.phase in _STANDS and state.cause is None:
        return Found(Outcome.AGREED, f"It has stood for {_days(now.wait)} and nobody turned it back.")
    if now.at - shadow.recorded_at >= 2 * now.wait:
        stands = state.phase.value.replace("_", " ") if state is not None else "not known any more"
        looked = "" if found is not None else " and is not looked at any more"
        return Found(Outcome.CANNOT_TELL, f"The line is {stands}{looked}; whether it stood cannot be told.")
    return STILL


def _days(span: timedelta) -> str:
    """As "7 days"; in hours below two days."""
    hours = span.total_seconds() / 3600
    return f"{hours:.0f} h" if hours < 48 else f"{span.days} days"
