"""Ways in which one value can be wider than another. Pure.

A judge gets the value before and after, `ABSENT` where there was none, and says what the change is: "wider", "narrower"
or "" where it allows neither more nor less. Values are JSON; durations are text in seconds ("300s"), money is text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Any, Final

WIDER, NARROWER, NEITHER = "wider", "narrower", ""
Judge = Callable[[Any, Any], str]


class _Absent(Enum):
    ABSENT = "absent"


ABSENT: Final = _Absent.ABSENT
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


def anything(_before: Any, _after: Any) -> str:
    """Whatever changed may allow more."""
    return WIDER


def nothing(_before: Any, _after: Any) -> str:
    """No change of it allows more."""
    return NEITHER


def more(before: Any, after: Any) -> str:
    """Numbers, money, durations and allowances like "10%, 50 to 250": each number of it must not grow.

    None or nothing is no limit at all.
    """
    old, new = _numbers(before), _numbers(after)
    if old is None and new is None:
        return WIDER
    if old is None or new is None:
        return NARROWER if old is None and before in (None, ABSENT) else WIDER
    if len(old) != len(new) or _shape(before) != _shape(after):
        return WIDER
    if any(b < a for a, b in zip(new, old, strict=True)):
        return WIDER
    return NARROWER if old != new else NEITHER


def less(before: Any, after: Any) -> str:
    """A number that must not shrink; None or nothing is the least."""
    old, new = _numbers(before) or (Decimal(-1),), _numbers(after) or (Decimal(-1),)
    if len(old) != len(new):
        return WIDER
    if any(a < b for a, b in zip(new, old, strict=True)):
        return WIDER
    return NARROWER if old != new else NEITHER


def ranked(*order: Any) -> Judge:
    """Values from the narrowest to the widest; another one may mean anything. Absent counts as None."""

    def judge(before: Any, after: Any) -> str:
        old, new = (None if value is ABSENT else value for value in (before, after))
        if old not in order or new not in order:
            return WIDER
        a, b = order.index(old), order.index(new)
        return WIDER if b > a else NARROWER if b < a else NEITHER

    return judge


def listed(before: Any, after: Any) -> str:
    """Who or what is allowed: an entry more is wider. An empty list allows nothing."""
    if not (_is_list(before) and _is_list(after)):
        return WIDER
    return _by_set(set(map(str, after)) - set(map(str, before)), set(map(str, before)) - set(map(str, after)))


def listed_or_any(before: Any, after: Any) -> str:
    """Who or what is allowed, where an empty list or none allows anything."""
    old, new = _entries(before), _entries(after)
    if not new:
        return WIDER if old else NEITHER
    return NARROWER if not old else _by_set(new - old, old - new)


def denied(before: Any, after: Any) -> str:
    """Who or what is denied or restricted: an entry less is wider. An empty list or none restricts nothing."""
    old, new = _entries(before), _entries(after)
    return _by_set(old - new, new - old)


def denied_or_all(before: Any, after: Any) -> str:
    """What a restriction is about, where an empty list or none is about everything."""
    old, new = _entries(before), _entries(after)
    if not new:
        return NARROWER if old else NEITHER
    return WIDER if not old else _by_set(old - new, new - old)


def only_fewer(before: Any, after: Any) -> str:
    """A table of restrictions by name, or one of them: one that is there more restricts more."""
    if after is ABSENT:
        return WIDER
    return NARROWER if before is ABSENT else NEITHER


def text_or_none(before: Any, after: Any) -> str:
    """A reason that holds something back: without one nothing is held."""
    old, new = bool(before and before is not ABSENT), bool(after and after is not ABSENT)
    return WIDER if old and not new else NARROWER if new and not old else NEITHER


TRUE_IS_WIDER: Final = ranked(None, False, True)
FALSE_IS_WIDER: Final = ranked(True, False, None)


def _by_set(wider: set[str], narrower: set[str]) -> str:
    return WIDER if wider else NARROWER if narrower else NEITHER


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _entries(value: Any) -> set[str]:
    if value is None or value is ABSENT:
        return set()
    return set(map(str, value)) if _is_list(value) else {f"?{value!r}"}


def _numbers(value: Any) -> tuple[Decimal, ...] | None:
    if value is None or value is ABSENT or isinstance(value, bool):
        return None
    try:
        found = tuple(Decimal(n) for n in _NUMBER.findall(str(value)))
    except InvalidOperation:
        return None
    return found or None


def _shape(value: Any) -> str:
    return _NUMBER.sub("#", str(value))
