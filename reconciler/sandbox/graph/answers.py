"""Answers and refusals in Graph's own form (graph.md section 9)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
import msgspec

JSON_TYPE = "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8"


class Answer(msgspec.Struct):
    """What a route says: status, JSON-plain body or nothing, and headers of its own."""

    status: int
    body: Any = None
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    text: str | None = None
    """A plain text instead of a body."""


class Problem(Exception):
    """A refusal on its way to the caller; becomes the error envelope."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})


def bad_request(message: str, code: str = "Request_BadRequest") -> Problem:
    return Problem(400, code, message)


def unsupported_query(message: str = "Unsupported Query.") -> Problem:
    return Problem(400, "Request_UnsupportedQuery", message)


def not_implemented(what: str) -> Problem:
    """Whatever the sandbox does not imitate says so, instead of guessing."""
    return Problem(501, "notImplemented", f"The sandbox does not imitate {what}.")


def encode(answer: Answer) -> httpx.Response:
    """The answer as it goes over the wire."""
    if answer.text is not None:
        headers = {"Content-Type": "text/plain", **answer.headers}
        return httpx.Response(answer.status, headers=headers, content=answer.text.encode())
    if answer.body is None:
        return httpx.Response(answer.status, headers=answer.headers)
    headers = {"Content-Type": JSON_TYPE, **answer.headers}
    return httpx.Response(answer.status, headers=headers, content=msgspec.json.encode(answer.body))
