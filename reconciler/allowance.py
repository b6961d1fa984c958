"""How much may change: a fixed number, or a share of the people in scope with a floor and a ceiling. Pure.

In configuration a share is written "2%, 5 to 50": two in a hundred of the people in scope, at least 5, at most 50. With
an unknown number of people only the floor holds.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal

_SHARE = re.compile(r"\s*(\d{1,3}(?:\.\d{1,3})?)\s*%\s*,\s*(\d{1,7})\s+to\s+(\d{1,7})\s*")
EXPECTED = 'a number, or a share like "2%, 5 to 50" of the people in scope (at least 5, at most 50)'


@dataclass(frozen=True, slots=True)
class Allowance:
    """People (or tickets) that may be touched. `percent` 0: the floor is all there is."""

    floor: int
    percent: Decimal = Decimal(0)
    ceiling: int = 1_000_000

    def of(self, people: int | None) -> int:
        """The limit with so many people in scope; None: nobody could count them."""
        share = math.floor(Decimal(people or 0) * self.percent / 100)
        return min(max(self.floor, share), self.ceiling)

    def __str__(self) -> str:
        return f"{self.percent}%, {self.floor} to {self.ceiling}" if self.percent else str(self.floor)


def allowance(value: object) -> Allowance:
    """An allowance as configuration has it.

    Raises:
        ValueError: it is neither a number nor a share, or its floor is above its ceiling.
    """
    if isinstance(value, Allowance):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 1_000_000:
        return Allowance(value)
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit() and len(value.strip()) < 8:
        return allowance(int(value))
    match = _SHARE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{EXPECTED} is expected")
    percent, floor, ceiling = Decimal(match[1]), int(match[2]), int(match[3])
    if percent > 100 or floor > ceiling or ceiling > 1_000_000:
        raise ValueError(f"{EXPECTED} is expected: no more than 100%, and the floor below the ceiling")
    return Allowance(floor, percent, ceiling)
