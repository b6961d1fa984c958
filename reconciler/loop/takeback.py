"""What is taken back at the end of a period, what is left, and what only a person may decide. Pure.

Nothing is ever taken back that we did not give for the line and that is not observed there directly now (I3). What
somebody else gave, suites that keep mail or files, and groups that carry more than the licence are proposed to their
owner. What another current line of the person needs stays, and counts as given for that one from then on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from desired_state.model import Given, GivenKind, GroupId, Product, Request, Says, SkuId
from desired_state.periods import ends_at, reminds_at
from reconciler.causes import Cause
from reconciler.lifecycle import Phase
from reconciler.line import Closing, Drift, DriftKind, Finding, Line, Observed, Other, Proof, Rest
from reconciler.loop.proof import prove
from reconciler.model import Assignment, ObservedGroup, ObservedUser, PlanState, SkuDetail, Verdict

_TRYING = (Phase.CONVERGING, Phase.VERIFYING)
_REMINDED = (Phase.GRANTED, Phase.EXPIRING)


def end_of(line: Line, granted_at: datetime | None) -> datetime | None:
    """When what was granted for the line ends; None: open, or not granted yet. The ledger's grant comes first."""
    since = line.granted_at or granted_at
    if since is None or not isinstance(line.declared, Request):
        return None
    return ends_at(line.declared.period, since, line.zone)


def near(finding: Finding, at: datetime) -> Finding:
    """A proven line whose end is near says so: its ticket is reminded once, and nothing else changes."""
    line, product = finding.line, finding.line.product
    end = end_of(line, None)
    is_standing = line.state is not None and line.state.phase in _REMINDED
    if finding.rest is not Rest.PROVEN or product is None or end is None or not is_standing:
        return finding
    if at < reminds_at(end, line.granted_at, product.remind_s):
        return finding
    day = end.astimezone(line.zone)
    keeper = next((o for o in line.others if o.product.key == product.key), None)
    if keeper is not None:
        then = f"{keeper.key} keeps the licence"
    elif line.is_by_us and line.given:
        then = "the licence is taken back then, unless a new request asks for longer"
    else:
        then = "its owner decides then, because it was not given by us"
    return replace(finding, closing=Closing.NEAR, sentence=f"The period ends on {day:%Y-%m-%d}; {then}.")


# --- what is there ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mine:
    """What we gave for a line, newest first: what of it is there, and what could not be read ("" for nothing)."""

    there: tuple[Given, ...] = ()
    hidden: str = ""
    leaving: tuple[Assignment, ...] = ()  # licences of a group that the person has left, still being processed


def mine(line: Line, user: ObservedUser, observed: Observed) -> Mine:
    """Look for what we gave, one by one; a usage location is never among it, because it cannot be unset."""
    there: list[Given] = []
    leaving: list[Assignment] = []
    for given in returnable(line):
        if given.kind is GivenKind.MEMBER:
            is_member = observed.members.get((group_id(given, observed), user.id))
            if not isinstance(is_member, bool):
                return Mine(hidden=f"whether the account is in the group {given.group}")
            if is_member:
                there.append(given)
            else:
                leaving += [a for a in user.assignments or () if a.group == group_id(given, observed) and a.is_in_force]
        elif _is_direct(given, user):
            there.append(given)
    return Mine(tuple(there), leaving=tuple(leaving))


def seen(finding: Finding, observed: Observed) -> Finding:
    """A finding that a clean look made, with what of our doing is still there; it stays unknown where it was hidden."""
    if finding.user is None or finding.proof is None:
        return finding
    lost = exchanged(finding.line, finding.user)
    if not lost and not returnable(finding.line):
        return finding
    held = mine(finding.line, finding.user, observed)
    return finding if held.hidden else replace(finding, there=(*held.there, *lost))


def exchanged(line: Line, user: ObservedUser) -> tuple[Given, ...]:
    """Licences that the attempt under way took away for a group's, and that the person lacks: an undo gives them back.

    Once the line is granted they are gone for good, as its product declares (I3).
    """
    if line.state is None or line.state.phase not in _TRYING:
        return ()
    every = {_what(g): g for g in (*line.given, *line.state.given) if g.kind is GivenKind.REPLACED}
    return tuple(
        g for g in every.values() if not any(a.sku == g.sku and a.group is None for a in user.assignments or ())
    )


def returnable(line: Line) -> tuple[Given, ...]:
    """What may be taken back for the line, newest first: what the ledger or the attempt under way says we gave."""
    state = line.state.given if line.state is not None else ()
    every = {_what(g): g for g in (*line.given, *state) if g.kind not in (GivenKind.LOCATION, GivenKind.REPLACED)}
    return tuple(sorted(every.values(), key=lambda g: (g.at, g.kind, g.sku or "", g.group or ""), reverse=True))


def _what(given: Given) -> tuple[object, ...]:
    return given.kind, given.sku, given.group, given.plans


