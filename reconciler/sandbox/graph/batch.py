"""Many calls in one: POST /$batch (graph.md section 9).

Items without `dependsOn` run beside each other, so of several licence writes among them only the first gets the
tenant's licence lock. Each item is judged, charged and throttled by itself; nothing is atomic.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from reconciler.sandbox.graph.answers import Answer, Problem, bad_request
from reconciler.sandbox.graph.calls import BASE_PATH, Call

ITEMS_MAX = 20
METHODS = ("GET", "POST", "PATCH", "PUT", "DELETE")
LICENCE_WRITES = ("assignlicense", "reprocesslicenseassignment")


def run(call: Call, answer: Callable[[Call], Answer]) -> dict[str, Any]:
    """The body of the answer, items in the order in which they were done.

    Raises:
        Problem: 400, the batch as a whole is malformed.
    """
    items = _items(call)
    done: dict[str, Answer] = {}
    order: list[str] = []
    while len(done) < len(items):
        wave = [i for i in items if _key(i) not in done and all(d in done for d in _needs(i))]
        writes = 0
        for item in wave:
            failed = any(done[d].status >= 400 for d in _needs(item))
            if failed:
                done[_key(item)] = _dependency_failed()
            else:
                one = _call(call, item)
                if one.segments and one.segments[-1].lower() in LICENCE_WRITES:
                    one.meets_licence_write = writes > 0
                    writes += 1
                done[_key(item)] = answer(one)
            order.append(_key(item))
    ids = {_key(i): i["id"] for i in items}
    return {"responses": [_response(ids[key], done[key]) for key in order]}


def _items(call: Call) -> list[dict[str, Any]]:
    items = call.json().get("requests")
    if not isinstance(items, list) or not items:
        raise bad_request("Invalid batch payload format.", code="BadRequest")
    if len(items) > ITEMS_MAX:
        raise bad_request(f"Number of batch request steps exceeds the maximum value of {ITEMS_MAX}.", code="BadRequest")
    seen: set[str] = set()
    for item in items:
        if not isinstance(item, dict) or not isinstance(item.get("id"), str) or not isinstance(item.get("url"), str):
            raise bad_request("Invalid batch payload format: each request needs id, method and url.", code="BadRequest")
        if str(item.get("method", "")).upper() not in METHODS:
            raise bad_request(f"Invalid method in request {item['id']!r}.", code="BadRequest")
        if _key(item) in seen:
            raise bad_request(f"Request Id values must be unique: {item['id']!r}.", code="BadRequest")
        seen.add(_key(item))
    for item in items:
        if not set(_needs(item)) <= seen or _key(item) in _needs(item):
            raise bad_request(f"Request {item['id']!r} depends on a request that is not there.", code="BadRequest")
    _check_shape(items)
    return items


def _check_shape(items: list[dict[str, Any]]) -> None:
    """All parallel, fully serial, or all on the same one.

    Raises:
        Problem: 400, any other shape.
    """
    needs = [_needs(i) for i in items]
    roots = [n for n in needs if not n]
    same = len({tuple(n) for n in needs if n}) <= 1 and len(roots) >= 1 and all(len(n) <= 1 for n in needs)
    serial = all(n == [_key(items[at - 1])] if at else not n for at, n in enumerate(needs))
    if any(needs) and not (serial or (same and len(roots) == 1)):
        raise bad_request(
            "Unsupported dependsOn: requests are parallel, serial, or all depend on the same one.", code="BadRequest"
        )


def _key(item: dict[str, Any]) -> str:
    return str(item["id"]).casefold()


def _needs(item: dict[str, Any]) -> list[str]:
    needs = item.get("dependsOn") or []
    return [str(n).casefold() for n in needs]


def _call(outer: Call, item: dict[str, Any]) -> Call:
    headers = {str(k): str(v) for k, v in (item.get("headers") or {}).items()}
    body = item.get("body")
    encoded = b"" if body is None else msgspec.json.encode(body)
    lowered = {k.lower() for k in headers}
    if body is not None and "content-type" not in lowered:
        raise bad_request(f"Request {item['id']!r} has a body but no Content-Type header.", code="BadRequest")
    path = "/" + item["url"].lstrip("/")
    if path.partition("?")[0].rstrip("/").lower() == "/$batch":
        raise bad_request("Batch requests cannot be nested.", code="BadRequest")
    headers["authorization"] = outer.headers.get("authorization", "")
    headers.setdefault("client-request-id", outer.headers.get("client-request-id", ""))
    if not headers["client-request-id"]:
        del headers["client-request-id"]
    return Call(
        outer.world, method=item["method"], base=outer.base, target=BASE_PATH + path, headers=headers, body=encoded
    )


def _dependency_failed() -> Answer:
    problem = Problem(424, "FailedDependency", "A request that this one depends on has failed.")
    return Answer(424, {"error": {"code": problem.code, "message": problem.message}})


def _response(item_id: str, answer: Answer) -> dict[str, Any]:
    response: dict[str, Any] = {"id": item_id, "status": answer.status}
    headers = dict(answer.headers)
    if answer.body is not None:
        headers["Content-Type"] = "application/json"
        response["body"] = answer.body
    elif answer.text is not None:
        headers["Content-Type"] = "text/plain"
        response["body"] = answer.text
    response["headers"] = headers
    return response
