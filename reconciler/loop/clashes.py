"""Whether a change of a person's licences is one that Microsoft refuses, as far as rules between plans tell. Pure.

Only what the change itself would newly break counts. Two plans of one SKU never count as excluding each other:
Microsoft sells them together, so the rule is wrong for that SKU.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from desired_state.model import PlanId
from desired_state.plan_rules import Enforcement, Exclusion, Need, Rule
from reconciler.causes import Cause
from reconciler.loop.bounds import Bounds
from reconciler.loop.holding import Holding, Row


@dataclass(frozen=True, slots=True)
class Clash:
    """Why a change is not written: the cause, and a sentence that names the plans and the licences that carry them."""

    cause: Cause
    sentence: str


def clash(before: Holding, after: Holding, bounds: Bounds) -> Clash | None:
    """The first hard rule that the change would newly break; None when no rule stands in the way."""
    for rule in _new(before, after, bounds):
        if rule.enforcement is Enforcement.HARD:
            return Clash(_CAUSES[type(rule)], _sentence(rule, before, after, bounds))
    return None


def warnings(before: Holding, after: Holding, country: str, bounds: Bounds) -> tuple[str, ...]:
    """What sources advise against and nothing refuses: sentences for the plan and the note."""
    advised = [r for r in _new(before, after, bounds) if r.enforcement is Enforcement.ADVISORY]
    places = bounds.rules.out_of_place(after.plans.keys() - before.plans.keys(), country)
    return (
        *(f"{_sentence(rule, before, after, bounds)} Microsoft may not insist on it." for rule in advised),
        *(f"{bounds.service(place.plan)} is not sold for {country}." for place in places),
    )


def lacking(
    needed: Collection[PlanId], mode: str, name: str, after: Holding, on: Collection[PlanId], bounds: Bounds
) -> Clash | None:
    """What a product builds on and the person does not get; `on` are further plans that are known to work."""
    missing = [p for p in needed if p not in on and p not in after.plans]
    if not missing or (mode == "any" and len(missing) < len(needed)):
        return None
    words = (" or " if mode == "any" else " and ").join(bounds.service(p) for p in missing)
    why = _why_missing(missing, after, bounds)
    return Clash(Cause.DEPENDENCY_MISSING, f"{name} builds on {words}, {why}.")


_CAUSES: dict[type[Rule], Cause] = {Exclusion: Cause.PLAN_CONFLICT, Need: Cause.DEPENDENCY_MISSING}


def _new(before: Holding, after: Holding, bounds: Bounds) -> Iterable[Rule]:
    for rule in bounds.rules.newly_broken(before.plans, after.plans):
        if isinstance(rule, Exclusion) and _are_sold_together(rule, after):
            continue
        yield rule


def _are_sold_together(rule: Exclusion, held: Holding) -> bool:
    return bool({row[0] for row in held.plans[rule.a]} & {row[0] for row in held.plans[rule.b]})


def _sentence(rule: Rule, before: Holding, after: Holding, bounds: Bounds) -> str:
    learnt = f" Microsoft Graph said so on {rule.learnt_at:%Y-%m-%d}." if rule.learnt_at is not None else ""
    if isinstance(rule, Exclusion):
        new, old = (rule.b, rule.a) if rule.a in before.plans else (rule.a, rule.b)
        return f"{_carried(new, after, bounds)} and {_carried(old, after, bounds)} exclude each other.{learnt}"
    wanted = " or ".join(bounds.service(p) for p in rule.any_of)
    gone = sorted({row[0] for p in rule.any_of for row in before.plans.get(p, ()) if row not in after.rows})
    why = _why_missing(rule.any_of, after, bounds)
    if gone:
        why = f"which goes away with {' and '.join(bounds.sku(s) for s in gone)}"
    return f"{_carried(rule.plan, after, bounds)} needs {wanted}, {why}.{learnt}"


def _why_missing(plans: Iterable[PlanId], after: Holding, bounds: Bounds) -> str:
    off = [_licence(row, bounds) for plan in plans for row in after.carriers(plan)]
    return f"which is switched off in {' and '.join(dict.fromkeys(off))}" if off else "which the account does not have"


def _carried(plan: PlanId, held: Holding, bounds: Bounds) -> str:
    rows = held.plans.get(plan, ())
    name = bounds.service(plan)
    licences = " and ".join(dict.fromkeys(_licence(row, bounds) for row in rows))
    return name if not licences or licences == name else f"{name} (in {licences})"


def _licence(row: Row, bounds: Bounds) -> str:
    sku, group = row
    return bounds.sku(sku) if group is None else f"{bounds.sku(sku)} by a group"
