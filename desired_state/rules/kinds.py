"""Kinds of rules that say no or ask for more: eligibility, roles, what excludes what, ends, deny lists. Pure."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from desired_state.rules.facts import RuleFacts, RuleHit, any_of, fits, folded, label, looked_at, not_known, unknown


def _slug(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", name):
        raise ValueError("an id is written with lower-case letters, digits and -")
    return name


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text


Word = Annotated[str, AfterValidator(_not_blank)]
Words = Annotated[tuple[Word, ...], Field(min_length=1)]
Inputs = dict[str, str | int | bool | None]

# a key of a rule -> the fact that it is about
CONDITIONS = {
    "departments": "department",
    "cost_centers": "cost_center",
    "employee_types": "employee_type",
    "countries": "country",
    "titles": "title",
    "groups": "groups",
}


class RuleBase(BaseModel):
    """What every kind has. A kind says for itself what it looks at."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, AfterValidator(_slug)]
    tenants: tuple[str, ...] = ()  # () means all of them
    products: tuple[str, ...] = ()  # () means all of them

    def concerns(self, facts: RuleFacts) -> bool:
        return not self.products or facts.product in self.products

    def product_keys(self) -> tuple[str, ...]:
        return self.products

    def group_names(self) -> tuple[str, ...]:
        """The directory's groups that it looks at, by name or object id."""
        return tuple(getattr(self, "groups", None) or ())

    def conditions(self) -> dict[str, tuple[str, ...]]:
        """What it limits about the person: the fact, and the values that are allowed."""
        found = {fact: getattr(self, key, None) for key, fact in CONDITIONS.items()}
        return {fact: allowed for fact, allowed in found.items() if allowed is not None}

    def evaluate(self, facts: RuleFacts) -> RuleHit:
        raise NotImplementedError


class Eligibility(RuleBase):
    """Who may have the products at all: every list that is given has to hold the person's own value."""

    kind: Literal["eligibility"]
    departments: Words | None = None
    cost_centers: Words | None = None
    employee_types: Words | None = None
    countries: Words | None = None
    groups: Words | None = None  # of the directory, by name or object id; being in one of them is enough

    @model_validator(mode="after")
    def _limits_something(self) -> Eligibility:
        if not self.conditions():
            raise ValueError("needs at least one of departments, cost_centers, employee_types, countries, groups")
        return self

    def evaluate(self, facts: RuleFacts) -> RuleHit:
        asked, inputs = self.conditions(), Inputs()
        for name, allowed in asked.items():
            inputs |= looked_at(name, allowed, facts)
        if not self.concerns(facts):
            return RuleHit(self.id, "not_applicable", "deny", f"It is not about {facts.name}.")
        said = {name: fits(name, allowed, facts) for name, allowed in asked.items()}
        for name, inside in said.items():  # a value that is out outranks one that is not known
            if inside is False:
                return RuleHit(self.id, "hit", "deny", self._sentence(name, asked[name], facts), inputs)
        unclear = [name for name, inside in said.items() if inside is None]
        if unclear:
            return RuleHit(self.id, "cannot_tell", "deny", not_known(unclear, self.id), inputs)
        return RuleHit(self.id, "missed", "deny", "The person is among those who may have it.", inputs)

    def _sentence(self, name: str, allowed: tuple[str, ...], facts: RuleFacts) -> str:
        if name == "groups":
            return f"{facts.name} is for members of {any_of(allowed)}, and this person is in none of them."
        return f"{facts.name} is for {label(name)} {any_of(allowed)}; this person's is '{getattr(facts, name)}'."


class RoleProduct(RuleBase):
    """What people of a role get: `product`, and none of `instead_of`. Titles may hold * and ?."""

    kind: Literal["role_product"]
    titles: Words
    product: str
    instead_of: Words
    products: Annotated[tuple[str, ...], Field(max_length=0)] = ()

    def concerns(self, facts: RuleFacts) -> bool:
        return facts.product in self.instead_of

    def product_keys(self) -> tuple[str, ...]:
        return (self.product, *self.instead_of)

    def evaluate(self, facts: RuleFacts) -> RuleHit:
        inputs: Inputs = {"title": facts.title}
        if not self.concerns(facts):
            return RuleHit(self.id, "not_applicable", "deny", f"It is not about {facts.name}.")
        match fits("title", self.titles, facts):
            case None:
                return RuleHit(self.id, "cannot_tell", "deny", not_known(["title"], self.id), inputs)
            case True:
                sentence = f"People with the title '{facts.title}' get {self.product}, not {facts.name}."
                return RuleHit(self.id, "hit", "deny", sentence, inputs)
        return RuleHit(self.id, "missed", "deny", "The person has another role.", inputs)


