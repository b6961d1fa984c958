"""How fast writes may leave: a bucket that refills evenly, and what the server says of it. Pure.

Graph lets an application make 3,000 writes per 150 s in a tenant (graph.md section 10), which is also less than any
figure published for all applications of a tenant together (7,000 per 300 s is the lowest): what others use of that
shows only by the server's own words. A level may fall below zero: what is promised already is waited for in turn, so
whoever asks for much is not overtaken for ever by those who ask for little.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

USED = "x-ms-throttle-limit-percentage"  # 0.8 to 1.8, and only above 0.8 of the limit
WAIT_MAX_S = 86_400.0  # however long a server wants to be left alone, it is asked again after a day


@dataclass(frozen=True, slots=True)
class Bucket:
    """`size` writes at once, and as many again evenly within `window_s` seconds."""

    size: float = 3000.0
    window_s: float = 150.0

    @property
    def per_s(self) -> float:
        return self.size / self.window_s


WRITES = Bucket()


@dataclass(frozen=True, slots=True)
class Level:
    """How many writes could leave at an instant; below zero while some that are promised have to wait."""

    left: float
    at: datetime


@dataclass(frozen=True, slots=True)
class Said:
    """What one answer says of the limit: the share of it that is used, and for how many seconds to wait."""

    at: datetime
    used: float | None = None
    wait_s: float | None = None


def full(bucket: Bucket, at: datetime) -> Level:
    """Where one begins of whom nothing is known."""
    return Level(bucket.size, at)


def refilled(level: Level, bucket: Bucket, at: datetime) -> Level:
    """The level at a later instant; a clock that went back brings nothing, and goes on from where it is."""
    passed_s = max(0.0, (at - level.at) / timedelta(seconds=1))
    return Level(min(bucket.size, level.left + passed_s * bucket.per_s), at)


def taken(level: Level, bucket: Bucket, count: float, at: datetime) -> tuple[Level, float]:
    """The level after `count` writes were promised, and in how many seconds they may leave."""
    left = refilled(level, bucket, at).left - count
    return Level(left, at), max(0.0, -left / bucket.per_s)


def heard(level: Level, bucket: Bucket, said: Said) -> Level:
    """The level as the server knows it, where that is lower than ours: it never raises one."""
    now = refilled(level, bucket, max(said.at, level.at))
    left = now.left
    if said.used is not None:
        left = min(left, bucket.size * (1 - said.used))
    if said.wait_s is not None:
        left = min(left, 1 - min(said.wait_s, WAIT_MAX_S) * bucket.per_s)  # so that one write waits for as long
    return replace(now, left=left)


def read(headers: Mapping[str, str], *, retry_after_s: float | None, at: datetime) -> Said | None:
    """What an answer to a write says, None for nothing. A share that is no number says nothing."""
    try:
        used = float(headers.get(USED, ""))
    except ValueError:
        used = -1.0
    share = used if 0.0 <= used <= 10.0 else None
    return Said(at, share, retry_after_s) if share is not None or retry_after_s is not None else None
