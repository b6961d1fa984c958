"""Licences by group: which groups are for licences, and why a product's group does not give it to a person. Pure.

Only direct members get anything, a group gives a person all of its licences or none, and what it gives comes minutes
later or not at all: membership is a wish, `licenseAssignmentStates` of the person is the fact (graph.md sections 7, 8).
A group that may give more than a licence is never joined, and what is not shown of a group counts as that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from desired_state.model import GivenKind, GroupId, Path, Product, Request, SkuId
from reconciler.causes import Cause
from reconciler.lifecycle import Phase
from reconciler.line import Drift, DriftKind, Finding, Gone, Line, Observed, Rest, Unread
from reconciler.loop.proof import is_proven_by
from reconciler.model import Assignment, ObservedGroup, ObservedUser, SubscribedSku, Verdict

BUSY = ("QueuedForProcessing", "ProcessingInProgress")  # a member of such a group may have joined a moment ago
TRIES_MAX = 3  # of reprocessing: it costs a write per person, and what it cannot mend it never will

# The error words of graph.md section 7; what is not among them is reported and never acted on.
COUNT = "CountViolation"
EXCLUSIVE = "MutuallyExclusiveViolation"
DEPENDENCY = "DependencyViolation"
LOCATION = "ProhibitedInUsageLocationViolation"
UNIQUE = "UniquenessViolation"
OTHER = ("Other", "Others")  # another licence of the same group failed: that one says why


class Found(Protocol):
    """Makes the finding of a line; the verdict is False unless said otherwise."""

    def __call__(
        self, rest: Rest, cause: Cause, sentence: str, *, verdict: Verdict = ..., drift: Drift | None = ...
    ) -> Finding: ...


# --- which groups are for licences -------------------------------------------------------------------------------


def master(group: ObservedGroup) -> str:
    """Who decides on the members instead of us, "" when we may or when it is not shown."""
    if group.is_synced:
        return "on-premises Active Directory"
    if group.is_dynamic:
        return "its membership rule"
    if group.is_mail and group.is_unified is False:
        return "Exchange"
    return ""


def not_writable(group: ObservedGroup) -> str:
    """The sentence for a group whose members are decided elsewhere, "" when they are decided here."""
    return f"The members of {group.name} are managed by {master(group)}, not here." if master(group) else ""


def unusable(group: ObservedGroup, product: Product, skus: Mapping[SkuId, SubscribedSku]) -> str:
    """Why joining the group is no way to the product, "" when it is: it grants the licence and nothing else."""
    if master(group):
        return f"its members are managed by {master(group)}"
    hidden = _hidden(group)
    if hidden:
        return f"the directory does not show {hidden}"
    if not group.is_security:
        return "it is not security-enabled, so it cannot carry licences"
    if group.is_role_assignable:
        return "it can hold administrator roles"
    if group.app_roles:
        return "its members also get into applications"
    if group.parents:
        return "it is a member of other groups"
    if not _gives(product, group, skus):
        return f"it carries no licence with {product.name} switched on"
    return ""


def _hidden(group: ObservedGroup) -> str:
    shown = {
        "how its members are chosen": group.is_dynamic is not None and group.is_unified is not None,
        "whether it is synced": group.is_synced is not None,
        "whether it is security-enabled": group.is_security is not None,
        "whether it is mail-enabled": group.is_mail is not None,
        "whether it can hold roles": group.is_role_assignable is not None,
        "its licences": group.licenses is not None,
        "whether its members get into applications": group.app_roles is not None,
        "which groups it is in": group.parents is not None,
    }
    return " and ".join(what for what, is_shown in shown.items() if not is_shown)


def _gives(product: Product, group: ObservedGroup, skus: Mapping[SkuId, SubscribedSku]) -> bool:
    """Whether all of the group's licences together prove the product; the tenant's own list says what is in them."""
    grants = [g for g in group.licenses or () if g.sku in skus]
    if product.proof_mode == "all+sku":
        grants = [g for g in grants if g.sku in product.candidate_skus]
    return is_proven_by(product, {p for g in grants for p in skus[g.sku].plans if p not in g.disabled_plans})


# --- one person --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Case:
    """One person on the way to one product through one group."""

    line: Line
    product: Product
    user: ObservedUser
    observed: Observed
    at: datetime
    found: Found
    group: ObservedGroup

    @property
    def rows(self) -> tuple[Assignment, ...]:
        """What this group has for the person, in force or in error."""
        return tuple(a for a in self.user.assignments or () if a.group == self.group.id)

    def sku(self, sku: SkuId) -> str:
        return self.observed.part_number(sku)

    def drift(self, kind: DriftKind, *, replace: tuple[SkuId, ...] = (), needs_person: bool = False) -> Drift:
        return Drift(
            kind,
            needs_location=not self.user.usage_location,  # or Entra silently takes the tenant's country
            group=self.group.id,
            replace=replace,
            needs_person=needs_person,
        )


def find(line: Line, product: Product, user: ObservedUser, observed: Observed, at: datetime, found: Found) -> Finding:
    """Why a person without a product gets nothing through the product's group, and what would change that."""
    assert product.group is not None
    case = _case(product.group, line, product, user, observed, at, found)
    if isinstance(case, Finding):
        return case
    is_member = observed.members.get((case.group.id, user.id), Unread("it was not asked for"))
    if isinstance(is_member, Unread):
        return _unread(found, f"Whether the account is in {case.group.name} could not be read: {is_member.why}.")
    return _member(case) if is_member else _outside(case)


