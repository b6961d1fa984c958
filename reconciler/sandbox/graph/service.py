"""Microsoft Graph over a world: Request -> Response.

The order in which a call is judged: address, token, permission, faults, limits, the tenant's licence lock, then the
route itself. Whatever is not imitated answers 501. Safe to call from many threads: one call at a time touches the
world, but a licence write that arrives while another one is under way is told so (409), as in a real tenant.
"""

from __future__ import annotations

import random
import threading
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx

from reconciler.sandbox import tokens
from reconciler.sandbox.directory import Refused
from reconciler.sandbox.faults import DONE_BUT_UNSAID
from reconciler.sandbox.graph import batch
from reconciler.sandbox.graph.answers import Answer, Problem, encode, not_implemented
from reconciler.sandbox.graph.calls import BASE_PATH, Call
from reconciler.sandbox.graph.properties import Properties
from reconciler.sandbox.graph.routes import Route, Router, routes
from reconciler.sandbox.graph.throttle import Throttle, cost_of, throttled
from reconciler.sandbox.world import World

LOCKED_TEXT = "Error due to concurrent requests being made to the tenant. Please wait briefly and retry."
FAULT_STATUS = {
    "unavailable": (503, "serviceNotAvailable", "The service is temporarily unavailable."),
    "server_error": (500, "Service_InternalServerError", "Encountered an internal server error."),
    "bad_gateway": (502, "UnknownError", ""),
    "done_then_500": (500, "Service_InternalServerError", "Encountered an internal server error."),
    "done_then_504": (504, "UnknownError", "Gateway timeout."),
}
FAULT_WAIT_S = 5.0


