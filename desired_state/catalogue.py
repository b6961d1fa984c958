"""What can be asked for, and what an answer on a form means: item and variables -> product. Pure after loading.

Built-in products come from products.toml beside this file; a site overlays them. Ids decide, names are for people.
An answer is either one product or a sentence that names the choices: nothing here guesses (invariant I18's spirit).
"""

from __future__ import annotations

import csv
import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache
from importlib import resources
from typing import Any

from desired_state.items import Item
from desired_state.model import GroupId, Path, PlanId, Product, ProductKey, SkuId, Tier, Why
from desired_state.overlays import ProductOverlay
from desired_state.text import one_line

_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_WORD = re.compile(r"[^\s,;:.!?]+")
_YES, _NO = frozenset({"true", "yes", "1", "on"}), frozenset({"false", "no", "0", "off"})
_CHOICES_MAX = 6


class UnknownName(ValueError):
    """A product or SKU that the catalogue does not have; `closest` is the nearest word, "" when none is near."""

    def __init__(self, where: str, what: str, word: str, *, closest: str = "", hint: str = "") -> None:
        near = f"; did you mean '{closest}'?" if closest else ""
        super().__init__(f"{where}: there is no {what} '{word}'{hint}{near}")
        self.where, self.word, self.closest = where, word, closest


@dataclass(frozen=True, slots=True)
class Unclear:
    """An answer that is not one product; `sentence` is for the requester and names the choices."""

    why: Why  # PRODUCT_AMBIGUOUS or PRODUCT_UNMAPPED
    sentence: str


