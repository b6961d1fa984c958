"""What is counted where: the meter of a process, and the small hooks by which clients and stores reach it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Protocol

import httpx
from sqlalchemy import event as events
from sqlmodel import Session

from desired_state.model import ProductKey
from desired_state.proposals import is_number
from reconciler.approvals.values import Approval, State
from reconciler.clients.auth.watch import Call
from reconciler.clients.wire import Exchange
from reconciler.clients.wire.exchange import NOT_SENT
from reconciler.clock import Clock, SystemClock
from reconciler.config import Settings
from reconciler.logs import logger
from reconciler.metrics import Meter, Offered, Registry, Vocabulary
from reconciler.store.approvals import Tell
from reconciler.traces import UNTRACED, Tracer

_OUTCOMES = {
    State.APPROVED: "approved",
    State.REJECTED: "rejected",
    State.EXPIRED: "expired",
    State.CANCELLED: "cancelled",
    State.VOID: "void",
    State.SUPERSEDED: "void",
}


def vocabulary(settings: Settings, tenants: Collection[str]) -> Vocabulary:
    """The names that this installation can ever show: its tenants, and the products of the catalogue."""
    catalogue = settings.catalogue()
    named = {key for tenant in tenants for item in settings.items_for(tenant) for key in _products_of(item)}
    configured = {
        str(key): Offered(product.path, product.tier, bool(product.probe))
        for key in sorted({*settings.products, *named})
        if (product := catalogue.product(ProductKey(key))) is not None
    }
    return Vocabulary(tuple(sorted(tenants)), frozenset(str(key) for key in catalogue.products), configured)


def _products_of(item: object) -> set[str]:
    """The products that a catalogue item names itself; what a form can say besides is in [products]."""
    said = getattr(item, "products", None) or {}
    answers = [keys if isinstance(keys, tuple | list) else (keys,) for keys in said.values()]
    own = getattr(item, "product", None)
    return {str(key) for keys in answers for key in keys} | ({str(own)} if own else set())


def registry(settings: Settings, tenants: Collection[str], clock: Clock | None = None) -> Registry:
    """The counters of this process. Prometheus compares with the machine's clock, so they are told by that one."""
    wall = clock or SystemClock()
    return Registry(vocabulary(settings, tenants), lambda: wall.now().timestamp())


class Remains(Protocol):
    """A budget that can say how much of it is left, 0 to 1."""

    def remaining_ratio(self) -> float: ...


def exchanges(meter: Meter, budget: Remains | None = None, tracer: Tracer = UNTRACED) -> Callable[[Exchange], None]:
    """What a wire tells of each request: to the numbers, to the log with its ids, and to traces."""
    log = logger("wire")

    def noted(exchange: Exchange) -> None:
        told = {
            "api": exchange.system,
            "operation": exchange.operation,
            "method": exchange.method,
            "status": exchange.status,
            "attempt": exchange.attempt,
            "request_id": exchange.request_id,
            "client_request_id": exchange.client_request_id,
        }
        is_bad = not exchange.is_sent or exchange.status in (0, 429) or exchange.status >= 500
        tell = log.info if is_bad else log.debug
        tell("request was not served" if is_bad else "request", seconds=exchange.seconds, **told)
        tracer.happened("request", exchange.seconds, **told)
        meter.exchanged(
            exchange.system,
            exchange.operation,
            exchange.status,
            exchange.seconds,
            is_sent=exchange.is_sent,
            attempt=exchange.attempt,
        )
        if budget is not None:
            meter.quota(exchange.system, budget.remaining_ratio())

    return noted


def sign_ins(meter: Meter, stopwatch: Clock | None = None) -> Callable[[str, Call], httpx.Response]:
    """What sees each request to a sign-in service."""
    own = stopwatch or SystemClock()

    def watch(kind: str, call: Call) -> httpx.Response:
        started, status, is_sent = own.monotonic(), 0, True
        try:
            reply = call()
            status = reply.status_code
            return reply
        except NOT_SENT:
            is_sent = False
            raise
        finally:
            meter.exchanged("login", kind, status, own.monotonic() - started, is_sent=is_sent)

    return watch


def decisions(meter: Meter, tell: Tell | None) -> Tell | None:
    """`tell`, and a count of each request for approval once what happened to it is kept."""
    if meter.registry is None:
        return tell

    def told(session: Session, event: str, approval: Approval, at: datetime) -> None:
        if tell is not None:
            tell(session, event, approval, at)
        # One transaction is one session here; what is rolled back is not counted.
        events.listen(session, "after_commit", lambda _: _count(meter, event, approval, at), once=True)

    return told


def _count(meter: Meter, event: str, approval: Approval, at: datetime) -> None:
    source = source_of(approval)
    if event == "approval.request" and source != "ai":  # an agent's was counted as it was filed
        meter.proposed(source, "filed")
    outcome = _OUTCOMES.get(approval.state)
    if event != "approval.outcome" or outcome is None:
        return
    meter.proposed(source, outcome)
    if approval.state in (State.APPROVED, State.REJECTED):
        meter.decided(str(approval.subject.get("product")), (at - approval.created_at).total_seconds())


def source_of(approval: Approval) -> str:
    """Who asked: an agent with a token of ours, an account of an integration in ServiceNow, or a person."""
    if approval.label != "proposal":
        return "human"
    return "ai" if is_number(approval.line.ticket) else "api"
