"""What people do with guards: look at them, let a stopped plan through, throw and lift the kill switch.

Nothing here sends anything: the next cycle does, and is guarded as before. How sure it is who it was is for the edges:
a page knows by a sign-in, `loosening` by a signature or, where nobody is named who signs, by a typed name alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

from sqlmodel import Session

from reconciler.loop.guards.forecast import AHEAD, STANDING, EndingDay, forecast
from reconciler.loop.guards.judge import SHORT
from reconciler.loop.headcount import PEOPLE
from reconciler.loop.lately import CIRCUITS
from reconciler.loop.whole import TICKETS
from reconciler.store import directories, guards, lines, switches
from reconciler.store.guards import FORECAST, RELEASE, GuardPlan

ASKED = "kill-switch.lift"  # somebody asked to lift it, and a second person has to agree
AGREE_WITHIN = timedelta(hours=1)
LONGEST = timedelta(hours=24)  # that a release of a stopped plan holds
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
    days = _ahead(session, tenant, at)
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


def _ahead(session: Session, tenant: str, at: datetime) -> tuple[EndingDay, ...]:
    return forecast(lines.ending(session, tenant, STANDING, at + AHEAD), at)


def named(session: Session, tenant: str, digest: str, at: datetime) -> GuardPlan:
    """The one plan that a digest, or its beginning, names: a stopped one, or the ends of a day to come.

    Raises:
        ValueError: it names none, or several.
    """
    kept = {plan.digest: plan for plan in guards.plans(session, tenant)}
    ahead = {day.digest: _of_day(day, kept.get(day.digest), at) for day in _ahead(session, tenant, at)}
    every = {key: plan for key, plan in kept.items() if plan.guard != FORECAST} | ahead
    found = [plan for key, plan in every.items() if key.startswith(digest)] if digest.strip() else []
    if len(found) != 1:
        what = "several plans begin with" if found else "no guard has stopped a plan that is named"
        raise ValueError(f"{what} {digest or '(nothing)'}; see `reconciler guards show`")
    return found[0]


def _of_day(day: EndingDay, kept: GuardPlan | None, at: datetime) -> GuardPlan:
    sentence = f"{len(day.ends)} known ends on {day.day}, for {day.users} people."
    ends = [{"end": end, "line": end.partition("@")[0]} for end in day.ends]
    plan = GuardPlan(day.digest, FORECAST, "removals", day.users, 0, sentence, ends, "", at)
    return plan if kept is None else replace(plan, released_at=kept.released_at)


def release(
    session: Session, tenant: str, digest: str, *, by: str, reason: str, at: datetime, lasts: timedelta = RELEASE
) -> GuardPlan:
    """Let a stopped plan through once, or the ends of one day before they come.

    Raises:
        ValueError: no such plan, no name, no reason, or for longer than a day.
    """
    if lasts > LONGEST:
        raise ValueError(f"a release holds for at most {LONGEST.total_seconds() / 3600:.0f} hours: the world moves on")
    plan = named(session, tenant, digest, at)
    until = at + lasts
    if plan.guard == FORECAST:
        (day,) = [day.day for day in _ahead(session, tenant, at) if day.digest == plan.digest]
        until = datetime.combine(day, time(), tzinfo=UTC) + timedelta(days=1) + AFTER_THE_DAY
        guards.put(session, tenant, plan)
    released = guards.release(session, tenant, plan.digest, by=by, reason=reason, at=at, until=until)
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


def lift(
    session: Session, tenant: str, *, by: str, reason: str, at: datetime, takes_two: bool, who: str = ""
) -> Lifted:
    """Lift the kill switch of the store; with `takes_two` the first person asks and another one agrees.

    `who` tells people apart where it is known better than by the name `by`.

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
    kept = asked[0] if asked is not None and at - asked[1] < AGREE_WITHIN else {}
    first = str(kept.get("by", ""))
    is_same = _plain(first) == _plain(by) or (who != "" and who == kept.get("who"))
    if takes_two and (not first or is_same):
        guards.remember(session, tenant, ASKED, {"by": by, "reason": reason, "who": who}, at)
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
