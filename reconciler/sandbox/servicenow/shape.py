"""Rows as the Table API returns them: three display modes, links, dot-walked fields, the user's own time zone.

Source: servicenow.md section 3. What the caller may not read is left out; unknown fields are ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from reconciler.sandbox.servicenow.access import Caller
from reconciler.sandbox.servicenow.answers import Call
from reconciler.sandbox.servicenow.instance import Instance
from reconciler.sandbox.servicenow.paths import Path, resolve
from reconciler.sandbox.servicenow.schema import JOURNALS, REFERENCES, TIMES, Column, Kind, Row
from reconciler.sandbox.servicenow.stamps import shown

Mode = Literal["false", "true", "all"]


class Shaper:
    """Shapes rows of one table for one call."""

    def __init__(self, instance: Instance, call: Call, table: str, *, fields: Sequence[str] | None = None) -> None:
        self._instance = instance
        self._caller: Caller = call.caller
        self._base = call.base
        asked = call.param("sysparm_display_value", "false").lower()
        self._mode: Mode = "all" if asked == "all" else "true" if asked == "true" else "false"
        self._without_link = call.flag("sysparm_exclude_reference_link")
        if fields is None:
            fields = [name.strip() for name in call.param("sysparm_fields").split(",") if name.strip()]
        self._fields = tuple(dict.fromkeys(fields))
        self._table = table
        self._paths: dict[str, tuple[tuple[str, Path], ...]] = {}

    def shape(self, table: str, row: Row) -> dict[str, Any]:
        """One row of the concrete `table`."""
        return {name: self._value(path, row) for name, path in self._columns(table)}

    def _columns(self, table: str) -> tuple[tuple[str, Path], ...]:
        found = self._paths.get(table)
        if found is None:
            # A read of task shows the columns of task only.
            names = self._fields or tuple(self._instance.schema.columns(self._table))
            resolved = [(name, resolve(self._instance.truth, table, name)) for name in names]
            found = tuple((name, path) for name, path in resolved if path is not None and self._readable(path))
            self._paths[table] = found
        return found

    def _readable(self, path: Path) -> bool:
        access = self._instance.access
        return all(access.can_read_column(self._caller, table, column) for table, column in path.steps)

    def _value(self, path: Path, row: Row) -> Any:
        column = path.column
        end = path.end(row) if path.is_walked else (row.get("sys_class_name", self._table), row)
        if end is not None and path.is_walked and not self._instance.access.can_read(self._caller, *end):
            end = None
        if end is None:
            return self._shaped("", "", "")
        _, holder = end
        stored = holder.get(column.name, "")
        if column.kind in REFERENCES:
            target = holder.get("source_table", "") if column.kind is Kind.DOCUMENT else column.reference
            return self._shaped(stored, self._instance.truth.display(target, stored) if stored else "", target)
        return self._shaped(stored, self._display(column, stored, holder), "")

    def _shaped(self, stored: str, display: str | None, target: str) -> Any:
        link = f"{self._base}/api/now/table/{target}/{stored}" if target and stored and not self._without_link else ""
        if self._mode == "all":
            return {"display_value": display, **({"link": link} if link else {}), "value": stored}
        if self._mode == "true":
            return {"display_value": display, "link": link} if link else display
        return {"link": link, "value": stored} if link else stored

    def _display(self, column: Column, stored: str, row: Row) -> str | None:
        if column.is_choice:
            if not stored:
                return None if self._mode == "all" or self._instance.switches.empty_choice_is_null else ""
            return next((c.label for c in column.choices if c.value == stored), stored)
        if column.kind is Kind.DUE and not stored:
            return "UNKNOWN"
        if column.kind in TIMES:
            return shown(stored, self._caller.time_zone, self._instance.switches.display_format)
        if column.kind is Kind.INTEGER and stored.lstrip("-").isdigit():
            return f"{int(stored):,}"
        if column.kind in JOURNALS and self._instance.switches.journal_is_shown:
            return self._journal(column, row)
        return stored

    def _journal(self, column: Column, row: Row) -> str:
        names = ("comments", "work_notes") if column.kind is Kind.JOURNAL_LIST else (column.name,)
        entries = reversed(self._instance.truth.journal(row["sys_id"], *names))
        at: Callable[[Row], str] = lambda entry: shown(entry["sys_created_on"], self._caller.time_zone)  # noqa: E731
        return "".join(f"{at(e)} - {e['sys_created_by']} ({e['element']})\n{e['value']}\n\n" for e in entries)
