"""Bars of the backtest's page: where each part begins and how wide it is. Pure. Every number stands beside its bar."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from desired_state.text import one_line
from reconciler.backtest.sums import Range, Sum
from reconciler.backtest.values import Judged, Replayed

WIDTH = 640  # of the drawn area, in units of the viewBox
BARS_MAX = 12
NAME_MAX = 34
_HOUR, _DAY = 3600.0, 86400.0
LATENESS = ((_HOUR, "up to 1 hour"), (_DAY, "1 to 24 hours"), (7 * _DAY, "1 to 7 days"), (30 * _DAY, "7 to 30 days"))


@dataclass(frozen=True, slots=True)
class Part:
    kind: str  # proven, likely, open, rest
    x: float
    width: float
    count: int


@dataclass(frozen=True, slots=True)
class Bar:
    """`words` say the bar for whoever does not see it."""

    name: str
    parts: tuple[Part, ...]
    label: str
    words: str


def ranged(name: str, found: Range, scale: int) -> Bar:
    """A range as one bar of `found.of` lines, where `scale` lines are the whole width."""
    counts = {
        "proven": found.low,
        "likely": found.likely - found.low,
        "open": found.high - found.likely,
        "rest": found.of - found.high,
    }
    shown = one_line(name, 120)
    words = (
        f"{shown}: of {found.of} lines {found.low} proven, {found.likely - found.low} more likely, "
        f"{found.high - found.likely} that cannot be told, {found.of - found.high} with access at the closing"
    )
    label = f"{found.low}\u2013{found.high} of {found.of}" if found.low != found.high else f"{found.low} of {found.of}"
    return Bar(one_line(name, NAME_MAX), _parts(counts, scale), label, words)


def groups(sums: Sequence[Sum]) -> tuple[Bar, ...]:
    """The groups with something to say, worst first as they come."""
    shown = [s for s in sums if s.judged][:BARS_MAX]
    scale = max((s.judged for s in shown), default=1)
    return tuple(ranged(s.name, s.at_closing, scale) for s in shown)


def counted(counts: Mapping[str, int]) -> tuple[Bar, ...]:
    scale = max(counts.values(), default=1) or 1
    return tuple(
        Bar(name, _parts({"plain": n}, scale), str(n), f"{name}: {n} lines")
        for name, n in list(counts.items())[:BARS_MAX]
    )


def lateness(report: Replayed) -> tuple[Bar, ...]:
    """How long after the closing access came, in steps; () where none came late."""
    late = [j.late_s for j in report.lines if j.late_s is not None]
    if not late:
        return ()
    return counted({name: sum(1 for s in late if low < s <= high) for name, low, high in _steps()})


def _steps() -> Iterable[tuple[str, float, float]]:
    low = float("-inf")
    for high, name in LATENESS:
        yield name, low, high
        low = high
    yield "more than 30 days", low, float("inf")


def _parts(counts: Mapping[str, int], scale: int) -> tuple[Part, ...]:
    parts, x = [], 0.0
    for kind, count in counts.items():
        width = WIDTH * count / max(scale, 1)
        if count:
            parts.append(Part(kind, round(x, 1), round(width, 1), count))
        x += width
    return tuple(parts)


def worst_first(lines: Iterable[Judged], order: Sequence[str]) -> tuple[Judged, ...]:
    """Lines as people want to read them: what was false before what was true."""
    return tuple(sorted(lines, key=lambda j: (order.index(j.standing.value), j.number, j.line)))
