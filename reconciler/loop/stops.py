"""Stops that nobody sets in the store: told to the log once, and what a thrown kill switch does to approvals.

A file, a variable and a wrong clock tell nobody of themselves. Each is remembered under a name, so that it is told
when it is first seen and once more when it is over, and a cycle with nothing new adds no row (I10).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlmodel import Session

from reconciler.approvals.values import Approval, State
from reconciler.loop.guards.judge import CLOCK
from reconciler.store import guards, journal, switches
from reconciler.store.database import Database

if TYPE_CHECKING:
    from reconciler.loop.guarding import Guarding

CLOCK_FACT, OUTSIDE_FACT = "clock", "kill-switch.outside"


def tell_clock(guarding: Guarding, wrong: str, cycle: str) -> None:
    """Tell that our clock is not believed, and that it is again. The row bears our own time."""
    if not _is_news(guarding, CLOCK_FACT, wrong):
        return
    at = guarding.clock.now()
    told = {"guard": CLOCK, "open": bool(wrong), "sentence": wrong or "The clocks agree again."}
    with guarding.database.write() as session:
        _remember(session, guarding, CLOCK_FACT, wrong)
        journal.append(session, guarding.tenant, kind="guard.tripped", subject=CLOCK, body=told, at=at, cycle=cycle)


def tell_outside(guarding: Guarding, cycle: str) -> None:
    """Tell that the kill switch is on from outside of the store, and that it is off again, at the instant at which it
    was first seen."""
    why = guarding.outside()
    if not _is_news(guarding, OUTSIDE_FACT, why):
        return
    told: dict[str, Any] = {"kind": "kill", "on": bool(why), "reason": why, "outside": True, "cycle": cycle}
    with guarding.database.write() as session:
        _remember(session, guarding, OUTSIDE_FACT, why)
        switches.tell(session, guarding.tenant, switches.KILL, told, by=journal.US, at=guarding.clock.now())


def _is_news(guarding: Guarding, name: str, why: str) -> bool:
    with guarding.database.read() as session:
        return bool(why) != (guards.fact(session, guarding.tenant, name) is not None)


def _remember(session: Session, guarding: Guarding, name: str, why: str) -> None:
    if why:
        guards.remember(session, guarding.tenant, name, {"why": why}, guarding.clock.now())
    else:
        guards.forget(session, guarding.tenant, name)


def killed_at(database: Database, tenant: str, every: Iterable[Approval]) -> datetime | None:
    """When the kill switch was last thrown since the oldest answer that is not acted on yet (A9); None: not since."""
    answered = [d.decided_at for a in every if a.state is State.APPROVED for d in a.decisions]
    if not answered:
        return None
    with database.read() as session:
        return switches.thrown_last(session, tenant, min(answered))


def is_stopped(approval: Approval, killed: datetime) -> bool:
    """Whether all of it was approved before: what people answer with the switch thrown, they answer knowing of it."""
    return approval.state is State.APPROVED and all(d.decided_at < killed for d in approval.decisions)
