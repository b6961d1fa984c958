"""Which condition of a rule failed, and with which value it would pass. Pure.

Nothing is claimed that was not tried: each way out is put into the facts of the decision and judged by the rule again,
and only what it then lets through is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from desired_state.model import ProductKey
from desired_state.rules import (
    AutoApprove,
    Conflict,
    Deny,
    Eligibility,
    EndDateRequired,
    RoleProduct,
    Rule,
    RuleFacts,
    RuleHit,
    Rules,
    StageRequired,
    group_key,
)
from desired_state.rules.facts import any_of, fits, label, plain_price

_FREE = ("missed", "not_applicable")


@dataclass(frozen=True, slots=True)
class Need:
    """One value that would have to be another: what it is (None: not known), and what would pass."""

    fact: str
    now: str | None
    passes: tuple[str, ...]
    sentence: str


@dataclass(frozen=True, slots=True)
class Passing:
    """What a rule wants. `needs` together satisfy it; () where no value of the request can, as `sentence` says."""

    rule: str
    outcome: str
    needs: tuple[Need, ...]
    sentence: str

    def as_json(self) -> dict[str, Any]:
        needs = [{"fact": n.fact, "is": n.now, "passes": list(n.passes), "sentence": n.sentence} for n in self.needs]
        return {"rule": self.rule, "outcome": self.outcome, "needs": needs, "sentence": self.sentence}


def passing(rules: Rules, hit: RuleHit, facts: RuleFacts, names: Mapping[str, str]) -> Passing | None:
    """What would make this rule stand aside (or, where it approves, approve); None where it does already.

    `names` are the names of products by key.
    """
    rule = next((r for r in rules.rules if r.id == hit.rule), None)
    if rule is None or not _is_in_the_way(hit):
        return None
    tried = _tried(rule, facts, names)
    if tried is None:
        return Passing(hit.rule, hit.outcome, (), _only_the_rule(rule))
    needs, changed = tried
    outcome = rule.evaluate(changed).outcome
    is_through = outcome == "hit" if isinstance(rule, AutoApprove) else outcome in _FREE
    if not needs or not is_through:
        return Passing(hit.rule, hit.outcome, (), _only_the_rule(rule))
    return Passing(hit.rule, hit.outcome, needs, " ".join(n.sentence for n in needs))


def _is_in_the_way(hit: RuleHit) -> bool:
    if hit.effect == "auto_approve":
        return hit.outcome in ("missed", "cannot_tell")
    return hit.effect in ("deny", "hold", "require_stage") and hit.outcome in ("hit", "cannot_tell")


def _only_the_rule(rule: Rule) -> str:
    if isinstance(rule, StageRequired):
        return "Whoever the rule names has to approve it."
    return f"Nothing about the request would help; only a change of rule '{rule.id}' would."


def _tried(rule: Rule, facts: RuleFacts, names: Mapping[str, str]) -> tuple[tuple[Need, ...], RuleFacts] | None:
    match rule:
        case Eligibility():
            return _fitted(rule.conditions(), facts)
        case AutoApprove():
            return _cheap(rule, facts)
        case EndDateRequired():
            return _ended(rule, facts)
        case RoleProduct():
            named = names.get(rule.product, rule.product)
            need = Need("product", facts.product, (rule.product,), f"{named} would have to be asked for.")
            return (need,), replace(facts, product=ProductKey(rule.product))
        case Conflict():
            return _without(rule, facts, names)
        case Deny():
            return _elsewhere(rule, facts)
        case StageRequired() if rule.price_above is not None:
            limit = plain_price(rule.price_above) or ""
            need = Need("price", plain_price(facts.price), (f"<= {limit}",), f"Up to {limit} a month nobody is asked.")
            return (need,), replace(facts, price=rule.price_above)
        case _:
            return None


def _fitted(conditions: Mapping[str, tuple[str, ...]], facts: RuleFacts) -> tuple[tuple[Need, ...], RuleFacts]:
    """Every listed condition with a value that fits it."""
    needs, changed = [], facts
    for fact, allowed in conditions.items():
        if fits(fact, allowed, facts) is True:
            continue
        if fact == "groups":
            changed = replace(changed, groups={**changed.groups, group_key(allowed[0]): True})
            needs.append(Need("group", None, allowed, f"The person would have to be in the group {any_of(allowed)}."))
            continue
        value = getattr(facts, fact)
        other: dict[str, Any] = {fact: allowed[0].replace("*", "x").replace("?", "x")}
        changed = replace(changed, **other)
        is_now = f"is '{value}' and" if value else "is not known and"
        needs.append(Need(fact, value, allowed, f"The {label(fact)} {is_now} would have to be {any_of(allowed)}."))
    return tuple(needs), changed


def _cheap(rule: AutoApprove, facts: RuleFacts) -> tuple[tuple[Need, ...], RuleFacts]:
    needs, changed = _fitted(rule.conditions(), facts)
    if rule.changes is not None and facts.change not in rule.changes:
        need = Need("change", facts.change, tuple(rule.changes), f"The change would have to be {_words(rule.changes)}.")
        needs, changed = (*needs, need), replace(changed, change=rule.changes[0])
    if facts.price is None or facts.price > rule.price_max:
        limit = plain_price(rule.price_max) or ""
        sentence = f"It would have to cost at most {limit} more a month."
        needs = (*needs, Need("price", plain_price(facts.price), (f"<= {limit}",), sentence))
        changed = replace(changed, price=rule.price_max)
    return needs, changed


def _words(values: Iterable[str]) -> str:
    return any_of([value.replace("_", " ") for value in values])


def _ended(rule: EndDateRequired, facts: RuleFacts) -> tuple[tuple[Need, ...], RuleFacts]:
    limit = rule.max_days
    within = f" within {limit} days" if limit is not None else ""
    passes = (f"<= {limit} days",) if limit is not None else ("any",)
    now = f"{facts.period_days} days" if facts.period_days is not None else ("an end" if facts.has_end else "no end")
    need = Need("end", now, passes, f"It would need an end date{within}.")
    days = min(facts.period_days or limit or 30, limit or 3650)
    return (need,), replace(facts, has_end=True, period_days=days)


def _without(rule: Conflict, facts: RuleFacts, names: Mapping[str, str]) -> tuple[tuple[Need, ...], RuleFacts] | None:
    if facts.holds is None:
        return None
    held = sorted((set(rule.products) & facts.holds) - {facts.product})
    named = [names.get(key, key) for key in held]
    need = Need("holds", ", ".join(held), ("none of them",), f"The person would have to give up {any_of(named)}.")
    return (need,), replace(facts, holds=facts.holds - set(held))


def _elsewhere(rule: Deny, facts: RuleFacts) -> tuple[tuple[Need, ...], RuleFacts] | None:
    """Out of a department or a group that gets nothing; a name on a list stays who they are."""
    needs, changed = [], facts
    if rule.departments is not None and fits("department", rule.departments, facts) is not False:
        sentence = f"The person would have to be in another department than {any_of(rule.departments)}."
        needs.append(Need("department", facts.department, (f"not {any_of(rule.departments)}",), sentence))
        changed = replace(changed, department="another")
    if rule.groups is not None and fits("groups", rule.groups, facts) is not False:
        sentence = f"The person would have to leave the group {any_of(rule.groups)}."
        needs.append(Need("group", None, (f"not {any_of(rule.groups)}",), sentence))
        changed = replace(changed, groups={**changed.groups, **{group_key(g): False for g in rule.groups}})
    return (tuple(needs), changed) if needs else None
