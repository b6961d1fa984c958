"""The rows of sys_dictionary and sys_choice, derived from the schema so that probes find what the API accepts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from reconciler.sandbox.servicenow.rows import RowStore
from reconciler.sandbox.servicenow.schema import Kind, Schema

DERIVED = ("sys_dictionary", "sys_choice")
_LENGTH_DEFAULTS = {Kind.STRING: 40, Kind.INTEGER: 40, Kind.BOOLEAN: 40, Kind.REFERENCE: 32}
_BORN = "2020-01-01 00:00:00"


def write_dictionary(schema: Schema, store: RowStore) -> None:
    """Put one row for each declared column and each choice into `store`, replacing the ones from before."""
    for table in DERIVED:
        for sys_id in list(store.table(table).by_id):
            store.drop(table, sys_id)
    for table, row in _rows(schema):
        made = {
            **row,
            "sys_created_on": _BORN,
            "sys_created_by": "system",
            "sys_updated_on": _BORN,
            "sys_updated_by": "system",
            "sys_mod_count": "0",
        }
        sys_id = derived_id(table, *row.values())
        store.put(table, sys_id, {"sys_id": sys_id, **{k: v for k, v in made.items() if v}})


def derived_id(*parts: str) -> str:
    """32 hex digits that depend on nothing but the parts."""
    return hashlib.sha256("\x00".join(parts).encode()).hexdigest()[:32]


def _rows(schema: Schema) -> Iterator[tuple[str, dict[str, str]]]:
    for table in schema.tables:  # the row without an element is the table itself
        yield "sys_dictionary", {"name": table, "internal_type": "collection", "active": "true"}
    for table, column in schema.declared():
        yield (
            "sys_dictionary",
            {
                "name": table,
                "element": column.name,
                "column_label": column.label,
                "internal_type": column.kind.value,
                "reference": column.reference,
                "max_length": str(column.length or _LENGTH_DEFAULTS.get(column.kind, 255)),
                "active": "true",
                "mandatory": "false",
            },
        )
    # A list that a task table inherits is also listed for that table, where clients look for it.
    for table in schema.tables:
        for column in schema.columns(table).values():
            for n, entry in enumerate(column.choices):
                yield (
                    "sys_choice",
                    {
                        "name": table,
                        "element": column.name,
                        "value": entry.value,
                        "label": entry.label,
                        "language": "en",
                        "sequence": str(n),
                        "inactive": "false",
                    },
                )
