"""Builders of tickets, people, items and entitlements for tests; everything has a default that reads well."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from desired_state.items import Item
from desired_state.model import (
    Approval,
    Claim,
    Entitlement,
    LineKey,
    Period,
    Person,
    ProductKey,
    Request,
    Says,
    Task,
    Ticket,
    UserId,
)

MONDAY = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
DAY = timedelta(days=1)
OUR_GROUP = "a" * 31 + "1"
OTHER_GROUP = "a" * 31 + "2"
COLLEAGUE = "b" * 31 + "9"

ADA = Person("c" * 31 + "1", user_name="ada", email="ada@contoso.com", name="Ada Lovelace", is_active=True)
BOB = Person("c" * 31 + "2", user_name="bob", email="bob@contoso.com", name="Bob Byron", is_active=True)
PEOPLE: Mapping[str, Person] = {ADA.sys_id: ADA, BOB.sys_id: BOB}


def a_ticket(number: str = "RITM0010001", **changes: Any) -> Ticket:
    """An approved ticket with a task in our queue, opened on Sunday, for Ada."""
    fields: dict[str, Any] = {
        "sys_id": "d" * 24 + number[-8:].lower().replace("m", "0").replace("t", "0"),
        "number": number,
        "item": "e" * 32,
        "item_name": "Microsoft 365 licence",
        "state": "2",
        "stage": "fulfillment",
        "approval": "approved",
        "is_active": True,
        "request": "f" * 32,
        "request_number": "REQ0010001",
        "request_approval": "approved",
        "opened_at": MONDAY - DAY,
        "updated_at": MONDAY,
        "mod_count": 3,
        "opened_by": ADA,
        "requested_for": ADA,
        "variables": {"user": ADA.sys_id, "product": "visio-plan-2"},
        "tasks": (a_task(),),
    }
    return Ticket(**(fields | changes))


def a_closed_ticket(number: str = "RITM0010001", **changes: Any) -> Ticket:
    """The same, closed complete an hour ago."""
    closed = {"state": "3", "stage": "complete", "is_active": False, "closed_at": MONDAY - DAY / 24, "closed_by": "fay"}
    return a_ticket(number, **(closed | {"tasks": (a_task(state="3", is_active=False),)} | changes))


def a_task(**changes: Any) -> Task:
    fields: dict[str, Any] = {
        "sys_id": "1" * 32,
        "number": "SCTASK0010001",
        "state": "1",
        "is_active": True,
        "assignment_group": OUR_GROUP,
    }
    return Task(**(fields | changes))


def an_approval(state: str = "approved", **changes: Any) -> Approval:
    fields: dict[str, Any] = {
        "sys_id": "2" * 32,
        "approver": "3" * 32,
        "approver_name": "Grace Hopper",
        "state": state,
        "decided_at": MONDAY - DAY / 2 if state in ("approved", "rejected") else None,
    }
    return Approval(**(fields | changes))


def an_item(**changes: Any) -> Item:
    """The generic item: a select box for the product, a reference for the person, a period."""
    fields: dict[str, Any] = {
        "name": "Microsoft 365 licence",
        "variables": {
            "person": "user",
            "product": "product",
            "justification": "justification",
            "cost_center": "cost_center",
            "manager": "manager",
            "start": "start_date",
            "end": "end_date",
            "duration": "duration",
        },
        "follow_up_group": "M365 Licence Desk",
        "reopen": True,
    }
    return Item.model_validate(fields | changes)


def a_request(ticket: str = "RITM0010001", line: int = 1, **changes: Any) -> Request:
    fields: dict[str, Any] = {
        "key": LineKey(ticket, line),
        "claim": Claim("ada@contoso.com", None),
        "product": ProductKey("visio-plan-2"),
        "says": Says.FULFILLED,
        "requested_at": MONDAY - DAY,
        "due_since": MONDAY,
        "period": Period(),
    }
    return Request(**(fields | changes))


def an_entitlement(ticket: str = "RITM0010001", line: int = 1, *, user: str = "ada-id", **changes: Any) -> Entitlement:
    """A request bound to a user of the directory; changes are those of the request."""
    return Entitlement(a_request(ticket, line, **changes), "contoso-id", UserId(user), f"{user}@contoso.com", MONDAY)
