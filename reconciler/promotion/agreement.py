"""How often people did what would have been done, and how sure that is. Pure.

What always holds: the counts add up to the shadows; only what was decided is in the ratio; the lower bound is below the
ratio and grows with the number of equal results. What cannot be told is in no ratio, and always shown beside it.

Ratio and bound are over accounts: several lines of one person follow from one deed, so they are one case, and it agrees
when all of them do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import sqrt

from reconciler.promotion.values import DECIDED, Axis, Outcome, Shadow

Z = 1.6448536269514722  # one-sided 95 %: the truth is above the bound in 19 of 20 cases


def lower_bound(agreed: int, decided: int, z: float = Z) -> float | None:
    """The lower end of Wilson's score interval for a share, 0 to 1; None of nothing.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).

    Raises:
        ValueError: more agreed than were decided, or fewer than none.
    """
    if not 0 <= agreed <= decided:
        raise ValueError(f"{agreed} of {decided} is no share")
    if decided == 0:
        return None
    share, z2 = agreed / decided, z * z
    middle = share + z2 / (2 * decided)
    spread = z * sqrt(share * (1 - share) / decided + z2 / (4 * decided * decided))
    return min(share, max(0.0, (middle - spread) / (1 + z2 / decided)))  # of none, rounding would leave a trace


@dataclass(frozen=True, slots=True)
class Agreement:
    """What is known of one product on one axis. `counts` are lines; `accounts` are those with a decided line, of which
    `accounts_agreed` have none that differs.

    `removals_differed` are removals that people did not want.
    """

    product: str
    axis: Axis
    counts: Mapping[Outcome, int] = field(default_factory=dict)
    accounts: int = 0
    accounts_agreed: int = 0
    removals_differed: int = 0

    def count(self, outcome: Outcome) -> int:
        return self.counts.get(outcome, 0)

    @property
    def decided(self) -> int:
        """Lines that were decided."""
        return sum(self.count(o) for o in DECIDED)

    @property
    def ratio(self) -> float | None:
        """Agreed of decided, of accounts; None of nothing."""
        return self.accounts_agreed / self.accounts if self.accounts else None

    @property
    def bound(self) -> float | None:
        """What the agreement is at least, as far as this many cases can tell."""
        return lower_bound(self.accounts_agreed, self.accounts)

    def sentence(self) -> str:
        """The figure in words, with what is not in it."""
        differed, left = self.count(Outcome.DIFFERED), self.count(Outcome.CANNOT_TELL)
        if self.ratio is None or self.bound is None:
            said = "no line was decided by people"
        else:
            sure = f"({self.ratio:.0%}, at least {self.bound:.1%})"
            said = f"{self.count(Outcome.AGREED)} of {self.decided} decided lines agree"
            few = f", all of them for {self.accounts_agreed} of {self.accounts} accounts"
            said += f"{few if self.accounts < self.decided else ''} {sure}"
            said += f", {differed} differ"
        waits = self.count(Outcome.WAITING)
        more = {
            f"{left} cannot be told": left,
            f"nobody acted on {self.count(Outcome.NOBODY_ACTED)}": self.count(Outcome.NOBODY_ACTED),
            f"{waits} {'waits' if waits == 1 else 'wait'}": waits,
        }
        return ", ".join([said, *(words for words, count in more.items() if count)])


def agreements(
    shadows: Iterable[Shadow], *, axis: Axis, steps: Iterable[str] | None = None, against: Iterable[str] = ()
) -> dict[str, Agreement]:
    """By product, of one axis; `steps` None: whatever the lines were under. Of lines that were under one of `against`,
    only what differed is counted: what went wrong at a further step is not forgotten by stepping back."""
    wanted, further = (set(steps) if steps is not None else None), set(against)
    mine = [
        s
        for s in shadows
        if s.axis is axis
        and (wanted is None or s.step in wanted or (s.step in further and s.outcome is Outcome.DIFFERED))
    ]
    found: dict[str, Agreement] = {}
    for product in sorted({s.product for s in mine}):
        own = [s for s in mine if s.product == product]
        cases: dict[str, bool] = {}
        for s in own:
            if s.outcome in DECIDED:
                who = s.user or str(s.line)
                cases[who] = cases.get(who, True) and s.outcome is Outcome.AGREED
        removals = sum(1 for s in own if s.is_removal and s.outcome is Outcome.DIFFERED)
        counts = Counter(s.outcome for s in own)
        found[product] = Agreement(product, axis, counts, len(cases), sum(cases.values()), removals)
    return found
