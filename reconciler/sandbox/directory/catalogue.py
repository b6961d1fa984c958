"""Microsoft's products as the sandbox knows them: SKUs, plans, and which plans exclude or need each other.

Read from `skus.json` beside the package, a selection of the published list of product names and service plan
identifiers; the file carries its attribution. A rule is enforced when its `enforcement` is "hard"; "advisory" ones only
on request. `applies_to` of plans and the service names are general knowledge, not in the published list.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from importlib import resources

import msgspec

from reconciler.sandbox.directory.records import Plan


class Product(msgspec.Struct, frozen=True):
    """One SKU as it is sold: ids, name and the plans in it."""

    sku_id: str
    part_number: str
    name: str
    applies_to: str
    plans: tuple[str, ...]


class Exclusion(msgspec.Struct, frozen=True):
    """Two plans that nobody can hold together."""

    plans: tuple[str, str]
    enforcement: str


class Requirement(msgspec.Struct, frozen=True):
    """A plan that needs one of the others."""

    plan: str
    any_of: tuple[str, ...]
    enforcement: str


class Catalogue:
    """Products by part number and plans by id or name; names are compared without regard to case."""

    def __init__(
        self,
        plans: Iterable[Plan],
        products: Iterable[Product],
        exclusions: Iterable[Exclusion],
        requirements: Iterable[Requirement],
    ) -> None:
        self.plans = {p.plan_id: p for p in plans}
        self.products = {p.part_number.casefold(): p for p in products}
        self.exclusions = tuple(exclusions)
        self.requirements = tuple(requirements)
        self._plan_ids = {p.name.casefold(): p.plan_id for p in self.plans.values()}

    def product(self, part_number: str) -> Product:
        """The product of this part number.

        Raises:
            KeyError: the sandbox does not know it.
        """
        try:
            return self.products[part_number.casefold()]
        except KeyError:
            raise KeyError(f"the sandbox knows no SKU {part_number!r}") from None

    def plan_id(self, name: str) -> str:
        """The id of the plan of this name; an id is its own name.

        Raises:
            KeyError: the sandbox does not know it.
        """
        if name.lower() in self.plans:
            return name.lower()
        try:
            return self._plan_ids[name.casefold()]
        except KeyError:
            raise KeyError(f"the sandbox knows no service plan {name!r}") from None


@cache
def catalogue() -> Catalogue:
    """The catalogue of the package's own data file; read once, never changed."""
    data = json.loads(resources.files("reconciler.sandbox").joinpath("skus.json").read_text("utf-8"))
    return Catalogue(
        [Plan(plan_id=plan_id, **fields) for plan_id, fields in data["plans"].items()],
        msgspec.convert(data["skus"], list[Product]),
        msgspec.convert(data["exclusive"], list[Exclusion]),
        msgspec.convert(data["requires"], list[Requirement]),
    )
