"""Who is asking: the session behind a cookie, and the address it comes from.

Both cookies have the `__Host-` prefix: a browser takes them only with Secure, for this very host and its whole path.
Browsers count `http://localhost` as secure (seen in Chromium 156), so plain http on loopback works.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fastapi import Request, Response

from reconciler.approvals.values import Human
from reconciler.store import sessions
from reconciler.store.sessions import WebSession
from reconciler.web.identity import Role
from reconciler.web.site import Site
from reconciler.web.trust import client_address, form_token, is_form_token, same_origin

LOGIN_COOKIE, SESSION_COOKIE = "__Host-login", "__Host-session"
AGENT_MAX = 300


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who is signed in, and the secret that their browser holds."""

    session: WebSession
    secret: str = field(repr=False)

    @property
    def human(self) -> Human:
        s = self.session
        return Human(s.tid, s.oid, s.name, s.upn)

    @property
    def name(self) -> str:
        return self.session.name or self.session.upn or self.session.oid

    @property
    def form_token(self) -> str:
        return form_token(self.secret)

    @property
    def reads_all(self) -> bool:
        """Whether the board, every ticket and the log are shown to them, with names."""
        return self.has(Role.AUDITOR, Role.ADMIN)

    @property
    def actor(self) -> str:
        """Whose doing it is, as the audit log and every row that a page writes names it."""
        return self.human.account

    def has(self, *roles: Role) -> bool:
        return any(role.value in self.session.roles for role in roles)


@dataclass(frozen=True, slots=True)
class Way:
    """By which way somebody acts on a page. `evidence` is the SHA-256 of the sign-in, in hex."""

    evidence: str
    source: str  # address
    agent: str
    correlation: str


def way(site: Site, request: Request, who: Visitor) -> Way:
    """What is kept of every action beside who it was and what it did."""
    return Way(str(who.session.evidence["sha256"]), address(site, request), agent(request), who.session.id[:16])


def visitor(site: Site, request: Request) -> Visitor | None:
    """Who is signed in, None when nobody is or the session is over. Keeps the session alive."""
    secret = request.cookies.get(SESSION_COOKIE, "")
    if not secret:
        return None
    at = site.now()
    with site.database.read() as session:
        found = sessions.find(session, site.tenant, secret, at)
    if found is None:
        return None
    if at - found.seen_at >= sessions.TOUCH_EVERY:
        with site.database.write() as session:
            sessions.touch(session, found, at)
    return Visitor(found, secret)


def is_from_our_form(site: Site, request: Request, who: Visitor, token: str) -> bool:
    """Whether a POST was sent from a page that this session was given."""
    return same_origin(request.headers, site.public_url) and is_form_token(token, who.secret)


def address(site: Site, request: Request) -> str:
    """Where a request comes from, as far as it can be believed."""
    peer = request.client.host if request.client is not None else ""
    return client_address(peer, request.headers.get("x-forwarded-for"), site.proxies)


def agent(request: Request) -> str:
    """What the browser calls itself."""
    return request.headers.get("user-agent", "")[:AGENT_MAX]


def set_login(response: Response, secret: str) -> None:
    """For ten minutes. `SameSite=None`, because Entra's answer is a POST from another site."""
    response.set_cookie(LOGIN_COOKIE, secret, max_age=600, path="/", secure=True, httponly=True, samesite="none")


def clear_login(response: Response) -> None:
    response.set_cookie(LOGIN_COOKIE, "", max_age=0, path="/", secure=True, httponly=True, samesite="none")


def set_session(response: Response, secret: str) -> None:
    """Until the browser is closed; the store ends it earlier. `Lax`, so that a link from Teams arrives signed in."""
    response.set_cookie(SESSION_COOKIE, secret, path="/", secure=True, httponly=True, samesite="lax")


def clear_session(response: Response) -> None:
    response.set_cookie(SESSION_COOKIE, "", max_age=0, path="/", secure=True, httponly=True, samesite="lax")
