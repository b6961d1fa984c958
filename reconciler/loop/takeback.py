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
from reconciler.loop.keepers import group_id, keepers, lost
from reconciler.model import Assignment, ObservedGroup, ObservedUser, SkuDetail, Verdict
from reconciler.question import Decided, Question, Word, answered, licences, question

_TRYING = (Phase.CONVERGING, Phase.VERIFYING)
_STAYS = (GivenKind.LOCATION, GivenKind.REPLACED, GivenKind.WITHHELD)  # nothing of it is access that we gave
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
    return _looked_for(returnable(line), user, observed)


def _looked_for(every: Iterable[Given], user: ObservedUser, observed: Observed) -> Mine:
    there: list[Given] = []
    leaving: list[Assignment] = []
    for given in every:
        if given.kind is GivenKind.MEMBER:
            is_member = observed.members.get((group_id(given, observed), user.id))
            if not isinstance(is_member, bool):
                return Mine(hidden=f"whether the account is in the group {given.group}")
            if is_member and not given.has_left:
                there.append(given)
            elif not is_member:
                leaving += [a for a in user.assignments or () if a.group == group_id(given, observed) and a.is_in_force]
        elif _is_direct(given, user):
            there.append(given)
    return Mine(tuple(there), leaving=tuple(leaving))


def seen(finding: Finding, observed: Observed) -> Finding:
    """A finding that a clean look made, with what of our doing is still there; it stays unknown where it was hidden."""
    if finding.user is None or finding.proof is None:
        return finding
    if not _taken_away(finding.line) and not returnable(finding.line):
        return finding
    held = mine(finding.line, finding.user, observed)
    return finding if held.hidden else replace(finding, there=(*held.there, *exchanged(finding.line, finding.user)))


def exchanged(line: Line, user: ObservedUser) -> tuple[Given, ...]:
    """Licences that the attempt under way took away for a group's, and that the person lacks: an undo gives them back.

    Once the line is granted they are gone for good, as its product declares (I3).
    """
    direct = {a.sku for a in user.assignments or () if a.group is None}
    return tuple(g for g in _taken_away(line) if g.sku not in direct)


def _taken_away(line: Line) -> tuple[Given, ...]:
    """What the attempt under way took away for a group's licence, whether or not it is there again."""
    if line.state is None or line.state.phase not in _TRYING:
        return ()
    every = {_what(g): g for g in (*line.given, *line.state.given) if g.kind is GivenKind.REPLACED}
    return tuple(every.values())


def returnable(line: Line) -> tuple[Given, ...]:
    """What may be taken back for the line, newest first: what the ledger or the attempt under way says we gave."""
    state = line.state.given if line.state is not None else ()
    every = {_what(g): g for g in (*line.given, *state) if g.kind not in _STAYS}
    return tuple(sorted(every.values(), key=lambda g: (g.at, g.kind, g.sku or "", g.group or ""), reverse=True))


def gone(finding: Finding) -> tuple[Given, ...]:
    """What we gave for the line and a clean look does not show any more."""
    return () if finding.there is None else tuple(g for g in returnable(finding.line) if g not in finding.there)


def _what(given: Given) -> tuple[object, ...]:
    return given.kind, given.sku, given.group, given.plans


def _is_direct(given: Given, user: ObservedUser) -> bool:
    row = next((a for a in user.assignments or () if a.sku == given.sku and a.group is None), None)
    if row is None:
        return False
    return given.kind is GivenKind.LICENSE or any(plan not in row.disabled_plans for plan in given.plans)


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
    end = ends_at(request.period, line.granted_at or line.was_granted_at, line.zone)
    assert end is not None, "only a line with an end can be over"
    case = _Case(line, request, product, user, proof, end)
    held = mine(line, user, observed)
    if not (held.hidden or held.there or held.leaving):
        held = adopted(case, observed)
    if held.hidden:
        return case.found(Rest.HOLD, None, f"It could not be read {held.hidden}.", Cause.REMOTE_FAILING)
    if not held.there:
        return _not_ours(case, held, observed, at)
    return replace(_ours(case, held, details, observed, at), decided=_adoption(case, observed))


