"""The Service Catalog API, as far as the reconciler could use it: read an item and its variables, order it now.

Source: servicenow.md section 11 (order_now answers the request, not the item) and section 7 (the undocumented write of
variables answers 200 and writes nothing).
"""

from __future__ import annotations

import json
from typing import Any

import httpx

from reconciler.sandbox.servicenow import ordering
from reconciler.sandbox.servicenow.answers import Call, answer, as_text, bad_request, no_record, not_imitated
from reconciler.sandbox.servicenow.instance import Instance
from reconciler.sandbox.servicenow.schema import Row
from reconciler.sandbox.servicenow.stamps import stamp

QUANTITY_MAX = 100
ALSO_FOR_MAX = 50


class CatalogApi:
    """Handles `/servicecatalog/...`."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance

    def handle(self, call: Call) -> httpx.Response:
        """Answer one call.

        Raises:
            ApiError: 404 for an unknown item, 400 for a bad order, 501 for what is not imitated.
        """
        match (call.method, call.path):
            case ("GET", ("items",)):
                items = [row for _, row in self._instance.truth.all("sc_cat_item") if row.get("active") == "true"]
                return answer(200, {"result": [_item(row) for row in items]})
            case ("GET", ("items", sys_id)):
                row = self._row(sys_id)
                return answer(200, {"result": {**_item(row), "variables": self._variables(row)}})
            case ("GET", ("items", sys_id, "variables")):
                return answer(200, {"result": self._variables(self._row(sys_id))})
            case ("POST", ("items", sys_id, "order_now")):
                return self._order(call, self._row(sys_id))
            case ("PUT", ("variables", table, sys_id)):
                if not self._instance.schema.has(table) or self._instance.truth.find(table, sys_id) is None:
                    raise no_record()
                return answer(200, {"result": {"sys_id": sys_id, "table": table}})
            case _:
                raise not_imitated("/".join(call.path))

    def _row(self, sys_id: str) -> Row:
        row = self._instance.truth.store.get("sc_cat_item", sys_id)
        if row is None or row.get("active") != "true":
            raise no_record()
        return row

    def _variables(self, item: Row) -> list[dict[str, Any]]:
        return [_variable(self._instance, row) for row in ordering.questions(self._instance.truth, item["sys_id"])]

    def _order(self, call: Call, item: Row) -> httpx.Response:
        try:
            body = json.loads(call.body or b"{}")
        except ValueError:
            raise bad_request("Exception while reading request", "Cannot decode: not valid JSON") from None
        if not isinstance(body, dict):
            raise bad_request("Exception while reading request", "The payload is not an object")
        quantity = as_text(body.get("sysparm_quantity", ""))
        if not quantity.isdigit() or not 1 <= int(quantity) <= QUANTITY_MAX:
            raise bad_request("Invalid Quantity value", quantity)
        requested_for = as_text(body.get("sysparm_requested_for", "")) or call.caller.sys_id
        also = [person for person in as_text(body.get("sysparm_also_request_for", "")).split(",") if person]
        if len(also) > ALSO_FOR_MAX:
            raise bad_request("Too many users in sysparm_also_request_for", str(len(also)))
        people = [requested_for, *also]
        if any(self._instance.truth.store.get("sys_user", person) is None for person in people):
            raise bad_request("Invalid sysparm_requested_for", requested_for)
        given = body.get("variables") or {}
        if not isinstance(given, dict):
            raise bad_request("Invalid variables", "an object is expected")
        return self._place(call, item, people, quantity, given)

    def _place(self, call: Call, item: Row, people: list[str], quantity: str, given: dict[str, Any]) -> httpx.Response:
        truth, by, now = self._instance.truth, call.caller.user_name, self._instance.now()
        asked = ordering.questions(truth, item["sys_id"])
        rows_name = next((row["name"] for row in asked if row.get("variable_set")), None)
        rows_given = given.get(rows_name) or [] if rows_name else []
        try:
            rows_given = json.loads(rows_given) if isinstance(rows_given, str) else rows_given
            rows = [{str(k): as_text(v) for k, v in row.items()} for row in rows_given]
        except (ValueError, AttributeError, TypeError):
            raise bad_request("Invalid variables", f"{rows_name} must be a list of objects") from None
        # Names the item does not know are left out, as fields are in a write of the Table API.
        names = {row.get("name", "") for row in asked} - {rows_name, ""}
        variables = {name: as_text(value) for name, value in given.items() if name in names}
        missing = [row["name"] for row in asked if row.get("mandatory") == "true" and not variables.get(row["name"])]
        if missing:
            raise bad_request("Mandatory Variables are required", ", ".join(missing))
        common = {
            "opened_by": call.caller.sys_id,
            "opened_at": stamp(now),
            "approval": "requested",
            "short_description": item.get("name", ""),
            "price": item.get("price", "0"),
        }
        request = truth.insert("sc_request", {**common, "requested_for": people[0], "special_instructions": ""}, by=by)
        for person in people:
            ritm = truth.insert(
                "sc_req_item",
                {
                    **common,
                    "request": request,
                    "parent": request,
                    "cat_item": item["sys_id"],
                    "requested_for": person,
                    "quantity": quantity,
                    "stage": "waiting_for_approval",
                    "recurring_price": item.get("recurring_price", "0"),
                },
                by=by,
            )
            ordering.write_answers(truth, ritm, item["sys_id"], variables=variables, rows=rows, by=by, at=now)
        number = truth.store.table("sc_request").by_id[request]["number"]
        return answer(
            200,
            {
                "result": {
                    "sys_id": request,
                    "number": number,
                    "request_number": number,
                    "request_id": request,
                    "parent_id": None,
                    "parent_table": "task",
                    "table": "sc_request",
                }
            },
        )


def _item(row: Row) -> dict[str, Any]:
    names = ("sys_id", "name", "short_description", "category", "price", "recurring_price", "sys_class_name")
    return {name: row.get(name, "") for name in names}


def _variable(instance: Instance, row: Row) -> dict[str, Any]:
    made: dict[str, Any] = {
        "id": row["sys_id"],
        "name": row.get("name", ""),
        "label": row.get("question_text", ""),
        "type": int(row["type"]) if row.get("type", "").isdigit() else row.get("type", ""),
        "order": int(row.get("order") or "0"),
        "mandatory": row.get("mandatory") == "true",
        "active": row.get("active") == "true",
        "read_only": False,
        "value": "",
        "displayvalue": "",
    }
    if row.get("reference"):
        made["reference"] = row["reference"]
    if row.get("variable_set"):
        columns = ordering.set_columns(instance.truth, row["variable_set"])
        made["multi_row"], made["children"] = True, [_variable_column(column) for column in columns]
    return made


def _variable_column(row: Row) -> dict[str, Any]:
    return {"id": row["sys_id"], "name": row.get("name", ""), "label": row.get("question_text", "")}
