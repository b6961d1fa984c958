"""Rows of the service catalogue as the values of our domain. Pure apart from raising Malformed.

A field that was not shown becomes None where the value has room for it. Source of names: servicenow.md section 7.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal, InvalidOperation

from desired_state.model import Approval, Person, Task, Ticket
from reconciler.clients.servicenow.tables import Row

ITEM_TABLE, TASK_TABLE, USER_TABLE, REQUEST_TABLE = "sc_req_item", "sc_task", "sys_user", "sc_request"
MULTI_ROW = "sc_multi_row_question_answer"
OPTION = "sc_item_option.item_option_new"
# Containers, labels, breaks, splits, macros and pages ask nothing (servicenow.md section 7).
LAYOUT_TYPES = frozenset({"11", "12", "14", "15", "17", "19", "20", "24"})
REFERENCE_TYPES = frozenset({"8", "21", "31"})  # reference, list collector, requested for

TICKET_FIELDS = (
    *("number", "cat_item", "cat_item.name", "state", "stage", "approval", "active"),
    *("request", "request.number", "request.approval", "request.requested_for", "requested_for"),
    *("opened_at", "opened_by", "sys_created_on", "sys_updated_on", "sys_updated_by", "sys_mod_count"),
    *("closed_at", "closed_by", "price", "recurring_price", "assignment_group", "assigned_to"),
    *("correlation_id", "close_notes", "short_description", "priority"),
)
TASK_FIELDS = (
    *("number", "state", "active", "request_item", "assignment_group", "assigned_to"),
    *("correlation_id", "short_description", "sys_created_on", "sys_mod_count"),
)
APPROVAL_FIELDS = ("state", "approver", "sysapproval", "document_id", "sys_created_on", "sys_updated_on")
COUNT = "sc_item_option.sys_mod_count"  # every record has one: where it is empty, the record is not shown to us
VARIABLE_FIELDS = [
    *("request_item", "sc_item_option.value", COUNT),
    *(f"{OPTION}.{f}" for f in ("name", "type", "reference")),
]
CELL_FIELDS = ["parent_id", "row_index", "variable_set", "value"] + [
    f"item_option_new.{f}" for f in ("name", "type", "reference")
]


@dataclass(frozen=True, slots=True)
class TicketFields:
    """Columns that customers name differently. Dot-walks are allowed."""

    country_field: str = "country"
    employee_number_field: str = "employee_number"
    department_field: str = "department.name"
    cost_center_field: str = "cost_center.name"
    title_field: str = "title"
    manager_field: str = "manager"

    def of_users(self) -> list[str]:
        """All columns of sys_user that are read."""
        own = (self.country_field, self.employee_number_field, self.department_field, self.cost_center_field)
        return ["user_name", "email", "name", "active", "time_zone", *own, self.title_field, self.manager_field]


@dataclass(frozen=True, slots=True)
class Variables:
    """What one ticket's form says. `people` are sys_ids of sys_user that it refers to.

    `hidden` are rows whose answer, or whose question, is a record that is not shown to us.
    """

    named: Mapping[str, str] | None
    people: frozenset[str] = frozenset()
    hidden: int = 0


def person(row: Row, fields: TicketFields) -> Person:
    return Person(
        sys_id=row.need("sys_id"),
        user_name=row.text("user_name"),
        email=row.text("email"),
        name=row.text("name"),
        employee_number=row.text(fields.employee_number_field),
        is_active=row.flag("active"),
        country=row.text(fields.country_field),
        department=row.text(fields.department_field),
        cost_center=row.text(fields.cost_center_field),
        title=row.text(fields.title_field),
        manager=row.text(fields.manager_field),
        time_zone=row.text("time_zone"),
    )


def task(row: Row) -> Task:
    return Task(
        sys_id=row.need("sys_id"),
        number=row.text("number") or "",
        state=row.text("state") or "",
        is_active=row.flag("active"),
        assignment_group=row.text("assignment_group") or "",
        assigned_to=row.text("assigned_to") or "",
        correlation_id=row.text("correlation_id") or "",
        short_description=row.text("short_description") or "",
        mod_count=_count(row.text("sys_mod_count")),
    )


def approval(row: Row) -> Approval:
    state = row.text("state") or ""
    decided = state in ("approved", "rejected")
    return Approval(
        sys_id=row.need("sys_id"),
        approver=row.text("approver") or "",
        approver_name=row.shown("approver"),
        state=state,
        decided_at=row.instant("sys_updated_on") if decided else None,
    )


def price(row: Row) -> Decimal | None:
    """What was approved: the recurring price where there is one, else the single one. None when neither is shown."""
    found = [_decimal(row.text(name)) for name in ("recurring_price", "price")]
    known = [amount for amount in found if amount is not None]
    return next((amount for amount in known if amount), known[0] if known else None)


def _decimal(text: str | None) -> Decimal | None:
    try:
        amount = Decimal((text or "").strip())
    except InvalidOperation:
        return None
    return amount if amount.is_finite() else None


def variables(rows: Sequence[Row]) -> Variables:
    """The named variables of one ticket, from its mtom rows. `named` is None when none can be read.

    Values are raw: a reference is a sys_id. A row whose name or value is hidden makes all of them unread, because a
    form that is known in part could be taken for a smaller wish. Of two variables of a name the filled one counts.
    """
    named: dict[str, str] = {}
    people: set[str] = set()
    hidden = 0
    for row in rows:
        kind = row.text(f"{OPTION}.type")
        if kind in LAYOUT_TYPES:
            continue
        name, value = row.text(f"{OPTION}.name"), row.text("sc_item_option.value")
        if name is None or value is None:
            return Variables(None)
        if not value and row.text(COUNT) == "":
            hidden += 1
            continue
        if not name:
            hidden += not kind  # every question is of a kind
            continue
        named[name] = named.get(name) or value
        people |= _people(row.text(f"{OPTION}.type"), row.text(f"{OPTION}.reference"), value)
    return Variables(named or None, frozenset(people), hidden)


def multi_rows(cells: Sequence[Row]) -> tuple[tuple[Mapping[str, str], ...] | None, frozenset[str]]:
    """The rows of the multi-row sets of one ticket in their order, and the people they refer to.

    The rows are None when a cell hides its name, index or value: a row must not look like less than it is.
    """
    found: dict[tuple[str, int, str], dict[str, str]] = {}
    people: set[str] = set()
    for cell in cells:
        name, value, index = cell.text("item_option_new.name"), cell.text("value"), cell.text("row_index")
        if not name or not index or value is None:
            return None, frozenset()
        place = (cell.text("variable_set") or "", int(index) if index.isdigit() else 0, index)
        found.setdefault(place, {})[name] = value
        people |= _people(cell.text("item_option_new.type"), cell.text("item_option_new.reference"), value)
    return tuple(found[place] for place in sorted(found)), frozenset(people)


def _people(kind: str | None, table: str | None, value: str) -> set[str]:
    if kind not in REFERENCE_TYPES or table not in (USER_TABLE, "", None):
        return set()
    return {part.strip() for part in value.split(",") if part.strip()}


def requested_for(row: Row) -> str:
    """sys_id of whom the item is for; older records name them on the request only (servicenow.md section 7)."""
    return row.text("requested_for") or row.text("request.requested_for") or ""


def ticket(
    row: Row,
    *,
    people: Mapping[str, Person],
    read: Variables,
    rows: tuple[Mapping[str, str], ...] | None,
    approvals: tuple[Approval, ...],
    tasks: tuple[Task, ...],
    hidden_cells: int = 0,
) -> Ticket:
    """One requested item with everything that hangs on it; unreadable rows make its variables unread too.

    Raises:
        Malformed: a telling field is hidden.
    """
    updated_at = updated(row)
    closed_by = people.get(row.text("closed_by") or "")
    return Ticket(
        sys_id=row.need("sys_id"),
        number=row.need("number"),
        item=row.need("cat_item"),
        item_name=row.text("cat_item.name") or row.shown("cat_item"),
        state=row.need("state"),
        stage=row.text("stage") or "",
        approval=row.text("approval") or "",
        is_active=row.flag("active"),
        request=row.text("request") or "",
        request_number=row.text("request.number") or row.shown("request"),
        request_approval=row.text("request.approval") or "",
        opened_at=row.instant("opened_at") or row.instant("sys_created_on") or updated_at,
        updated_at=updated_at,
        mod_count=_whole(row.text("sys_mod_count")),
        updated_by=row.text("sys_updated_by") or "",
        closed_at=row.instant("closed_at"),
        closed_by=(closed_by.user_name or "") if closed_by else "",
        opened_by=people.get(row.text("opened_by") or ""),
        requested_for=people.get(requested_for(row)),
        price=price(row),
        assignment_group=row.text("assignment_group") or "",
        assigned_to=row.text("assigned_to") or "",
        correlation_id=row.text("correlation_id") or "",
        close_notes=row.text("close_notes") or "",
        short_description=row.text("short_description") or "",
        variables=None if rows is None else read.named,
        rows=rows or (),
        approvals=approvals,
        tasks=tasks,
        priority=row.text("priority") or "",
        hidden_answers=read.hidden,
        hidden_cells=hidden_cells,
    )


def again(row: Row, copy: Ticket) -> Ticket:
    """A ticket by its copy, with what its own row says now: what hangs on it is as copied. Raises Malformed."""
    people = {p.sys_id: p for p in (copy.opened_by, copy.requested_for) if p is not None}
    read, hidden = Variables(copy.variables, hidden=copy.hidden_answers), copy.hidden_cells
    tasks = copy.tasks
    now = ticket(
        row, people=people, read=read, rows=copy.rows, approvals=copy.approvals, tasks=tasks, hidden_cells=hidden
    )
    now = replace(now, unshown=copy.unshown)
    return replace(now, closed_by=copy.closed_by) if now.closed_at == copy.closed_at else now


@dataclass(frozen=True, slots=True)
class Stamp:
    """When a ticket was last written to, and how often; None: that is not shown."""

    number: str
    updated_at: datetime
    mod_count: int | None


def stamp(row: Row) -> Stamp:
    """What of a ticket's row tells one state of it from another. Raises Malformed."""
    return Stamp(row.need("number"), updated(row), _count(row.text("sys_mod_count")))


def updated(row: Row) -> datetime:
    """sys_updated_on, which orders everything. Raises Malformed."""
    row.need("sys_updated_on")
    at = row.instant("sys_updated_on")
    assert at is not None
    return at


def _whole(text: str | None) -> int:
    return _count(text) or 0


def _count(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None
