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
Cell = Callable[[Row], Any]


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
        self._cells: dict[str, tuple[tuple[str, Cell], ...]] = {}

    def shape(self, table: str, row: Row) -> dict[str, Any]:
        """One row of the concrete `table`."""
        cells = self._cells.get(table)
        if cells is None:
            cells = self._cells[table] = self._columns(table)
        return {name: cell(row) for name, cell in cells}

    def _columns(self, table: str) -> tuple[tuple[str, Cell], ...]:
        # A read of task shows the columns of task only.
        names = self._fields or tuple(self._instance.schema.columns(self._table))
        resolved = [(name, resolve(self._instance.truth, table, name)) for name in names]
        return tuple((name, self._cell(path)) for name, path in resolved if path is not None and self._readable(path))

    def _readable(self, path: Path) -> bool:
        access = self._instance.access
        return all(access.can_read_column(self._caller, table, column) for table, column in path.steps)

    def _cell(self, path: Path) -> Cell:
        """How this column of a row is shown: decided once for all rows of the call."""
        stored_cell = self._stored_cell(path.column)
        if not path.is_walked:
            return stored_cell
        end, can_read, caller = path.end, self._instance.access.can_read, self._caller

        def walked(row: Row) -> Any:
            found = end(row)
            if found is None or not can_read(caller, *found):
                return self._shaped("", "", "")
            return stored_cell(found[1])

        return walked

    def _stored_cell(self, column: Column) -> Cell:
        """How the column is shown of the row that holds it."""
        name, shaped = column.name, self._shaped
        if column.kind in REFERENCES:
            display, is_document = self._instance.truth.display, column.kind is Kind.DOCUMENT

            def referring(row: Row) -> Any:
                stored = row.get(name, "")
                target = row.get("source_table", "") if is_document else column.reference
                return shaped(stored, display(target, stored) if stored else "", target)

            return referring
        if _is_shown_as_stored(column):
            if self._mode == "all":
                return lambda row: {"display_value": (stored := row.get(name, "")), "value": stored}
            return lambda row: row.get(name, "")

        def told(row: Row) -> Any:
            stored = row.get(name, "")
            return shaped(stored, self._display(column, stored, row), "")

        return told

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


def _is_shown_as_stored(column: Column) -> bool:
    """Whether people read what is stored: no choice, time, number or journal."""
    told = column.kind in TIMES or column.kind in JOURNALS or column.kind in (Kind.DUE, Kind.INTEGER)
    return not column.is_choice and not told
