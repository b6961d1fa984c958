"""The front of the pretend instance: `ServiceNowService(world)(request) -> response`.

Routes a request to the API it names, after faults, sign-in and limits, and stamps every answer with the sandbox
clock. Thread-safe by the world's lock. It claims to imitate what docs/sandbox-servicenow.md lists; any other path
answers an error with a clear text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from email.utils import format_datetime
from functools import lru_cache
from threading import RLock
from typing import Protocol

import httpx

from reconciler.clock import Clock
from reconciler.sandbox.servicenow import trouble
from reconciler.sandbox.servicenow.answers import (
    ApiError,
    Call,
    answer,
    bad_request,
    html,
    not_authorized,
    not_imitated,
)
from reconciler.sandbox.servicenow.attachment_api import AttachmentApi
from reconciler.sandbox.servicenow.batch_api import BatchApi
from reconciler.sandbox.servicenow.catalog_api import CatalogApi
from reconciler.sandbox.servicenow.instance import Instance
from reconciler.sandbox.servicenow.limits import Doors, count_request
from reconciler.sandbox.servicenow.selecting import Selector
from reconciler.sandbox.servicenow.signin import bearer, has_credentials, sign_in
from reconciler.sandbox.servicenow.stats_api import StatsApi
from reconciler.sandbox.servicenow.table_api import TableApi
from reconciler.sandbox.servicenow.tokens import token_endpoint

_VERSION = re.compile(r"v[12]")
_ID = re.compile(r"[0-9a-f]{32}")


class PicksFaults(Protocol):
    """Names the fault that a request meets, if any."""

    def pick(self, route: str) -> str | None:
        """`route` is "METHOD /path/template", such as "GET /api/now/table/sc_req_item/{sys_id}"."""
        ...


class HasInstance(Protocol):
    """What the service needs of the world."""

    @property
    def lock(self) -> RLock:
        """Held for as long as a request is answered."""
        ...

    @property
    def clock(self) -> Clock:
        """The time of every record and header."""
        ...

    @property
    def faults(self) -> PicksFaults:
        """The schedule of what goes wrong."""
        ...

    @property
    def instance(self) -> Instance:
        """The truth."""
        ...


class ServiceNowService:
    """Answers HTTP for one world's instance."""

    def __init__(self, world: HasInstance) -> None:
        self._world = world
        self.doors = Doors()
        self._selector = Selector(world.instance)
        self._sessions = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one request.

        Raises:
            httpx.TransportError: a fault keeps the answer from arriving.
        """
        request.read()
        session = _session(request)
        with self.doors.enter(session, self._world.instance) as refusal, self._world.lock:
            if refusal is not None:
                response = trouble.instead(self._world.instance, refusal) or answer(503)
            else:
                response = self._judge(request)
            if not session:
                self._sessions += 1
                response.headers["Set-Cookie"] = f"JSESSIONID=SANDBOX{self._sessions:025X}; Path=/; HttpOnly; Secure"
            ahead = self._world.instance.switches.date_skew_s
            if "date" not in response.headers and ahead is not None:
                response.headers["Date"] = self._date(ahead)
            return response

    # --- faults around a request

    def _judge(self, request: httpx.Request, inner: Call | None = None) -> httpx.Response:
        """Answer under the fault that this request meets; `inner` is the batch that an item belongs to."""
        instance = self._world.instance
        method = request.method.upper()
        fault = self._world.faults.pick(f"{method} {template(request.url.path)}") or ""
        refused = trouble.instead(instance, fault)
        if refused is not None:
            return refused
        if fault == "slow":
            self._world.clock.sleep(instance.switches.slow_s)
        if fault == "token_expires_early":
            instance.credentials.access.pop(bearer(request.headers), None)

        def answered() -> httpx.Response:
            return self._answer(request, frozenset({fault}) if fault else frozenset(), inner)

        if fault == "200_not_applied" and method in {"PATCH", "PUT"}:
            with instance.truth.undone():
                response = answered()
        else:
            response = answered()
        if fault == "clock_skew":
            response.headers["Date"] = self._date(instance.switches.clock_skew_s)
        return trouble.afterwards(fault, method, response)

    def _date(self, skew_s: float) -> str:
        at = self._world.clock.now()
        return format_datetime(at.fromtimestamp(at.timestamp() + skew_s, tz=at.tzinfo), usegmt=True)

    # --- one request

    def _answer(self, request: httpx.Request, faults: frozenset[str], inner: Call | None) -> httpx.Response:
        path = request.url.path
        if inner is None and len(request.url.raw_path) > self._world.instance.switches.url_bytes_max:
            return html(414, "Request-URI Too Long", "The address is too long")
        if path == "/oauth_token.do":
            return token_endpoint(self._world.instance, request)
        if not path.startswith("/api/"):
            return html(404, "Page not found", "Page not found")
        try:
            response = self._api(request, faults, inner)
        except ApiError as refused:
            response = refused.answer()
        if request.method.upper() == "HEAD":
            return httpx.Response(response.status_code, headers=response.headers)
        return response

    def _api(self, request: httpx.Request, faults: frozenset[str], inner: Call | None) -> httpx.Response:
        instance = self._world.instance
        segments = [part for part in request.url.path.removeprefix("/api/").split("/") if part]
        namespace = segments.pop(0) if segments else ""
        version = segments.pop(0) if segments and _VERSION.fullmatch(segments[0]) else ""
        api = segments.pop(0) if segments else ""
        if inner is not None:
            caller = inner.caller
        elif (
            api == "attachment" and instance.switches.attachment_needs_auth_403 and not has_credentials(request.headers)
        ):
            raise not_authorized()
        else:
            caller = sign_in(instance, request.headers)
        handler = self._handler(namespace, api, request.url.path)
        base = f"{request.url.scheme}://{request.headers.get('host') or request.url.netloc.decode()}"
        call = Call(
            method=_method(request),
            path=tuple(segments),
            params=_parameters(request.url.query),
            headers=request.headers,
            body=request.content,
            base=base,
            url=f"{base}{request.url.path}",
            caller=caller,
            version=version,
            faults=faults,
        )
        _check_accept(call)
        headers = count_request(instance, caller.user_name, api)
        try:
            response = handler(call)
        except ApiError as refused:
            response = refused.answer()
        response.headers.update(headers)
        return response

    def _handler(self, namespace: str, api: str, path: str) -> Callable[[Call], httpx.Response]:
        instance, selector = self._world.instance, self._selector_of()
        match (namespace, api):
            case ("now", "table"):
                return TableApi(instance, selector).handle
            case ("now", "stats"):
                return StatsApi(instance, selector).handle
            case ("now", "attachment"):
                return AttachmentApi(instance, selector).handle
            case ("now", "batch"):
                return BatchApi(instance, self._world.clock, self._judge).handle
            case ("sn_sc", "servicecatalog"):
                return CatalogApi(instance).handle
            case ("now", "import" | "tinyurl") | ("sn_sc", _):
                raise not_imitated(path)
            case _:
                raise bad_request("Requested URI does not represent any resource", path)

    def _selector_of(self) -> Selector:
        """The selector of the world's instance, which a loaded world replaces."""
        if self._selector.instance is not self._world.instance:
            self._selector = Selector(self._world.instance)
        return self._selector


def template(path: str) -> str:
    """A path with versions left out and ids replaced, so that faults can name a route."""
    parts = [p for p in path.split("/") if not _VERSION.fullmatch(p)]
    return "/".join("{sys_id}" if _ID.fullmatch(part) else part for part in parts)


@lru_cache(maxsize=256)
def _parameters(query: bytes) -> httpx.QueryParams:
    return httpx.QueryParams(query.decode("ascii"))


def _method(request: httpx.Request) -> str:
    override = request.headers.get("x-http-method-override", "")
    return override.upper() if request.method.upper() == "POST" and override else request.method.upper()


def _session(request: httpx.Request) -> str:
    """The session that a request takes part in, by its cookie."""
    for part in request.headers.get("cookie", "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == "JSESSIONID":
            return str(value)
    return ""


def _check_accept(call: Call) -> None:
    if call.path and call.path[-1] == "file":
        return
    accepted = call.headers.get("accept", "*/*").lower()
    if not any(kind in accepted for kind in ("application/json", "*/*", "application/*")):
        raise ApiError(406, "Not acceptable", "The sandbox answers application/json only")