def group_id(given: Given, observed: Observed) -> GroupId:
    """The object id of a group that may be remembered by its name."""
    assert given.group is not None
    group = observed.groups.get(given.group)
    return group.id if isinstance(group, ObservedGroup) else given.group


def _is_direct(given: Given, user: ObservedUser) -> bool:
    row = next((a for a in user.assignments or () if a.sku == given.sku and a.group is None), None)
    if row is None:
        return False
    return given.kind is GivenKind.LICENSE or any(plan not in row.disabled_plans for plan in given.plans)


# --- who else needs it ------------------------------------------------------------------------------------------


def keepers(
    given: Given,
    others: Iterable[Other],
    product: Product,
    user: ObservedUser,
    details: tuple[SkuDetail, ...],
    observed: Observed,
) -> tuple[Other, ...]:
    """The other lines that would lose something: the same product, or one that is proven or carried only by it."""
    left = _without(given, user, details, observed)
    return tuple(o for o in others if o.product.key == product.key or _loses(o.product, details, left))


def _loses(product: Product, before: tuple[SkuDetail, ...], after: tuple[SkuDetail, ...]) -> bool:
    if prove(product, before).access is not prove(product, after).access:
        return True
    carried = [p for p in product.prerequisite_plans if _is_on(p, before)]
    lost = [p for p in carried if not _is_on(p, after)]
    return bool(lost) and (product.prerequisite_mode != "any" or len(lost) == len(carried))


def _is_on(plan: object, details: Iterable[SkuDetail]) -> bool:
    return any(state is not PlanState.DISABLED for d in details for p, state in d.plans.items() if p == plan)


def _without(
    given: Given, user: ObservedUser, details: tuple[SkuDetail, ...], observed: Observed
) -> tuple[SkuDetail, ...]:
    """The plans that would be left. A licence that also comes another way stays as it is."""
    if given.kind is GivenKind.PLANS:
        off = dict.fromkeys(given.plans, PlanState.DISABLED)
        return tuple(replace(d, plans={**d.plans, **off}) if d.sku == given.sku else d for d in details)
    lost = _lost(given, user, observed)
    return tuple(d for d in details if d.sku not in lost)


def _lost(given: Given, user: ObservedUser, observed: Observed) -> frozenset[SkuId]:
    """SKUs that the person has only by this."""
    way = None if given.kind is GivenKind.LICENSE else group_id(given, observed)
    rows = [a for a in user.assignments or () if a.is_in_force or a.group == way]
    ours = {a.sku for a in rows if a.group == way and (way is not None or a.sku == given.sku)}
    return frozenset(ours - {a.sku for a in rows if a.group != way})


# --- at the end ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Case:
    """One line whose period is over, with what is known about its person."""

    line: Line
    request: Request
    product: Product
    user: ObservedUser
    proof: Proof
    end: datetime

    def found(self, rest: Rest, closing: Closing | None, sentence: str, cause: Cause | None = None) -> Finding:
        state = self.line.state
        verdict: Verdict | None = None
        if self.request.says is Says.FULFILLED:
            known = state.verdict if state is not None and state.verdict is not Verdict.UNKNOWN else None
            is_there = self.proof.access.value == "proven"
            was_there = Verdict.TRUE if self.line.granted_at is not None else Verdict.UNKNOWN
            verdict = Verdict.TRUE if is_there else known or was_there
        day = self.end.astimezone(self.line.zone)
        said = f"The period ended on {day:%Y-%m-%d}. {sentence}".rstrip()
        return Finding(self.line, rest, verdict, cause, said, self.user, self.proof, closing=closing)


def over(
    line: Line,
    request: Request,
    product: Product,
    user: ObservedUser,
    proof: Proof,
    details: tuple[SkuDetail, ...],
    observed: Observed,
    at: datetime,
) -> Finding:
    """A line whose period is over: what we gave is taken back, what others need or gave is left, and said so.

    An end date that was known since the grant is no inference: no second look is needed for it. That nothing is there
    any more is believed when it was seen twice, or right after we took it away.
    """
    end = ends_at(request.period, line.granted_at, line.zone)
    assert end is not None, "only a line with an end can be over"
    case = _Case(line, request, product, user, proof, end)
    held = mine(line, user, observed)
    if held.hidden:
        return case.found(Rest.HOLD, None, f"It could not be read {held.hidden}.", Cause.REMOTE_FAILING)
    if not held.there:
        return _not_ours(case, held, observed, at)
    needed = {g: keepers(g, line.others, product, user, details, observed) for g in held.there}
    free = tuple(g for g in held.there if not needed[g])
    if not free:
        return _kept(case, (o for found in needed.values() for o in found))
    due = end + timedelta(seconds=product.grace_s)
    if at < due and proof.access.value == "proven":
        return case.found(
            Rest.WAIT, Closing.GRACE, f"The licence is taken back on {due.astimezone(line.zone):%Y-%m-%d}."
        )
    stays = _stays(case, free, observed)
    if stays is not None:
        return stays
    finding = case.found(
        Rest.ACT, Closing.DUE, "The licence is still there and is taken back.", Cause.EXPIRED_NOT_REMOVED
    )
    return replace(finding, drift=Drift(DriftKind.SURPLUS, needs_location=False, take_back=free))


