"""Dot-walking: from a row along references to a value somewhere else. Reads only.

Source: servicenow.md sections 2 and 3: `request.number` in a query, a field list, or a sort.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from reconciler.sandbox.servicenow.records import Records
from reconciler.sandbox.servicenow.schema import REFERENCES, Column, Row

REMEMBERED = 1024


@dataclass(frozen=True)
class Path:
    """A resolved column. `steps` are the (table, column) pairs that a reader must be allowed to see."""

    text: str
    column: Column
    steps: tuple[tuple[str, str], ...]
    value: Callable[[Row], str]
    end: Callable[[Row], tuple[str, Row] | None]
    """The row that holds the value, with its concrete table; None when a reference on the way is empty."""

    @property
    def is_walked(self) -> bool:
        """Whether a reference is followed at all."""
        return len(self.steps) > 1


def resolve(records: Records, table: str, text: str) -> Path | None:
    """The path named by `text` from `table`, or None when a part of it does not exist."""
    key = (records.schema.revision, table, text)
    if key not in records.paths:
        while len(records.paths) >= REMEMBERED:
            del records.paths[next(iter(records.paths))]
        records.paths[key] = _resolved(records, table, text)
    return records.paths[key]


def _resolved(records: Records, table: str, text: str) -> Path | None:
    names = text.split(".")
    steps: list[tuple[str, str]] = []
    hops: list[tuple[str, str]] = []
    at = table
    column: Column | None = None
    for n, name in enumerate(names):
        found = _column(records, at, name)
        if found is None:
            return None
        owner, column = found
        steps.append((owner, name))
        if n < len(names) - 1:
            if column.kind not in REFERENCES or not column.reference:
                return None
            hops.append((name, column.reference))
            at = column.reference
    if column is None:  # pragma: no cover - split never returns an empty list
        return None
    last = names[-1]

    def end(row: Row) -> tuple[str, Row] | None:
        here: tuple[str, Row] | None = (row.get("sys_class_name", table), row)
        for hop, target in hops:
            if here is None:
                return None
            here = records.find(target, here[1].get(hop, ""))
        return here

    def value(row: Row) -> str:
        if not hops:
            return row.get(last, "")
        here = end(row)
        return "" if here is None else here[1].get(last, "")

    return Path(text, column, tuple(steps), value, end)


def _column(records: Records, table: str, name: str) -> tuple[str, Column] | None:
    """The column and a table that has it: of the table, or of one that extends it (a reference to task)."""
    for owner in (table, *records.schema.concrete(table)):
        column = records.schema.column(owner, name)
        if column is not None:
            return owner, column
    return None
