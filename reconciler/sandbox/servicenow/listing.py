"""One page of rows: query, limit, rights, counts and links, in this order.

Source: servicenow.md section 4. The limit is applied before access rules drop rows, so a page can be short or empty
while more rows follow; counts are taken before access rules too, unless a switch says otherwise (section 19).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import httpx

from reconciler.sandbox.servicenow import scripts
from reconciler.sandbox.servicenow.answers import Call, bad_request
from reconciler.sandbox.servicenow.instance import Instance
from reconciler.sandbox.servicenow.query import AnyOf, Condition, NotImitated, Query, parse
from reconciler.sandbox.servicenow.schema import REFERENCES, Column
from reconciler.sandbox.servicenow.selecting import Found, Selector

LIMIT_DEFAULT = 10_000


@dataclass(frozen=True)
class Page:
    """Rows the caller may read, and how many matched before any right was asked."""

    rows: Found
    total: int
    headers: dict[str, str]


def query_of(instance: Instance, table: str, call: Call) -> Query:
    """The query of a call: `sysparm_query`, or the `field=value` pairs that replace it.

    Raises:
        ApiError: 400 for what the sandbox does not imitate.
    """
    text = call.param("sysparm_query")
    try:
        query = parse(text) if text else _from_pairs(instance, table, call)
    except NotImitated as reason:
        raise bad_request("Query not imitated by the sandbox", str(reason)) from None
    if "dropped_invalid_clause" in call.faults and query.groups:
        groups = tuple(group[1:] for group in query.groups)
        query = replace(query, groups=groups)
    return query


def matching(selector: Selector, instance: Instance, table: str, call: Call) -> Found:
    """Every row that matches, before rights.

    Raises:
        ApiError: 400 for a query that is refused.
    """
    try:
        return selector.select(table, query_of(instance, table, call), caller=call.caller)
    except scripts.ScriptRefused as reason:
        raise bad_request("Script refused", str(reason)) from None


def page_of(instance: Instance, call: Call, found: Found, *, limit_default: int = LIMIT_DEFAULT) -> Page:
    """The page of `found` that a call asks for.

    Raises:
        ApiError: 400 for a negative offset or a limit that is no number.
    """
    limit = call.whole("sysparm_limit", limit_default)
    offset = call.whole("sysparm_offset", 0)
    cut = found[offset : offset + limit]
    if "empty_page_acl" in call.faults:
        rows: Found = []
    else:
        rows = [(name, row) for name, row in cut if instance.access.can_read(call.caller, name, row)]
    headers: dict[str, str] = {}
    counted = not call.flag("sysparm_no_count")
    if counted:
        headers["X-Total-Count"] = str(len(counted_of(instance, call, found)))
    if not call.flag("sysparm_suppress_pagination_header") and limit:
        link = _link(instance, call, total=len(found), limit=limit, offset=offset, counted=counted)
        if link:
            headers["Link"] = link
    return Page(rows, len(found), headers)


def counted_of(instance: Instance, call: Call, found: Found) -> Found:
    """The rows that a count is of."""
    if instance.switches.counts_hidden_rows:
        return found
    return [(name, row) for name, row in found if instance.access.can_read(call.caller, name, row)]


def _link(instance: Instance, call: Call, *, total: int, limit: int, offset: int, counted: bool) -> str:
    if total <= limit and offset == 0:
        return ""
    offsets: list[tuple[str, int]] = [("first", 0)]
    if offset > 0:
        offsets.append(("prev", max(0, offset - limit)))
    elif instance.switches.first_page_prev:
        offsets.append(("prev", -1))
    if offset + limit < total:
        offsets.append(("next", offset + limit))
    if counted:
        offsets.append(("last", max(0, (total - 1) // limit * limit)))
    return ",".join(f'<{_at_offset(call, value)}>;rel="{rel}"' for rel, value in offsets)


def _at_offset(call: Call, offset: int) -> str:
    pairs = [(name, value) for name, value in call.params.multi_items() if name != "sysparm_offset"]
    query = httpx.QueryParams([*pairs, ("sysparm_offset", str(offset))])
    return f"{call.url}?{query}"


def _from_pairs(instance: Instance, table: str, call: Call) -> Query:
    """`field=value` pairs; display values are understood for choices and references (section 1)."""
    conditions: list[AnyOf] = []
    for name, value in call.params.multi_items():
        if name.startswith(("sysparm_", "sys_")) and name not in {"sys_id", "sys_class_name"}:
            continue
        column = instance.schema.column(table, name)
        alternatives = (value, *(stored_of(instance, column, value) if column else ()))
        conditions.append(tuple(Condition(name, "=", each) for each in dict.fromkeys(alternatives)))
    return Query((tuple(conditions),) if conditions else ())


def stored_of(instance: Instance, column: Column, display: str) -> tuple[str, ...]:
    """Stored values that a display value may stand for; names of groups and users need not be unique."""
    if column.is_choice:
        return tuple(c.value for c in column.choices if c.label.casefold() == display.casefold())
    if column.kind in REFERENCES and instance.schema.has(column.reference):
        shown_by = instance.schema.tables[column.reference].display
        rows = instance.truth.with_value(column.reference, shown_by, display) if shown_by else []
        return tuple(row["sys_id"] for row in rows)
    return ()
