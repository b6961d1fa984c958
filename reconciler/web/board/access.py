"""Who reads the board: auditors and admins everything; whoever is in an open network, without names, what is open."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from reconciler.web.pages import Pages
from reconciler.web.signing_in import begin
from reconciler.web.site import Site
from reconciler.web.trust import HOME, is_open_to, is_our_name, place
from reconciler.web.visits import Visitor, address, visitor


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody who may read a page. `opened` are the pages that need no sign-in from where they are."""

    who: Visitor | None
    opened: Collection[str]

    @property
    def sees_people(self) -> bool:
        """Names are shown to whoever is signed in with a role for it."""
        return self.who is not None and self.who.reads_all

    def may(self, page: str) -> bool:
        return self.sees_people or page in self.opened


def reader(site: Site, request: Request) -> Reader:
    """Who asks, and what is open to them."""
    return Reader(visitor(site, request), opened(site, request))


def opened(site: Site, request: Request) -> tuple[str, ...]:
    """The pages that are read without sign-in from where this request comes."""
    peer = request.client.host if request.client is not None else ""
    forwarded = [request.headers.get(name) for name in ("x-forwarded-for", "forwarded", "x-real-ip", "via")]
    hop = address(site, request)
    is_near = is_open_to(peer, forwarded, site.proxies, site.open_to, hop=hop)
    return tuple(site.open_pages) if is_near and is_our_name(request.headers.get("host"), site.public_url) else ()


def turned_away(site: Site, pages: Pages, request: Request, reader: Reader, path: str) -> Response:
    """For whoever may not: sign-in where nobody is signed in, else what somebody sees who asks for nothing."""
    if reader.who is None:
        return begin(site, pages, request, place(path))
    if path == "/":
        return RedirectResponse(HOME, 302)  # whoever approves has an inbox and no board
    return pages.not_found(reader.who)
