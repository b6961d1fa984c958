"""What rules look at and what they say: the facts of one line, and the account that one rule gives of them. Pure.

None is "not known" and never satisfies a condition; what is known to be empty is "" or an empty set. Facts have one
JSON form, so that a decision can be kept and judged again from the store.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

from desired_state.model import ProductKey, Says

Outcome = Literal["hit", "missed", "not_applicable", "cannot_tell"]
Effect = Literal["deny", "hold", "require_stage", "auto_approve", "trust_opener"]
Change = Literal["none", "enable_plan", "assign", "join_group"]
Assurance = Literal["low", "medium", "strong"]
StageName = Literal["manager", "cost_center_owner", "license_admin", "telecom", "security_officer", "service_desk"]


@dataclass(frozen=True, slots=True)
class Spent:
    """What a rule has approved by itself within the last 24 hours: how many lines, and what they cost a month."""

    count: int = 0
    cost: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class RuleFacts:
    """What rules may look at, for one line.

    `price` is what granting the line would cost more each month: 0 when nothing has to be bought. `change` is the
    largest change that the plan would make for the line. `names` is everything the person's account is known by,
    lower case: sign-in name and object id. `groups` says of each group that a rule names, folded, whether the person
    is in it; one that is not there is not known. `holds` are the other products that the person has or is being
    given. `spent` is what rules approved by themselves lately, by rule; a rule that is not there approved nothing.
    """

    product: ProductKey
    product_name: str = ""
    price: Decimal | None = None
    department: str | None = None
    cost_center: str | None = None
    employee_type: str | None = None
    country: str | None = None
    title: str | None = None
    has_end: bool = False
    period_days: int | None = None
    says: Says = Says.APPROVED
    change: Change | None = None
    names: frozenset[str] | None = None
    groups: Mapping[str, bool | None] = field(default_factory=dict)
    holds: frozenset[ProductKey] | None = None
    opener: str | None = None  # user name of who ordered
    spent: Mapping[str, Spent] | None = None

    @property
    def name(self) -> str:
        """The product as people call it."""
        return self.product_name or self.product


@dataclass(frozen=True, slots=True)
class StageNeed:
    """One approval that a rule asks for.

    `quorum` people of the stage have to agree. `ticket_approval_suffices`: what was approved in the ticket counts for
    this stage, as far as it covers. `assurance` is how sure it has to be who gave an answer, at least.
    """

    stage: StageName
    quorum: int = 1
    ticket_approval_suffices: bool = False
    assurance: Assurance = "low"
    needs_comment: bool = False


@dataclass(frozen=True, slots=True)
class RuleHit:
    """What one rule says about one line. `inputs` are the facts that it looked at, as plain JSON values.

    `effect` is the rule's own and counts when the outcome is "hit"; with "cannot_tell" a person has to be asked.
    """

    rule: str
    outcome: Outcome
    effect: Effect
    sentence: str
    inputs: Mapping[str, str | int | bool | None] = field(default_factory=dict)
    stages: tuple[StageNeed, ...] = ()  # for require_stage, in order


def facts_as_json(facts: RuleFacts) -> dict[str, Any]:
    """The facts as JSON values; `facts_from_json` gives the same facts back."""
    told: dict[str, Any] = {f.name: getattr(facts, f.name) for f in fields(facts)}
    spent = facts.spent
    return told | {
        "price": plain_price(facts.price),
        "says": facts.says.value,
        "names": None if facts.names is None else sorted(facts.names),
        "groups": dict(sorted(facts.groups.items())),
        "holds": None if facts.holds is None else sorted(facts.holds),
        "spent": None if spent is None else {k: [v.count, plain_price(v.cost)] for k, v in sorted(spent.items())},
    }


def facts_from_json(told: Mapping[str, Any]) -> RuleFacts:
    """Facts as they were kept.

    Raises:
        KeyError, ValueError: `facts_as_json` never made it: a sign may stand for a value that was erased since.
    """
    names, holds, spent = told["names"], told["holds"], told["spent"]
    known = {f.name: told[f.name] for f in fields(RuleFacts)}
    return RuleFacts(
        **known
        | {
            "price": None if told["price"] is None else _amount(told["price"]),
            "says": Says(told["says"]),
            "names": None if names is None else frozenset(names),
            "holds": None if holds is None else frozenset(map(ProductKey, holds)),
            "spent": None if spent is None else {k: Spent(n, _amount(cost)) for k, (n, cost) in spent.items()},
        }
    )


def _amount(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text!r} is no amount") from None


# --- conditions ----------------------------------------------------------------------------------------------------


def fits(name: str, allowed: Iterable[str], facts: RuleFacts) -> bool | None:
    """Whether the person's value is among those that are allowed, None where it is not known.

    `name` is a field of the facts; a title may be given with * and ?, and of groups one is enough.
    """
    if name == "groups":
        inside = [facts.groups.get(folded(group)) for group in allowed]
        return True if True in inside else None if None in inside else False
    value = getattr(facts, name)
    if unknown(value):
        return None
    if name == "title":
        return any(fnmatch.fnmatchcase(folded(value), folded(pattern)) for pattern in allowed)
    return folded(value) in {folded(word) for word in allowed}


def looked_at(name: str, allowed: Iterable[str], facts: RuleFacts) -> dict[str, str | int | bool | None]:
    """The inputs of one condition."""
    if name == "groups":
        return {f"group {group}": facts.groups.get(folded(group)) for group in allowed}
    return {name: getattr(facts, name)}


def unknown(value: str | None) -> bool:
    """A field that was not shown or is blank tells nothing about the person."""
    return value is None or not value.strip()


def folded(text: str | None) -> str:
    return " ".join((text or "").split()).casefold()


def plain_price(price: Decimal | None) -> str | None:
    return None if price is None else format(price, "f")


def label(name: str) -> str:
    return name.replace("_", " ")


def any_of(words: Iterable[str] | None) -> str:
    names = [f"'{word}'" for word in words or ()]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def not_known(names: Iterable[str], rule: str) -> str:
    every = [label(name) for name in names]
    what, be = " and ".join(every), "is" if len(every) == 1 else "are"
    return f"The {what} {be} not known, so rule '{rule}' cannot be checked; a person has to decide."
