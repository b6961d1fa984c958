"""The pages in process before the sandbox's sign-in, a browser without scripts, and requests for approval.

`Browser` keeps cookies, sends what a browser says about where a form comes from, and follows nothing by itself.
"""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, cast
from weakref import finalize

import httpx
from starlette.types import ASGIApp

from desired_state.catalogue import load_builtin
from desired_state.model import LineKey
from reconciler.approvals.values import Approval, Human, Stage
from reconciler.clients.auth import ClientSecret, PeopleSignIn
from reconciler.clients.graph import GRAPH_DIALECT, Graph
from reconciler.clients.wire import Patience, Wire, make_http
from reconciler.ladder import ladder
from reconciler.promotion.advice import Position
from reconciler.promotion.values import WATCHING
from reconciler.sandbox import hosts, tokens
from reconciler.sandbox.transport import SandboxTransport
from reconciler.sandbox.world import World
from reconciler.store import approvals, journal
from reconciler.store.database import Database
from reconciler.web.app import create_app
from reconciler.web.site import Site
from reconciler.web.visits import SESSION_COOKIE
from reconciler.wiring.pages import Directory
from tests.make_approvals import a_draft, a_stage
from tests.make_logs import into
from tests.make_sign_in import Form, answer_of, forms_of, pick
from tests.make_world import contoso

OURS = "https://localhost:8443"
TENANT = "contoso"
ID = "LR-" + "A" * 26
DAY = timedelta(days=1)
HOSTILE = (
    "<script>alert(1)</script> [Click](https://evil.example) {{ 7*7 }} \u202egnp.exe\u202c \"'><img src=x onerror=a>"
)


class Between(httpx.BaseTransport):
    """Between the pages and the sandbox: notes what was asked, and may name another place for the keys."""

    def __init__(self, world: World) -> None:
        self._inner = SandboxTransport(world)
        self.asked: list[str] = []
        self.keys_at = ""
        self.is_graph_off = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.path)
        if self.is_graph_off and request.url.host == hosts.GRAPH_HOST:
            raise httpx.ConnectError("[Errno 111] Connection refused", request=request)
        answer = self._inner.handle_request(request)
        if self.keys_at and request.url.path.endswith("/openid-configuration"):
            return httpx.Response(200, json={**json.loads(answer.content), "jwks_uri": self.keys_at}, request=request)
        return answer


class Browser:
    """One browser of one person, with the address bar on our pages."""

    def __init__(self, app: ASGIApp, login: httpx.Client, *, base: str = OURS, **headers: str) -> None:
        self._app, self._login, self._base = app, login, base
        self.cookies = httpx.Cookies()
        self.pages: Pages | None = None  # keeps them to itself as long as it looks at them
        self.headers = {"user-agent": "Browser/1.0", **headers}

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.send("GET", path, headers=headers)

    def post(self, path: str, data: dict[str, str], **headers: str) -> httpx.Response:
        """A form of a page of ours, unless `headers` say otherwise (with _ for -)."""
        said = {"sec_fetch_site": "same-origin", "origin": "null", **headers}
        return self.send("POST", path, headers=said, data=data)

    def send(self, method: str, path: str, *, headers: dict[str, str], **body: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self._app, raise_app_exceptions=True, client=("203.0.113.9", 1))
            async with httpx.AsyncClient(transport=transport, base_url=self._base, cookies=self.cookies) as http:
                named = {name.replace("_", "-"): value for name, value in {**self.headers, **headers}.items()}
                answer = await http.request(method, path, headers=named, **body)
                self.cookies = http.cookies
                return answer

        return asyncio.run(ask())

    def start(self, path: str = "/inbox") -> str:
        """Where a page sends somebody who is not signed in."""
        answer = self.get(path)
        assert answer.status_code == 302, answer.text
        return answer.headers["location"]

    def come_back(self, form: dict[str, str]) -> httpx.Response:
        """Entra's answer: a POST from its page."""
        return self.post("/auth/callback", form, sec_fetch_site="cross-site", origin=hosts.LOGIN_URL)

    def sign_in(self, person: str, path: str = "/inbox") -> httpx.Response:
        """The whole way; the answer is the redirect to the page that was asked for, or a refusal."""
        return self.come_back(answer_of(pick(self._login, self.start(path), person)))

    @property
    def secret(self) -> str:
        return self.cookies.get(SESSION_COOKIE, "")

    def form(self, path: str, number: int = -1) -> Form:
        """A form of a page; the last one is the decision where there is one."""
        return forms_of(self.get(path))[number]

    def decide(self, id: str = ID, verdict: str = "approve", reason: str = "", **changes: str) -> httpx.Response:
        """Read the page and press a button."""
        form = self.form(f"/approvals/{id}")
        return self.post(form.action, {**form.fields, "verdict": verdict, "reason": reason, **changes})


class Lent:
    """What an application works with, of whoever has it at the moment. It keeps nothing itself, and making one takes
    longer than most of what is asked of it.
    """

    def __init__(self) -> None:
        self.of: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.of, name)


_FREE: list[tuple[Lent, ASGIApp]] = []


def _an_app(site: Site) -> tuple[Lent, ASGIApp]:
    lent = Lent()
    lent.of = site
    return lent, create_app(cast(Site, lent))