def _kept(case: _Case, by: Iterable[Other]) -> Finding:
    keys = sorted({o.key for o in by})
    names = " and ".join(str(key) for key in keys)
    verb = "needs the licence and keeps it" if len(keys) == 1 else "need the licence and keep it"
    return replace(case.found(Rest.OVER, Closing.KEPT, f"{names} {verb}; nothing was taken away."), heir=keys[0])


def _not_ours(case: _Case, held: Mine, observed: Observed, at: datetime) -> Finding:
    """Nothing that we gave is there: it is gone, or it is not ours to take."""
    line, product = case.line, case.product
    if held.leaving:
        return _leaving(case, held, at)
    rows = [a for a in case.user.assignments or () if a.is_in_force and a.sku in product.candidate_skus]
    if rows:
        same = [o for o in line.others if o.product.key == product.key]
        if same:
            return _kept(case, same)
        names = sorted({_name(a.sku, observed) for a in rows})
        who = "it is not recorded what we gave" if line.is_by_us else "it was not given by us"
        sentence = f"{' and '.join(names)} is still there, and {who}: adopt it and revoke it, or extend the request."
        return case.found(Rest.HOLD, Closing.PROPOSED, sentence, Cause.EXPIRED_NOT_REMOVED)
    if case.request.says is not Says.FULFILLED and line.granted_at is None:
        return case.found(Rest.HOLD, None, "Nothing was given before it ended; ask again with a new end.")
    return case.found(Rest.OVER, Closing.GONE, "Nothing of it is there any more.")


def _leaving(case: _Case, held: Mine, at: datetime) -> Finding:
    """The person has left the group; its licences go when the group is processed, or stick in an error (section 8)."""
    stuck = [a for a in held.leaving if a.error]
    state = case.line.state
    since = state.since if state is not None and state.phase is Phase.REVOKING and state.since else at
    if stuck or at - since > timedelta(seconds=case.product.group_window_s):
        words = ", ".join(sorted({a.error for a in stuck})) or "no reason is given"
        sentence = f"The person has left the licence group, and its licence stays: {words}."
        return case.found(Rest.HAND_BACK, Closing.PROPOSED, sentence, Cause.GROUP_ERROR)
    sentence = "The person has left the licence group; Microsoft takes its licence away within minutes."
    return case.found(Rest.WAIT, Closing.DUE, sentence, Cause.EXPIRED_NOT_REMOVED)


def _stays(case: _Case, free: tuple[Given, ...], observed: Observed) -> Finding | None:
    """What only a person may take away, as a proposal; None when we may."""
    product = case.product
    if product.keeps_data and any(g.kind is not GivenKind.PLANS for g in free):
        sentence = (
            f"{product.name} keeps a mailbox or files, so it is not revoked by itself: please revoke or extend it."
        )
        return case.found(Rest.HOLD, Closing.PROPOSED, sentence, Cause.EXPIRED_NOT_REMOVED)
    for given in free:
        if given.kind is GivenKind.MEMBER:
            found = _cargo(case, given, observed)
            if found is not None:
                return found
    return None


def _cargo(case: _Case, given: Given, observed: Observed) -> Finding | None:
    """What the person would lose besides the licence by leaving the group, None when nothing."""
    group = observed.groups.get(given.group) if given.group is not None else None
    if not isinstance(group, ObservedGroup) or None in (group.licenses, group.app_roles, group.parents):
        sentence = f"What the group {given.group} gives besides the licence could not be read."
        return case.found(Rest.HOLD, None, sentence, Cause.REMOTE_FAILING)
    if not group.is_writable:
        sentence = f"The members of {group.name} are not managed here, so the person cannot be taken out of it."
        return case.found(Rest.HAND_BACK, Closing.PROPOSED, sentence, Cause.GROUP_NOT_WRITABLE)
    more = [
        _name(sku, observed) for sku in sorted(_lost(given, case.user, observed) - set(case.product.candidate_skus))
    ]
    more += ["access to applications"] if group.app_roles else []
    more += ["what the groups give that it is in"] if group.parents else []
    if not more:
        return None
    sentence = f"Leaving {group.name} would also take away {' and '.join(more)}, so a person has to decide."
    return case.found(Rest.HOLD, Closing.PROPOSED, sentence, Cause.EXPIRED_NOT_REMOVED)


def _name(sku: SkuId, observed: Observed) -> str:
    owned = observed.skus.get(sku)
    return owned.part_number if owned is not None else sku
