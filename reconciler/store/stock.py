"""What a scrape of the numbers reads of lines, of the ledger and of requests for approval: values, no rows leave here.

Small columns only, and of the ledger only what is new: 100,000 lines are read again and again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import BindParameter, bindparam, func, select, text
from sqlmodel import Session

from desired_state.ledger import LedgerRow
from desired_state.rows import table_of
from reconciler.store.rows.approvals import ApprovalRow
from reconciler.store.rows.tickets import LineRow

_L, _G, _A = table_of(LineRow).c, table_of(LedgerRow).c, table_of(ApprovalRow).c
_TENANT: BindParameter[Any] = bindparam("tenant")
_LINES = select(_L.ticket, _L.line, _L.phase, _L.since, _L.cause, _L.verdict, _L.user, _L.ends_at).where(
    _L.tenant == _TENANT
)
_NAMED = (
    select(_G.id, _G.ticket, _G.line, _G.body)
    .where(_G.tenant == _TENANT, _G.id > bindparam("after"), _G.kind.in_(("declared", "bound", "refused")))
    .order_by(_G.id)
)
_STATES = select(_A.state, func.count()).where(_A.tenant == _TENANT).group_by(_A.state)
_PENDING = select(_A.created_at, _A.body).where(_A.tenant == _TENANT, _A.state == "pending")


class Brief(NamedTuple):
    """One line as it is remembered, in the store's own words."""

    ticket: str
    line: int
    phase: str
    since: datetime
    cause: str | None
    verdict: str | None
    user: str | None
    ends_at: datetime | None


class Waiting(NamedTuple):
    """A request for approval that waits for an answer. `cost` is a month's, None where it is not known; `late_from` is
    when its open stage is escalated, None where no clock of it runs."""

    since: datetime
    late_from: datetime | None
    cost: Decimal | None


class Naming(NamedTuple):
    """A row of the ledger that says what a line is about; None where it says that it is about no product."""

    id: int
    ticket: str
    line: int
    product: str | None


class _Asked(msgspec.Struct):
    product: str | None = None


class _Bound(msgspec.Struct):
    request: _Asked | None = None


class _Change(msgspec.Struct):
    """What a change of the ledger says about the product, whichever kind it is."""

    request: _Asked | None = None
    entitlement: _Bound | None = None
    refusal: _Asked | None = None

    @property
    def product(self) -> str | None:
        asked = self.request or self.refusal or (self.entitlement.request if self.entitlement is not None else None)
        return asked.product if asked is not None else None


class _Shown(msgspec.Struct):
    cost: Any = None  # facts for people, of whatever shape: nothing about it may fail a scrape


class _Stage(msgspec.Struct):
    escalate_at: datetime | None = None


class _Asks(msgspec.Struct):
    """What a request says about its price and its clocks; of the rest nothing is read."""

    shown: _Shown
    stages: tuple[_Stage, ...] = ()
    at: int = 0


_ASKS = msgspec.json.Decoder(_Asks).decode
_CHANGE = msgspec.json.Decoder(_Change).decode


def be_patient(session: Session, ms: int) -> None:
    """Give each statement of this transaction so long, where the database can be told: somebody's lock ends it."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text(f"SET LOCAL statement_timeout = {ms:d}"))


def lines(session: Session, tenant: str) -> Iterator[Brief]:
    """Every line of a tenant."""
    return map(Brief._make, session.connection().execute(_LINES, {"tenant": tenant}))


def namings(session: Session, tenant: str, after: int) -> Iterator[Naming]:
    """What the ledger says about products behind the row `after`, in order."""
    for id, ticket, line, body in session.connection().execute(_NAMED, {"tenant": tenant, "after": after}):
        yield Naming(id, ticket, line, _CHANGE(body).product)


def approvals(session: Session, tenant: str) -> dict[str, int]:
    """How many requests for approval stand where; a state that none is in is left out."""
    found = session.connection().execute(_STATES, {"tenant": tenant})
    return {str(state): int(count) for state, count in found}


def waiting(session: Session, tenant: str) -> Iterator[Waiting]:
    """Every request that waits for an answer."""
    for since, body in session.connection().execute(_PENDING, {"tenant": tenant}):
        asks = _ASKS(body)
        stage = asks.stages[asks.at] if asks.at < len(asks.stages) else _Stage()
        yield Waiting(since, stage.escalate_at, _amount(asks.shown.cost))


def _amount(cost: object) -> Decimal | None:
    monthly = cost.get("monthly") if isinstance(cost, Mapping) else None
    try:
        found = Decimal(monthly) if isinstance(monthly, str) else None
    except InvalidOperation:
        return None
    return found if found is not None and found.is_finite() else None
