"""Errors of the API as RFC 9457 has them: one sentence in `detail`, no insides."""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from reconciler.offering import faults, sentence

MEDIA = "application/problem+json"
API = "/api/v1"
_TITLES = {
    400: "Cannot be read",
    401: "Not signed in",
    403: "Not allowed",
    404: "Not found",
    405: "No such method",
    409: "Conflict",
    413: "Too large",
    415: "Not JSON",
    422: "Not valid",
    429: "Too many",
    500: "Broken",
    503: "Not possible now",
}


class Problem(Exception):
    """An answer that says no."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[Mapping[str, str]] = (),
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers, self.errors = status, detail, dict(headers or {}), tuple(errors)


def too_many(wait_s: float, detail: str) -> Problem:
    return Problem(429, detail, headers={"Retry-After": str(max(1, math.ceil(wait_s)))})


def answer(problem: Problem) -> Response:
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": _TITLES.get(problem.status, "Not possible"),
        "status": problem.status,
        "detail": problem.detail,
    }
    if problem.errors:
        body["errors"] = [dict(error) for error in problem.errors]
    return JSONResponse(body, status_code=problem.status, headers=problem.headers, media_type=MEDIA)


class ApiRoute(APIRoute):
    """A route whose refusals are problems, whatever raised them."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handle(request)
            except Problem as problem:
                return answer(problem)
            except RequestValidationError as error:
                return answer(_invalid(error.errors()))
            except HTTPException as error:
                return answer(Problem(error.status_code, "The request cannot be read.", headers=error.headers))

        return handled


def _invalid(errors: Sequence[Mapping[str, Any]]) -> Problem:
    found = faults(errors)
    return Problem(422, sentence(found), errors=[{"field": field, "detail": said} for field, said in found])
