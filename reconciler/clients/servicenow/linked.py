"""Rows that hang on many tickets, read in the order of their tickets: each page is full, however few rows a ticket has.

A list of ids fills no page: addresses hold some hundred ids, and nobody knows how many rows those have. So the rows of
a table with a reference to the ticket are asked for along that reference: of tickets of some items that changed since
a mark and not after `until`, in the order (sys_updated_on, sys_id) of the ticket and then of their own sys_id. Pages
continue from the last row, never from an offset. Dot-walks in queries, fields and sorts: servicenow.md sections 1 to 3.

Whoever reads the tickets themselves after their rows, and still finds one where it was before these were read, has all
of its rows: a ticket that changes in between goes to the end, and takes its rows with it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from reconciler.clients.servicenow.dialect import SYSTEM
from reconciler.clients.servicenow.keys import Span, Watermark, behind
from reconciler.clients.servicenow.queries import among, instant, read_instant
from reconciler.clients.servicenow.tables import Row, Tables
from reconciler.errors import Malformed


class Linked:
    """One table's rows, read ahead by pages. `link` is its reference to the ticket.

    Raises what `Tables.page` raises, and Malformed when a part of the query or of its order is ignored.
    """

    def __init__(self, tables: Tables, table: str, link: str, fields: Sequence[str], span: Span, operation: str):
        self._tables, self._table, self._link, self._operation = tables, table, link, operation
        self._span, self._wanted = span, frozenset(span.items)
        self._fields = tuple(dict.fromkeys((link, f"{link}.sys_updated_on", f"{link}.cat_item", *fields)))
        self._rows: deque[tuple[Watermark, Row]] = deque()
        self._last: tuple[Watermark, str] | None = None
        self._hidden: list[tuple[Watermark | None, Watermark | None]] = []
        self._tickets = 0
        self.is_done = False

    @property
    def reached(self) -> Watermark | None:
        """All rows of the tickets before this one have been read; None before the first page."""
        return self._last[0] if self._last is not None else None

    @property
    def tickets(self) -> int:
        """Of so many tickets there are rows that nobody has taken."""
        return self._tickets

    def read(self) -> None:
        """One page more."""
        page = self._tables.page(self._table, self._query(), self._fields, limit=None, operation=self._operation)
        pages = [page]
        while not page.rows and page.has_more:
            page = self._tables.more(page, self._table, operation=self._operation)
            pages.append(page)
        before = self.reached
        for row in page.rows:
            self._add(row)
        self.is_done = not page.has_more or not page.rows
        if any(one.hides for one in pages):
            self._hidden.append((before, None if self.is_done else self.reached))

    def take(self, *, through: Watermark | None = None, before: Watermark | None = None) -> list[Row]:
        """The rows of all tickets up to that one, before that one, or of all; they are not kept."""
        taken: list[Row] = []
        while self._rows:
            first = self._rows[0][0]
            if (through is not None and first > through) or (before is not None and first >= before):
                break
            key, row = self._rows.popleft()
            taken.append(row)
            self._tickets -= not self._rows or self._rows[0][0] != key
        return taken

    def may_hide(self, key: Watermark) -> bool:
        """Whether a row that is not shown to us may be of this ticket."""
        return any((a is None or key >= a) and (b is None or key <= b) for a, b in self._hidden)

    def _query(self) -> str:
        link, span = self._link, self._span
        parts = [among(f"{link}.cat_item", span.items)]
        if self._last is not None:
            key, own = self._last
            parts.append(behind(key, link, own))
        elif span.after is not None:
            parts.append(behind(span.after, link))
        elif span.since is not None:
            parts.append(f"{link}.sys_updated_on>={instant(span.since)}")
        parts.append(f"{link}.sys_updated_on<={instant(span.until)}")
        parts += [f"ORDERBY{link}.sys_updated_on", f"ORDERBY{link}.sys_id", "ORDERBYsys_id"]
        return "^".join(parts)

    def _add(self, row: Row) -> None:
        try:
            at = read_instant(row.need(f"{self._link}.sys_updated_on"))
        except ValueError:
            at = None
        if at is None:
            raise Malformed(SYSTEM, f"a row of {self._table} without the instant of its ticket")
        key, own = Watermark(at, row.need(self._link)), row.need("sys_id")
        is_next = self._last is None or (key, own) > self._last
        if not is_next or not self._span.holds(key) or row.need(f"{self._link}.cat_item") not in self._wanted:
            raise Malformed(SYSTEM, f"a row of {self._table} that was not asked for: a part of the query is ignored")
        self._tickets += not self._rows or self._rows[-1][0] != key
        self._rows.append((key, row))
        self._last = (key, own)
