"""How many lines are in which state, and how many were on each day before: what the board and the metrics count. Pure.

A line is counted by its kind. It drifts when something is named that keeps its access from being as declared, and a
line that has come to its end drifts no more. The number at the end of a day is today's, less what changed since.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from reconciler.lifecycle import FINAL, Phase
from reconciler.model import Verdict

DAY, WEEK = timedelta(days=1), timedelta(days=7)
TREND_DAYS = 30


@dataclass(frozen=True, slots=True)
class Kind:
    """What lines are counted by. `product` is a catalogue key; "" stands for none in each."""

    product: str
    phase: str
    cause: str
    verdict: str

    @property
    def drifts(self) -> bool:
        return bool(self.cause) and self.phase not in FINAL

    @property
    def is_false(self) -> bool:
        """Its ticket says that it is fulfilled, and the access is not there."""
        return self.verdict == Verdict.FALSE and self.phase not in FINAL


@dataclass(frozen=True, slots=True)
class Count:
    """How many lines of one kind there are."""

    kind: Kind
    lines: int


@dataclass(frozen=True, slots=True)
class Ages:
    """Since when the oldest of some lines is in its phase; how many are in it for more than a day, or a week.

    Lines at rest are not counted by age: None.
    """

    oldest: datetime | None = None
    over_day: int | None = None
    over_week: int | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """By how many the lines of one kind grew on a day (UTC)."""

    day: date
    kind: Kind
    change: int


@dataclass(frozen=True, slots=True)
class Trend:
    """A number at the end of each of the last days, today's last; None for days of which nothing is known."""

    days: tuple[int | None, ...] = ()

    @property
    def now(self) -> int:
        return (self.days[-1] if self.days else None) or 0

    @property
    def week(self) -> int | None:
        """The change in seven days; None when it is not known."""
        before = self.days[-8] if len(self.days) > 7 else None
        return None if before is None else self.now - before


@dataclass(frozen=True, slots=True)
class Row:
    """Drift of one cause, of one product, or of a product by one cause. `closed`: of tickets that say fulfilled."""

    lines: int
    closed: int
    trend: Trend
    cause: str = ""
    product: str = ""
    oldest: datetime | None = None  # known by cause
    causes: tuple[tuple[str, int], ...] = ()  # of a product, the most frequent first


@dataclass(frozen=True, slots=True)
class PhaseRow:
    """One phase with the ages of what is in it."""

    phase: str
    lines: int
    ages: Ages


@dataclass(frozen=True, slots=True)
class Board:
    """Where everything stands. `verdicts` counts lines of tickets that say fulfilled, by verdict; `false` are those
    whose access is not there. `days` are those of every trend."""

    at: datetime
    lines: int
    verdicts: Mapping[str, int]
    false: Trend
    drift: Trend
    causes: tuple[Row, ...]
    products: tuple[Row, ...]
    phases: tuple[PhaseRow, ...]
    known_since: date | None
    days: tuple[date, ...]


def shown_days(at: datetime, days: int = TREND_DAYS) -> tuple[date, ...]:
    """The days of a trend, today's last."""
    return tuple(at.date() - DAY * n for n in reversed(range(days)))


def board(
    counts: Sequence[Count],
    moves: Sequence[Move],
    *,
    at: datetime,
    known_since: date | None,
    by_phase: Mapping[str, Ages],
    by_cause: Mapping[str, datetime],
) -> Board:
    """Everything that the board counts. `moves` are those of the days of a trend; ages are by phase, and by cause since
    when the oldest waits."""
    days = shown_days(at)
    trends = _Trends(days, known_since)
    drifting = [c for c in counts if c.kind.drifts]
    changed = [m for m in moves if m.kind.drifts]
    verdicts = Counter({v.value: 0 for v in Verdict})
    for count in counts:
        if count.kind.verdict and count.kind.phase not in FINAL:
            verdicts[count.kind.verdict] += count.lines
    false = [c for c in counts if c.kind.is_false]
    by_both: dict[str, Counter[str]] = {}
    for count in drifting:
        by_both.setdefault(count.kind.product, Counter())[count.kind.cause] += count.lines
    causes = _rows(drifting, changed, trends, lambda kind: ("", kind.cause))
    return Board(
        at=at,
        lines=sum(c.lines for c in counts),
        verdicts=dict(verdicts),
        false=trends.of(sum(c.lines for c in false), [m for m in moves if m.kind.is_false]),
        drift=trends.of(sum(c.lines for c in drifting), changed),
        causes=tuple(replace(row, oldest=by_cause.get(row.cause)) for row in causes),
        products=tuple(
            replace(row, causes=tuple(sorted(by_both[row.product].items(), key=lambda found: (-found[1], found[0]))))
            for row in _rows(drifting, changed, trends, lambda kind: (kind.product, ""))
        ),
        phases=_phases(counts, by_phase),
        known_since=known_since,
        days=days,
    )


def crossed(
    counts: Sequence[Count], moves: Sequence[Move], *, at: datetime, known_since: date | None
) -> tuple[Row, ...]:
    """Drift by product and cause, in the order of their names: what `board` shows of each alone."""
    trends = _Trends(shown_days(at), known_since)
    drifting, changed = [c for c in counts if c.kind.drifts], [m for m in moves if m.kind.drifts]
    rows = _rows(drifting, changed, trends, lambda kind: (kind.product, kind.cause))
    return tuple(sorted(rows, key=lambda row: (row.product, row.cause)))


def _rows(
    counts: Iterable[Count], moves: Iterable[Move], trends: _Trends, key: Callable[[Kind], tuple[str, str]]
) -> tuple[Row, ...]:
    """Drift by product and cause as `key` names them, the most first; what has none now is left out."""
    lines: Counter[tuple[str, str]] = Counter()
    closed: Counter[tuple[str, str]] = Counter()
    for count in counts:
        name = key(count.kind)
        lines[name] += count.lines
        if count.kind.is_false:
            closed[name] += count.lines
    moved: dict[tuple[str, str], list[Move]] = {}
    for move in moves:
        moved.setdefault(key(move.kind), []).append(move)
    found = [
        Row(n, closed[name], trends.of(n, moved.get(name, ())), product=name[0], cause=name[1])
        for name, n in lines.items()
        if n
    ]
    return tuple(sorted(found, key=lambda r: (-r.lines, r.product, r.cause)))


def _phases(counts: Iterable[Count], ages: Mapping[str, Ages]) -> tuple[PhaseRow, ...]:
    """In the order of a line's life, phases without a line left out."""
    lines: Counter[str] = Counter()
    for count in counts:
        lines[count.kind.phase] += count.lines
    return tuple(PhaseRow(p.value, lines[p], ages.get(p.value, Ages())) for p in Phase if lines[p])


@dataclass(frozen=True, slots=True)
class _Trends:
    """Walks back from now: what was changed after a day was not so at its end."""

    days: tuple[date, ...]
    known_since: date | None

    def of(self, now: int, moves: Iterable[Move]) -> Trend:
        """The number of today is `now`. A change that is dated ahead, by a clock that was, counts as today's."""
        first, last = self.days[0].toordinal(), len(self.days) - 1
        changed = [0] * len(self.days)
        for move in moves:
            n = min(move.day.toordinal() - first, last)
            if n >= 0:
                changed[n] += move.change
        known = last + 1 if self.known_since is None else min(max(self.known_since.toordinal() - first, 0), last)
        found: list[int | None] = [None] * len(self.days)
        for n in range(last, known - 1, -1):
            found[n] = max(now, 0)
            now -= changed[n]
        return Trend(tuple(found))