def switched_off(
    line: Line, product: Product, user: ObservedUser, observed: Observed, at: datetime, found: Found
) -> Finding:
    """A person holds the product by a group that switches it off: only another group can switch it on (section 7).

    There is no silent direct copy of the licence; joining the configured group is proposed to a person.
    """
    if product.path is Path.GROUP and product.enabling_group is None and not _is_by(product.group, user, observed):
        return find(line, product, user, observed, at, found)
    off = sorted({_name(observed, a.group) for a in user.assignments or () if a.group is not None and a.is_in_force})
    sentence = f"The licence comes from a group that switches the service off ({', '.join(off)})."
    if product.enabling_group is None:
        helps = f"A group that carries the licence with {product.name} on would help; none is configured."
        return found(Rest.HAND_BACK, Cause.PLAN_DISABLED, f"{sentence} {helps}")
    case = _case(product.enabling_group, line, product, user, observed, at, found)
    if isinstance(case, Finding):
        return case
    is_member = observed.members.get((case.group.id, user.id), Unread("it was not asked for"))
    if isinstance(is_member, Unread):
        return _unread(found, f"Whether the account is in {case.group.name} could not be read: {is_member.why}.")
    if is_member:
        return _member(case)
    why = unusable(case.group, product, observed.skus)
    more = [case.sku(g.sku) for g in case.group.licenses or () if g.sku not in (user.skus or ())]
    if not why and more:
        why = f"it would also give {', '.join(more)}"
    if why:
        rest = Rest.HOLD if _hidden(case.group) else Rest.HAND_BACK
        return found(rest, Cause.PLAN_DISABLED, f"{sentence} {case.group.name} is no way to switch it on: {why}.")
    proposed = f"Joining {case.group.name} would switch it on; a person has to agree."
    drift = case.drift(DriftKind.NOT_MEMBER, needs_person=True)
    return found(Rest.ACT, Cause.PLAN_DISABLED, f"{sentence} {proposed}", drift=drift)


def _is_by(name: GroupId | None, user: ObservedUser, observed: Observed) -> bool:
    group = observed.groups.get(name) if name is not None else None
    return isinstance(group, ObservedGroup) and any(
        a.group == group.id for a in user.assignments or () if a.is_in_force
    )


def _case(
    name: GroupId,
    line: Line,
    product: Product,
    user: ObservedUser,
    observed: Observed,
    at: datetime,
    found: Found,
) -> _Case | Finding:
    match observed.groups.get(name, Unread("it was not asked for")):
        case Unread(why):
            return _unread(found, f"The licence group {name} could not be read: {why}.")
        case Gone():
            return found(
                Rest.HOLD,
                Cause.PRODUCT_UNMAPPED,
                f"The directory has no group {name}, which {product.name} is configured with.",
                verdict=Verdict.UNKNOWN,
            )
        case ObservedGroup() as group:
            return _Case(line, product, user, observed, at, found, group)