class Conflict(RuleBase):
    """Products that one person may not hold together; the person is told `sentence`, or which ones they are.

    What the product that is asked for replaces anyway is none: it goes when that comes.
    """

    kind: Literal["conflict"]
    products: Annotated[tuple[str, ...], Field(min_length=2)]
    sentence: str = ""

    def evaluate(self, facts: RuleFacts) -> RuleHit:
        if not self.concerns(facts):
            return RuleHit(self.id, "not_applicable", "deny", f"It is not about {facts.name}.")
        if facts.holds is None:
            what = not_known(["products that the person has"], self.id).replace(" is not", " are not", 1)
            return RuleHit(self.id, "cannot_tell", "deny", what, {"holds": None})
        held = [key for key in sorted(set(self.products) & facts.holds) if key != facts.product]
        inputs: Inputs = {"holds": ", ".join(held)}
        if not held:
            return RuleHit(self.id, "missed", "deny", "The person has none of the others.", inputs)
        sentence = self.sentence or f"{facts.name} may not be held together with {' and '.join(held)}."
        return RuleHit(self.id, "hit", "deny", sentence, inputs)


class EndDateRequired(RuleBase):
    """A period has to end: for these kinds of employee, these products, or both; after `max_days` at the latest."""

    kind: Literal["end_date_required"]
    employee_types: Words | None = None
    max_days: Annotated[int, Field(ge=1, le=3650)] | None = None

    @model_validator(mode="after")
    def _limits_something(self) -> EndDateRequired:
        if not self.employee_types and not self.products:
            raise ValueError("needs employee_types or products: it would hold every request")
        return self

    def evaluate(self, facts: RuleFacts) -> RuleHit:
        inputs: Inputs = {
            "employee_type": facts.employee_type,
            "has_end": facts.has_end,
            "period_days": facts.period_days,
            "max_days": self.max_days,
        }
        if not self.concerns(facts):
            return RuleHit(self.id, "not_applicable", "hold", f"It is not about {facts.name}.")
        is_fine = facts.has_end and (
            self.max_days is None or (facts.period_days is not None and facts.period_days <= self.max_days)
        )
        if is_fine:
            return RuleHit(self.id, "missed", "hold", "The period ends in time.", inputs)
        if self.employee_types is not None:
            match fits("employee_type", self.employee_types, facts):
                case None:
                    return RuleHit(self.id, "cannot_tell", "hold", not_known(["employee_type"], self.id), inputs)
                case False:
                    return RuleHit(self.id, "not_applicable", "hold", "It is not about this kind of employee.", inputs)
        if facts.has_end and facts.period_days is None:
            return RuleHit(self.id, "cannot_tell", "hold", not_known(["length of the period"], self.id), inputs)
        return RuleHit(self.id, "hit", "hold", self._sentence(facts), inputs)

    def _sentence(self, facts: RuleFacts) -> str:
        who = f" for {any_of(self.employee_types)}" if self.employee_types else ""
        limit = f" of at most {self.max_days} days" if self.max_days else ""
        if facts.has_end:
            return f"{facts.name}{who} is limited to {self.max_days} days; {facts.period_days} were asked for."
        return f"{facts.name}{who} needs an end date{limit}. Please answer with the date it should end."


class Deny(RuleBase):
    """Who or what gets nothing: one match is enough. Products alone: nobody gets them."""

    kind: Literal["deny"]
    users: Words | None = None  # sign-in names or object ids
    domains: Words | None = None  # of sign-in names
    departments: Words | None = None
    groups: Words | None = None  # of the directory, by name or object id
    sentence: str = ""

    @model_validator(mode="after")
    def _names_something(self) -> Deny:
        if not (self.products or self.users or self.domains or self.departments or self.groups):
            raise ValueError("needs at least one of users, domains, departments, groups, products")
        return self

    def evaluate(self, facts: RuleFacts) -> RuleHit:
        if not self.concerns(facts):
            return RuleHit(self.id, "not_applicable", "deny", f"It is not about {facts.name}.")
        asked = {k: v for k in ("users", "domains", "departments", "groups") if (v := getattr(self, k)) is not None}
        inputs = Inputs()
        for key, listed in asked.items():
            is_name = key in ("users", "domains")
            inputs |= _names(facts) if is_name else looked_at(CONDITIONS[key], listed, facts)
        said = {key: self._matches(key, listed, facts) for key, listed in asked.items()}
        if not asked or True in said.values():
            what = next((key for key, matches in said.items() if matches), "products")
            sentence = self.sentence or f"{facts.name} is not given here: rule '{self.id}' denies it ({what})."
            return RuleHit(self.id, "hit", "deny", sentence, inputs)
        unclear = [key for key, matches in said.items() if matches is None]
        if unclear:
            names = {"users": "sign-in name", "domains": "sign-in name"}
            every = list(dict.fromkeys(names.get(key, CONDITIONS.get(key, key)) for key in unclear))
            return RuleHit(self.id, "cannot_tell", "deny", not_known(every, self.id), inputs)
        return RuleHit(self.id, "missed", "deny", "The person is on none of its lists.", inputs)

    def _matches(self, key: str, listed: tuple[str, ...], facts: RuleFacts) -> bool | None:
        if key not in ("users", "domains"):
            return fits(CONDITIONS[key], listed, facts)
        wanted = {folded(word).lstrip("@") if key == "domains" else folded(word) for word in listed}
        names = {folded(name) for name in facts.names or () if not unknown(name)}
        if key == "domains":
            names = {name.rpartition("@")[2] for name in names if "@" in name}
        return bool(wanted & names) if names else None


def _names(facts: RuleFacts) -> Inputs:
    return {"names": None if facts.names is None else ", ".join(sorted(facts.names))}
