"""A file of closed tickets, CSV or JSON, as the tickets that intake reads. Pure: text in, values out.

One record is one requested item. Columns are ServiceNow's own names; which ones are read stands in `COLUMNS` and in
docs/backtest.md, all others are left aside. What cannot be read is one sentence with file, row and column: a row that
is guessed would be counted. Rows count as a spreadsheet shows them: the header is row 1; JSON records count from 1.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from desired_state.items import Item
from desired_state.model import Person, Ticket
from desired_state.text import one_line
from reconciler.errors import UserError

NEEDED = ("number", "cat_item", "closed_at")
COLUMNS = (
    *NEEDED,
    *("requested_for", "requested_for.name", "requested_for.employee_number", "requested_for.active"),
    *("requested_for.country", "product", "opened_at", "state", "stage", "approval", "active"),
    *("assignment_group", "closed_by", "price", "close_notes"),
)
VARIABLE = "variables."
BYTES_MAX, RECORDS_MAX, CELL_MAX = 64 * 2**20, 100_000, 20_000
_YES, _NO = frozenset({"true", "1", "yes"}), frozenset({"false", "0", "no"})


@dataclass(frozen=True, slots=True)
class Exported:
    """What the file holds. `groups` are the names of assignment groups by ticket; `strange` counts unknown items."""

    tickets: tuple[Ticket, ...]
    groups: Mapping[str, str]
    strange: int


@dataclass(frozen=True, slots=True)
class _Record:
    file: str
    row: int
    cells: Mapping[str, str]

    def text(self, column: str) -> str:
        return self.cells.get(column, "").strip()

    def wrong(self, column: str, why: str) -> UserError:
        return UserError(f"{self.file}, row {self.row}, column '{column}': {why}")

    def need(self, column: str) -> str:
        if not self.text(column):
            raise self.wrong(column, "it is empty, and every record needs it")
        return self.text(column)

    def instant(self, column: str, at: datetime) -> datetime | None:
        text = self.text(column)
        if not text:
            return None
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            raise self.wrong(
                column, f"'{one_line(text, 40)}' is no instant; 2026-11-02 09:00:00 (UTC) or ISO 8601 is expected"
            ) from None
        try:
            found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
        except OverflowError:
            raise self.wrong(column, f"'{one_line(text, 40)}' is outside of all calendars") from None
        if found > at + timedelta(days=1):
            raise self.wrong(column, f"{found:%Y-%m-%d} is in the future")
        if found.year < 2000:
            raise self.wrong(column, f"{found:%Y-%m-%d} is before 2000")
        return found

    def flag(self, column: str) -> bool | None:
        text = self.text(column).lower()
        if not text:
            return None
        if text not in _YES | _NO:
            raise self.wrong(column, f"'{one_line(text, 40)}' is neither true nor false")
        return text in _YES

    def amount(self, column: str) -> Decimal | None:
        text = self.text(column)
        if not text:
            return None
        try:
            amount = Decimal(text)
        except InvalidOperation:
            amount = Decimal("NaN")
        if not amount.is_finite() or amount < 0:
            raise self.wrong(column, f"'{one_line(text, 40)}' is no amount, for example 28.10")
        return amount


def read(data: bytes, file: str, items: Mapping[str, Item], *, at: datetime, complete: str = "3") -> Exported:
    """The tickets of a file. `items` are the configured catalogue items by the id that tickets carry; a record names
    its item by that id or by the item's name. `complete` is the state of a record that gives none.

    Raises:
        UserError: the file is no such file, or one of its cells cannot be read.
    """
    if len(data) > BYTES_MAX:
        raise UserError(f"{file} has more than {BYTES_MAX // 2**20} MB; export a shorter time")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: byte {error.start + 1} is no UTF-8; save it as UTF-8") from None
    is_json = file.lower().endswith(".json") or text.lstrip()[:1] in ("[", "{")
    records = _of_json(text, file) if is_json else _of_csv(text, file)
    return _Taken(items, at, complete).all(records)


@dataclass(frozen=True, slots=True)
class _Taken:
    items: Mapping[str, Item]
    at: datetime
    complete: str

    def all(self, records: Iterator[_Record]) -> Exported:
        found: dict[str, tuple[int, Ticket]] = {}
        groups: dict[str, str] = {}
        strange = 0
        for count, record in enumerate(records, 1):
            if count > RECORDS_MAX:
                raise UserError(f"{record.file} has more than {RECORDS_MAX} records; export a shorter time")
            key = self._item(record.need("cat_item"))
            ticket = self._ticket(record, key or "")
            if key is None:
                strange += 1
                continue
            before = found.get(ticket.number)
            if before is not None:
                if self.items[key].rows is None:
                    raise record.wrong("number", f"{ticket.number} stands in row {before[0]} already")
                ticket = replace(before[1], rows=(*before[1].rows, *ticket.rows))
            found[ticket.number] = (record.row, ticket)
            groups[ticket.number] = one_line(record.text("assignment_group"), 120)
        return Exported(tuple(ticket for _, ticket in found.values()), groups, strange)

    def _item(self, named: str) -> str | None:
        if named in self.items:
            return named
        return next((key for key, item in self.items.items() if item.name.casefold() == named.casefold()), None)

    def _ticket(self, record: _Record, key: str) -> Ticket:
        number = one_line(record.need("number"), 40)
        closed_at = record.instant("closed_at", self.at)
        if closed_at is None:
            raise record.wrong("closed_at", "it is empty, and every record needs it")
        state = record.text("state") or self.complete
        active = record.flag("active")
        item = self.items.get(key)
        asked = {k.removeprefix(VARIABLE): v for k, v in record.cells.items() if k.startswith(VARIABLE)}
        rows: tuple[Mapping[str, str], ...] = ()
        if item is not None:
            own, rows = _form(record, item)
            asked |= own
        return Ticket(
            sys_id=number,
            number=number,
            item=key,
            item_name=one_line(record.text("cat_item"), 120),
            state=state,
            stage=record.text("stage"),
            approval=record.text("approval") or "approved",
            is_active=active if active is not None else False,
            request="",
            request_number="",
            request_approval="",
            opened_at=record.instant("opened_at", self.at) or closed_at,
            updated_at=closed_at,
            mod_count=0,
            closed_at=closed_at,
            closed_by=one_line(record.text("closed_by"), 120),
            requested_for=_person(record),
            price=record.amount("price"),
            close_notes=one_line(record.text("close_notes"), 400),
            variables=asked,
            rows=rows,
        )


def _form(record: _Record, item: Item) -> tuple[dict[str, str], tuple[Mapping[str, str], ...]]:
    """What `product` and `requested_for` say, as answers of the item's own form."""
    product, person = record.text("product"), record.text("requested_for")
    own: dict[str, str] = {}
    if product and item.variables.product and not record.text(VARIABLE + item.variables.product):
        own[item.variables.product] = product
    if item.rows is None:
        return own, ()
    row = {k: v for k, v in ((item.rows.product, product), (item.rows.person, person)) if k and v}
    return own, (row,)