class GraphService:
    """Answers requests to Graph v1.0."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._key = tokens.key_of(world.seed)
        self._router = Router(routes(Properties(world.directory.store, world.directory.catalogue)))
        self._throttle = Throttle(world.directory.tenant_id)
        self._licence_gate = threading.Lock()
        self._licences_locked_until: datetime | None = None
        self._ids = random.Random(f"graph-{world.seed}-{world.wakings}")  # noqa: S311 - request ids, repeatable

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one request.

        Raises:
            httpx.RemoteProtocolError: a fault closed the connection after the work was done.
            httpx.ReadTimeout: a fault let the answer go missing after the work was done.
        """
        call = Call.of_request(self._world, request)
        if call.segments == ("v1.0", "$batch") and call.method == "POST":
            answer = self._batch(call)
        else:
            answer = self.answer(call, request=request)
        return encode(answer)

    def _batch(self, call: Call) -> Answer:
        try:
            with self._world.lock:
                self._authenticate(call)
            return self._with_headers(call, Answer(200, batch.run(call, self.answer)))
        except (Problem, Refused) as e:
            return self._error(call, e)

    # --- one call

    def answer(self, call: Call, *, request: httpx.Request | None = None) -> Answer:
        """Judge and do one call; refusals come back as answers. Without `request`, it is an item of a batch."""
        found = self._find(call)
        gate_held = False
        if found is not None and found[0].is_licence_write and self._world.switches.licence_lock:
            gate_held = self._licence_gate.acquire(blocking=False)
            call.meets_licence_write = call.meets_licence_write or not gate_held
        try:
            with self._world.lock:
                try:
                    return self._with_headers(call, self._do(call, found, request))
                except (Problem, Refused) as e:
                    return self._error(call, e)
        finally:
            if gate_held:
                self._licence_gate.release()

    @property
    def is_writing_licences(self) -> bool:
        """Whether a licence write is under way right now."""
        return self._licence_gate.locked()

    def _find(self, call: Call) -> tuple[Route, tuple[str, ...]] | None:
        if not call.segments or call.segments[0].lower() != BASE_PATH.strip("/"):
            return None
        return self._router.find(call.method, call.segments[1:])

    def _do(self, call: Call, found: tuple[Route, tuple[str, ...]] | None, request: httpx.Request | None) -> Answer:
        self._authenticate(call)
        if found is None:
            raise not_implemented(f"{call.method} {call.path}")
        route, parts = found
        if not call.roles & route.permissions:
            raise Problem(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
        fault = self._world.faults.pick(route.name) if self._world.faults.enabled else None
        self._fail_before(fault, call)
        charged = self._charge(call, route)
        if route.is_licence_write:
            self._check_licence_lock(call)
        call.is_stale = fault == "stale_read" and route.method == "GET"
        answer = route.handler(call, *parts)
        if route.is_licence_write:
            tail = timedelta(seconds=self._world.switches.licence_lock_tail_s)
            self._licences_locked_until = self._world.clock.now() + tail
        self._fail_after(fault, request)
        answer.headers.update(charged)
        return answer

    def _authenticate(self, call: Call) -> None:
        """Judge the token by the sandbox's clock."""
        scheme, _, token = call.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Problem(401, "InvalidAuthenticationToken", "Access token is empty.")
        try:
            call.claims = tokens.read(
                token, key=self._key, tenant_id=self._world.directory.tenant_id, now=self._world.clock.now()
            )
        except tokens.InvalidToken as e:
            raise Problem(401, "InvalidAuthenticationToken", str(e)) from e

    def _charge(self, call: Call, route: Route) -> dict[str, str]:
        cost = cost_of(route.units, route.writes, call.query, is_audit=route.is_audit)
        if not self._world.switches.throttling:
            return {"x-ms-resource-unit": str(cost.resource_units)}
        assert call.claims is not None
        users = len(self._world.directory.store.users)
        return self._throttle.charge(call.claims.app_id, cost, users=users, at=self._world.clock.now())

    def _check_licence_lock(self, call: Call) -> None:
        until = self._licences_locked_until
        in_tail = until is not None and self._world.clock.now() < until
        if self._world.switches.licence_lock and (call.meets_licence_write or in_tail):
            if self._world.switches.licence_lock_as_400:
                raise Problem(400, "Request_BadRequest", LOCKED_TEXT)
            raise Problem(409, "Directory_ConcurrencyViolation", LOCKED_TEXT)

    # --- faults

    def _fail_before(self, fault: str | None, call: Call) -> None:
        if fault == "throttled":
            app_id = call.claims.app_id if call.claims else ""
            scope = f"Tenant_Application/ReadWrite/{app_id}/{self._world.directory.tenant_id}"
            raise throttled(FAULT_WAIT_S, scope=scope, reason="CPULimitExceeded")
        if fault in FAULT_STATUS and fault not in DONE_BUT_UNSAID:
            raise Problem(*FAULT_STATUS[fault])

    def _fail_after(self, fault: str | None, request: httpx.Request | None) -> None:
        if fault is None or fault not in DONE_BUT_UNSAID:
            return
        if fault == "reply_lost" and request is not None:
            raise httpx.RemoteProtocolError("Server disconnected without sending a response.", request=request)
        if fault == "reply_timeout" and request is not None:
            raise httpx.ReadTimeout("The read operation timed out", request=request)
        raise Problem(*FAULT_STATUS.get(fault, FAULT_STATUS["done_then_504"]))

    # --- answers

    def _correlation(self, call: Call) -> dict[str, str]:
        request_id = str(UUID(int=self._ids.getrandbits(128), version=4))
        return {"request-id": request_id, "client-request-id": call.headers.get("client-request-id", request_id)}

    def _with_headers(self, call: Call, answer: Answer) -> Answer:
        answer.headers.update(self._correlation(call))
        answer.headers.update({k: v for k, v in self._dated().items() if k not in answer.headers})
        return answer

    def _dated(self) -> dict[str, str]:
        ahead_s = self._world.switches.graph_date_skew_s
        if ahead_s is None:
            return {}
        at = self._world.clock.now() + timedelta(seconds=ahead_s)
        return {"Date": at.strftime("%a, %d %b %Y %H:%M:%S GMT")}

    def _error(self, call: Call, problem: Problem | Refused) -> Answer:
        correlation = self._correlation(call)
        inner: dict[str, Any] = {"date": self._world.clock.now().strftime("%Y-%m-%dT%H:%M:%S"), **correlation}
        body = {"error": {"code": problem.code, "message": problem.message, "innerError": inner}}
        headers = dict(problem.headers) if isinstance(problem, Problem) else {}
        return Answer(problem.status, body, {**headers, **correlation, **self._dated()})
