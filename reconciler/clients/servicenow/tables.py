"""The Table API: rows in pages that lose nothing, single records, writes. Source: servicenow.md sections 1, 3, 4.

A page shorter than its limit is not the end, and neither is an empty one: rows are hidden after the limit was
applied. Lists are read by key, in the order of the key; each row is checked against the filter and the order, since
the server drops a clause it does not know without a word. Only `value` of a cell is used; an absent cell is unknown.
U+0000, which a form may hold and no text of PostgreSQL, is read as U+FFFD, which people see.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from reconciler.clients.servicenow.dialect import SYSTEM, Truncated
from reconciler.clients.servicenow.queries import read_instant, sys_id
from reconciler.clients.servicenow.sizes import SMALLEST, Sizes
from reconciler.clients.wire import Answer, Wire
from reconciler.clients.wire.words import cut, http_date
from reconciler.errors import Malformed, OutcomeUnknown, Rejected, TooMuch
from reconciler.model import Reply

BASE = "/api/now/table"
TOO_LARGE = 413
HALVINGS_MAX = 3  # of a page that is late: then it is asked for as any other read, in case nothing at all is served
PAGES_MAX = 10_000
_NULL = b"\\u0000"  # U+0000 as JSON has it: there is no other form
_NEXT = re.compile(r'<([^<>]*)>\s*;\s*rel="?next"?')


class Cell(msgspec.Struct, frozen=True, gc=False):
    value: str | None = None
    display_value: str | None = None


class Row:
    """One record as it was read. Field names are flat, dots included."""

    def __init__(self, cells: dict[str, Cell | str | None]) -> None:
        self._cells = cells

    def text(self, name: str) -> str | None:
        """The value; "" when it is known to be empty, None when the field was not shown."""
        cell = self._cells.get(name, _ABSENT)
        if cell is _ABSENT:
            return None
        value = cell.value if isinstance(cell, Cell) else cell
        return value or ""

    def shown(self, name: str) -> str:
        """What people see of the field, "" when nothing: never used to decide."""
        cell = self._cells.get(name)
        return (cell.display_value if isinstance(cell, Cell) else cell) or ""

    def instant(self, name: str) -> datetime | None:
        """An aware instant, None when empty or not shown. Raises Malformed."""
        try:
            return read_instant(self.text(name) or "")
        except ValueError:
            raise Malformed(SYSTEM, f"{name} is not a time stamp") from None

    def flag(self, name: str) -> bool | None:
        return {"true": True, "1": True, "false": False, "0": False}.get((self.text(name) or "").lower())

    def need(self, name: str) -> str:
        """The value of a field that has to be there. Raises Malformed, naming what to check."""
        value = self.text(name)
        if not value:
            raise Malformed(SYSTEM, f"a row without {name}: may the integration user read that field?")
        return value

    def names(self) -> frozenset[str]:
        """The fields that were shown."""
        return frozenset(self._cells)


_ABSENT = Cell(value="absent")


class _List(msgspec.Struct):
    result: list[dict[str, Cell | str | None]]


class _One(msgspec.Struct):
    result: dict[str, Cell | str | None]


_LIST, _ONE = msgspec.json.Decoder(_List), msgspec.json.Decoder(_One)


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of one reply to a question for `limit` of them. `next_link` is set when the server offers more;
    `served_at` is the server's own Date; `total` counts what matched, rows that are hidden from us too."""

    rows: tuple[Row, ...]
    has_more: bool
    next_link: str | None
    served_at: datetime | None
    total: int | None
    limit: int

    @property
    def hides(self) -> bool:
        """Whether fewer rows came than there are: the limit and the count are taken before access rules."""
        return self.total is not None and len(self.rows) < min(self.total, self.limit)


