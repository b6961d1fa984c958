"""Entitlements at one instant -> one DesiredState, with several lines of one person and product settled. Pure.

What always holds: the same entitlements in any order give the same answer; every line is either behind exactly one
Want or skipped with a reason; a line that nobody approved yet never prolongs what others were granted (I7).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta, tzinfo

from desired_state.catalogue import Catalogue
from desired_state.model import DesiredState, Entitlement, LineKey, Period, ProductKey, Says, UserId, Want

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
    never when one of them is open. A duration runs from the verified grant in `granted_at`, an end date ends with
    that day in `zone`. When both remain, the later one counts. Reasons in `skipped` start with NOT_STARTED or OVER
    where the period decides.
    """
    granted = granted_at or {}
    shared: dict[tuple[UserId, ProductKey], list[Entitlement]] = {}
    skipped: dict[LineKey, str] = {}
    for entitlement in sorted(entitlements, key=_age):
        reason = _not_wanted(entitlement, granted.get(entitlement.key), catalogue, at, zone)
        if reason:
            skipped[entitlement.key] = reason
        else:
            shared.setdefault((entitlement.user, entitlement.request.product), []).append(entitlement)
    wants = tuple(_want(lines, catalogue) for lines in shared.values())
    return DesiredState(at, wants, skipped)


def _age(entitlement: Entitlement) -> tuple[datetime, LineKey, UserId]:
    return entitlement.request.requested_at, entitlement.key, entitlement.user


def _not_wanted(
    entitlement: Entitlement, granted: datetime | None, catalogue: Catalogue, at: datetime, zone: tzinfo
) -> str:
    """Why a line implies nothing at this instant, "" when it does."""
    request = entitlement.request
    gone = _GONE.get(request.says)
    if gone:
        return gone
    if catalogue.product(request.product) is None:
        return f"the catalogue has no product '{request.product}'"
    period, today = request.period, at.astimezone(zone).date()
    if period.starts_on is not None and today < period.starts_on:
        return f"{NOT_STARTED}starts on {period.starts_on}"
    if period.ends_on is not None and today > period.ends_on:
        return f"{OVER}ended on {period.ends_on}"
    if period.duration_days is not None and granted is not None:
        end = granted + timedelta(days=period.duration_days)
        if at >= end:
            return f"{OVER}{period.duration_days} days since {granted:%Y-%m-%d} are over"
    return ""


def _want(lines: list[Entitlement], catalogue: Catalogue) -> Want:
    """One assignment for lines of one person and product, which are in order of age."""
    first = lines[0]
    product = catalogue.product(first.request.product)
    assert product is not None
    decided = [line for line in lines if line.request.says is not Says.WAITING] or lines
    ends = _latest([line.request.period for line in decided])
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
        ends_on=ends.ends_on,
        duration_days=ends.duration_days,
        group=product.group,
    )


def _latest(periods: list[Period]) -> Period:
    if any(period.is_open for period in periods):
        return Period()
    days = [period.ends_on for period in periods if period.ends_on is not None]
    lengths = [period.duration_days for period in periods if period.duration_days is not None]
    return Period(ends_on=max(days, default=None), duration_days=max(lengths, default=None))
