"""What only shows when sections are read together: names that name nothing, files that cannot be read.

Everything here is found before anything is contacted. Each fault is one sentence that starts with its key.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from desired_state.catalogue import Catalogue
from desired_state.model import ProductKey
from desired_state.rules import Rule, StageRequired
from reconciler.config.lines import Step
from reconciler.config.model import Settings

Fault = tuple[Sequence[Step], str]


def faults(settings: Settings) -> Iterator[Fault]:
    """Every fault as (path, sentence), in the order of the file's sections."""
    if not settings.tenants:
        yield ("tenants",), "there is no tenant; start with [tenants.NAME]"
    try:
        catalogue = settings.catalogue()
    except ValueError as error:
        path, _, _ = str(error).partition(":")
        yield tuple(path.split(".")) if path.startswith("products.") else ("products",), str(error)
        return
    yield from _items(settings, catalogue)
    yield from _rules(settings, catalogue)
    yield from _budgets(settings, catalogue)
    yield from _approvers(settings)
    if settings.notify.reaches_anybody and settings.web.public_url is None:
        yield (
            ("notify",),
            "notify: cards and mails link to the pages; set web.public_url to the address that approvers reach",
        )
    yield from _files(settings)


def _items(settings: Settings, catalogue: Catalogue) -> Iterator[Fault]:
    seen: dict[tuple[str, str], int] = {}
    for index, item in enumerate(settings.items):
        where = f"item '{item.name}'"
        for key in item.product_keys():
            if catalogue.product(key) is None:
                yield ("items", index, "product"), f"{where} names the product '{key}', {_none(key, catalogue)}"
        for name in item.tenants:
            if name not in settings.tenants:
                yield ("items", index, "tenants"), f"{where} names {_no_tenant(name, settings)}"
        for name in item.tenants or settings.tenants:
            same = seen.setdefault((name, item.sys_id or item.name.strip().casefold()), index)
            if same != index:
                yield (
                    ("items", index, "name"),
                    f"{where} is declared twice; [[items]] number {same + 1} is the same one",
                )
                break
    if any(item.close == "task" for item in settings.items):
        for name, tenant in settings.tenants.items():
            if tenant.mode != "observe" and not tenant.servicenow.our_groups and settings.items_for(name):
                yield (
                    ("tenants", name, "servicenow"),
                    f'tenants.{name}.servicenow needs our_groups: an item with close = "task" is ours by its group',
                )


def _rules(settings: Settings, catalogue: Catalogue) -> Iterator[Fault]:
    seen: set[str] = set()
    for index, rule in enumerate(settings.rules):
        where = f"rule '{rule.id}'"
        if rule.id in seen:
            yield ("rules", index, "id"), f"there are two rules with the id '{rule.id}'; ids are unique"
        seen.add(rule.id)
        for key in rule.product_keys():
            if catalogue.product(key) is None:
                yield (
                    ("rules", index, _key_of(rule, key)),
                    f"{where} names the product '{key}', {_none(key, catalogue)}",
                )
        for tenant in rule.tenants:
            if tenant not in settings.tenants:
                yield ("rules", index, "tenants"), f"{where} names {_no_tenant(tenant, settings)}"


def _key_of(rule: Rule, product: str) -> str:
    """The key of a rule that names this product."""
    names = {"product": (getattr(rule, "product", ""),), "instead_of": getattr(rule, "instead_of", ())}
    return next((key for key, named in names.items() if product in named), "products")


def _budgets(settings: Settings, catalogue: Catalogue) -> Iterator[Fault]:
    for name, tenant in settings.tenants.items():
        for key in tenant.guards.products:
            if catalogue.product(ProductKey(key)) is None:
                path = ("tenants", name, "guards", "products", key)
                yield path, f"{'.'.join(path)} is a budget for the product '{key}', {_none(key, catalogue)}"


def _approvers(settings: Settings) -> Iterator[Fault]:
    """A stage that a rule asks for has to have somebody, or the request would wait for ever."""
    resolved = {"manager", "cost_center_owner"}  # found in the ticket system, request by request
    for name, tenant in settings.tenants.items():
        for rule in settings.rules_for(name).rules:
            for stage in (need.stage for need in rule.needs()) if isinstance(rule, StageRequired) else ():
                known = stage in resolved or tenant.approvals.approvers.get(stage) or tenant.approvals.fallback
                if not known:
                    yield (
                        ("tenants", name, "approvals"),
                        f"tenants.{name}.approvals.approvers has nobody for '{stage}', which rule '{rule.id}' needs",
                    )


def _files(settings: Settings) -> Iterator[Fault]:
    """Files that are read: each has to be there now, or the first cycle would fail instead of the start."""
    for path, file in _paths((), settings):
        if path[-1] in ("state_dir", "checkpoint_copy"):
            continue
        if not file.is_file():
            yield path, f"{'.'.join(str(p) for p in path)}: there is no file {file}"
        elif not os.access(file, os.R_OK):
            yield path, f"{'.'.join(str(p) for p in path)}: the file {file} may not be read by this user"


def _paths(path: tuple[Step, ...], value: Any) -> Iterator[tuple[tuple[Step, ...], Path]]:
    if isinstance(value, Path):
        yield path, value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _paths((*path, name), getattr(value, name))
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _paths((*path, name), inner)


def _none(key: str, catalogue: Catalogue) -> str:
    near = catalogue.closest(key)
    return "which does not exist" + (f"; did you mean '{near}'?" if near else "")


def _no_tenant(name: str, settings: Settings) -> str:
    near = difflib.get_close_matches(name, list(settings.tenants), n=1, cutoff=0.6)
    return f"the tenant '{name}', which does not exist" + (f"; did you mean '{near[0]}'?" if near else "")
