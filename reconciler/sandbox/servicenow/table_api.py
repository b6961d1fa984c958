"""The Table API: list, read, create, change and remove rows.

Source: servicenow.md sections 1 to 5 and 9.
"""

from __future__ import annotations

from typing import Any

import httpx

from reconciler.sandbox.servicenow import trouble
from reconciler.sandbox.servicenow.access import Caller
from reconciler.sandbox.servicenow.answers import (
    ApiError,
    Call,
    answer,
    envelope,
    invalid_table,
    no_record,
    operation_failed,
)
from reconciler.sandbox.servicenow.instance import Instance
from reconciler.sandbox.servicenow.listing import matching, page_of, stored_of
from reconciler.sandbox.servicenow.refusals import AclDenied, Refusal
from reconciler.sandbox.servicenow.schema import TIMES, Column, Row
from reconciler.sandbox.servicenow.selecting import Selector
from reconciler.sandbox.servicenow.shape import Shaper
from reconciler.sandbox.servicenow.stamps import from_local, stamp

CANCELLED = "Transaction cancelled: maximum execution time exceeded"
CANCELLED_DETAIL = "maximum execution time exceeded Check logs for error trace or enable glide.rest.debug property"


class TableApi:
    """Handles `/table/{table}` and `/table/{table}/{sys_id}`."""

    def __init__(self, instance: Instance, selector: Selector) -> None:
        self._instance = instance
        self._selector = selector

    def handle(self, call: Call) -> httpx.Response:
        """Answer one call; `call.path` is (table,) or (table, sys_id).

        Raises:
            ApiError: whatever the platform would refuse.
        """
        if not 1 <= len(call.path) <= 2:
            raise ApiError(400, "Requested URI does not represent any resource", "/".join(call.path))
        table = call.path[0]
        if not self._instance.schema.has(table):
            raise invalid_table(table)
        match (call.method, len(call.path)):
            case ("GET" | "HEAD", 1):
                return self._list(call, table)
            case ("POST", 1):
                return self._create(call, table)
            case ("GET" | "HEAD", 2):
                name, row = self.readable(call, table, call.path[1])
                return answer(200, {"result": Shaper(self._instance, call, table).shape(name, row)})
            case ("PATCH" | "PUT", 2):
                return self._change(call, table)
            case ("DELETE", 2):
                return self._remove(call, table)
            case _:
                raise ApiError(405, "Method not supported", call.method)

    def readable(self, call: Call, table: str, sys_id: str) -> tuple[str, Row]:
        """One row the caller may read.

        Raises:
            ApiError: 404.
        """
        found = self._instance.truth.find(table, sys_id)
        if found is None or self._instance.hidden_until.get(sys_id, "") > stamp(self._instance.now()):
            raise no_record()
        if not self._instance.access.can_read(call.caller, *found):
            raise no_record()
        return found

    def _list(self, call: Call, table: str) -> httpx.Response:
        found = matching(self._selector, self._instance, table, call)
        if trouble.disturb_before(self._instance, found, call.faults):
            found = matching(self._selector, self._instance, table, call)
        page = page_of(self._instance, call, found)
        if call.version == "v1" and page.total == 0:
            raise no_record()
        shaper = Shaper(self._instance, call, table)
        result: list[Any] = [shaper.shape(name, row) for name, row in page.rows]
        trouble.disturb_after(self._instance, page.rows, call.faults)
        if "200_cancel_partial" in call.faults:
            return self._cancelled(result, page.headers)
        if "string_in_result" in call.faults:
            result.append("")
        return answer(200, {"result": result}, page.headers)

    def _cancelled(self, result: list[Any], headers: dict[str, str]) -> httpx.Response:
        """The transaction quota struck: after some rows the status was already sent (section 5)."""
        body = envelope(CANCELLED, CANCELLED_DETAIL)
        if not result and not self._instance.switches.cancel_before_rows_is_200:
            return answer(500, body)
        kept = result[: max(1, len(result) // 2)] if result else []
        return answer(200, {"result": [*kept, ""], **body}, headers)

    def _create(self, call: Call, table: str) -> httpx.Response:
        if not self._instance.access.can_create(call.caller, table):
            raise operation_failed(AclDenied.on("Insert").detail)
        values = self._writable(call, table, "Insert")
        if self._instance.schema.concrete(table) != (table,):
            raise ApiError(400, f"Rows of {table} cannot be created", "The sandbox creates rows of its children only")
        try:
            sys_id = self._instance.truth.insert(table, values, by=call.caller.user_name)
        except Refusal as refused:
            raise operation_failed(refused.detail) from None
        row = self._instance.truth.store.table(table).by_id[sys_id]
        if not self._instance.access.can_read(call.caller, table, row):
            # The insert stands; what fails is reading it back (section 5, 403 although the POST succeeded).
            raise operation_failed(AclDenied.on("Insert").detail)
        return self._written(call, table, table, row, 201, {"Location": f"{call.base}/api/now/table/{table}/{sys_id}"})

    def _change(self, call: Call, table: str) -> httpx.Response:
        name, row = self.readable(call, table, call.path[1])
        if not self._instance.access.can_write(call.caller, name, row):
            raise operation_failed(AclDenied.on("Update").detail)
        values = self._writable(call, name, "Update", row)
        stamped = not (call.flag("sysparm_suppress_auto_sys_field") and call.caller.has_any(()))
        try:
            changed = self._instance.truth.update(
                name, row["sys_id"], values, by=call.caller.user_name, stamped=stamped
            )
        except Refusal as refused:
            raise operation_failed(refused.detail) from None
        return self._written(call, table, name, changed, 200, {})

    def _remove(self, call: Call, table: str) -> httpx.Response:
        name, row = self.readable(call, table, call.path[1])
        if not self._instance.access.can_delete(call.caller, name, row):
            raise operation_failed(AclDenied.on("Delete").detail)
        self._instance.truth.delete(name, row["sys_id"])
        return answer(204)

    def _written(
        self, call: Call, table: str, name: str, row: Row, status: int, headers: dict[str, str]
    ) -> httpx.Response:
        if call.headers.get("x-no-response-body", "").lower() == "true":
            return answer(status, None, headers)
        return answer(status, {"result": Shaper(self._instance, call, table).shape(name, row)}, headers)

    def _writable(self, call: Call, table: str, operation: str, row: Row | None = None) -> dict[str, str]:
        """The columns of a body that may be written, as stored values.

        Raises:
            ApiError: 403 when a column is not the caller's to write and the instance says so.
        """
        kept: dict[str, str] = {}
        for name, value in call.values.items():
            column = self._instance.schema.column(table, name)
            if column is None or name.startswith("sys_"):
                continue
            if not self._instance.access.can_write_column(call.caller, table, name, row):
                if self._instance.switches.field_denied == "acl_403":
                    raise operation_failed(AclDenied.on(operation).detail)
                continue
            if call.flag("sysparm_input_display_value"):
                kept[name] = self._stored(column, value, call.caller)
            else:
                kept[name] = value
        return kept

    def _stored(self, column: Column, display: str, caller: Caller) -> str:
        """What a display value is stored as; one that nothing carries is stored as it came."""
        if column.kind in TIMES:
            return from_local(display, caller.time_zone)
        return next(iter(stored_of(self._instance, column, display)), display)
