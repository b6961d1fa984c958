"""The rows of an instance, found by id, by value and by time.

Rows are never changed in place: `put` replaces one, so an open `undo` can put everything back. Lookups are built when
first asked for and dropped when their table changes, except value lookups, which follow each change; listing a large
table page by page therefore does not get slower with every row written.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from reconciler.sandbox.servicenow.schema import Row

Undo = list[tuple[str, str, Row | None]]


class Rows:
    """The rows of one concrete table."""

    def __init__(self) -> None:
        self.by_id: dict[str, Row] = {}
        self._by_value: dict[str, dict[str, dict[str, None]]] = {}
        self._by_time: dict[str, list[tuple[str, str]]] = {}

    def put(self, sys_id: str, row: Row) -> None:
        """Add or replace a row."""
        old = self.by_id.get(sys_id)
        self.by_id[sys_id] = row
        for column, lookup in self._by_value.items():
            before, after = (old or {}).get(column, ""), row.get(column, "")
            if old is not None and before != after:
                del lookup[before][sys_id]
            if old is None or before != after:
                lookup.setdefault(after, {})[sys_id] = None
        self._by_time = {
            column: pairs
            for column, pairs in self._by_time.items()
            if old is not None and old.get(column, "") == row.get(column, "")
        }

    def drop(self, sys_id: str) -> None:
        """Forget a row."""
        old = self.by_id.pop(sys_id)
        for column, lookup in self._by_value.items():
            del lookup[old.get(column, "")][sys_id]
        self._by_time.clear()

    def with_value(self, column: str, values: Iterable[str]) -> list[str]:
        """Ids of the rows whose column is exactly one of `values`."""
        lookup = self._by_value.get(column)
        if lookup is None:
            lookup = {}
            for sys_id, row in self.by_id.items():
                lookup.setdefault(row.get(column, ""), {})[sys_id] = None
            self._by_value[column] = lookup
        found: list[str] = []
        for value in dict.fromkeys(values):
            found.extend(lookup.get(value, ()))
        return found

    def since(self, column: str, value: str) -> list[str]:
        """Ids of the rows whose time in `column` is `value` or later, oldest first, then by id."""
        pairs = self._by_time.get(column)
        if pairs is None:
            pairs = sorted((row.get(column, ""), sys_id) for sys_id, row in self.by_id.items())
            self._by_time[column] = pairs
        return [sys_id for _, sys_id in pairs[bisect_left(pairs, (value, "")) :]]


class RowStore:
    """All rows, by concrete table and sys_id."""

    def __init__(self) -> None:
        self._tables: dict[str, Rows] = {}
        self._undo: Undo | None = None

    def table(self, name: str) -> Rows:
        """The rows of a table, possibly none."""
        found = self._tables.get(name)
        if found is None:
            found = self._tables[name] = Rows()
        return found

    def get(self, table: str, sys_id: str) -> Row | None:
        """One row, or None."""
        return self.table(table).by_id.get(sys_id)

    def put(self, table: str, sys_id: str, row: Row) -> None:
        """Add or replace one row."""
        if self._undo is not None:
            self._undo.append((table, sys_id, self.get(table, sys_id)))
        self.table(table).put(sys_id, row)

    def drop(self, table: str, sys_id: str) -> None:
        """Forget one row.

        Raises:
            KeyError: there is no such row.
        """
        if self._undo is not None:
            self._undo.append((table, sys_id, self.table(table).by_id[sys_id]))
        self.table(table).drop(sys_id)

    def names(self) -> Iterator[str]:
        """Tables that were touched."""
        return iter(self._tables)

    @contextmanager
    def undone(self) -> Iterator[None]:
        """Whatever is written inside is taken back at the end."""
        self._undo = []
        try:
            yield
        finally:
            written, self._undo = self._undo, None
            for table, sys_id, row in reversed(written):
                if row is None:
                    self.table(table).drop(sys_id)
                else:
                    self.table(table).put(sys_id, row)
