"""The API in process over Contoso's pages, and agents that call it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, cast
from weakref import finalize

import httpx
from starlette.types import ASGIApp

from desired_state.catalogue import load_builtin
from reconciler.proposing import Counter
from reconciler.store import agents
from reconciler.store.agents import Agent
from reconciler.web import api
from reconciler.web.app import create_app
from reconciler.web.site import Site
from tests.web.make_web import OURS, TENANT, Lent, Pages

TOKEN = "lra_" + "t" * 43
KEY = "key-00000001"
GOOD = {
    "person": "lena.fischer@contoso.example",
    "product": "visio-plan-1",
    "reason": "Draws process maps for the quarterly audit.",
}


@dataclass(eq=False)
class Caller:
    """One program that calls the API."""

    pages: Pages
    app: Any
    token: str = TOKEN

    def send(self, method: str, path: str, *, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, client=("203.0.113.9", 1))
            async with httpx.AsyncClient(transport=transport, base_url=OURS) as http:
                named = {"authorization": f"Bearer {self.token}", **(headers or {})}
                said = {name: value.encode("latin-1") for name, value in named.items()}
                return await http.request(method, path, headers=said, **body)

        return asyncio.run(ask())

    def get(self, path: str) -> httpx.Response:
        return self.send("GET", f"/api/v1{path}")

    def propose(self, key: str = KEY, **changes: Any) -> httpx.Response:
        body = {name: value for name, value in {**GOOD, **changes}.items() if value is not ...}
        return self.send("POST", "/api/v1/proposals", headers={"idempotency-key": key}, json=body)


def an_agent(**changes: Any) -> Agent:
    base = Agent(
        tenant=TENANT,
        name="copilot",
        owner="laura.mcbride@contoso.example",
        products=frozenset({agents.EVERY}),
        reads="own",
        per_minute=60,
        open_max=20,
        created_at=changes.pop("created_at"),
        created_by="tester",
        expires_at=changes.pop("expires_at"),
    )
    return replace(base, **changes)


def caller(pages: Pages, *, token: str = TOKEN, admits: Any = lambda _: "", **changes: Any) -> Caller:
    """A registered agent of Contoso."""
    now = pages.world.clock.now()
    agent = an_agent(**{"created_at": now, "expires_at": now + timedelta(days=90), **changes})
    with pages.database.write() as session:
        assert agents.add(session, agent, token, now)
    counter = Counter(TENANT, pages.database, load_builtin, admits)
    site, counts, app = _FREE.pop() if _FREE else _an_app(pages)
    site.of, counts.of = pages.site, counter
    found = Caller(pages, app, token)
    finalize(found, _FREE.append, (site, counts, app))  # whoever calls next calls the same application
    return found


_FREE: list[tuple[Lent, Lent, ASGIApp]] = []


def _an_app(pages: Pages) -> tuple[Lent, Lent, ASGIApp]:
    site, counts = Lent(), Lent()
    site.of = pages.site
    return site, counts, create_app(cast(Site, site), further=[api.routes(cast(Site, site), cast(Counter, counts))])
