"""Calls and answers of the REST API: what a request is to a handler, and the exact envelopes that go back.

Source: servicenow.md section 5 (errors), section 1 (media types).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import httpx
import msgspec

from reconciler.sandbox.servicenow.access import Caller

JSON_TYPE = "application/json;charset=UTF-8"


class ApiError(Exception):
    """A refusal with the platform's envelope."""

    def __init__(
        self, status: int, message: str, detail: str | None = None, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(f"{status} {message}: {detail}")
        self.status, self.message, self.detail = status, message, detail
        self.headers = dict(headers or {})

    def answer(self) -> httpx.Response:
        """The response."""
        return answer(self.status, envelope(self.message, self.detail), self.headers)


def envelope(message: str, detail: str | None) -> dict[str, Any]:
    """`{"error":{"message","detail"},"status":"failure"}`."""
    return {"error": {"message": message, "detail": detail}, "status": "failure"}


def answer(status: int, payload: Any = None, headers: Mapping[str, str] | None = None) -> httpx.Response:
    """A JSON response; without a payload the body is empty."""
    if payload is None:
        return httpx.Response(status, headers=dict(headers or {}))
    content = msgspec.json.encode(payload)
    return httpx.Response(status, headers={"Content-Type": JSON_TYPE, **(headers or {})}, content=content)


def html(status: int, title: str, text: str) -> httpx.Response:
    """A page for people where JSON was expected."""
    page = f"<!DOCTYPE html><html><head><title>{title}</title></head><body><h1>{text}</h1></body></html>"
    return httpx.Response(status, headers={"Content-Type": "text/html;charset=UTF-8"}, content=page.encode())


# --- the refusals that several handlers give, word for word


def not_authenticated(headers: Mapping[str, str] | None = None) -> ApiError:
    """401: no or bad credentials, or an expired token."""
    return ApiError(401, "User Not Authenticated", "Required to provide Auth information", headers=headers)


def not_authorized() -> ApiError:
    """403 of the API-level access rules."""
    return ApiError(403, "User Not Authorized", "Failed API level ACL Validation")


def no_record() -> ApiError:
    """404: no such record, or one that may not be read; nobody can tell which."""
    return ApiError(404, "No Record found", "Record doesn't exist or ACL restricts the record retrieval")


def invalid_table(table: str) -> ApiError:
    """400: the same for every credential."""
    return ApiError(400, f"Invalid table {table}")


def operation_failed(detail: str) -> ApiError:
    """403 of row and field rights, business rules and data policies."""
    return ApiError(403, "Operation Failed", detail)


def bad_request(message: str, detail: str | None = None) -> ApiError:
    """400."""
    return ApiError(400, message, detail)


def not_imitated(what: str) -> ApiError:
    """501: a real endpoint or option that the sandbox does not have."""
    return ApiError(501, "Not implemented by the sandbox", what)


@dataclass(frozen=True)
class Call:
    """One request after sign-in, addressed to a handler."""

    method: str
    path: tuple[str, ...]
    """Path segments after the API's own prefix."""
    params: httpx.QueryParams
    headers: httpx.Headers
    body: bytes
    base: str
    """Scheme and authority that the request came to: links lead back there."""
    url: str
    """The request's own URL without its query."""
    caller: Caller
    version: str = ""
    """"v1", "v2" or "" for the latest."""
    faults: frozenset[str] = field(default_factory=frozenset)
    """Faults that the handler itself must play."""

    def param(self, name: str, default: str = "") -> str:
        """A query parameter, or the default."""
        return str(self.params.get(name, default))

    def flag(self, name: str) -> bool:
        """A true/false parameter; false unless it says true."""
        return self.param(name).lower() == "true"

    def whole(self, name: str, default: int) -> int:
        """A whole number that is not negative.

        Raises:
            ApiError: 400 for anything else.
        """
        text = self.param(name)
        if not text:
            return default
        try:
            value = int(text)
        except ValueError:
            raise bad_request(f"Invalid value for {name}", text) from None
        if value < 0:
            raise bad_request(f"{name} must not be negative", text)
        return value

    @cached_property
    def values(self) -> dict[str, str]:
        """The body of a write as column texts; of many records only the first counts (section 1).

        Raises:
            ApiError: 400 for a body that is no JSON object, 415 for another media type.
        """
        media = self.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
        if media != "application/json":
            raise ApiError(415, "Unsupported media type", media)
        try:
            loaded = json.loads(self.body or b"{}")
        except ValueError:
            raise bad_request("Exception while reading request", "Cannot decode: not valid JSON") from None
        if isinstance(loaded, dict) and isinstance(loaded.get("records"), list):
            loaded = loaded["records"]
        if isinstance(loaded, list):
            loaded = loaded[0] if loaded else {}
        if not isinstance(loaded, dict):
            raise bad_request("Exception while reading request", "The payload is not an object")
        return {str(name): as_text(value) for name, value in loaded.items()}


def as_text(value: Any) -> str:
    """Any JSON value as the platform stores it: every scalar is text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):  # a reference sent back as it was read
        return as_text(value.get("value", ""))
    return value if isinstance(value, str) else json.dumps(value)
