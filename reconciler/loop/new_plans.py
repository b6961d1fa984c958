"""Service plans that Microsoft put into a licence after we had given it, where the product wants such plans off. Pure.

They come switched on. What is switched off is only what came later by looks of ours, in a direct licence that we gave,
and what nothing that the person asked for needs. The access stands meanwhile: whatever keeps such a change from being
sent, the line is granted as it was, and its ticket is told nothing. What was seen off once and is on again was
switched on by somebody else, and is left, unless the product reverts what others change.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from desired_state.model import Given, GivenKind, PlanId, Product, SkuId
from reconciler.lifecycle import Phase
from reconciler.line import Decision, Drift, DriftKind, Finding, Gated, Line, Observed, Proposal, Rest
from reconciler.loop.bounds import Bounds
from reconciler.loop.clashes import clash, warnings
from reconciler.loop.holding import Holding, holding
from reconciler.loop.licences import licence
from reconciler.model import Action, ActionKind, Grant, ObservedUser, PlanState, SkuDetail, Undo

_STANDING = (Phase.GRANTED, Phase.EXPIRING)


def is_about(finding: Finding) -> bool:
    """Whether the access is as it should be, and all that differs is that new plans are on."""
    return finding.drift is not None and finding.drift.kind is DriftKind.NEW_PLANS


# --- what differs --------------------------------------------------------------------------------------------------


def arrived(usual: Finding, details: Iterable[SkuDetail], at: datetime) -> Finding:
    """The finding about a proven line, with the new plans of its licence that are to be switched off."""
    line, product, user = usual.line, usual.line.product, usual.user
    if not line.came_later or usual.rest is not Rest.PROVEN or product is None or user is None or line.hold:
        return usual
    state = line.state
    if state is None or state.phase not in _STANDING or (state.next_at is not None and state.next_at > at):
        return usual
    for detail in details:
        later = dict(line.came_later).get(detail.sku, frozenset())
        rows = [a for a in user.assignments or () if a.sku == detail.sku and a.is_in_force]
        direct = next((a.disabled_plans for a in rows if a.group is None), None)
        if direct is None:
            continue
        shown = {plan for plan, told in detail.plans.items() if told is not PlanState.DISABLED}
        inherited = [a.disabled_plans for a in rows if a.group is not None]
        elsewhere = {p for off in inherited for p in later - off}  # on by a group, whatever the direct licence says
        new = (later & shown) - direct - elsewhere - _needed(line, product) - _left_on(line, product, detail.sku)
        if new:
            drift = Drift(
                DriftKind.NEW_PLANS,
                needs_location=False,
                sku=detail.sku,
                disabled_before=direct,
                disabled_after=direct | new,
            )
            return replace(usual, drift=drift, sentence=_sentence(detail, new))
    return usual


def _sentence(detail: SkuDetail, new: frozenset[PlanId]) -> str:
    names = " and ".join(sorted(detail.plan_names.get(plan, plan) for plan in new))
    return f"Microsoft added {names} to {detail.part_number} after it was assigned; new plans are off for this product."


def _needed(line: Line, product: Product) -> frozenset[PlanId]:
    """What proves a product that the person asked for, or what one builds on."""
    wanted = (product, *(other.product for other in line.others))
    return frozenset(plan for p in wanted for plan in (*p.proof_plans, *p.prerequisite_plans))


def _left_on(line: Line, product: Product, sku: SkuId) -> frozenset[PlanId]:
    """What we had switched off and somebody else switched on again; nothing where that is reverted for everybody."""
    if product.on_drift == "revert" and all(answer == "revert" for _, answer in product.on_drift_by):
        return frozenset()  # the guards see to it that two reversals are the end
    return frozenset(p for g in _withheld(line) if g.sku == sku and g.is_seen for p in g.plans)


def _withheld(line: Line) -> Iterable[Given]:
    given = (*line.given, *(line.state.given if line.state is not None else ()))
    return (g for g in given if g.kind is GivenKind.WITHHELD)


def has_come_true(given: Given, user: ObservedUser | None) -> bool:
    """Whether the plans that we switched off are off in the direct licence now."""
    rows = (a for a in (user.assignments if user is not None else None) or () if a.sku == given.sku and a.group is None)
    return any(set(given.plans) <= row.disabled_plans for row in rows)


# --- what is done about it ------------------------------------------------------------------------------------------


def switch_off(finding: Finding, observed: Observed, bounds: Bounds) -> Proposal:
    """The call that switches the new plans off and leaves the others as they are; none where all of them are needed.

    A plan that another one of the person needs stays on, also where Microsoft only advises that.
    """
    user, product, drift = finding.user, finding.line.product, finding.drift
    assert user is not None and product is not None and drift is not None and drift.sku is not None
    held, off = holding(user, observed), drift.disabled_before
    chosen = _harmless(drift.sku, off, drift.disabled_after - off, held, bounds)
    if not chosen:
        return Proposal(finding)
    grant = Grant(drift.sku, off | chosen)
    action = Action(
        ActionKind.ASSIGN_LICENSE,
        user.id,
        product.key,
        (finding.key,),
        before={"licence": licence(drift.sku, off, bounds)},
        after={"licence": licence(drift.sku, grant.disabled_plans, bounds)},
        undo=Undo.REVERSIBLE,
        inverse={"add": [{"sku_id": drift.sku, "disabled_plans": sorted(off)}], "remove": []},
        add=(grant,),
        given=(Given(GivenKind.WITHHELD, observed.at, sku=drift.sku, plans=tuple(sorted(chosen)), is_seen=False),),
    )
    return Proposal(finding, (action,))


def _harmless(
    sku: SkuId, off: frozenset[PlanId], new: frozenset[PlanId], held: Holding, bounds: Bounds
) -> frozenset[PlanId]:
    """Those of the new plans without which no rule between plans is newly broken; together where that does."""

    def breaks(some: frozenset[PlanId]) -> bool:
        after = held.changed(add=(Grant(sku, off | some),))
        return clash(held, after, bounds) is not None or bool(warnings(held, after, "", bounds))

    if not breaks(new):
        return new
    chosen: frozenset[PlanId] = frozenset()
    for plan in sorted(new):
        if not breaks(chosen | {plan}):
            chosen |= {plan}
    return chosen


# --- what keeps it back ---------------------------------------------------------------------------------------------


def left(gated: Gated) -> Gated:
    """A change of this kind that may not be sent now is none: the line stands as it does, and `sentence` says why."""
    if not is_about(gated.proposal.finding) or gated.decision not in (Decision.PLANNED, Decision.STOPPED):
        return gated
    return replace(gated, proposal=replace(gated.proposal, actions=()), decision=Decision.CLEARED, cause=None)


def told(gated: Iterable[Gated]) -> str:
    """One sentence on everybody whose new plans are still on because a gate keeps that back; "" for nobody."""
    waiting = Counter(
        g.sentence for g in gated if is_about(g.proposal.finding) and g.sentence and not g.proposal.actions
    )
    if not waiting:
        return ""
    every = " ".join(f"{_licences(count)}: {sentence}" for sentence, count in sorted(waiting.items()))
    return f"New plans from Microsoft, to be switched off in licences that we assigned before, are still on. {every}"


def _licences(count: int) -> str:
    return f"{count} licence" if count == 1 else f"{count} licences"
