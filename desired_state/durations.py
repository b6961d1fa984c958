"""Spans of time as people write them: "15m", "30d", "4 weeks". Pure.

A month counts 30 days and a year 365, wherever either is written: a period has to mean the same number of days
whenever it starts, and 30 is what a licence month is taken for on request forms.
"""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_SHAPE = re.compile(r"(\d{1,6})\s*([smhdw])")
_DAYS = {"": 1, "d": 1, "day": 1, "days": 1, "w": 7, "week": 7, "weeks": 7}
_DAYS |= {"month": 30, "months": 30, "y": 365, "year": 365, "years": 365}
_PERIOD = re.compile(r"(\d{1,5})\s*([a-z]*)")


def duration(text: str) -> timedelta:
    """Read "90s", "15m", "24h", "30d" or "2w".

    Raises:
        ValueError: with a sentence that shows how a duration is written.
    """
    match = _SHAPE.fullmatch(text.strip().lower())
    if match is None:
        raise ValueError('a duration is written as a number and s, m, h, d or w, for example "15m" or "30d"')
    return timedelta(seconds=int(match[1]) * _UNITS_S[match[2]])


def period_days(text: str) -> int | None:
    """Days in a period from a form ("30", "30 days", "4 weeks", "3 months"); None when it is not one.

    A bare number is days. "30m" is not read: it could mean months as well as minutes.
    """
    match = _PERIOD.fullmatch(text.strip().lower())
    if match is None or match[2] not in _DAYS or int(match[1]) == 0:
        return None
    return int(match[1]) * _DAYS[match[2]]
