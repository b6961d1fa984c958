"""What was done lately, counted from the audit log: whom writes touched, what they cost, how they ended.

An intent counts whatever became of it: its write may have landed. A change that is tried again costs once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlmodel import Session

from reconciler.store import journal


@dataclass(frozen=True, slots=True)
class Ended:
    """How one write ended, or how it looked afterwards: `trouble` "" when nothing speaks against the system.

    `things` are what it set and was seen to have set, as (thing, value).
    """

    subject: str
    at: datetime
    is_for_tickets: bool
    trouble: str
    things: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Touched:
    """Users per lane (tickets for answers) whom an intent named, and the monthly cost that was added."""

    users: dict[str, frozenset[str]]
    cost: Decimal
    by_product: dict[str, Touched] = field(default_factory=dict)  # by key: the same of one product alone


def touched_since(session: Session, tenant: str, since: datetime) -> Touched:
    """Counted by effect where the intent says it, by its lane otherwise."""
    rows = journal.rows_since(session, tenant, since, "intent")
    products: dict[str, list[journal.AuditRow]] = {}
    for row in rows:
        what = row.body.get("what")
        product = what.get("product") if isinstance(what, Mapping) else None
        if isinstance(product, str) and product:
            products.setdefault(product, []).append(row)
    return replace(_touched(rows), by_product={key: _touched(mine) for key, mine in products.items()})


def together(parts: Iterable[Touched]) -> Touched:
    """What was done under several names of one directory, as one."""
    users: dict[str, frozenset[str]] = {}
    cost, products = Decimal(0), dict[str, list[Touched]]()
    for part in parts:
        users |= {lane: users.get(lane, frozenset()) | who for lane, who in part.users.items()}
        cost += part.cost
        for key, mine in part.by_product.items():
            products.setdefault(key, []).append(mine)
    return Touched(users, cost, {key: together(every) for key, every in products.items()})


def _touched(rows: Iterable[journal.AuditRow]) -> Touched:
    users: dict[str, set[str]] = {}
    costs: dict[tuple[str, str], Decimal] = {}
    for row in rows:
        for lane in _lanes(row.body):
            users.setdefault(lane, set()).add(row.subject)
        cost = row.body.get("cost")
        if isinstance(cost, str):
            key = (row.subject, str(row.body.get("digest")) + str(row.body.get("action")))
            costs[key] = max(Decimal(cost), costs.get(key, Decimal(0)))
    return Touched({lane: frozenset(who) for lane, who in users.items()}, sum(costs.values(), Decimal(0)))


def _lanes(body: Any) -> tuple[str, ...]:
    counts = body.get("counts")
    return tuple(str(lane) for lane in counts) if isinstance(counts, list) else (str(body.get("lane")),)


def ended_since(session: Session, tenant: str, since: datetime) -> list[Ended]:
    """Results of writes and looks at them afterwards, oldest first."""
    return [_ended(row) for row in journal.rows_since(session, tenant, since, "result", "readback")]


def _ended(row: journal.AuditRow) -> Ended:
    things = row.body.get("set") if row.kind == "readback" and row.body.get("present") is True else None
    pairs = tuple((str(t["thing"]), str(t["value"])) for t in things) if isinstance(things, list) else ()
    return Ended(row.subject, row.at, row.body.get("lane") == "answers", str(row.body.get("trouble") or ""), pairs)