@dataclass(frozen=True)
class Catalogue:
    """Products by key, and names of SKUs and plans: id -> (part number or plan name, display name)."""

    products: Mapping[ProductKey, Product]
    skus: Mapping[SkuId, tuple[str, str]]
    plans: Mapping[PlanId, tuple[str, str]]
    retired_on: Mapping[SkuId | PlanId, date] = field(default_factory=dict)
    _names: Mapping[str, ProductKey] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names: dict[str, ProductKey] = {}
        for product in self.products.values():
            for name in _names_of(product):
                taken = names.setdefault(_folded(name), product.key)
                if taken != product.key:
                    raise ValueError(f"the name '{name}' belongs to two products, {taken} and {product.key}")
        object.__setattr__(self, "_names", names)

    def product(self, key: str) -> Product | None:
        return self.products.get(ProductKey(key))

    def product_name(self, key: str) -> str:
        product = self.product(key)
        return product.name if product else key

    def named(self, text: str) -> ProductKey | None:
        """The product with this key, name or alias; letter case and spacing do not matter."""
        return self._names.get(_folded(text))

    def sku_name(self, sku: str) -> str:
        """Display name for people; the id itself when the table does not have it (never hide an unknown SKU)."""
        return self.skus[SkuId(sku)][1] if sku in self.skus else sku

    def sku_part_number(self, sku: str) -> str:
        return self.skus[SkuId(sku)][0] if sku in self.skus else sku

    def plan_name(self, plan: str) -> str:
        """Display name for people; the id itself when the table does not have it."""
        return self.plans[PlanId(plan)][1] if plan in self.plans else plan

    def closest(self, key: str) -> str:
        """The product key nearest to a mistyped one, "" when none is near."""
        return next(iter(difflib.get_close_matches(key, [str(k) for k in self.products], n=1, cutoff=0.6)), "")

    def with_names(self, skus: Mapping[SkuId, tuple[str, str]], plans: Mapping[PlanId, tuple[str, str]]) -> Catalogue:
        """The catalogue with imported display names. Ids, part numbers and plan names that it knows stay."""
        return replace(
            self,
            skus={**skus, **{i: (part, skus.get(i, ("", name))[1]) for i, (part, name) in self.skus.items()}},
            plans={**plans, **{i: (plan, plans.get(i, ("", name))[1]) for i, (plan, name) in self.plans.items()}},
        )

    def as_of(self, day: date) -> Catalogue:
        """The catalogue whose products know what is retired by that day."""
        gone = tuple(sorted(thing for thing, since in self.retired_on.items() if since <= day))
        products = {key: replace(product, retired=gone) for key, product in self.products.items()}
        return replace(self, products=products)

    def overlay(self, settings: Mapping[str, ProductOverlay]) -> Catalogue:
        """The catalogue with a site's changes.

        Raises:
            UnknownName: a key, a SKU, `like` or `replaces` that names nothing.
            ValueError: two products would share a name, or a group path has no group.
        """
        skus = dict(self.skus)
        for key, over in settings.items():
            for sku, part_number in over.sku_names.items():
                if not _GUID.fullmatch(sku.lower()):
                    raise ValueError(f"products.{key}.sku_names: '{sku}' is no id of a SKU")
                skus[SkuId(sku.lower())] = (part_number, part_number)
        products = dict(self.products)
        for key, over in settings.items():
            base = self._base(key, over)
            products[ProductKey(key)] = _changed(base, over, skus, self.plans)
        for key, over in settings.items():
            for other in over.replaces:
                if ProductKey(other) not in products:
                    raise UnknownName(f"products.{key}.replaces", "product", other, closest=self.closest(other))
            products[ProductKey(key)] = _replacing(products[ProductKey(key)], products)
        for key in settings:
            self._check_names(products, ProductKey(key))
        ended = {_thing(k, word, skus, self.plans): day for k, o in settings.items() for word, day in o.retired.items()}
        return Catalogue(products, skus, self.plans, {**self.retired_on, **ended})

    def _check_names(self, products: Mapping[ProductKey, Product], key: ProductKey) -> None:
        """A changed product may not take a name that another one has: an answer would mean either."""
        mine = {_folded(name): name for name in _names_of(products[key])}
        for other in products.values():
            for name in _names_of(other) if other.key != key else ():
                if _folded(name) in mine:
                    taken = mine[_folded(name)]
                    raise ValueError(f"products.{key}: the name '{taken}' belongs to the product {other.key} already")

    def _base(self, key: str, over: ProductOverlay) -> Product:
        if over.like is not None:
            like = self.product(over.like)
            if like is None:
                raise UnknownName(f"products.{key}.like", "product", over.like, closest=self.closest(over.like))
            return replace(like, key=ProductKey(key), name=over.name or key, aliases=())
        base = self.product(key)
        if base is None:
            hint = ' (a new one starts from an old one, with like = "KEY")'
            raise UnknownName(f"products.{key}", "product", key, closest=self.closest(key), hint=hint)
        return base

    def item_product(self, item: Item, variables: Mapping[str, str]) -> ProductKey | Unclear:
        """Which product an item's form asks for. `variables` are those of one line, names as the form spells them."""
        if item.product:
            return ProductKey(item.product)
        name = (item.rows.product if item.rows else None) or item.variables.product or ""
        answer = variables.get(name)
        if answer is None:
            return Unclear(
                Why.PRODUCT_UNMAPPED, f"The form's answer '{name}' could not be read, so the product is not known."
            )
        if not answer.strip():
            return Unclear(
                Why.PRODUCT_AMBIGUOUS,
                f"The form's answer '{name}' is empty. Please say which product is needed{self._choices(item)}.",
            )
        return self._meaning(item, name, answer)

    def _meaning(self, item: Item, name: str, answer: str) -> ProductKey | Unclear:
        shown = one_line(answer, 80)
        mapped = _mapped(item.products, answer)
        if isinstance(mapped, str):
            return ProductKey(mapped)
        if mapped:
            names = _either([self.product_name(key) for key in mapped])
            return Unclear(
                Why.PRODUCT_AMBIGUOUS, f"'{shown}' in '{name}' can mean {names}. Please say which one is needed."
            )
        key = self.named(answer)
        if key is not None:
            return key
        mentioned = self._mentioned(answer)
        if len(mentioned) > 1:
            names = _either([self.product_name(key) for key in mentioned])
            return Unclear(Why.PRODUCT_AMBIGUOUS, f"'{shown}' in '{name}' can mean {names}. Please name exactly one.")
        near = [self.product_name(key) for key in mentioned or self._spelt_nearly(answer)]
        choices = f"; did you mean {_either(near)}?" if near else self._choices(item) + "."
        return Unclear(Why.PRODUCT_UNMAPPED, f"'{shown}' in '{name}' is no product that we know{choices}")

    def _mentioned(self, answer: str) -> list[ProductKey]:
        """Products whose names stand in a free text; a longer name hides the shorter ones inside it."""
        text = f" {_folded(' '.join(_WORD.findall(answer)))} "
        found: list[ProductKey] = []
        for name in sorted(self._names, key=lambda n: (-len(n), n)):
            if f" {name} " in text:
                text = text.replace(f" {name} ", "  ")
                found.append(self._names[name])
        return list(dict.fromkeys(found))

    def _spelt_nearly(self, answer: str) -> list[ProductKey]:
        close = difflib.get_close_matches(_folded(answer)[:120], list(self._names), n=3, cutoff=0.75)
        return list(dict.fromkeys(self._names[name] for name in close))

    def _choices(self, item: Item) -> str:
        """': A, B or C' from the item's own mapping, "" when it has none or too many to list."""
        keys = dict.fromkeys(item.product_keys())
        names = [self.product_name(key) for key in keys]
        return f": {_either(names)}" if 0 < len(names) <= _CHOICES_MAX else ""


