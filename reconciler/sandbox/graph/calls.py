"""One request as the routes see it, whether it came alone or inside a batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote

import httpx
import msgspec

from reconciler.sandbox.directory import Actor, Directory
from reconciler.sandbox.directory.store import Store
from reconciler.sandbox.graph.answers import bad_request
from reconciler.sandbox.switches import Switches
from reconciler.sandbox.tokens import Claims
from reconciler.sandbox.world import World

BASE_PATH = "/v1.0"


class Call:
    """A parsed request. `base` is scheme and host as the caller wrote them; links are built on it."""

    def __init__(
        self, world: World, *, method: str, base: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> None:
        self.world = world
        self.method = method.upper()
        self.base = base
        path, _, query = target.partition("?")
        self.path = path
        self.segments = tuple(_segment(s) for s in path.split("/") if s)
        self.query = {_option(k): v for k, v in parse_qsl(query, keep_blank_values=True)}
        self.headers = {k.lower(): v for k, v in headers.items()}
        self.body = body
        self.claims: Claims | None = None
        self.is_stale = False
        self.meets_licence_write = False
        """Inside a batch: another licence write runs beside this one."""

    @classmethod
    def of_request(cls, world: World, request: httpx.Request) -> Call:
        """The call that an HTTP request makes."""
        host = request.headers.get("host") or request.url.netloc.decode()
        return cls(
            world,
            method=request.method,
            base=f"{request.url.scheme}://{host}",
            target=request.url.raw_path.decode("ascii"),
            headers=dict(request.headers),
            body=request.content,
        )

    # --- shorthands

    @property
    def directory(self) -> Directory:
        return self.world.directory

    @property
    def store(self) -> Store:
        return self.world.directory.store

    @property
    def switches(self) -> Switches:
        return self.world.switches

    @property
    def roles(self) -> frozenset[str]:
        return self.claims.roles if self.claims else frozenset()

    @property
    def actor(self) -> Actor:
        """Who the audit log names for what this call changes."""
        assert self.claims is not None
        return Actor(app_id=self.claims.app_id, app_name=self.claims.app_name)

    # --- what was asked

    @property
    def is_advanced(self) -> bool:
        """Whether the two marks of an advanced query are there (graph.md section 3)."""
        return self.is_eventual and self.query.get("$count", "").lower() == "true"

    @property
    def is_eventual(self) -> bool:
        return self.headers.get("consistencylevel", "").lower() == "eventual"

    def json(self) -> dict[str, Any]:
        """The body as an object.

        Raises:
            Problem: 400, not one.
        """
        if not self.body:
            raise bad_request("Empty Payload. JSON content expected.")
        try:
            body = msgspec.json.decode(self.body)
        except msgspec.DecodeError as e:
            raise bad_request("Unable to read JSON request payload. Please ensure Content-Type header is set.") from e
        if not isinstance(body, dict):
            raise bad_request("Unable to read JSON request payload: an object is expected.")
        return body

    def select(self) -> list[str] | None:
        """Names in $select, or None when it was not given."""
        if "$select" not in self.query:
            return None
        return [name.strip() for name in self.query["$select"].split(",") if name.strip()]

    def refuse_options(self, *allowed: str) -> None:
        """Refuse every query option but these.

        Raises:
            Problem: 400.
        """
        for option in self.query:
            if option.startswith("$") and option not in allowed:
                raise bad_request(f"The query parameter '{option}' is not supported.", code="Request_UnsupportedQuery")

    # --- links

    def url(self, path: str) -> str:
        """An absolute address of this service."""
        return f"{self.base}{BASE_PATH}{path}"

    def context(self, what: str) -> str:
        """The value of @odata.context."""
        select = self.select()
        fields = f"({','.join(select)})" if select else ""
        name, _, rest = what.partition("/")
        return self.url(f"/$metadata#{name}{fields}{'/' + rest if rest else ''}")


def _segment(raw: str) -> str:
    """A path segment as a name: decoded, with the `()` of a function call dropped."""
    return unquote(raw).removesuffix("()")


def _option(name: str) -> str:
    """System options may be written without their dollar."""
    lowered = name.lower()
    known = ("select", "filter", "top", "count", "orderby", "expand", "search", "skip", "skiptoken", "deltatoken")
    if lowered in known:
        return f"${lowered}"
    return lowered if lowered.startswith("$") else name
