"""The Batch API: several requests in one, each under its own rights and faults, one after the other.

Source: servicenow.md sections 11 and 16: the id of the batch is echoed as text; bodies are base64; what does not fit
into the time of a batch comes back as unserviced; the outer 200 says nothing of the items.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx

from reconciler.clock import Clock
from reconciler.sandbox.servicenow.answers import ApiError, Call, answer, bad_request
from reconciler.sandbox.servicenow.instance import Instance

ITEM_BYTES_MAX = 5 * 1024 * 1024
Inner = Callable[[httpx.Request, Call], httpx.Response]


class BatchApi:
    """Handles `/batch`. `inner` answers one request that already has a caller."""

    def __init__(self, instance: Instance, clock: Clock, inner: Inner) -> None:
        self._instance = instance
        self._clock = clock
        self._inner = inner

    def handle(self, call: Call) -> httpx.Response:
        """Answer one batch.

        Raises:
            ApiError: 400 for a malformed batch, 405 for anything but POST.
        """
        if call.method != "POST":
            raise ApiError(405, "Method not supported", call.method)
        try:
            loaded = json.loads(call.body)
            batch_id, items = str(loaded["batch_request_id"]), list(loaded["rest_requests"])
        except (ValueError, KeyError, TypeError):
            raise bad_request("Invalid batch request", "batch_request_id and rest_requests are needed") from None
        if not all(isinstance(item, dict) for item in items):
            raise bad_request("Invalid batch request", "each of rest_requests must be an object")
        deadline = self._clock.now() + timedelta(seconds=self._instance.switches.batch_seconds)
        at_most = self._instance.switches.batch_items_max
        serviced: list[dict[str, Any]] = []
        unserviced: list[str] = []
        for n, item in enumerate(items):
            if self._clock.now() >= deadline or (at_most is not None and n >= at_most):
                unserviced.append(str(item.get("id", "")))
            else:
                serviced.append(self._serve(call, item))
        return answer(
            200,
            {"batch_request_id": batch_id, "serviced_requests": serviced, "unserviced_requests": unserviced},
        )

    def _serve(self, call: Call, item: dict[str, Any]) -> dict[str, Any]:
        started = self._clock.now()
        try:
            response = self._inner(self._request(call, item), call)
        except ApiError as refused:
            response = refused.answer()
        headers = [{"name": name, "value": value} for name, value in response.headers.items()]
        return {
            "id": str(item.get("id", "")),
            "status_code": response.status_code,
            "status_text": response.reason_phrase,
            "headers": [] if item.get("exclude_response_headers") else headers,
            "body": base64.b64encode(response.content).decode(),
            "execution_time": int((self._clock.now() - started).total_seconds() * 1000),
            "error_message": "",
            "redirect_url": "",
        }

    def _request(self, call: Call, item: dict[str, Any]) -> httpx.Request:
        url = str(item.get("url", ""))
        if not url.startswith("/"):
            raise bad_request("Invalid batch request", "the url of an item must be relative and begin with /")
        if url.partition("?")[0].rstrip("/").endswith("/batch"):
            raise bad_request("Invalid batch request", "a batch cannot hold a batch")
        try:
            body = base64.b64decode(item.get("body") or "", validate=True)
        except (binascii.Error, TypeError):
            raise bad_request("Invalid batch request", "the body of an item must be base64") from None
        if len(body) > ITEM_BYTES_MAX:
            raise ApiError(413, "Request entity too large", None)
        headers = [(str(h["name"]), str(h["value"])) for h in item.get("headers") or []]
        headers = [(name, value) for name, value in headers if name.lower() not in {"host", "content-length"}]
        method = str(item.get("method", "GET")).upper()
        return httpx.Request(method, f"{call.base}{url}", headers=headers, content=body)
