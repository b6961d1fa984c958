"""Whether our own clock can be believed, by the clocks of both systems. Pure.

A clock that jumped ahead ends freezes, day budgets and approvals early, and nothing of ours can tell. The `Date` of
every answer can (RFC 9110, 6.6.1): two systems that agree with each other and not with us are proof. One alone may
itself be wrong, or have a proxy before it, and is only said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

TOLERANCE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the clocks say: `wrong` why ours is not to be believed, `odd` that one of theirs is alone."""

    wrong: str = ""
    odd: str = ""


def judge(skews_s: Mapping[str, float | None], tolerance: timedelta = TOLERANCE) -> Verdict:
    """`skews_s` are seconds that each system's clock is ahead of ours, None where it never said."""
    limit = tolerance.total_seconds()
    known = {system: skew for system, skew in sorted(skews_s.items()) if skew is not None}
    off = {system: skew for system, skew in known.items() if abs(skew) > limit}
    if not off:
        return Verdict()
    told = " and ".join(f"{_span(skew)} by {system}" for system, skew in off.items())
    if len(off) == len(known) > 1 and max(off.values()) - min(off.values()) <= limit:
        return Verdict(
            wrong=f"the clock of this machine is {told}, and both agree: set it right; nothing is written until then"
        )
    return Verdict(odd=f"the clock of this machine is {told}, and no other system says the same; look at both clocks")


def _span(skew: float) -> str:
    minutes = round(abs(skew) / 60)
    return f"{minutes} minutes {'slow' if skew > 0 else 'fast'}"