def _ours(case: _Case, held: Mine, details: tuple[SkuDetail, ...], observed: Observed, at: datetime) -> Finding:
    """What was given by us, or adopted by a person, is there after its end."""
    line, product, user, proof, end = case.line, case.product, case.user, case.proof, case.end
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
    rows = _left_over(case)
    if rows:
        same = [o for o in line.others if o.product.key == product.key]
        if same:
            return _kept(case, same)
        names = sorted({observed.part_number(a.sku) for a in rows})
        who = "it is not recorded what we gave" if line.is_by_us else "it was not given by us"
        if any(given.has_left for given in returnable(line)):
            who = "somebody else put the person into the group again after we had taken them out"
        sentence = f"{' and '.join(names)} is still there, and {who}: adopt it and revoke it, or extend the request."
        found = case.found(Rest.HOLD, Closing.PROPOSED, sentence, Cause.EXPIRED_NOT_REMOVED)
        asked = _question(case, observed)
        said = answered(line.decided, asked)
        if said is not None and said.word is Word.LEAVE:
            found = replace(found, sentence=f"{found.sentence} {said.by} leaves it so.", decided=said)
        return replace(found, question=asked)
    if case.request.says is not Says.FULFILLED and line.granted_at is None and line.was_granted_at is None:
        return case.found(Rest.HOLD, None, "Nothing was given before it ended; ask again with a new end.")
    return case.found(Rest.OVER, Closing.GONE, "Nothing of it is there any more.")


# --- what a person adopted -------------------------------------------------------------------------------------


def _question(case: _Case, observed: Observed) -> Question:
    """What its owner is asked about a licence that outlived its period and that we did not give (I3)."""
    product, rows = case.product, _left_over(case)
    names = " and ".join(sorted({observed.part_number(a.sku) for a in rows}))
    about = {
        "matter": Cause.EXPIRED_NOT_REMOVED.value,
        "line": str(case.line.key),
        "user": case.user.id,
        "product": product.key,
        "ended_at": case.end.isoformat(),
        "licences": licences(rows),
    }
    choices = {Word.LEAVE: "nothing is changed, and nobody is asked again while it stays so"}
    if not product.keeps_data and all(a.group is None or _is_own_group(case, a.group, observed) for a in rows):
        choices[Word.ADOPT] = f"{names} counts as given by us, and is taken back, because the period is over"
    return question(about, choices)


def _left_over(case: _Case) -> list[Assignment]:
    return [a for a in case.user.assignments or () if a.is_in_force and a.sku in case.product.candidate_skus]


def _is_own_group(case: _Case, id: GroupId, observed: Observed) -> bool:
    """Whether it is the group that gives the product: only of that one it is read who is in it."""
    group = observed.groups.get(case.product.group) if case.product.group is not None else None
    return isinstance(group, ObservedGroup) and group.id == id


def _adoption(case: _Case, observed: Observed) -> Decided | None:
    """The word by which the licences that are there may be taken back, None when there is none.

    It is for what it named. Once it is being carried out, what is left of that is still covered.
    """
    said, state = case.line.decided, case.line.state
    if said is None or said.word is not Word.ADOPT:
        return None
    if state is not None and state.phase is Phase.REVOKING:
        is_same = said.about.get("ended_at") == case.end.isoformat() and said.about.get("user") == case.user.id
        return said if is_same else None
    return answered(said, _question(case, observed))


def adopted(case: _Case, observed: Observed) -> Mine:
    """What a person adopted and is there, as if we had given it."""
    said = _adoption(case, observed)
    if said is None:
        return Mine()
    named = said.about.get("licences") or ()
    direct = {str(row["sku"]) for row in named if row["group"] is None}
    groups = {str(row["group"]) for row in named if row["group"] is not None}
    every = [Given(GivenKind.LICENSE, said.at, sku=SkuId(sku)) for sku in sorted(direct)]
    every += [Given(GivenKind.MEMBER, said.at, group=GroupId(group)) for group in sorted(groups)]
    return _looked_for(every, case.user, observed)


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
        observed.part_number(sku) for sku in sorted(lost(given, case.user, observed) - set(case.product.candidate_skus))
    ]
    more += ["access to applications"] if group.app_roles else []
    more += ["what the groups give that it is in"] if group.parents else []
    if not more:
        return None
    sentence = f"Leaving {group.name} would also take away {' and '.join(more)}, so a person has to decide."
    return case.found(Rest.HOLD, Closing.PROPOSED, sentence, Cause.EXPIRED_NOT_REMOVED)
