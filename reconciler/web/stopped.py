"""The page of the guards: what they stopped, and what is let through. It reads; a release is made at a terminal."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from reconciler.loop.releasing import overview
from reconciler.store import journal, switches
from reconciler.web.identity import Role
from reconciler.web.pages import Pages
from reconciler.web.signing_in import begin
from reconciler.web.site import Site
from reconciler.web.trust import place
from reconciler.web.visits import visitor


def routes(site: Site, pages: Pages) -> APIRouter:
    """`/guards`."""
    router = APIRouter()

    @router.get("/guards")
    def guards(request: Request) -> Response:
        """For auditors and admins."""
        who = visitor(site, request)
        if who is None:
            return begin(site, pages, request, place("/guards"))
        if not who.has(Role.AUDITOR, Role.ADMIN):
            return pages.not_found(who)
        at = site.now()
        with site.database.write() as session:
            found = overview(session, site.tenant, at)
            stops = [s for s in switches.stops(session, site.tenant) if s.is_on]
            journal.note_read(session, site.tenant, what="guards", by=f"{who.human.tid}/{who.human.oid}", at=at)
        plans = [(plan, _standing(plan.is_released(at), plan.used_at is not None)) for plan in found.plans]
        return pages.page("guards.html", who, found=found, plans=plans, stops=stops)

    return router


def _standing(is_released: bool, is_used: bool) -> str:
    if is_used:
        return "was let through"
    return "is let through by the next cycle" if is_released else "is stopped"