def _unread(found: Found, sentence: str) -> Finding:
    return found(Rest.HOLD, Cause.REMOTE_FAILING, sentence, verdict=Verdict.UNKNOWN)


def _name(observed: Observed, group: GroupId | None) -> str:
    known = observed.groups.get(group) if group is not None else None
    return known.name if isinstance(known, ObservedGroup) else str(group)


def _outside(case: _Case) -> Finding:
    """The person is not in the group: join it, if that is for us to do."""
    elsewhere = not_writable(case.group)
    if elsewhere:
        return case.found(Rest.HAND_BACK, Cause.GROUP_NOT_WRITABLE, f"{elsewhere} The account is not in it.")
    hidden = _hidden(case.group)
    why = unusable(case.group, case.product, case.observed.skus)
    if why:
        sentence = f"{case.group.name} is not joined for a licence: {why}."
        # Its members are ours to choose, so nobody is told to add the person by hand: the group itself is wrong.
        rest, cause = (Rest.HOLD, Cause.PERMISSION_MISSING) if hidden else (Rest.HAND_BACK, Cause.GROUP_ERROR)
        return case.found(rest, cause, sentence)
    sentence = f"The account is not in {case.group.name}, the group that carries the licence."
    drift = case.drift(DriftKind.NOT_MEMBER, replace=_replaced(case))
    return case.found(Rest.ACT, Cause.NOT_IN_GROUP, sentence, drift=drift)


def _member(case: _Case) -> Finding:
    """The person is in the group: it is not processed yet, or it says why not."""
    failed = [a for a in case.rows if a.error or not a.is_in_force]
    if failed:
        return _failed(case, failed)
    since, name = _since(case), case.group.name
    if case.at - since < timedelta(seconds=case.product.group_window_s):
        sentence = f"The account is in {name}, which Microsoft has not processed for it yet."
        return case.found(Rest.WAIT, Cause.GROUP_PENDING, sentence, verdict=Verdict.PENDING)
    late = f"The account is in {name}, and the group has given it nothing since {since:%Y-%m-%d %H:%M} UTC."
    return _again(case, Cause.GROUP_PENDING, late)


def _since(case: _Case) -> datetime:
    """From when on the group had to be processed for the person, as far as we know."""
    declared, state = case.line.declared, case.line.state
    given = (*case.line.given, *(state.given if state is not None else ()))
    joined = [g.at for g in given if g.kind is GivenKind.MEMBER and g.group == case.group.id]
    processed = [a.updated_at for a in case.rows if a.updated_at is not None]
    due = declared.due_since if isinstance(declared, Request) else case.line.ticket.updated_at
    watched: list[datetime] = []
    if state is not None and state.phase in (Phase.CONVERGING, Phase.VERIFYING) and state.since is not None:
        watched.append(state.since)
    busy = [] if watched or case.group.processing not in BUSY else [case.at]
    return max((due, *joined, *processed, *watched, *busy))


def _again(case: _Case, cause: Cause, sentence: str, *, replace: tuple[SkuId, ...] = ()) -> Finding:
    """Ask for the group to be processed again, but not for ever."""
    state = case.line.state
    tries = state.attempts if state is not None and state.phase not in (Phase.GRANTED, Phase.DRIFTED) else 0
    if tries >= TRIES_MAX:
        asked = f"It was tried {tries} times without effect; over a day is a case for Microsoft's support."
        return case.found(
            Rest.HAND_BACK, Cause.GROUP_ERROR if cause is Cause.GROUP_PENDING else cause, f"{sentence} {asked}"
        )
    return case.found(Rest.ACT, cause, sentence, drift=case.drift(DriftKind.UNPROCESSED, replace=replace))


