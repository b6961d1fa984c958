"""`/healthz`: this process answers. `/readyz`: and its store can be read. Both without sign-in and without details."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from reconciler.errors import UserError
from reconciler.store import heartbeat
from reconciler.web.site import Site


def routes(site: Site) -> APIRouter:
    """For probes and load balancers."""
    router = APIRouter()

    @router.get("/healthz")
    def healthz() -> Response:
        return PlainTextResponse("ok\n")

    @router.get("/readyz")
    def readyz() -> Response:
        try:
            with site.database.read() as session:
                last = heartbeat.last(session, site.tenant)
        except UserError as error:
            site.log("not ready", why=str(error))
            return JSONResponse({"ready": False, "why": "the store cannot be read"}, 503)
        ended = last.last_finished_at if last is not None else None
        return JSONResponse({"ready": True, "last_cycle_ended_at": ended.isoformat() if ended is not None else None})

    return router
