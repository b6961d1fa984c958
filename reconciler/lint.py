"""The products of a site against the SKUs that its tenant really owns. Pure.

Only what would make a request fail or prove the wrong thing is reported, and only of products that the site uses: what
nobody can ask for may be missing. A catalogue may be out of date; the tenant's own list never is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from desired_state.catalogue import Catalogue
from desired_state.model import PlanId, Product, ProductKey, SkuId
from reconciler.model import SubscribedSku


class Flaw(StrEnum):
    NOT_OWNED = "not_owned"  # a product of which the tenant owns no SKU
    DEAD = "dead"  # a SKU that cannot be assigned any more
    RENAMED = "renamed"  # the tenant's part number is another one than ours
    NOT_ASSIGNABLE = "not_assignable"  # it is for the company, not for people
    AMBIGUOUS = "ambiguous"  # several SKUs share the part number
    PROOF_MISSING = "proof_missing"  # the SKU does not contain what proves the product
    DECOY = "decoy"  # it contains only look-alikes
    RETIRED = "retired"  # nothing that is left proves the product


@dataclass(frozen=True, slots=True)
class LintFinding:
    """One flaw of one product. `sku` None: of the product as a whole."""

    flaw: Flaw
    product: ProductKey
    sentence: str
    sku: SkuId | None = None


_DEAD = frozenset({"suspended", "deleted", "lockedout"})


def lint(
    catalogue: Catalogue,
    used: Collection[ProductKey],
    owned: Mapping[SkuId, SubscribedSku],
    *,
    listed: Collection[ProductKey] = (),
) -> tuple[LintFinding, ...]:
    """Every flaw of the products in use, by product, then SKU in the product's order of preference.

    `listed` are products whose SKUs the site listed itself: the tenant should own every one of them.
    """
    shared = _shared(catalogue, owned)
    found: list[LintFinding] = []
    for key in sorted(used):
        product = catalogue.product(key)
        if product is not None:
            found += _product(product, catalogue, owned, shared)
            found += _strangers(product, catalogue, owned) if key in listed else ()
    return tuple(found)


def _product(
    product: Product,
    catalogue: Catalogue,
    owned: Mapping[SkuId, SubscribedSku],
    shared: Mapping[str, tuple[SkuId, ...]],
) -> Iterable[LintFinding]:
    if product.proof_plans and set(product.proof_plans) <= set(product.retired):
        names = _listed(catalogue.plan_name(p) for p in product.proof_plans)
        yield LintFinding(Flaw.RETIRED, product.key, f"{names} is retired, so nothing proves {product.name}.")
    held = [owned[s] for s in product.candidate_skus if s in owned]
    if not held:
        wanted = _listed((catalogue.sku_part_number(s) for s in product.candidate_skus), "or")
        sentence = f"The tenant owns none of {wanted}; add the SKU that it has to [products.{product.key}] skus."
        yield LintFinding(Flaw.NOT_OWNED, product.key, sentence)
    for sku in held:
        yield from _sku(product, sku, catalogue, shared)


def _strangers(product: Product, catalogue: Catalogue, owned: Mapping[SkuId, SubscribedSku]) -> Iterable[LintFinding]:
    for sku in product.candidate_skus:
        if sku not in owned:
            sentence = f"{catalogue.sku_part_number(sku)} ({sku}) is listed and is no SKU of this tenant."
            yield LintFinding(Flaw.DEAD, product.key, sentence, sku)


def _sku(
    product: Product, sku: SubscribedSku, catalogue: Catalogue, shared: Mapping[str, tuple[SkuId, ...]]
) -> Iterable[LintFinding]:
    part = sku.part_number

    def flaw(kind: Flaw, sentence: str) -> LintFinding:
        return LintFinding(kind, product.key, sentence, sku.sku)

    if sku.capability.lower() in _DEAD:
        yield flaw(Flaw.DEAD, f"{part} is {sku.capability} in this tenant, so it cannot be assigned.")
    known = catalogue.sku_part_number(sku.sku)
    if known not in (sku.sku, part) and known.casefold() != part.casefold():
        yield flaw(
            Flaw.RENAMED, f"The tenant calls {known} {part}; ids decide, but a name in a file may be the old one."
        )
    if sku.applies_to.lower() != "user":
        yield flaw(Flaw.NOT_ASSIGNABLE, f"{part} applies to the {sku.applies_to.lower()}, so no person can get it.")
    others = [s for s in shared.get(part.casefold(), ()) if s != sku.sku]
    if others:
        yield flaw(Flaw.AMBIGUOUS, f"{part} is the part number of {len(others) + 1} SKUs; name this one by {sku.sku}.")
    missing = _missing(product, sku.plans)
    if missing:
        alike = [p for p in product.decoy_plans if p in sku.plans]
        names = _listed(catalogue.plan_name(p) for p in missing)
        if alike:
            seems = _listed(catalogue.plan_name(p) for p in alike)
            yield flaw(Flaw.DECOY, f"{part} contains {seems}, which only looks like {product.name}, and not {names}.")
        else:
            yield flaw(Flaw.PROOF_MISSING, f"{part} does not contain {names} here, so it cannot prove {product.name}.")


def _missing(product: Product, plans: Collection[PlanId]) -> tuple[PlanId, ...]:
    """The proof plans that a SKU would have to contain and does not; () when it proves the product."""
    counted = [p for p in product.proof_plans if p not in product.retired]
    missing = tuple(p for p in counted if p not in plans)
    return () if product.proof_mode == "any" and len(missing) < len(counted) else missing


def _shared(catalogue: Catalogue, owned: Mapping[SkuId, SubscribedSku]) -> Mapping[str, tuple[SkuId, ...]]:
    """Part numbers that several SKUs have, in the tenant or in the published list."""
    found: dict[str, set[SkuId]] = {}
    for sku, (part, _) in catalogue.skus.items():
        found.setdefault(part.casefold(), set()).add(sku)
    for sku, held in owned.items():
        found.setdefault(held.part_number.casefold(), set()).add(sku)
    return {part: tuple(sorted(skus)) for part, skus in found.items() if len(skus) > 1}


def _listed(words: Iterable[str], last: str = "and") -> str:
    every = list(dict.fromkeys(words))
    return every[0] if len(every) == 1 else f"{', '.join(every[:-1])} {last} {every[-1]}"
