"""Builders: what a test does not say does not matter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from desired_state.model import (
    Claim,
    LineKey,
    Period,
    Person,
    PlanId,
    Product,
    ProductKey,
    Request,
    Says,
    SkuId,
    Ticket,
    UserId,
)
from reconciler.line import (
    Binding,
    Known,
    Line,
    LineState,
    Observed,
)
from reconciler.model import (
    Assignment,
    ObservedUser,
    PlanState,
    SkuDetail,
    SubscribedSku,
)

MONDAY = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)

PHONE, VISIO = SkuId("e43b5b99-8dfb-405f-9987-dc307f34bcbd"), SkuId("4b244418-9658-4451-a2b8-b5e2b364e9bd")
E3, E5 = SkuId("05e9a617-0261-4cee-bb44-138d3ef5d965"), SkuId("06ebc4ee-1bb5-47dd-8120-11324bc54e06")
MCOEV, TEAMS1, VISIO_WEB = PlanId("plan-mcoev"), PlanId("plan-teams1"), PlanId("plan-visio")
SWAY, YAMMER = PlanId("plan-sway"), PlanId("plan-yammer")

ADA = UserId("11111111-1111-4111-8111-111111111111")
BOB = UserId("22222222-2222-4222-8222-222222222222")


def a_product(key: str = "visio-plan-1", **changes: Any) -> Product:
    base = Product(
        key=ProductKey(key),
        name="Visio Plan 1",
        kind="standalone",
        candidate_skus=(VISIO,),
        proof_plans=(VISIO_WEB,),
        price=Decimal("5.00"),
    )
    return replace(base, **changes)


def teams(**changes: Any) -> Product:
    return a_product(
        "teams", **{"name": "Microsoft Teams", "candidate_skus": (PHONE,), "proof_plans": (TEAMS1,), **changes}
    )


def a_ticket(number: str = "RITM0000001", **changes: Any) -> Ticket:
    base = Ticket(
        sys_id=f"sys-{number}",
        number=number,
        item="item",
        item_name="Microsoft 365 licence",
        state="3",
        stage="complete",
        approval="approved",
        is_active=False,
        request="req",
        request_number="REQ0000001",
        request_approval="approved",
        opened_at=MONDAY - 3 * DAY,
        updated_at=MONDAY - DAY,
        mod_count=3,
        variables={},
    )
    return replace(base, **changes)


def a_request(number: str = "RITM0000001", line: int = 1, **changes: Any) -> Request:
    base = Request(
        key=LineKey(number, line),
        claim=Claim(upn="ada@contoso.example", person=None),
        product=ProductKey("visio-plan-1"),
        says=Says.FULFILLED,
        requested_at=MONDAY - 3 * DAY,
        due_since=MONDAY - DAY,
        period=Period(),
    )
    return replace(base, **changes)


def a_line(
    number: str = "RITM0000001",
    *,
    user: UserId | None = ADA,
    product: Product | None = None,
    state: LineState | None = None,
    person: Person | None = None,
    binding: Binding | None = None,
    **request: Any,
) -> Line:
    product = product or a_product()
    declared = a_request(number, **{"product": product.key, **request})
    bound = Binding(Known.BOUND, user) if user is not None else Binding(Known.MISSING, why="Nobody has this name.")
    return Line(declared, a_ticket(number), binding or bound, product, person, state)


def a_user(id: UserId = ADA, *, holds: Mapping[SkuId, Iterable[PlanId]] | None = None, **changes: Any) -> ObservedUser:
    """`holds` maps SKUs assigned directly to the plans that are off in them."""
    held = holds or {}
    base = ObservedUser(
        id=id,
        upn="ada@contoso.example",
        read_at=MONDAY,
        is_enabled=True,
        usage_location="DE",
        country="DE",
        user_type="Member",
        skus=frozenset(held),
        assignments=tuple(Assignment(sku, None, frozenset(off), "Active") for sku, off in held.items()),
    )
    return replace(base, **changes)


def details_of(holds: Mapping[SkuId, Mapping[PlanId, PlanState]]) -> tuple[SkuDetail, ...]:
    return tuple(SkuDetail(sku, str(sku), dict(plans)) for sku, plans in holds.items())


def a_sku(
    sku: SkuId = VISIO, *, free: int = 10, plans: Iterable[PlanId] = (VISIO_WEB,), **changes: Any
) -> SubscribedSku:
    base = SubscribedSku(sku, str(sku), "Enabled", "User", 100, 0, 0, 100 - free, {p: str(p) for p in plans})
    return replace(base, **changes)


def seen(
    *users: ObservedUser,
    details: Mapping[UserId, tuple[SkuDetail, ...]] | None = None,
    skus: Iterable[SubscribedSku] = (),
    at: datetime = MONDAY,
) -> Observed:
    given = details or {}
    return Observed(
        at,
        {u.id: u for u in users},
        {u.id: given.get(u.id, ()) for u in users},
        {s.sku: s for s in (list(skus) or [a_sku()])},
    )