@cache
def load_builtin() -> Catalogue:
    """Read products.toml, once: it is a frozen value, and some ten milliseconds."""
    text = resources.files("desired_state").joinpath("products.toml").read_text(encoding="utf-8")
    data: dict[str, Any] = tomllib.loads(text)
    products = {ProductKey(key): _product(key, row) for key, row in data["products"].items()}
    skus = {SkuId(i): (part, name) for i, (part, name) in data["skus"].items()}
    retired: dict[SkuId | PlanId, date] = {PlanId(i): day for i, day in data["retired"].items()}
    return Catalogue(products, skus, _load_plans(), retired)


def _load_plans() -> dict[PlanId, tuple[str, str]]:
    """Every service plan of Microsoft's published list: what is not in it is new, or was never published."""
    text = resources.files("desired_state").joinpath("service_plans.csv").read_text(encoding="utf-8")
    _, *rows = csv.reader(text.splitlines())
    return {PlanId(id): (plan, name) for id, plan, name in rows}


def _product(key: str, row: Mapping[str, Any]) -> Product:
    return Product(
        key=ProductKey(key),
        name=row["name"],
        kind=row["kind"],
        bears_data=row.get("bears_data", False),
        candidate_skus=tuple(row["candidate_skus"]),
        proof_plans=tuple(row["proof_plans"]),
        proof_mode=row["proof_mode"],
        prerequisite_plans=tuple(row.get("prerequisite_plans", ())),
        prerequisite_mode=row.get("prerequisite_mode", "any"),
        decoy_plans=tuple(row.get("decoy_plans", ())),
        covering_skus=tuple(row.get("covering_skus", ())),
        aliases=tuple(row.get("aliases", ())),
        tier=Tier(row.get("tier", Tier.V2)),
        note=row.get("note", ""),
        probe=row.get("probe", ""),
        owner=row.get("owner", ""),
    )


def _replacing(product: Product, products: Mapping[ProductKey, Product]) -> Product:
    """The product with the SKUs that may be taken away for it; one of its own is never among them."""
    skus = dict.fromkeys(sku for key in product.replaces for sku in products[key].candidate_skus)
    return replace(product, replaced_skus=tuple(s for s in skus if s not in product.candidate_skus))


def _changed(
    base: Product,
    over: ProductOverlay,
    skus: Mapping[SkuId, tuple[str, str]],
    plans: Mapping[PlanId, tuple[str, str]],
) -> Product:
    path = over.path or base.path
    group = _group(over.group) if over.group else base.group
    if path is Path.GROUP and group is None:
        raise ValueError(f'products.{base.key}: path = "group" needs group = "name or object id of the group"')
    candidates, covering = base.candidate_skus, base.covering_skus
    if over.skus is not None:
        candidates = tuple(_sku(base.key, word, skus) for word in over.skus)
        if not candidates:
            raise ValueError(f"products.{base.key}.skus: at least one SKU is needed")
        # What is no longer assigned still proves: somebody may hold it.
        covering = tuple(s for s in (*base.candidate_skus, *base.covering_skus) if s not in candidates)
    return replace(
        base,
        name=over.name or base.name,
        aliases=(*base.aliases, *over.aliases),
        path=path,
        group=group,
        price=base.price if over.price is None else over.price,
        tier=over.tier or base.tier,
        window_s=over.window.total_seconds() if over.window else base.window_s,
        candidate_skus=candidates,
        covering_skus=covering,
        replaces=tuple(ProductKey(key) for key in over.replaces) or base.replaces,
        held=over.held,
        probe=base.probe if over.probe is None else over.probe,
        enabling_group=_group(over.enabling_group) if over.enabling_group else base.enabling_group,
        waived_plans=tuple(_plan(base.key, word, plans) for word in over.waived_plans) or base.waived_plans,
        new_plans=over.new_plans or base.new_plans,
        on_drift=over.on_drift or base.on_drift,
        on_drift_by=tuple(sorted(over.on_drift_by.items())) or base.on_drift_by,
        owner=base.owner if over.owner is None else over.owner,
        group_window_s=over.group_window.total_seconds() if over.group_window else base.group_window_s,
        grace_s=over.grace.total_seconds() if over.grace else base.grace_s,
        remind_s=over.remind.total_seconds() if over.remind else base.remind_s,
    )


