"""What a dashboard and a rule consist of. Pure values; `grafana` and `prometheus` write them down."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    STAT = "stat"
    TREND = "timeseries"
    BARS = "bargauge"
    TABLE = "table"


@dataclass(frozen=True, slots=True)
class Query:
    """One expression. `legend` is Grafana's template, or a column's title in a table."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """From this value on, this colour. `at` None: the base."""

    colour: str
    at: float | None = None


@dataclass(frozen=True, slots=True)
class Panel:
    """`width` of 24, `height` in rows of the grid. `names` turn values into words."""

    title: str
    kind: Kind
    queries: tuple[Query, ...]
    about: str
    unit: str = "short"
    width: int = 8
    height: int = 8
    steps: tuple[Step, ...] = ()
    is_stacked: bool = False
    names: tuple[tuple[float, str, str], ...] = ()  # value, word, colour
    joined_by: str = ""  # of a table: the label that makes a row
    max: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """`uid` is its place in Grafana's addresses and the name of its file."""

    uid: str
    title: str
    about: str
    rows: tuple[Row, ...]
    since: str = "now-7d"
    variables: tuple[str, ...] = ("tenant",)

    @property
    def panels(self) -> tuple[Panel, ...]:
        return tuple(panel for row in self.rows for panel in row.panels)


@dataclass(frozen=True, slots=True)
class Recording:
    """A series that is worked out beforehand."""

    record: str
    expr: str


class Severity(StrEnum):
    PAGE = "page"  # somebody gets up for it
    TICKET = "ticket"  # on a working day


@dataclass(frozen=True, slots=True)
class Alert:
    """`value` always has series while the service is scraped; `is_bad` is the comparison that leaves the bad ones.

    `missing` is the expression of its twin, which fires when `value` could not be worked out any more. `section` is the
    heading in docs/runbook.md.
    """

    name: str
    value: str
    is_bad: str
    summary: str
    missing: str
    for_: str = "0s"
    severity: Severity = Severity.TICKET
    twin: str = ""  # its name; left out, the alert's with "Missing"
    only_where: str = ""  # a set operation behind the comparison

    @property
    def expr(self) -> str:
        return " ".join(part for part in (f"({self.value})", self.is_bad, self.only_where) if part)

    @property
    def twin_name(self) -> str:
        return self.twin or f"{self.name}Missing"


@dataclass(frozen=True, slots=True)
class Group:
    name: str
    interval: str
    rules: tuple[Recording, ...] = field(default=())
