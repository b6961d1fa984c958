"""How catalog items are declared and ordered: the item, its variables, and the records that checkout leaves behind.

Source: servicenow.md section 7: request and item are committed together; each variable of the item becomes a row of
sc_item_option, tied to the item by sc_item_option_mtom; cells of a multi-row set live in
sc_multi_row_question_answer, while its own mtom row has an empty value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from reconciler.sandbox.servicenow.records import Records
from reconciler.sandbox.servicenow.schema import Row
from reconciler.sandbox.servicenow.stamps import stamp
from reconciler.sandbox.servicenow.tables import CLOSED_STATES, OPEN_STATE

FLOW = "fulfil.flow"
"""The user name under which flows write."""

# Types whose rows structure a form and hold no answer (section 7, PS type list).
CONTAINER_TYPES = frozenset({"11", "12", "14", "15", "17", "19", "20", "24"})


def add_item(
    records: Records,
    name: str,
    *,
    price: str,
    recurring_price: str,
    short_description: str,
    variables: Sequence[Mapping[str, str]],
    rows: Sequence[Mapping[str, str]],
    rows_name: str,
    by: str,
    at: datetime,
) -> str:
    """Declare an item with its variables (and the columns of one multi-row set); returns its sys_id."""
    item = records.insert(
        "sc_cat_item",
        {
            "name": name,
            "short_description": short_description,
            "price": price,
            "recurring_price": recurring_price,
        },
        by=by,
        at=at,
    )
    for n, variable in enumerate(variables):
        _question(records, item, variable, order=(n + 1) * 100, variable_set="", by=by, at=at)
    if rows:
        variable_set = records.new_id()
        holder = {"name": rows_name, "question_text": rows_name.replace("_", " ").capitalize(), "type": ""}
        order = (len(variables) + 1) * 100
        _question(records, item, holder, order=order, variable_set=variable_set, by=by, at=at)
        for n, column in enumerate(rows):
            # Columns of the set hang on the set, not on the item.
            _question(records, "", column, order=(n + 1) * 100, variable_set=variable_set, by=by, at=at)
    return item


def _question(
    records: Records, item: str, variable: Mapping[str, str], *, order: int, variable_set: str, by: str, at: datetime
) -> str:
    return records.insert(
        "item_option_new",
        {
            "name": variable.get("name", ""),
            "question_text": variable.get("question_text", variable.get("name", "")),
            "type": str(variable.get("type", "6")),
            "reference": variable.get("reference", ""),
            "order": str(variable.get("order", order)),
            "mandatory": variable.get("mandatory", "false"),
            "variable_set": variable_set,
            "cat_item": item,
        },
        by=by,
        at=at,
    )


def questions(records: Records, item: str) -> list[Row]:
    """The variables of an item, in the order of its form."""
    return sorted(records.with_value("item_option_new", "cat_item", item), key=_by_order)


def set_columns(records: Records, variable_set: str) -> list[Row]:
    """The columns of a multi-row set, in order."""
    found = records.with_value("item_option_new", "variable_set", variable_set)
    return sorted((row for row in found if not row.get("cat_item")), key=_by_order)


def _by_order(row: Row) -> tuple[int, str]:
    return int(row.get("order") or "0"), row["sys_id"]


def write_answers(
    records: Records,
    ritm: str,
    item: str,
    *,
    variables: Mapping[str, str],
    rows: Sequence[Mapping[str, str]],
    by: str,
    at: datetime,
) -> None:
    """Store the answers of one item.

    Raises:
        KeyError: an answer for which the item has no question.
    """
    asked = questions(records, item)
    names = {row.get("name", "") for row in asked}
    unknown = sorted(set(variables) - names)
    if unknown:
        raise KeyError(f"the item has no variable named {', '.join(unknown)}")
    for question in asked:
        is_container = question.get("type", "") in CONTAINER_TYPES or bool(question.get("variable_set"))
        is_left_out = not is_container and not variables.get(question.get("name", ""))
        if is_left_out and not records.switches.unanswered_has_row:
            continue
        answer = {
            "item_option_new": question["sys_id"],
            "value": "" if is_container else variables.get(question.get("name", ""), ""),
            "order": question.get("order", ""),
        }
        option = records.insert("sc_item_option", answer, by=by, at=at)
        tie = {"request_item": ritm, "sc_item_option": option}
        records.insert("sc_item_option_mtom", tie, by=by, at=at)
    if not rows:
        return
    variable_set = next((row["variable_set"] for row in asked if row.get("variable_set")), "")
    cells = {row.get("name", ""): row["sys_id"] for row in set_columns(records, variable_set)} if variable_set else {}
    for n, answers in enumerate(rows):
        for name, value in answers.items():
            cell = {
                "parent_id": ritm,
                "parent_table_name": "sc_req_item",
                "row_index": str(n),
                "variable_set": variable_set,
                "item_option_new": cells[name],
                "value": value,
            }
            records.insert("sc_multi_row_question_answer", cell, by=by, at=at)


@dataclass(frozen=True)
class Past:
    """An order as it stands when the story begins. Instants are aware; people and item are sys_ids."""

    number: str
    item: str
    requested_for: str
    opened_by: str
    opened_at: datetime
    state: str
    stage: str
    approval: str
    request_approval: str
    active: bool | None
    closed_at: datetime | None
    closed_by: str
    price: str | None
    close_notes: str
    short_description: str


def put_order(
    records: Records,
    past: Past,
    *,
    variables: Mapping[str, str],
    rows: Sequence[Mapping[str, str]],
    approvers: Sequence[tuple[str, str, datetime | None]],
    task: Mapping[str, str] | None,
) -> str:
    """Write request, item, answers, approvers and task as the past left them; returns the item's sys_id.

    Business rules do not run: a story may start with records that disagree, as real ones do (section 8).
    """
    item = records.store.get("sc_cat_item", past.item)
    if item is None:
        raise KeyError(f"there is no catalog item {past.item}")
    digits = past.number.removeprefix("RITM")
    by = _user_name(records, past.opened_by)
    closed = past.state in CLOSED_STATES if past.active is None else not past.active
    closed_at = past.closed_at or past.opened_at
    common = {
        "requested_for": past.requested_for,
        "opened_by": past.opened_by,
        "opened_at": stamp(past.opened_at),
        "state": past.state,
        "active": "false" if closed else "true",
        "short_description": past.short_description or item.get("name", ""),
        "price": past.price if past.price is not None else item.get("price", "0"),
    }
    if closed:
        common |= {"closed_at": stamp(closed_at), "closed_by": _user_id(records, past.closed_by)}
    request = records.adopt(
        "sc_request",
        common
        | {
            "number": f"REQ{digits}",
            "approval": past.request_approval,
            "stage": "closed_complete" if closed else "fulfillment" if past.approval == "approved" else "requested",
            "request_state": _request_state(past, closed=closed),
        },
        by=by,
        at=past.opened_at,
    )
    ritm = records.adopt(
        "sc_req_item",
        common
        | {
            "number": past.number,
            "approval": past.approval,
            "stage": past.stage,
            "request": request,
            "parent": request,
            "cat_item": past.item,
            "close_notes": past.close_notes,
            "recurring_price": item.get("recurring_price", "0"),
        },
        by=by,
        at=past.opened_at,
    )
    write_answers(records, ritm, past.item, variables=variables, rows=rows, by=by, at=past.opened_at)
    last = past.opened_at
    for person, state, decided_at in approvers:
        asked = {"approver": person, "state": state, "sysapproval": ritm, "document_id": ritm}
        row = records.adopt(
            "sysapproval_approver", asked | {"source_table": "sc_req_item"}, by="system", at=past.opened_at
        )
        if decided_at is not None:
            records.touch("sysapproval_approver", row, by=_user_name(records, person), at=decided_at)
            last = max(last, decided_at)
    if task is not None:
        _put_task(records, ritm, request, task, by=by, at=max(last, past.opened_at))
    fulfiller = _fulfiller(records, past.closed_by)
    for table, sys_id in (("sc_req_item", ritm), ("sc_request", request)):
        if closed or last > past.opened_at:
            records.touch(table, sys_id, by=fulfiller if closed else FLOW, at=closed_at if closed else last)
    return ritm


def _put_task(records: Records, ritm: str, request: str, task: Mapping[str, str], *, by: str, at: datetime) -> None:
    state = task.get("state", OPEN_STATE)
    values = {
        "request_item": ritm,
        "parent": ritm,
        "request": request,
        "approval": "not requested",
        "short_description": "Grant the licence",
        "active": "false" if state in CLOSED_STATES else "true",
        "opened_at": stamp(at),
        "opened_by": records.user_id(by),
        **task,
        "state": state,
    }
    if not values.get("number"):
        values["number"] = records.next_number("SCTASK")
    if state in CLOSED_STATES:
        values.setdefault("closed_at", stamp(at))
    records.adopt("sc_task", values, by=FLOW, at=at)


def _request_state(past: Past, *, closed: bool) -> str:
    if closed:
        return "closed_complete"
    if past.request_approval == "rejected":
        return "closed_rejected"
    return "in_process" if past.approval == "approved" else "requested"


def _fulfiller(records: Records, closed_by: str) -> str:
    """The user name that closed an order; a name nobody has any more stays as it was written."""
    row = records.store.get("sys_user", closed_by)
    return row["user_name"] if row else closed_by or FLOW


def _user_id(records: Records, user: str) -> str:
    """The sys_id of somebody given by sys_id or user name, "" when the instance does not know them."""
    return user if records.store.get("sys_user", user) else records.user_id(user)


def _user_name(records: Records, user: str) -> str:
    row = records.store.get("sys_user", user)
    return row["user_name"] if row else FLOW