def _group(name_or_id: str) -> GroupId:
    text = name_or_id.strip()
    return GroupId(text.lower() if _GUID.fullmatch(text.lower()) else text)


def _sku(key: str, word: str, skus: Mapping[SkuId, tuple[str, str]]) -> SkuId:
    """A SKU by id, or by part number when only one SKU has it."""
    where, wanted = f"products.{key}.skus", word.strip()
    if SkuId(wanted.lower()) in skus:
        return SkuId(wanted.lower())
    if _GUID.fullmatch(wanted.lower()):
        hint = f'; if the tenant has it, name it: sku_names = {{ "{wanted.lower()}" = "PART_NUMBER" }}'
        raise UnknownName(where, "SKU", wanted, hint=hint)
    found = [sku for sku, (part, _) in skus.items() if part.casefold() == wanted.casefold()]
    if len(found) > 1:
        raise ValueError(f"{where}: '{wanted}' is the part number of {len(found)} SKUs; give the id of one of them")
    if not found:
        near = difflib.get_close_matches(wanted.upper(), [part for part, _ in skus.values()], n=1, cutoff=0.6)
        raise UnknownName(where, "SKU", wanted, closest=next(iter(near), ""))
    return found[0]


def _plan(key: str, word: str, plans: Mapping[PlanId, tuple[str, str]]) -> PlanId:
    """A service plan by id or by name."""
    wanted = word.strip()
    if _GUID.fullmatch(wanted.lower()):
        return PlanId(wanted.lower())
    found = [plan for plan, (name, _) in plans.items() if name.casefold() == wanted.casefold()]
    if len(found) != 1:
        raise UnknownName(f"products.{key}.waived_plans", "service plan", wanted)
    return found[0]


def _thing(
    key: str, word: str, skus: Mapping[SkuId, tuple[str, str]], plans: Mapping[PlanId, tuple[str, str]]
) -> SkuId | PlanId:
    """A service plan or a SKU, by id, plan name or part number."""
    wanted = word.strip()
    if _GUID.fullmatch(wanted.lower()):
        return PlanId(wanted.lower())
    found: list[SkuId | PlanId] = [p for p, (name, _) in plans.items() if name.casefold() == wanted.casefold()]
    found += [s for s, (part, _) in skus.items() if part.casefold() == wanted.casefold()]
    if len(set(found)) != 1:
        hint = f"; {len(set(found))} have this name, give the id of one of them" if found else ""
        raise UnknownName(f"products.{key}.retired", "service plan or SKU", wanted, hint=hint)
    return found[0]


def _mapped(products: Mapping[str, str | tuple[str, ...]], answer: str) -> str | tuple[str, ...]:
    """What the item's own mapping says, () for nothing. Yes and no are read in every spelling of a check box."""
    folded = {_folded(value): keys for value, keys in products.items()}
    spellings = {_folded(answer)}
    for words in (_YES, _NO):
        if spellings & words:
            spellings = spellings | words
    exact = folded.get(_folded(answer))
    hits = [exact] if exact is not None else [keys for value, keys in folded.items() if value in spellings]
    return hits[0] if len(hits) == 1 else ()


def _names_of(product: Product) -> tuple[str, ...]:
    return (product.key, product.name, *product.aliases)


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()


def _either(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