def _failed(case: _Case, failed: list[Assignment]) -> Finding:
    """All or nothing: the licence that fails says why none of the group's licences is given."""
    words = {a.error for a in failed}
    name = case.group.name
    if COUNT in words:
        return _short(case)
    if EXCLUSIVE in words:
        return _excluded(case, [a for a in failed if a.error == EXCLUSIVE])
    blocking = " and ".join(sorted({case.sku(a.sku) for a in failed if a.error not in OTHER}))
    if DEPENDENCY in words:
        needed = f"{blocking} of {name} needs another service, which the account does not have.{_with_it(case, failed)}"
        return _again(case, Cause.DEPENDENCY_MISSING, needed)
    if LOCATION in words:
        where = case.user.usage_location or "the tenant's country"
        sentence = (
            f"Microsoft does not allow {blocking} of {name} in {where}, the account's usage location."
            f"{_with_it(case, failed)}"
        )
        return case.found(Rest.HAND_BACK, Cause.GROUP_ERROR, sentence)
    if UNIQUE in words:
        sentence = (
            f"{name} gives nothing: for {blocking} a value of the account, probably a mail address, is used elsewhere. "
            f"It has to be mended in Exchange; then the account is processed again.{_with_it(case, failed)}"
        )
        return case.found(Rest.HAND_BACK, Cause.GROUP_ERROR, sentence)
    if words <= set(OTHER):
        return _again(case, Cause.GROUP_ERROR, f"{name} reports an error for the account and does not say which.")
    said = ", ".join(sorted(words - {""} - set(OTHER))) or ", ".join(sorted({a.state for a in failed}))
    sentence = f"{name} reports an error that is not known here: {said}."
    if case.at - _since(case) < timedelta(seconds=case.product.group_window_s):  # Microsoft may still mend it itself
        return case.found(Rest.WAIT, Cause.GROUP_ERROR, sentence, verdict=Verdict.PENDING)
    return case.found(Rest.HAND_BACK, Cause.GROUP_ERROR, sentence)


def _with_it(case: _Case, failed: list[Assignment]) -> str:
    """Half of an explanation: which licences of the group wait with the one that fails, "" when it is alone."""
    blocking = {a.sku for a in failed if a.error not in OTHER}
    held = case.user.skus or frozenset()
    others = [g.sku for g in case.group.licenses or () if g.sku not in blocking and g.sku not in held]
    if not others:
        return ""
    return f" A group gives all of its licences or none, so {' and '.join(map(case.sku, others))} waits with it."


def _short(case: _Case) -> Finding:
    """A seat is missing; whether it is there now is for the plan to say, which knows who else needs it."""
    lacked = [g.sku for g in case.group.licenses or () if g.sku not in (case.user.skus or ())]
    named = [a.sku for a in case.rows if a.error == COUNT]
    full = [s for s in lacked if s in case.observed.skus and not case.observed.skus[s].seats_free] or named
    sentence = f"{case.group.name} gives nothing: no seat of {' and '.join(case.sku(s) for s in full)} was free."
    others = [s for s in lacked if s not in full]
    if others:
        sentence += (
            f" A group gives all of its licences or none, so {' and '.join(case.sku(s) for s in others)} "
            "waits with it; a group for each licence would avoid that."
        )
    own = set(full) <= set(case.product.candidate_skus)
    return _again(case, Cause.NO_SEAT if own else Cause.GROUP_ERROR, sentence)


def _excluded(case: _Case, failed: list[Assignment]) -> Finding:
    """Two plans exclude each other, which Microsoft never resolves by itself (graph.md section 7)."""
    replaced = _replaced(case)
    mine = " and ".join(case.sku(a.sku) for a in failed)
    if replaced:
        theirs = " and ".join(case.sku(s) for s in replaced)
        sentence = f"{mine} of {case.group.name} and {theirs} exclude each other; {case.product.name} replaces it."
        return _again(case, Cause.PLAN_CONFLICT, sentence + _with_it(case, failed), replace=replaced)
    others = sorted(case.sku(s) for s in case.user.skus or () if s not in {a.sku for a in case.rows})
    held = f"; the account also holds {', '.join(others)}" if others else ""
    return _again(
        case,
        Cause.PLAN_CONFLICT,
        f"{mine} of {case.group.name} and another licence exclude each other{held}.{_with_it(case, failed)}",
    )


def _replaced(case: _Case) -> tuple[SkuId, ...]:
    """Direct licences of products that this one declares to replace (I3)."""
    direct = {a.sku for a in case.user.assignments or () if a.group is None and a.is_in_force}
    return tuple(s for s in case.product.replaced_skus if s in direct)
