"""Seats that somebody holds and does not use, in the cost centre of who waits. Pure.

A proposal for a person to decide, never an action: an account may be disabled for a leave, and a mailbox may be kept
on purpose. What is not known is not proposed. When somebody signed in last is not asked: Graph shows it only with a
further permission and licence (graph.md section 2).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

SHOWN_MAX = 3


@dataclass(frozen=True, slots=True, order=True)
class Idle:
    """One holder who does not use the seat. Unknown department or cost centre is ""."""

    upn: str
    why: str
    department: str = ""
    cost_center: str = ""


def near(idle: Iterable[Idle], *, cost_center: str, department: str) -> tuple[Idle, ...]:
    """Those of the same cost centre; where one of the two is not known, those of the same department."""
    return tuple(sorted(i for i in idle if _is_near(i, cost_center, department)))


def _is_near(idle: Idle, cost_center: str, department: str) -> bool:
    if idle.cost_center and cost_center:
        return idle.cost_center.casefold() == cost_center.casefold()
    return bool(department) and idle.department.casefold() == department.casefold()


def sentence(found: tuple[Idle, ...]) -> str:
    """The proposal in words, "" when there is none."""
    if not found:
        return ""
    shown = ", ".join(f"{i.upn} ({i.why})" for i in found[:SHOWN_MAX])
    more = f" and {len(found) - SHOWN_MAX} more" if len(found) > SHOWN_MAX else ""
    return f"Held in the same cost centre without being used, for a person to decide: {shown}{more}."
