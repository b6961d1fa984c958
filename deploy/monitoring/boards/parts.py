"""What the dashboards share."""

from __future__ import annotations

from deploy.monitoring.values import Kind, Panel, Query, Step

T = 'tenant=~"$tenant"'
GOOD, WARN, BAD = "green", "orange", "red"
TARGET = "reconciler:false_fulfilment:target"
OPEN = "held|awaiting_approval|approved|waiting_for_seat|converging|verifying|drifted|revoking|review|received"


def rising(warn: float | None = None, bad: float | None = None) -> tuple[Step, ...]:
    """Green, and worse the higher it is."""
    found = [Step(GOOD)]
    found += [Step(WARN, warn)] if warn is not None else []
    return (*found, Step(BAD, bad)) if bad is not None else tuple(found)


def falling(bad: float, warn: float) -> tuple[Step, ...]:
    """Red below `bad`, green from `warn` on."""
    return (Step(BAD), Step(WARN, bad), Step(GOOD, warn))


def stat(
    title: str,
    expr: str,
    about: str,
    *,
    unit: str = "short",
    steps: tuple[Step, ...] = (),
    legend: str = "",
    width: int = 4,
    height: int = 4,
    names: tuple[tuple[float, str, str], ...] = (),
) -> Panel:
    """One number, or one for each series."""
    return Panel(
        title, Kind.STAT, (Query(expr, legend),), about, unit=unit, steps=steps, width=width, height=height, names=names
    )


def trend(
    title: str,
    about: str,
    *queries: tuple[str, str],
    unit: str = "short",
    stacked: bool = False,
    width: int = 8,
    max: float | None = None,
) -> Panel:
    """Lines over time."""
    asked = tuple(Query(expr, legend) for expr, legend in queries)
    return Panel(title, Kind.TREND, asked, about, unit=unit, width=width, is_stacked=stacked, max=max)


def bars(
    title: str, expr: str, legend: str, about: str, *, unit: str = "s", steps: tuple[Step, ...] = (), width: int = 8
) -> Panel:
    """What is now, one bar a series."""
    return Panel(title, Kind.BARS, (Query(expr, legend),), about, unit=unit, steps=steps, width=width)


def table(
    title: str,
    about: str,
    by: str,
    *columns: tuple[str, str],
    width: int = 12,
    unit: str = "short",
    names: tuple[tuple[float, str, str], ...] = (),
) -> Panel:
    """One row for each value of the label `by`; columns are expressions and their titles."""
    asked = tuple(Query(expr, legend) for expr, legend in columns)
    return Panel(title, Kind.TABLE, asked, about, width=width, joined_by=by, unit=unit, names=names)