class Tables:
    """Rows of any table. Raises what `Wire` raises."""

    def __init__(self, wire: Wire, sizes: Sizes | None = None) -> None:
        self.wire, self.sizes = wire, sizes or Sizes()

    def page(self, table: str, query: str, fields: Sequence[str], *, limit: int | None, operation: str) -> Page:
        """One page of so many rows, or of as many as the instance serves, whichever is less.

        Halved and asked for again when it was cut, cancelled or late. Raises what was wrong when that does not help.
        """
        dared = self.sizes.of(table)
        rows = dared if limit is None else min(limit, dared)
        late = 0
        while True:
            params, may_shrink = _params(query, fields, rows), rows > SMALLEST and late < HALVINGS_MAX
            try:
                answer = self.wire.get(f"{BASE}/{table}", params=params, operation=operation, shrinks=may_shrink)
                page = _page(answer, rows)
            except (Truncated, TooMuch, Rejected) as error:
                if not may_shrink or (isinstance(error, Rejected) and error.status != TOO_LARGE):
                    raise
                late += isinstance(error, TooMuch)
                rows = dared = self.sizes.less(table, rows)
                continue
            if rows == dared:
                self.sizes.served(table, len(answer.body))
            return page

    def more(self, page: Page, table: str, *, operation: str) -> Page:
        """The page behind one whose rows are all hidden: the key cannot advance, so the server's link is followed."""
        if page.next_link is None:
            raise Malformed(SYSTEM, f"rows of {table} are hidden, and nothing leads to those behind them")
        answer = self.wire.follow(page.next_link, operation=operation, under=f"{BASE}/{table}")
        return _page(answer, page.limit)

    def rows(
        self,
        table: str,
        query: str,
        fields: Sequence[str],
        *,
        operation: str,
        fits: Callable[[Row], bool],
        counted: Callable[[int], None] | None = None,
    ) -> Iterator[Row]:
        """All visible rows that match, in the order of sys_id. `fits` says whether a row belongs to the query, and
        `counted` is told how many there are, hidden ones too, when the server says so (servicenow.md section 4).

        Raises Malformed for a row that does not fit, or out of order: a clause was ignored by the server.
        """
        last = ""
        for _ in range(PAGES_MAX):
            after = f"^sys_id>{last}" if last else ""
            page = self.page(table, f"{query}{after}^ORDERBYsys_id", fields, limit=None, operation=operation)
            if counted is not None and not last and page.total is not None:
                counted(page.total)
            while not page.rows and page.has_more:
                page = self.more(page, table, operation=operation)
            for row in page.rows:
                current = row.need("sys_id")
                if current <= last or not fits(row):
                    raise Malformed(SYSTEM, f"a row of {table} that was not asked for: a part of the query is ignored")
                last = current
                yield row
            if not page.has_more or not page.rows:
                return
        raise Malformed(SYSTEM, f"{operation} does not end")

    def one(self, table: str, record: str, fields: Sequence[str], *, operation: str) -> Row:
        """One record. Raises NotFound when it is not there or not visible: the two cannot be told apart."""
        params = {k: v for k, v in _params("", fields, 1).items() if k not in ("sysparm_query", "sysparm_limit")}
        answer = self.wire.get(f"{BASE}/{table}/{sys_id(record)}", params=params, operation=operation)
        row = _one(answer)
        if row.need("sys_id") != record:
            raise Malformed(SYSTEM, f"another record of {table} than the one asked for", request_id=answer.request_id)
        return row

    def create(self, table: str, body: dict[str, str], fields: Sequence[str], *, operation: str) -> tuple[Row, Reply]:
        """Insert one record. Raises OutcomeUnknown for every reply that does not show the new record."""
        answer = self.wire.post(f"{BASE}/{table}", json=body, params=_write_params(fields), operation=operation)
        try:
            row = _one(answer)
            row.need("sys_id")
        except Malformed as error:
            raise OutcomeUnknown(SYSTEM, error.why, status=answer.status, request_id=answer.request_id) from None
        return row, reply(answer)

    def update(self, table: str, record: str, body: dict[str, str], *, operation: str) -> Reply:
        """Change named fields of one record. A field that a rule or ACL keeps as it was gives no error: read back."""
        url = f"{BASE}/{table}/{sys_id(record)}"
        return reply(self.wire.patch(url, json=body, params=_write_params(("sys_id",)), operation=operation))


def reply(answer: Answer) -> Reply:
    return Reply(answer.request_id, answer.client_request_id, answer.status)


def _params(query: str, fields: Sequence[str], limit: int) -> dict[str, str]:
    return {
        "sysparm_query": query,
        "sysparm_fields": ",".join(dict.fromkeys(("sys_id", *fields))),
        "sysparm_display_value": "all",
        "sysparm_exclude_reference_link": "true",
        "sysparm_limit": str(limit),
    }


def _write_params(fields: Sequence[str]) -> dict[str, str]:
    params = _params("", fields, 1)
    return {k: params[k] for k in ("sysparm_fields", "sysparm_display_value", "sysparm_exclude_reference_link")}


def _page(answer: Answer, limit: int) -> Page:
    try:
        listed = _LIST.decode(answer.body).result
        rows = tuple(map(Row, map(_seen, listed) if _NULL in answer.body else listed))
    except msgspec.DecodeError as error:
        # An empty string among the rows was seen with cut streams and large limits: fewer rows may help.
        raise Truncated(SYSTEM, cut(error), request_id=answer.request_id) from None
    link, total = answer.headers.get("Link"), total_of(answer)
    found = _NEXT.search(link or "")
    next_link = found.group(1) if found else None
    served_at = http_date(answer.headers.get("Date"))
    return Page(rows, _has_more(rows, limit, link, next_link, total), next_link, served_at, total, limit)


def _seen(cells: dict[str, Cell | str | None]) -> dict[str, Cell | str | None]:
    """The cells of a row, with a sign that is seen where U+0000 stands."""

    def seen(said: str | None) -> str | None:
        return said.replace("\0", "\ufffd") if said is not None else None

    return {n: Cell(seen(c.value), seen(c.display_value)) if isinstance(c, Cell) else seen(c) for n, c in cells.items()}


def total_of(answer: Answer) -> int | None:
    """How many rows match, those that are hidden from us too; None when the server does not say."""
    count = answer.headers.get("X-Total-Count", "")
    return int(count) if count.isdigit() else None


def _has_more(rows: Sequence[Row], limit: int, link: str | None, next_link: str | None, total: int | None) -> bool:
    """End = no next link, or everything counted (servicenow.md section 4). Without either header only an empty page is
    the end: rows of a short one may be hidden.

    A followed link carries its own offset, so there the link alone decides.
    """
    if link is not None:
        return next_link is not None
    return total > limit if total is not None else bool(rows)


def _one(answer: Answer) -> Row:
    try:
        found = _ONE.decode(answer.body).result
        return Row(_seen(found) if _NULL in answer.body else found)
    except msgspec.DecodeError as error:
        raise Malformed(SYSTEM, cut(error), request_id=answer.request_id) from None
