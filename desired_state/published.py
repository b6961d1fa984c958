"""Microsoft's published list of product names and service plan identifiers, read for its names. Pure.

The list is a CSV file, one row per SKU and service plan, that has come with cp1252 and with UTF-8 encoding, with and
without a byte order mark, with non-breaking spaces, stray brackets around ids, repeated rows, and several names for one
id (renamed products, other letter case). Here each id ends with one name; only names are taken from it, never what a
SKU contains. Source: "Product names and service plan identifiers for licensing", Microsoft Entra documentation.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from desired_state.model import PlanId, SkuId

SIZE_MAX = 32_000_000  # bytes; the real list has two million
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_COLUMNS = {
    "product": ("product_display_name",),
    "part": ("string_id", "string_ id"),
    "sku": ("guid",),
    "plan": ("service_plan_id",),
    "plan_name": ("service_plan_name",),
    "plan_shown": ("service_plans_included_friendly_names", "service_plan_friendly_name"),
}


class BadList(ValueError):
    """The file is not the published list; the text is one sentence that says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Published:
    """Names by id: (part number, product name) of SKUs and (plan name, display name) of service plans.

    `rows` were read; `repeated` of them said nothing new, and `skipped` had no usable id.
    """

    skus: Mapping[SkuId, tuple[str, str]] = field(default_factory=dict)
    plans: Mapping[PlanId, tuple[str, str]] = field(default_factory=dict)
    rows: int = 0
    repeated: int = 0
    skipped: int = 0


def read_published(data: bytes) -> Published:
    """Read the list from a file's bytes.

    Raises:
        BadList: it is empty, too large, in no known encoding, no CSV, or lacks a column.
    """
    if len(data) > SIZE_MAX:
        raise BadList(f"it has {len(data)} bytes, and the list has about two million")
    lines = csv.reader(_text(data).splitlines(), strict=False)
    try:
        header = next(lines, None)
        if header is None:
            raise BadList("it is empty")
        at = _columns(header)
        return _collected(lines, at)
    except csv.Error as error:
        raise BadList(f"it is no CSV file ({error})") from None


def _text(data: bytes) -> str:
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise BadList("it is neither UTF-8 nor cp1252 text")


def _columns(header: list[str]) -> Mapping[str, int]:
    """Where each column is; the names' letter case and spacing have varied."""
    found = [_tidy(name).casefold() for name in header]
    at: dict[str, int] = {}
    for what, names in _COLUMNS.items():
        position = next((found.index(name) for name in names if name in found), None)
        if position is None:
            raise BadList(f"it has no column {names[0].title()}; its first line is not that of Microsoft's list")
        at[what] = position
    return at


def _collected(lines: Iterable[list[str]], at: Mapping[str, int]) -> Published:
    parts: dict[SkuId, Counter[str]] = {}
    products: dict[SkuId, Counter[str]] = {}
    plan_names: dict[PlanId, Counter[str]] = {}
    shown: dict[PlanId, Counter[str]] = {}
    seen: set[tuple[str, ...]] = set()
    rows = repeated = skipped = 0
    for line in lines:
        if not any(cell.strip() for cell in line):
            continue
        rows += 1
        row = {what: _tidy(line[n]) if n < len(line) else "" for what, n in at.items()}
        sku, plan = _guid(row["sku"]), _guid(row["plan"])
        if not sku or not plan or not row["part"]:
            skipped += 1
            continue
        facts = (sku, row["part"], row["product"], plan, row["plan_name"], row["plan_shown"])
        if facts in seen:
            repeated += 1
            continue
        seen.add(facts)
        parts.setdefault(SkuId(sku), Counter())[row["part"]] += 1
        products.setdefault(SkuId(sku), Counter())[row["product"] or row["part"]] += 1
        plan_names.setdefault(PlanId(plan), Counter())[row["plan_name"].rstrip(")").strip() or plan] += 1
        shown.setdefault(PlanId(plan), Counter())[row["plan_shown"] or row["plan_name"] or plan] += 1
    if not seen:
        raise BadList(f"none of its {rows} rows has an id of a SKU and of a service plan")
    return Published(
        {sku: (_best(parts[sku]), _best(products[sku])) for sku in sorted(parts)},
        {plan: (_best(plan_names[plan]), _best(shown[plan])) for plan in sorted(plan_names)},
        rows,
        repeated,
        skipped,
    )


def _tidy(cell: str) -> str:
    """Without byte order marks, non-breaking and repeated spaces."""
    return " ".join(cell.replace("\ufeff", "").replace("\u200b", "").split())


def _guid(cell: str) -> str:
    """The id in a cell, lower case and without stray brackets; "" when there is none."""
    text = cell.strip("(){} ").lower()
    return text if _GUID.fullmatch(text) else ""


def _best(names: Counter[str]) -> str:
    """The name that is used most; of equals one in mixed case, then the last in the alphabet: always the same one."""
    folded = Counter[str]()
    for name, times in names.items():
        folded[name.casefold()] += times
    return max(names, key=lambda name: (folded[name.casefold()], not name.isupper(), names[name], name))
