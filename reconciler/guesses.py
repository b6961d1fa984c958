"""How often the product that was granted is not the one that was asked for: the fulfiller guessed. Pure.

Measured on tickets that people had closed as fulfilled, by what the first look at each line found, whatever was
repaired since. A form whose requests are often guessed asks its question badly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from desired_state.model import LineKey, ProductKey
from reconciler.causes import Cause
from reconciler.model import Verdict

_DEFINITE = frozenset({Verdict.TRUE.value, Verdict.FALSE.value})


@dataclass(frozen=True, slots=True)
class Guess:
    """Of `of` lines that a ticket called fulfilled, in how many another product had been granted."""

    product: ProductKey
    guessed: int
    of: int


def guesses(found: Iterable[Mapping[str, Any]], products: Mapping[LineKey, ProductKey]) -> tuple[Guess, ...]:
    """Counts by the product that was asked for, most guessed first.

    `found` are the recorded moves of lines in the order of their recording, each with `key` (a LineKey), `verdict`
    and `found` (the cause, None for none). Only the first definite verdict of a line counts.
    """
    first: dict[LineKey, bool] = {}
    for move in found:
        if move.get("verdict") in _DEFINITE or move.get("found") == Cause.WRONG_PRODUCT.value:
            first.setdefault(move["key"], move.get("found") == Cause.WRONG_PRODUCT.value)
    counted: dict[ProductKey, list[bool]] = {}
    for key, was_guessed in first.items():
        if key in products:
            counted.setdefault(products[key], []).append(was_guessed)
    made = (Guess(product, sum(each), len(each)) for product, each in counted.items())
    return tuple(sorted(made, key=lambda g: (-g.guessed, g.product)))
