"""What people do with guards: look at them, let a stopped plan through, throw and lift the kill switch.

Nothing here sends anything: the next cycle does, and is guarded as before. A name that is typed at a terminal proves as
much as access to that terminal does; it is kept with the reason in the audit log.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any

from sqlmodel import Session

from reconciler.loop.guarding import CIRCUITS, PEOPLE
from reconciler.loop.guards.forecast import EndingDay, forecast
from reconciler.loop.guards.judge import SHORT
from reconciler.loop.pull import TICKETS
from reconciler.store import directories, guards, lines, switches
from reconciler.store.guards import FORECAST, RELEASE, GuardPlan

ASKED = "kill-switch.lift"  # somebody asked to lift it, and a second person has to agree
AGREE_WITHIN = timedelta(hours=1)
AFTER_THE_DAY = timedelta(days=1)  # ends that were released ahead may still go the day after


@dataclass(frozen=True, slots=True)
class Overview:
    """Stopped plans newest first, the ends of a week with their releases, open breakers, how many people there are."""

    plans: tuple[GuardPlan, ...]
    ahead: tuple[tuple[EndingDay, GuardPlan | None], ...]
    circuits: Mapping[str, Mapping[str, Any]]
    people: int | None


def overview(session: Session, tenant: str, at: datetime) -> Overview:
    """Everything that `guards show` shows."""
    kept = guards.plans(session, tenant)
    by_digest = {plan.digest: plan for plan in kept}
    days = forecast(lines.load(session, tenant).values(), at)
    facts = {system: guards.fact(session, tenant, name) for system, name in CIRCUITS.items()}
    open_ = {
        system: dict(found[0])
        for system, found in facts.items()
        if found is not None and found[0].get("until") and datetime.fromisoformat(found[0]["until"]) > at
    }
    people = guards.fact(session, tenant, PEOPLE)
    return Overview(
        tuple(plan for plan in kept if plan.guard != FORECAST),
        tuple((day, by_digest.get(day.digest)) for day in days),
        open_,
        people[0].get("count") if people is not None else None,
    )


def release(
    session: Session, tenant: str, digest: str, *, by: str, reason: str, at: datetime, lasts: timedelta = RELEASE
) -> GuardPlan:
    """Let a stopped plan through once, or the ends of one day before they come.

    Raises:
        ValueError: no such plan, no name, or no reason.
    """
    days = [day for day in forecast(lines.load(session, tenant).values(), at) if day.digest.startswith(digest)]
    until = at + lasts
    if digest.strip() and len(days) == 1:
        (day,) = days
        until = datetime.combine(day.day, time(), tzinfo=UTC) + timedelta(days=1) + AFTER_THE_DAY
        sentence = f"{len(day.ends)} known ends on {day.day}, for {day.users} people."
        ends = [{"end": end, "line": end.partition("@")[0]} for end in day.ends]
        plan = GuardPlan(day.digest, FORECAST, "removals", day.users, 0, sentence, ends, "", at)
        guards.put(session, tenant, plan)
    released = guards.release(session, tenant, digest, by=by, reason=reason, at=at, until=until)
    if released.guard == SHORT:  # whoever lets it through says that so few are right
        kept = guards.fact(session, tenant, TICKETS)
        if kept is not None:
            guards.remember(session, tenant, TICKETS, {**kept[0], "usual": kept[0]["last"]}, at)
    return released


@dataclass(frozen=True, slots=True)
class Lifted:
    """Whether the kill switch is off now, and a sentence about it."""

    is_off: bool
    sentence: str


def lift(session: Session, tenant: str, *, by: str, reason: str, at: datetime, takes_two: bool) -> Lifted:
    """Lift the kill switch of the store; with `takes_two` the first person asks and another one agrees.

    Raises:
        ValueError: no name or no reason.
    """
    if not by.strip() or not reason.strip():
        raise ValueError("lifting the kill switch needs a name and a reason")
    names = directories.names(session, tenant)
    thrown = [
        s.tenant for s in switches.stops(session, tenant) if s.kind is switches.SwitchKind.KILL and s.tenant in names
    ]
    if not thrown:
        guards.forget(session, tenant, ASKED)
        return Lifted(True, "The kill switch was not thrown.")
    asked = guards.fact(session, tenant, ASKED)
    first = str(asked[0]["by"]) if asked is not None and at - asked[1] < AGREE_WITHIN else ""
    if takes_two and _plain(first) in ("", _plain(by)):
        guards.remember(session, tenant, ASKED, {"by": by, "reason": reason}, at)
        switches.tell(session, tenant, ASKED, {"asked": True, "reason": reason}, by=by, at=at)
        until = at + AGREE_WITHIN
        return Lifted(False, f"{by} asks to lift it; another person has to say the same until {until:%H:%M} UTC.")
    guards.forget(session, tenant, ASKED)
    why = f"{reason} (asked by {first})" if takes_two else reason
    for name in thrown:
        switches.lift(session, name, switches.KILL, reason=why, by=by, at=at)
    return Lifted(True, f"The kill switch is lifted by {by}.")


def _plain(name: str) -> str:
    """Neither capitals nor blanks make somebody another person."""
    return "".join(name.split()).casefold()


def plan_json(plan: GuardPlan, at: datetime) -> dict[str, Any]:
    """A stopped plan as `guards show --output json` has it."""
    return {
        "digest": plan.digest,
        "guard": plan.guard,
        "lane": plan.lane,
        "wanted": plan.wanted,
        "limit": plan.allowed,
        "sentence": plan.sentence,
        "changes": [dict(change) for change in plan.changes],
        "cycle": plan.cycle,
        "at": plan.at.isoformat(),
        "release": None
        if plan.released_at is None or plan.expires_at is None
        else {
            "by": plan.released_by,
            "reason": plan.reason,
            "at": plan.released_at.isoformat(),
            "until": plan.expires_at.isoformat(),
            "used_at": plan.used_at.isoformat() if plan.used_at is not None else None,
            "holds": plan.is_released(at),
        },
    }


def overview_json(found: Overview, at: datetime) -> dict[str, Any]:
    """The object of `guards show --output json`."""
    return {
        "people": found.people,
        "plans": [plan_json(plan, at) for plan in found.plans],
        "ahead": [
            {
                "day": day.day.isoformat(),
                "users": day.users,
                "ends": list(day.ends),
                "digest": day.digest,
                "released_by": plan.released_by or None if plan is not None else None,
            }
            for day, plan in found.ahead
        ],
        "breakers": {system: dict(body) for system, body in sorted(found.circuits.items())},
    }
