"""The lines of one tenant, added up: by phase, by cause, by when they end; and what waits for people. Pure.

Added up once per change of the store; ages are worked out from kept instants at each scrape.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from reconciler.causes import Cause
from reconciler.lifecycle import FINAL, Phase
from reconciler.metrics.facts import is_drift
from reconciler.metrics.labels import NONE
from reconciler.model import Verdict

HELD = frozenset({Phase.GRANTED, Phase.EXPIRING})  # the access is there and is meant to be
STILL = HELD | {Phase.REVOKING, Phase.DRIFTED}  # past its end, the licence may still be there


@dataclass(frozen=True, slots=True)
class LineFact:
    """One line as it is remembered. `product` is a catalogue key, "none" where it has none."""

    product: str
    phase: Phase
    since: datetime
    cause: str | None = None
    verdict: Verdict | None = None
    user: str | None = None
    ends_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Sums:
    """All lines of a tenant together. Instants are those of the oldest line."""

    tickets: dict[tuple[str, str], int] = field(default_factory=dict)  # product, phase -> lines
    oldest: dict[str, datetime] = field(default_factory=dict)  # phase -> since when
    drift: dict[tuple[str, str], int] = field(default_factory=dict)  # product, cause -> lines
    drift_oldest: dict[str, datetime] = field(default_factory=dict)  # cause -> since when
    ends: tuple[datetime, ...] = ()  # of grants, in order
    overdue: tuple[tuple[str, datetime], ...] = ()  # product of whatever is still held, and when it had to be gone
    granted: Decimal | None = None  # a month; None: no price is configured

    def expiring(self, at: datetime, days: int) -> int:
        """Grants that end within so many days from now."""
        return bisect_right(self.ends, at + timedelta(days=days)) - bisect_right(self.ends, at)

    def expired(self, at: datetime) -> Counter[str]:
        """Lines by product whose period and whose grace after it are over, and whose licence is still there."""
        return Counter(product for product, end in self.overdue if end <= at)


def sums(facts: Iterable[LineFact], price: Callable[[str], Decimal | None], grace: Callable[[str], timedelta]) -> Sums:
    """Add them up. A product with lines and no drift has a drift of 0 for the cause "none".

    `grace` is how long a licence of the product may stay after the period: that too was promised.
    """
    tickets: Counter[tuple[str, str]] = Counter()
    drift: Counter[tuple[str, str]] = Counter()
    oldest: dict[str, datetime] = {}
    drift_oldest: dict[str, datetime] = {}
    ends: list[datetime] = []
    overdue: list[tuple[str, datetime]] = []
    held: set[tuple[str, str]] = set()
    for fact in facts:
        tickets[fact.product, fact.phase.value] += 1
        drift[fact.product, NONE] += 0
        if fact.phase not in FINAL and fact.phase is not Phase.GRANTED:
            oldest[fact.phase.value] = min(fact.since, oldest.get(fact.phase.value, fact.since))
        if is_drift(fact.phase, fact.cause, fact.verdict):
            cause = fact.cause or NONE
            drift[fact.product, cause] += 1
            drift_oldest[cause] = min(fact.since, drift_oldest.get(cause, fact.since))
        if fact.phase in HELD and fact.ends_at is not None:
            ends.append(fact.ends_at)
        due = _gone_by(fact, grace)
        if due is not None:
            overdue.append((fact.product, due))
        if fact.phase in HELD and fact.user is not None:
            held.add((fact.user, fact.product))
    prices = [known for _, product in held if (known := price(product)) is not None]
    has_prices = any(price(product) is not None for product, _ in tickets)
    return Sums(
        dict(tickets),
        oldest,
        dict(drift),
        drift_oldest,
        tuple(sorted(ends)),
        tuple(overdue),
        sum(prices, Decimal(0)) if has_prices else None,
    )


def _gone_by(fact: LineFact, grace: Callable[[str], timedelta]) -> datetime | None:
    """From when on its licence, where it is there, has outlived all that was promised; None where it cannot."""
    end = fact.ends_at + grace(fact.product) if fact.ends_at is not None else None
    if fact.cause == Cause.EXPIRED_NOT_REMOVED.value and fact.phase not in FINAL:
        return max(fact.since, end) if end is not None else fact.since
    return end if fact.phase in STILL else None


@dataclass(frozen=True, slots=True)
class Backlog:
    """The requests that wait for an answer, together. `cost` is a month's, of those whose cost is known."""

    since: datetime | None = None  # of the oldest, None where none waits
    late_from: datetime | None = None  # the first end of a stage's term, None where no term runs
    cost: Decimal = Decimal(0)

    def overdue(self, at: datetime) -> timedelta:
        """By how much the most overdue request is past the term of its stage; nothing while none is."""
        return max(at - self.late_from, timedelta(0)) if self.late_from is not None else timedelta(0)


def backlog(waiting: Iterable[tuple[datetime, datetime | None, Decimal | None]]) -> Backlog:
    """Add them up: since when each waits, when its stage's term ends, what it costs a month."""
    every = tuple(waiting)
    return Backlog(
        min((since for since, _, _ in every), default=None),
        min((late for _, late, _ in every if late is not None), default=None),
        sum((cost for _, _, cost in every if cost is not None), Decimal(0)),
    )
