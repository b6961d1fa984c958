"""What a table is made of: columns, their kinds, lengths and choices. Pure.

Rows are sparse `dict[str, str]`: every value is text as the Table API stores it, and an empty value is simply absent.
A column belongs to the table that declares it and is inherited by the tables that extend it, as `task` does for
requests, items and catalog tasks (servicenow.md section 7).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

Row = Mapping[str, str]
"""One stored row; treat it as frozen, a change makes a new one."""


class Kind(StrEnum):
    """How a column's text is compared, shaped and shown; the values are sys_dictionary's `internal_type`."""

    STRING = "string"
    GUID = "GUID"
    INTEGER = "integer"
    PRICE = "price"
    BOOLEAN = "boolean"
    DATE_TIME = "glide_date_time"
    DUE = "due_date"
    DURATION = "glide_duration"
    REFERENCE = "reference"
    DOCUMENT = "document_id"
    JOURNAL = "journal_input"
    JOURNAL_LIST = "journal_list"


NUMERIC = frozenset({Kind.INTEGER, Kind.PRICE})
TIMES = frozenset({Kind.DATE_TIME, Kind.DUE})
REFERENCES = frozenset({Kind.REFERENCE, Kind.DOCUMENT})
JOURNALS = frozenset({Kind.JOURNAL, Kind.JOURNAL_LIST})


@dataclass(frozen=True)
class Choice:
    """One entry of a choice list."""

    value: str
    label: str


@dataclass(frozen=True)
class Column:
    """One column as sys_dictionary describes it; `length` 0 is without limit."""

    name: str
    kind: Kind = Kind.STRING
    label: str = ""
    reference: str = ""
    length: int = 0
    choices: tuple[Choice, ...] = ()
    default: str = ""

    @property
    def is_choice(self) -> bool:
        """Whether values come from a list."""
        return bool(self.choices)


@dataclass(frozen=True)
class Table:
    """One table. `display` is the column whose value stands for a row where people read it."""

    name: str
    label: str
    own: Mapping[str, Column]
    display: str = ""
    parent: str = ""
    prefix: str = ""
    system_columns: tuple[str, ...] = ()


@dataclass
class Schema:
    """All tables of one instance, with the columns and choices a customer added."""

    tables: dict[str, Table]
    _columns: dict[str, dict[str, Column]] = field(default_factory=dict)
    _children: dict[str, tuple[str, ...]] = field(default_factory=dict)
    revision: int = 0
    """Grows with each column that is added; what was looked up at one revision holds until the next."""

    def has(self, table: str) -> bool:
        """Whether the table exists."""
        return table in self.tables

    def columns(self, table: str) -> Mapping[str, Column]:
        """Every column of `table` by name, inherited ones first."""
        found = self._columns.get(table)
        if found is None:
            spec = self.tables[table]
            found = dict(self.columns(spec.parent)) if spec.parent else {}
            found.update(spec.own)
            self._columns[table] = found
        return found

    def column(self, table: str, name: str) -> Column | None:
        """The column, or None; names are case-sensitive (section 2)."""
        return self.columns(table).get(name)

    def concrete(self, table: str) -> tuple[str, ...]:
        """The tables whose rows a read of `table` shows: its children, or itself."""
        found = self._children.get(table)
        if found is None:
            found = tuple(name for name, spec in self.tables.items() if spec.parent == table) or (table,)
            self._children[table] = found
        return found

    def extends(self, table: str, ancestor: str) -> bool:
        """Whether `table` is `ancestor` or extends it."""
        return table == ancestor or self.tables[table].parent == ancestor

    def declared(self) -> Iterator[tuple[str, Column]]:
        """Each column once, with the table that declares it: the rows of sys_dictionary."""
        for name, spec in self.tables.items():
            for column in spec.own.values():
                yield name, column

    def add_column(self, table: str, column: Column) -> None:
        """Add or replace a column, as a customer's administrator would."""
        spec = self.tables[table]
        own = {**spec.own, column.name: column}
        self.tables[table] = Table(
            spec.name, spec.label, own, spec.display, spec.parent, spec.prefix, spec.system_columns
        )
        self._columns.clear()
        self.revision += 1


def columns(*made: Column) -> dict[str, Column]:
    """Columns by name."""
    return {column.name: column for column in made}


def text(name: str, length: int = 0, label: str = "") -> Column:
    """A text column."""
    return Column(name, Kind.STRING, label or _label(name), length=length)


def number(name: str, default: str = "") -> Column:
    """A whole number."""
    return Column(name, Kind.INTEGER, _label(name), default=default)


def flag(name: str, default: str = "") -> Column:
    """A true/false column."""
    return Column(name, Kind.BOOLEAN, _label(name), default=default)


def instant(name: str, kind: Kind = Kind.DATE_TIME) -> Column:
    """A date and time, stored in UTC."""
    return Column(name, kind, _label(name))


def reference(name: str, table: str, default: str = "") -> Column:
    """A reference to a row of `table`."""
    return Column(name, Kind.REFERENCE, _label(name), reference=table, length=32, default=default)


def choice(name: str, choices: Iterable[tuple[str, str]], default: str = "", kind: Kind = Kind.STRING) -> Column:
    """A column with a choice list of (value, label)."""
    listed = tuple(Choice(value, label) for value, label in choices)
    return Column(name, kind, _label(name), choices=listed, default=default)


def _label(name: str) -> str:
    return name.replace("_", " ").capitalize()
