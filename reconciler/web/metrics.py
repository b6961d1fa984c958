"""`/metrics`: everything the service counts, for Prometheus. Without sign-in: its labels name nobody."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, Request, Response

Exposition = Callable[[str], tuple[bytes, str]]
"""From an Accept header to the text and its content type."""


def routes(exposition: Exposition) -> APIRouter:
    """For Prometheus and whatever speaks its formats, OpenMetrics included."""
    router = APIRouter()

    @router.get("/metrics")
    def metrics(request: Request) -> Response:
        body, content_type = exposition(request.headers.get("Accept", ""))
        return Response(body, headers={"Content-Type": content_type, "Cache-Control": "no-store"})

    return router
