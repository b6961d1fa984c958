"""`/healthz`: the loop moves. `/readyz`: the store can be read, and how the service is. Both without sign-in.

Neither shows a sentence, a name or an address: what is wrong is told by its name from a closed list, details are in the
log.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from reconciler.errors import UserError
from reconciler.health import Pulse
from reconciler.store import heartbeat
from reconciler.web.site import Site


def routes(site: Site) -> APIRouter:
    """For probes and load balancers."""
    router = APIRouter()

    @router.get("/healthz")
    def healthz() -> Response:
        if site.pulse is not None and not site.pulse().is_alive:
            return PlainTextResponse("stalled\n", 503)
        return PlainTextResponse("ok\n")

    @router.get("/readyz")
    def readyz() -> Response:
        how = _how(site.pulse()) if site.pulse is not None else {}
        try:
            with site.database.read() as session:
                last = heartbeat.last(session, site.tenant)
        except UserError as error:
            if site.pulse is None:  # a service says so itself, once
                site.log("not ready", why=str(error))
            return JSONResponse({"ready": False, "why": "the store cannot be read", **how}, 503)
        ended = last.last_finished_at if last is not None else None
        return JSONResponse(
            {"ready": True, "last_cycle_ended_at": ended.isoformat() if ended is not None else None, **how}
        )

    return router


def _how(pulse: Pulse) -> dict[str, Any]:
    at = pulse.last_success_at
    return {
        "state": pulse.state,
        "last_success_at": at.isoformat() if at is not None else None,
        "failures_in_a_row": pulse.failures,
        "conditions": [{"name": c.name, "since": c.since.isoformat()} for c in pulse.conditions],
    }
