"""Lists: which objects match, in what order, a page at a time (graph.md section 3).

A nextLink carries the query it continues and a skip token; a page may hold fewer rows than asked for.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

from reconciler.sandbox.graph import filters
from reconciler.sandbox.graph.answers import Answer, Problem, bad_request, unsupported_query
from reconciler.sandbox.graph.calls import Call

T = TypeVar("T")

PAGE_SIZE_MAX = 999
LIST_OPTIONS = ("$select", "$filter", "$top", "$count", "$orderby", "$expand", "$skiptoken")


def pack(data: Mapping[str, Any]) -> str:
    """An opaque token."""
    return base64.urlsafe_b64encode(json.dumps(data, separators=(",", ":")).encode()).decode().rstrip("=")


def unpack(token: str) -> dict[str, Any]:
    """What `pack` packed.

    Raises:
        Problem: 400, not a token of ours.
    """
    try:
        data = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except ValueError as e:
        raise bad_request("The specified page token value is invalid.", code="Directory_InvalidPageToken") from e
    if not isinstance(data, dict):
        raise bad_request("The specified page token value is invalid.", code="Directory_InvalidPageToken")
    return data


def page_size(call: Call, default: int) -> int:
    """$top, or the default.

    Raises:
        Problem: 400, not between 1 and 999.
    """
    top = call.query.get("$top")
    if top is None:
        return default
    if not top.isdigit() or not 1 <= int(top) <= PAGE_SIZE_MAX:
        raise unsupported_query(f"Invalid page size specified: '{top}'. Must be between 1 and 999 inclusive.")
    return int(top)


def read_filter(call: Call, allowed: Mapping[str, frozenset[str]], resource: str) -> filters.Filter | None:
    """The parsed $filter, checked against what may be filtered and against the rules of advanced queries.

    Raises:
        Problem: 400, with the exact refusals of graph.md section 3.
    """
    text = call.query.get("$filter")
    if text is None:
        return None
    parsed = filters.parse(text)
    parsed.check(allowed, resource)
    needs_advanced = parsed.is_advanced or "$orderby" in call.query
    if needs_advanced and not call.is_advanced:
        raise unsupported_query()
    return parsed


def answer_list(
    call: Call,
    objects: Sequence[T] | Callable[[int], T | None],
    total: int,
    *,
    context: str,
    matches: Callable[[T], bool],
    show: Callable[[T], dict[str, Any]],
    order: Callable[[T], Any] | None = None,
    descending: bool = False,
    licence_filter: bool = False,
) -> Answer:
    """A page of what matches.

    `objects` is a sequence, or a function from position to object (None: nothing there any more) for positions below
    `total`. With `licence_filter`, a second page without the advanced header fails as real tenants do.
    """
    at = objects if callable(objects) else objects.__getitem__
    skip = unpack(call.query["$skiptoken"]) if "$skiptoken" in call.query else {}
    if skip and licence_filter and not call.is_advanced:
        raise Problem(400, "Directory_ExpiredPageToken", "The specified page token value has expired.")
    size = page_size(call, call.switches.page_size_default)
    positions: Sequence[int] = range(total)
    if order is not None:
        found = [(order(o), i) for i in range(total) if (o := at(i)) is not None]
        positions = [i for _, i in sorted(found, reverse=descending)]
    start = int(skip.get("p", 0))
    rows: list[T] = []
    next_at: int | None = None
    is_empty_page = call.switches.empty_pages > call.world.rng.random() if call.switches.empty_pages else False
    for n in range(start, len(positions)):
        candidate = at(positions[n])
        if candidate is None or not matches(candidate):
            continue
        if len(rows) == size or (is_empty_page and not skip.get("e")):
            next_at = n
            break
        rows.append(candidate)
    body: dict[str, Any] = {"@odata.context": call.context(context)}
    if call.is_advanced and not skip:
        every = (at(i) for i in range(total))
        body["@odata.count"] = sum(1 for o in every if o is not None and matches(o))
    if next_at is not None:
        body["@odata.nextLink"] = next_link(call, {"p": next_at, "e": int(is_empty_page and not rows)})
    body["value"] = [show(o) for o in rows]
    return Answer(200, body)


def next_link(call: Call, skip: Mapping[str, Any]) -> str:
    """This call's own address, continued."""
    query = {**{k: v for k, v in call.query.items() if k != "$skiptoken"}, "$skiptoken": pack(skip)}
    return f"{call.base}{call.path}?" + "&".join(f"{k}={quote(v, safe='')}" for k, v in query.items())


def ordering(call: Call, allowed: Sequence[str]) -> tuple[str, bool] | None:
    """The property of $orderby and whether it falls, or None.

    Raises:
        Problem: 400, a property that lists are not ordered by.
    """
    text = call.query.get("$orderby")
    if text is None:
        return None
    name, _, direction = text.strip().partition(" ")
    if name not in allowed or direction.strip().lower() not in ("", "asc", "desc"):
        raise unsupported_query("Sorting by the requested property is not supported.")
    return name, direction.strip().lower() == "desc"


def count_only(call: Call, number: int) -> Answer:
    """A `/$count` segment.

    Raises:
        Problem: 400 without the ConsistencyLevel header.
    """
    if not call.is_eventual:
        raise bad_request("$count is not currently supported.")
    return Answer(200, text=str(number))
