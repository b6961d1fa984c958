"""Entitlements at one instant -> one DesiredState, with several lines of one person and product settled. Pure.

What always holds: the same entitlements in any order give the same answer; every line is either behind exactly one
Want or skipped with a reason; a line that nobody approved yet never prolongs what others were granted (I7).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, tzinfo

from desired_state.catalogue import Catalogue
from desired_state.model import DesiredState, Entitlement, LineKey, Period, ProductKey, Says, UserId, Want
from desired_state.periods import ends_at, zone_of

NOT_STARTED = "not started: "
OVER = "over: "
_GONE = {Says.REJECTED: "rejected", Says.CANCELLED: "cancelled", Says.INCONSISTENT: "the ticket contradicts itself"}


def resolve(
    entitlements: Iterable[Entitlement],
    catalogue: Catalogue,
    *,
    at: datetime,
    granted_at: Mapping[LineKey, datetime] | None = None,
    zone: tzinfo = UTC,
) -> DesiredState:
    """What the ledger implies at `at`.

    Several lines of one person and product share one Want, oldest first; it ends with the latest of their ends, and
    never when one of them is open. `periods.ends_at` says when a line ends: a duration runs from the verified grant
    in `granted_at`, an end date ends with that day where the person lives, in `zone` where that is not known.
    Reasons in `skipped` start with NOT_STARTED or OVER where the period decides.
    """
    entitlements, granted = tuple(entitlements), granted_at or {}
    ends = {e.key: line_ends_at(e, granted.get(e.key), zone) for e in entitlements}
    shared: dict[tuple[UserId, ProductKey], list[Entitlement]] = {}
    skipped: dict[LineKey, str] = {}
    for entitlement in sorted(entitlements, key=_age):
        reason = _not_wanted(entitlement, ends[entitlement.key], catalogue, at, zone)
        if reason:
            skipped[entitlement.key] = reason
        else:
            shared.setdefault((entitlement.user, entitlement.request.product), []).append(entitlement)
    wants = tuple(_want(lines, ends, catalogue) for lines in shared.values())
    return DesiredState(at, wants, skipped)


def line_ends_at(entitlement: Entitlement, granted_at: datetime | None, zone: tzinfo) -> datetime | None:
    """When one line ends, in the time zone of its person where the ticket system knows it; None: not known, or open."""
    return ends_at(entitlement.request.period, granted_at, zone_for(entitlement, zone))


def zone_for(entitlement: Entitlement, zone: tzinfo) -> tzinfo:
    """Where a line's days begin and end."""
    person = entitlement.request.claim.person
    return zone_of(person.time_zone if person is not None else None, zone)


def _age(entitlement: Entitlement) -> tuple[datetime, LineKey, UserId]:
    return entitlement.request.requested_at, entitlement.key, entitlement.user


def _not_wanted(
    entitlement: Entitlement, end: datetime | None, catalogue: Catalogue, at: datetime, zone: tzinfo
) -> str:
    """Why a line implies nothing at this instant, "" when it does."""
    request = entitlement.request
    gone = _GONE.get(request.says)
    if gone:
        return gone
    if catalogue.product(request.product) is None:
        return f"the catalogue has no product '{request.product}'"
    own = zone_for(entitlement, zone)
    starts = request.period.starts_on
    if starts is not None and at.astimezone(own).date() < starts:
        return f"{NOT_STARTED}starts on {starts}"
    if end is not None and at >= end:
        return f"{OVER}ended on {end.astimezone(own):%Y-%m-%d}"
    return ""


def _want(lines: list[Entitlement], ends: Mapping[LineKey, datetime | None], catalogue: Catalogue) -> Want:
    """One assignment for lines of one person and product, which are in order of age."""
    first = lines[0]
    product = catalogue.product(first.request.product)
    assert product is not None
    decided = [line for line in lines if line.request.says is not Says.WAITING] or lines
    longest = _latest([line.request.period for line in decided])
    known = [ends[line.key] for line in decided]
    return Want(
        user=first.user,
        product=product.key,
        keys=tuple(line.key for line in lines),
        path=product.path,
        skus=product.candidate_skus,
        proof_plans=product.proof_plans,
        proof_mode=product.proof_mode,
        requested_at=first.request.requested_at,
        due_since=min(line.request.due_since for line in decided),
        ends_on=longest.ends_on,
        duration_days=longest.duration_days,
        ends_at=max(end for end in known if end is not None) if all(known) else None,
        group=product.group,
    )


def _latest(periods: list[Period]) -> Period:
    if any(period.is_open for period in periods):
        return Period()
    days = [period.ends_on for period in periods if period.ends_on is not None]
    lengths = [period.duration_days for period in periods if period.duration_days is not None]
    return Period(ends_on=max(days, default=None), duration_days=max(lengths, default=None))
