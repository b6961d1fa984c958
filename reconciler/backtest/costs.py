"""What wrong grants cost: a product that nobody asked for, a period that is over, a person who has left. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

from desired_state.model import Product, Request
from desired_state.periods import ends_at
from reconciler.backtest.values import Case, Cost, Standing, Waste
from reconciler.causes import Cause
from reconciler.model import ObservedUser

MONTH = timedelta(days=365.25 / 12)
_CENT = Decimal("0.01")


def cost(case: Case, standing: Standing) -> Cost | None:
    """What is paid for nothing because of this line, None for nothing."""
    finding = case.finding
    product, user = finding.line.product, finding.user
    if case.instead is not None:
        return _cost(Waste.WRONG_PRODUCT, case.instead, user, case.closed_at, case.at)
    if product is None or user is None or not holds(product, user):
        return None
    if standing is Standing.ENDED:
        return _cost(Waste.PERIOD_OVER, product, user, _end(case), case.at)
    if standing is Standing.LEAVER and finding.cause is Cause.SUBJECT_LEFT:
        return _cost(Waste.LEAVER, product, user, None, case.at)  # when somebody was disabled is not shown
    return None


def holds(product: Product, user: ObservedUser) -> bool:
    """Whether one of the product's own licences is assigned to the person directly: that is what would be saved."""
    return any(a.sku in product.candidate_skus and a.group is None and a.is_in_force for a in user.assignments or ())


def _cost(kind: Waste, product: Product, user: ObservedUser | None, since: datetime | None, at: datetime) -> Cost:
    rows = (user.assignments if user is not None else None) or ()
    given = [a.updated_at for a in rows if a.sku in product.candidate_skus and a.updated_at is not None]
    if kind is Waste.WRONG_PRODUCT and given:
        since = max(given)  # an older date is of the same licence as it was before
    if since is None or product.price is None:
        return Cost(kind, product.key, product.price, since, None)
    months = Decimal(max(at - since, timedelta()) / MONTH)
    return Cost(kind, product.key, product.price, since, (product.price * months).quantize(_CENT, ROUND_HALF_UP))


def _end(case: Case) -> datetime | None:
    line = case.finding.line
    if not isinstance(line.declared, Request):
        return None
    return ends_at(line.declared.period, line.granted_at or case.closed_at, line.zone)
