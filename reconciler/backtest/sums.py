"""Classes added up: a rate as a range, for all lines and by product, cause and assignment group. Pure.

What always holds: every line is in exactly one class; the classes of a group add up to its lines; those of all groups
of one kind add up to the whole; low <= likely <= high, each between 0 and 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from statistics import median

from reconciler.backtest.values import APART, Judged, Replayed, Standing, Waste

S = Standing
_LATE = (S.LATE_PROVEN, S.LATE_LIKELY)
CAME_LATER = "came_later"


@dataclass(frozen=True, slots=True)
class Range:
    """A share of `of` lines: at least `low` lines, `likely` as it seems, at most `high`."""

    low: int
    likely: int
    high: int
    of: int

    def share(self, count: int) -> float | None:
        """0 to 1, None of nothing."""
        return count / self.of if self.of else None


@dataclass(frozen=True, slots=True)
class Sum:
    """The lines of one group. `late_s` are seconds from closing to access of those that came late, ascending."""

    name: str
    counts: Mapping[Standing, int]
    late_s: tuple[float, ...]

    @property
    def lines(self) -> int:
        return sum(self.counts.values())

    @property
    def judged(self) -> int:
        """The lines that rates are of: without people who left and periods that are over."""
        return sum(n for standing, n in self.counts.items() if standing not in APART)

    @property
    def without_access(self) -> Range:
        """Closed as granted, never with access: proven, with the likely ones, with those that cannot be told."""
        low = self.counts[S.FALSE_PROVEN]
        likely = low + self.counts[S.FALSE_LIKELY]
        return Range(low, likely, likely + self.counts[S.UNKNOWN], self.judged)

    @property
    def late(self) -> Range:
        """Access that came after the closing; at most with all whose date is not known."""
        low = self.counts[S.LATE_PROVEN]
        likely = low + self.counts[S.LATE_LIKELY]
        return Range(low, likely, likely + self.counts[S.UNDATED], self.judged)

    @property
    def at_closing(self) -> Range:
        """Both together: no access at the instant of the closing, the false-fulfilment rate."""
        a, b = self.without_access, self.late
        return Range(a.low + b.low, a.likely + b.likely, a.high + b.high, self.judged)

    @property
    def late_median_s(self) -> float | None:
        return median(self.late_s) if self.late_s else None


@dataclass(frozen=True, slots=True)
class Spent:
    """Wrong grants of one kind. `unpriced` are those whose price is not configured, `undated` those of unknown age."""

    kind: Waste
    lines: int
    monthly: Decimal
    so_far: Decimal
    unpriced: int
    undated: int


def total(report: Replayed) -> Sum:
    return _sum("all", report.lines)


def by_product(report: Replayed) -> tuple[Sum, ...]:
    return _by(report.lines, lambda j: j.product or "not understood")


def by_cause(report: Replayed) -> tuple[Sum, ...]:
    """By what is wrong now. What came late is mended, and its reason gone: "came_later". Nothing wrong: "none"."""
    return _by(report.lines, lambda j: CAME_LATER if j.standing in _LATE else j.cause.value if j.cause else "none")


def by_group(report: Replayed) -> tuple[Sum, ...]:
    return _by(report.lines, lambda j: j.group or "no group")


def spent(report: Replayed) -> tuple[Spent, ...]:
    """Every kind of waste, also those that there is nothing of. One licence of one person counts once."""
    found: dict[tuple[Waste, str, str], Judged] = {}
    for judged in report.lines:
        if judged.cost is not None:
            found.setdefault((judged.cost.kind, judged.person, judged.cost.product), judged)
    costs = [j.cost for j in found.values() if j.cost is not None]
    return tuple(
        Spent(
            kind,
            len(own := [c for c in costs if c.kind is kind]),
            sum((c.monthly for c in own if c.monthly is not None), Decimal(0)),
            sum((c.so_far for c in own if c.so_far is not None), Decimal(0)),
            sum(1 for c in own if c.monthly is None),
            sum(1 for c in own if c.since is None),
        )
        for kind in Waste
    )


def steps(report: Replayed) -> dict[str, int]:
    """How many lines each step would have been taken for, the most frequent first."""
    counted = Counter(j.would.step.value for j in report.lines)
    return dict(sorted(counted.items(), key=lambda pair: (-pair[1], pair[0])))


def _by(lines: Iterable[Judged], key: Callable[[Judged], str]) -> tuple[Sum, ...]:
    groups: dict[str, list[Judged]] = {}
    for judged in lines:
        groups.setdefault(key(judged), []).append(judged)
    sums = [_sum(name, own) for name, own in groups.items()]
    return tuple(sorted(sums, key=lambda s: (-s.at_closing.likely, -s.at_closing.high, -s.lines, s.name)))


def _sum(name: str, lines: Iterable[Judged]) -> Sum:
    own = tuple(lines)
    counted = Counter(j.standing for j in own)
    return Sum(name, {s: counted[s] for s in Standing}, tuple(sorted(j.late_s for j in own if j.late_s is not None)))
