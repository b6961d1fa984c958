"""In which order one person's lines are planned: what others build on, or what covers them, comes first. Pure.

Between people the order stays as it was, oldest request first; only a line that builds on a later one of the same
person moves behind it, so that nobody gets an earlier place at a seat by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from desired_state.model import GivenKind, GroupId, LineKey, Path, PlanId, Product, UserId
from desired_state.plan_rules import Enforcement
from reconciler.lifecycle import Phase
from reconciler.line import DriftKind, Finding, Observed, Rest
from reconciler.loop.bounds import Bounds
from reconciler.loop.licences import allowed
from reconciler.loop.proof import is_proven_by
from reconciler.loop.takeback import returnable
from reconciler.model import ObservedGroup

_COMING = (Rest.ACT, Rest.WAIT, Rest.AWAIT)


def in_sequence(findings: Iterable[Finding], observed: Observed, bounds: Bounds) -> tuple[Finding, ...]:
    """The findings, with every line behind the later lines of the same person that it follows."""
    every = tuple(findings)
    lines = _of_people(every)
    ordered: list[Finding] = []
    placed: set[LineKey] = set()

    def place(finding: Finding, waiting: frozenset[LineKey]) -> None:
        if finding.key in placed:
            return
        ordered.append(finding)
        placed.add(finding.key)
        for other in lines.get(finding.user.id, ()) if finding.user is not None else ():
            if other.key in waiting and not _holding_up(other, lines, placed, observed, bounds):
                place(other, waiting)

    postponed: set[LineKey] = set()
    for finding in every:
        if _holding_up(finding, lines, placed, observed, bounds):
            postponed.add(finding.key)
        else:
            place(finding, frozenset(postponed))
    for finding in every:  # what is left follows each other in a circle: the old order
        place(finding, frozenset())
    return tuple(ordered)


def builds_on(finding: Finding, every: Iterable[Finding], observed: Observed, bounds: Bounds) -> LineKey | None:
    """The first other line of the person that is about to bring what this one needs; None when there is none."""
    needed = _needs(finding, observed, bounds)
    for other in every:
        is_theirs = finding.user is not None and other.line.binding.user == finding.user.id
        if (
            other.key != finding.key
            and is_theirs
            and other.rest in _COMING
            and needed & _brings(other, observed, bounds)
        ):
            return other.key
    return None


def makes_room(finding: Finding, every: Iterable[Finding], observed: Observed, bounds: Bounds) -> LineKey | None:
    """The first other line of the person whose end takes away what excludes this one's plans; None: none does."""
    mine = _brings(finding, observed, bounds)
    for other in every:
        is_theirs = finding.user is not None and other.line.binding.user == finding.user.id
        if other.key != finding.key and is_theirs and bounds.rules.between(mine, _goes(other, observed)):
            return other.key
    return None


def _goes(finding: Finding, observed: Observed) -> frozenset[PlanId]:
    """The plans of what is taken back for the line now, or is on its way out already."""
    state, drift = finding.line.state, finding.drift
    if finding.rest is Rest.ACT and drift is not None:
        going = drift.take_back
    elif finding.rest is Rest.WAIT and state is not None and state.phase is Phase.REVOKING:
        going = returnable(finding.line)
    else:
        going = ()
    direct = {p for g in going if g.sku is not None and g.sku in observed.skus for p in observed.skus[g.sku].plans}
    groups = (_granted(g.group, observed) for g in going if g.kind is GivenKind.MEMBER)
    return frozenset(direct.union(*groups))


def _of_people(findings: Iterable[Finding]) -> Mapping[UserId, tuple[Finding, ...]]:
    lines: dict[UserId, list[Finding]] = {}
    for finding in findings:
        if finding.rest is Rest.ACT and finding.user is not None:
            lines.setdefault(finding.user.id, []).append(finding)
    return {user: tuple(found) for user, found in lines.items() if len(found) > 1}


def _holding_up(
    finding: Finding,
    lines: Mapping[UserId, tuple[Finding, ...]],
    placed: set[LineKey],
    observed: Observed,
    bounds: Bounds,
) -> bool:
    """Whether a line that is not placed yet has to come before this one."""
    if finding.user is None or finding.rest is not Rest.ACT:
        return False
    others = (o for o in lines.get(finding.user.id, ()) if o.key != finding.key and o.key not in placed)
    return any(_follows(finding, other, observed, bounds) for other in others)


def _follows(weaker: Finding, other: Finding, observed: Observed, bounds: Bounds) -> bool:
    one, two = weaker.line.product, other.line.product
    if one is None or two is None or one.key == two.key:
        return False
    mine, theirs = _brings(weaker, observed, bounds), _brings(other, observed, bounds)
    if _needs(weaker, observed, bounds) & theirs and not _needs(other, observed, bounds) & mine:
        return True
    if one.key in two.replaces and two.key not in one.replaces:
        return True
    return is_proven_by(one, theirs) and not is_proven_by(two, mine)


def _brings(finding: Finding, observed: Observed, bounds: Bounds) -> frozenset[PlanId]:
    """The plans that would be on once the line is done, as far as its licence is known."""
    product, drift = finding.line.product, finding.drift
    if product is None:
        return frozenset()
    if drift is not None and drift.kind is DriftKind.PLAN_OFF:
        return drift.disabled_before - drift.disabled_after
    if product.path is Path.GROUP:
        return _of_group(product, observed)
    first = next(iter(allowed(product, observed, bounds)), None)
    return frozenset(observed.skus[first].plans) if first is not None else frozenset()


def _of_group(product: Product, observed: Observed) -> frozenset[PlanId]:
    return _granted(product.group, observed)


def _granted(name: GroupId | None, observed: Observed) -> frozenset[PlanId]:
    group = observed.groups.get(name) if name is not None else None
    if not isinstance(group, ObservedGroup):
        return frozenset()
    grants = [g for g in group.licenses or () if g.sku in observed.skus]
    return frozenset(p for g in grants for p in observed.skus[g.sku].plans if p not in g.disabled_plans)


def _needs(finding: Finding, observed: Observed, bounds: Bounds) -> frozenset[PlanId]:
    """The plans that the line's product builds on and that its own licence does not bring."""
    if finding.line.product is None:
        return frozenset()
    mine = _brings(finding, observed, bounds)
    hard = [n for n in bounds.rules.needs if n.plan in mine and n.enforcement is Enforcement.HARD]
    needed = {*finding.line.product.prerequisite_plans, *(p for n in hard for p in n.any_of)}
    return frozenset(needed) - mine