@dataclass(eq=False)
class Pages:
    """The pages of Contoso, its world and its store."""

    world: World
    site: Site
    login: httpx.Client
    between: Between
    said: list[str] = field(default_factory=list)

    @cached_property
    def app(self) -> ASGIApp:
        lent, app = _FREE.pop() if _FREE else _an_app(self.site)
        lent.of = self.site
        finalize(self, _FREE.append, (lent, app))  # whoever asks for pages next gets the same application
        return app

    @property
    def database(self) -> Database:
        return self.site.database

    def browser(self, **headers: str) -> Browser:
        browser = Browser(self.app, self.login, **headers)
        browser.pages = self
        return browser

    def signed_in(self, person: str = "Laura McBride", path: str = "/inbox") -> Browser:
        browser = self.browser()
        answer = browser.sign_in(person, path)
        assert (answer.status_code, answer.headers["location"]) == (303, path), answer.text
        return browser

    def person(self, name: str) -> Human:
        found = self.world.directory.user(f"{name.lower().replace(' ', '.')}@contoso.example")
        number = str(found.employee_id or "")
        return Human(hosts.TENANT_ID, found.user_id.lower(), name, found.upn, number)

    def stage(self, *names: str, **changes: Any) -> Stage:
        now = self.world.clock.now()
        times = {"opened_at": now, "remind_at": (), "escalate_at": now + 2 * DAY, "expires_at": now + 5 * DAY}
        return a_stage(changes.pop("name", "manager"), *map(self.person, names), **{**times, **changes})

    def ask(self, *stages: Stage, **changes: Any) -> Approval:
        """Open a request for approval; by default Laura McBride is asked for Lena Fischer."""
        lena = self.person("Lena Fischer")
        parties = {"requester": lena, "beneficiary": lena, "opener": lena}
        base = {"id": ID, "created_at": self.world.clock.now(), "line": LineKey("RITM0010012", 1), **parties}
        draft = a_draft(*(stages or (self.stage("Laura McBride"),)), **{**base, "shown": shown(), **changes})
        with self.database.write() as session:
            return approvals.open_(session, draft)

    def kept(self, id: str = ID) -> Approval:
        with self.database.read() as session:
            found = approvals.load(session, TENANT, id)
        assert found is not None
        return found

    def log(self, kind: str) -> list[journal.AuditRow]:
        with self.database.read() as session:
            return journal.rows_since(session, TENANT, _EPOCH, kind)


_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


def shown(**changes: Any) -> dict[str, Any]:
    return {
        "person": {"name": "Lena Fischer", "upn": "lena.fischer@contoso.example"},
        "requester": {"name": "Lena Fischer", "upn": "lena.fischer@contoso.example"},
        "opener": {"name": "Lena Fischer", "upn": "lena.fischer@contoso.example"},
        "product": "Microsoft 365 E5",
        "path": "directly",
        "period": "without end",
        "why": "Needs Power BI and voice for the quarterly close.",
        "cost": {"monthly": "57.00"},
        "cost_center": "CC-4300",
        "seats": {"free": 3, "of": 25},
        "rules": [
            {"rule": "high-cost", "outcome": "approval needed", "sentence": "manager, then cost centre owner"},
            {"rule": "copilot-departments", "outcome": "not concerned", "sentence": ""},
        ],
        "changes": [
            {"what": "remove license", "before": _e3(), "after": {"licence": None}, "undo": "irreversible"},
            {"what": "assign license", "before": {"licence": None}, "after": _e5(), "undo": "reversible"},
        ],
        "irreversible": ["The archive mailbox of E3 is merged and cannot be split again."],
        **changes,
    }


def pages_of(database: Database, **changes: Any) -> Pages:
    """Contoso's pages over this store."""
    world = contoso()
    login = httpx.Client(transport=SandboxTransport(world))
    between = Between(world)
    people = PeopleSignIn(
        hosts.LOGIN_URL,
        hosts.TENANT_ID,
        hosts.CLIENT_ID,
        ClientSecret(hosts.CLIENT_SECRET),
        make_http(between),
        world.clock,
    )
    said: list[str] = []
    rungs = {"visio-plan-2": Position(), "teams": Position("suggest")}
    settled = {
        "public_url": OURS,
        "catalogue": load_builtin,
        "log": into(said),
        "ladder": lambda: ladder(database, TENANT, Position("suggest"), rungs, WATCHING, world.clock.now()),
        **changes,
    }
    directory = Directory(lambda: _graph(world, between), hosts.TENANT_ID)
    site = Site(tenant=TENANT, database=database, clock=world.clock, people=people, colleagues=directory, **settled)
    return Pages(world, site, login, between, said)


def _graph(world: World, between: Between) -> Graph:
    """The client that ships, as the application of the daemon."""
    token = tokens.issue(
        key=tokens.key_of(world.seed),
        tenant_id=hosts.TENANT_ID,
        issuer="https://sts.windows.net/",
        audience=hosts.GRAPH_URL,
        app_id=hosts.CLIENT_ID,
        app_name="License Reconciler",
        roles=list(hosts.ENFORCE_ROLES),
        now=world.clock.now(),
        lifetime_s=10**9,
        token_id="1",
    )
    wire = Wire(
        "graph",
        make_http(between),
        f"{hosts.GRAPH_URL}/v1.0",
        lambda: {"Authorization": f"Bearer {token}"},
        lambda _: False,
        world.clock,
        random.Random(1),
        dialect=GRAPH_DIALECT,
        patience=Patience(attempts=1),
    )
    return Graph(wire, world.clock)


def _e3() -> dict[str, Any]:
    return {"licence": {"sku": "Microsoft 365 E3", "sku_id": "05e9a617", "disabled_plans": ["Teams"]}}


def _e5() -> dict[str, Any]:
    return {"licence": {"sku": "Microsoft 365 E5", "sku_id": "06ebc4ee", "disabled_plans": []}}
