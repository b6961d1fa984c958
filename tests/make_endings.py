"""Builders of lines that were granted by us and whose period is over, and of what is there then."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

from desired_state.model import Given, GivenKind, GroupId, LineKey, Period, PlanId, Product, SkuId
from desired_state.resolve import OVER
from reconciler.lifecycle import Phase
from reconciler.line import Finding, Line, LineState, Observed, Other, Unread
from reconciler.loop.diff import Windows, diff
from reconciler.loop.plan import Bounds, plan
from reconciler.model import Action, Assignment, Grant, ObservedGroup, ObservedUser, PlanState
from tests.make import ADA, DAY, MONDAY, VISIO, VISIO_WEB, a_line, a_product, a_sku, a_user, details_of, seen

G = GroupId("g-visio")
GRANTED = MONDAY - 20 * DAY
ENDED = date(2026, 10, 30)  # the Friday before MONDAY
KNOWN = datetime(2026, 10, 30, 23, 59, 59, tzinfo=UTC)  # when that is, as it was remembered with the grant
ON: Mapping[SkuId, Mapping[PlanId, PlanState]] = {VISIO: {VISIO_WEB: PlanState.SUCCESS}}


def licence(sku: SkuId = VISIO, at: datetime = GRANTED) -> Given:
    return Given(GivenKind.LICENSE, at, sku=sku)


def plans(sku: SkuId, *which: PlanId, at: datetime = GRANTED) -> Given:
    return Given(GivenKind.PLANS, at, sku=sku, plans=which)


def member(group: GroupId = G, at: datetime = GRANTED) -> Given:
    return Given(GivenKind.MEMBER, at, group=group)


def location(country: str = "DE", at: datetime = GRANTED) -> Given:
    return Given(GivenKind.LOCATION, at, country=country)


def an_ended_line(*given: Given, product: Product | None = None, phase: Phase = Phase.GRANTED, **more: Any) -> Line:
    """Granted by us three weeks ago until last Friday, unless `more` (fields of the line) says otherwise."""
    line = a_line(product=product or a_product(), period=Period(ends_on=ENDED))
    state = LineState(line.key, phase, since=GRANTED, granted_at=GRANTED, ends_at=KNOWN)
    base = replace(line, state=state, skipped=f"{OVER}ended", is_by_us=bool(given), given=given, granted_at=GRANTED)
    return replace(base, **more)


def a_holder(*skus: SkuId, **changes: Any) -> ObservedUser:
    return a_user(holds=dict.fromkeys(skus or (VISIO,), ()), **changes)


def a_member(*skus: SkuId, group: GroupId = G, **changes: Any) -> ObservedUser:
    """Ada with licences that come from a group."""
    rows = tuple(Assignment(sku, group, frozenset(), "Active") for sku in skus or (VISIO,))
    return a_user(skus=frozenset(a.sku for a in rows), assignments=rows, **changes)


def a_group(*skus: SkuId, **changes: Any) -> ObservedGroup:
    base = ObservedGroup(
        id=G,
        name="Visio people",
        is_dynamic=False,
        is_security=True,
        is_mail=False,
        is_unified=False,
        is_synced=False,
        is_role_assignable=False,
        licenses=tuple(Grant(sku) for sku in skus or (VISIO,)),
        processing="ProcessingComplete",
        app_roles=0,
        parents=(),
    )
    return replace(base, **changes)


def there(
    user: ObservedUser | None = None,
    holds: Mapping[SkuId, Mapping[PlanId, PlanState]] = ON,
    *,
    group: ObservedGroup | Unread | None = None,
    is_member: bool | Unread | None = None,
) -> Observed:
    """What a look shows of Ada."""
    who = user or a_holder()
    found = seen(who, details={who.id: details_of(holds)}, skus=[a_sku(), *(a_sku(s) for s in holds if s != VISIO)])
    groups = {G: group} if group is not None else {}
    return replace(found, groups=groups, members={(G, ADA): is_member} if is_member is not None else {})


def find(line: Line, observed: Observed, *, at: datetime = MONDAY, windows: Windows | None = None) -> Finding:
    (found,) = diff([line], observed, at=at, windows=windows or Windows())
    return found


def actions(line: Line, observed: Observed, *, at: datetime = MONDAY) -> tuple[Action, ...]:
    return plan([find(line, observed, at=at)], observed, Bounds()).actions


def others(*products: Product) -> tuple[Other, ...]:
    return tuple(Other(LineKey(f"RITM000010{n}", 1), p) for n, p in enumerate(products))


def kinds(made: Iterable[Action]) -> list[str]:
    return [a.kind.value for a in made]
