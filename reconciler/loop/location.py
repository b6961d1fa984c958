"""The usage location that a direct licence needs: from which sources, and whether it stayed. Pure.

It is set by itself only where two independent sources agree, never as a default, and never from a hint: a manager or an
office says where somebody may be, which is for a person to read. Once set it cannot be cleared again (graph.md section
6), and on an account that is synced from on-premises the next sync may overwrite it: it is relied on only afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from desired_state.countries import country_code
from desired_state.model import Given, GivenKind, Request, UserId
from desired_state.text import one_line
from reconciler.causes import Cause
from reconciler.line import DriftKind, Finding, Line, Rest
from reconciler.model import Action, ActionKind, ObservedUser, Undo

REPLICA = timedelta(minutes=10)  # how long a write may stay unseen; usually seconds, no bound is published (graph.md 8)


@dataclass(frozen=True, slots=True)
class Derived:
    """A country that may be set and who says so; or None with the sentence for a person, hints included."""

    country: str | None
    sources: tuple[str, ...] = ()
    sentence: str = ""


def derive(finding: Finding, user: ObservedUser, countries: frozenset[str]) -> Derived:
    """The country that ServiceNow's person and Entra's country agree on. `countries`: those allowed, empty for any."""
    person = finding.line.person
    told = {"ServiceNow person": person.country if person is not None else None, "Entra country": user.country}
    known = {source: country_code(text) for source, text in told.items() if country_code(text)}
    said = ", ".join(_said(source, text) for source, text in told.items() if (text or "").strip())
    if len(known) < 2:
        have = said or "no source names a country"
        sentence = f"The usage location is unset and two sources are needed to set it: {have}."
    elif len(set(known.values())) > 1:
        sentence = f"The usage location is unset and the sources disagree: {said}."
    else:
        country = next(iter(known.values()))
        if not countries or country in countries:
            return Derived(country, tuple(known))
        sentence = f"The usage location would be {country}, which is not in the list of allowed countries."
    return Derived(None, (), " ".join((sentence, *_hints(finding, user))))


def _said(source: str, text: str | None) -> str:
    code = country_code(text)
    return (
        f"{source} says {code}"
        if code
        else f"{source} says '{one_line(text or '', 60)}', which is no country that is known here"
    )


def _hints(finding: Finding, user: ObservedUser) -> Iterable[str]:
    declared = finding.line.declared
    manager = country_code(declared.manager_country) if isinstance(declared, Request) else ""
    if manager:
        yield f"A hint for a person: the manager is in {manager}."
    if user.office:
        yield f"A hint for a person: the office in the directory is '{one_line(user.office, 60)}'."


def set_location(finding: Finding, user: ObservedUser, derived: Derived, at: datetime) -> Action:
    """The action that sets it; it has no inverse."""
    product, country = finding.line.product, derived.country
    assert product is not None and country is not None
    return Action(
        ActionKind.SET_USAGE_LOCATION,
        user.id,
        product.key,
        (finding.key,),
        before={"usage_location": user.usage_location},
        after={"usage_location": country, "sources": list(derived.sources)},
        undo=Undo.IRREVERSIBLE,  # Graph lists usageLocation as not nullable: it cannot be cleared again
        country=country,
        sources=derived.sources,
        given=(Given(GivenKind.LOCATION, at, country=country),),
    )


def located(lines: Iterable[Line]) -> dict[UserId, Given]:
    """The last usage location that we set, per account, over all of its lines."""
    found: dict[UserId, Given] = {}
    for line in lines:
        user = line.binding.user
        for given in line.state.given if line.state is not None else ():
            if user is not None and given.kind is GivenKind.LOCATION:
                found[user] = max(found.get(user, given), given, key=lambda g: g.at)
    return found


_NEEDS = (DriftKind.MISSING, DriftKind.PLAN_OFF, DriftKind.NOT_MEMBER, DriftKind.UNPROCESSED)


def settled(finding: Finding, ours: Mapping[UserId, Given], *, at: datetime, sync: timedelta) -> Finding:
    """The finding, or that its change waits for a location of ours to stay; one that did not stay goes to people.

    `sync` is one cycle of the on-premises sync. Overwritten once means no second try.
    """
    user = finding.user
    if finding.rest is not Rest.ACT or finding.drift is None or finding.drift.kind not in _NEEDS or user is None:
        return finding
    given = ours.get(user.id)
    if given is not None and not given.is_seen and not user.usage_location:
        return _looked_for(finding, given, at)
    if given is None:
        return finding
    until = given.at + (sync if user.is_synced else REPLICA)
    if user.usage_location and (at >= until or not user.is_synced):
        return finding
    if at < until:
        sentence = awaited(given, user, sync)
        return replace(finding, rest=Rest.WAIT, cause=Cause.USAGE_LOCATION_MISSING, sentence=sentence, drift=None)
    by = "the account is synced from on-premises, which overwrites it" if user.is_synced else "something cleared it"
    sentence = (
        f"The usage location {given.country} was set on {given.at:%Y-%m-%d %H:%M} UTC and is unset again: {by}. "
        "It is not set a second time."
    )
    return replace(finding, rest=Rest.HAND_BACK, cause=Cause.USAGE_LOCATION_REFUSED, sentence=sentence, drift=None)


def _looked_for(finding: Finding, given: Given, at: datetime) -> Finding:
    """Nobody has seen it yet: it may never have been set, so it is set again, after an accepted write had its time."""
    state, until = finding.line.state, given.at + REPLICA
    if state is None or state.cause != Cause.USAGE_LOCATION_MISSING.value or at >= until:
        return finding
    sentence = (
        f"The usage location {given.country} was set and is not readable yet; it is set again if it is still not "
        f"there after {until:%Y-%m-%d %H:%M} UTC."
    )
    return replace(finding, rest=Rest.WAIT, cause=Cause.USAGE_LOCATION_MISSING, sentence=sentence, drift=None)


def awaited(given: Given, user: ObservedUser, sync: timedelta) -> str:
    """What is said while a location of ours is not relied on yet."""
    until = given.at + (sync if user.is_synced else REPLICA)
    why = "the account is synced from on-premises" if user.is_synced else "the directory does not show it yet"
    return (
        f"The usage location {given.country} was set; {why}, so it is relied on only if it is still there after "
        f"{until:%Y-%m-%d %H:%M} UTC."
    )