def _person(record: _Record) -> Person | None:
    who = record.text("requested_for")
    if not who:
        return None
    name = one_line(who, 200)
    return Person(
        sys_id=name,
        user_name=name,
        email=name if "@" in name else None,
        name=one_line(record.text("requested_for.name"), 120) or None,
        employee_number=record.text("requested_for.employee_number") or None,
        is_active=record.flag("requested_for.active"),
        country=record.text("requested_for.country") or None,
    )


def _of_csv(text: str, file: str) -> Iterator[_Record]:
    first = text.splitlines()[0] if text.strip() else ""
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    row = 0
    try:
        header = [name.strip() for name in next(reader, [])]
        _fit(header, file)
        row = 1
        for cells in reader:
            row += 1
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                raise UserError(f"{file}, row {row}: it has {len(cells)} cells, and the header has {len(header)}")
            yield _checked(_Record(file, row, dict(zip(header, cells, strict=True))))
    except csv.Error as error:
        raise UserError(f"{file}, row {row + 1}: it is no CSV ({error})") from None


def _fit(header: list[str], file: str) -> None:
    missing = [name for name in NEEDED if name not in header]
    if missing:
        raise UserError(f"{file}, row 1: the column '{missing[0]}' is missing; needed are {', '.join(NEEDED)}")
    twice = next((name for name in header if name and header.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"{file}, row 1: the column '{one_line(twice, 60)}' is there twice")


def _of_json(text: str, file: str) -> Iterator[_Record]:
    try:
        found: Any = json.loads(text)
    except ValueError as error:
        place = f"line {error.lineno}, column {error.colno}: " if isinstance(error, json.JSONDecodeError) else ""
        raise UserError(f"{file}, {place}it is no JSON") from None
    except RecursionError:
        raise UserError(f"{file} is no list of records: it is nested too deeply") from None
    if isinstance(found, dict):
        found = next((found[key] for key in ("records", "result") if key in found), None)
    if not isinstance(found, list):
        raise UserError(f'{file} is no list of records; [{{…}}, …] or {{"records": [{{…}}, …]}} is expected')
    for row, one in enumerate(found, 1):
        if not isinstance(one, dict):
            raise UserError(f"{file}, row {row}: a record is an object with a value for each column")
        yield _checked(_Record(file, row, _flat(one, file, row)))


def _flat(one: Mapping[str, Any], file: str, row: int) -> dict[str, str]:
    cells: dict[str, str] = {}
    for name, value in one.items():
        if name == "variables" and isinstance(value, dict):
            cells |= {VARIABLE + k: _plain(v, file, row, VARIABLE + k) for k, v in value.items()}
        elif name in COLUMNS or name.startswith(VARIABLE):
            cells[name] = _plain(value, file, row, name)
    return cells


def _plain(value: Any, file: str, row: int, column: str) -> str:
    """A value as a cell. The Table API's {"value", "display_value"} counts with its value."""
    if isinstance(value, dict) and "value" in value:
        value = value["value"]
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise UserError(f"{file}, row {row}, column '{one_line(column, 60)}': a text or a number is expected")


def _checked(record: _Record) -> _Record:
    for name, value in record.cells.items():
        if len(value) > CELL_MAX:
            raise record.wrong(one_line(name, 60), f"it has more than {CELL_MAX} characters")
    return record
