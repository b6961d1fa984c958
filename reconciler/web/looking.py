"""The page of one ticket: what was asked, found, decided, sent and seen, from the store."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from reconciler.approvals.judge import may_see
from reconciler.explain import Chain, as_json, explain
from reconciler.store import approvals
from reconciler.web.identity import Role
from reconciler.web.pages import Pages
from reconciler.web.signing_in import begin
from reconciler.web.site import Site
from reconciler.web.trust import TICKET_NUMBER, place
from reconciler.web.visits import Visitor, visitor


def routes(site: Site, pages: Pages) -> APIRouter:
    """`/tickets/{number}`."""
    router = APIRouter()

    @router.get("/tickets/{number}")
    def ticket(request: Request, number: str) -> Response:
        """For auditors and admins, and for whoever has a part in an approval of the ticket."""
        who = visitor(site, request)
        if who is None:
            return begin(site, pages, request, place(f"/tickets/{number}"))
        if not TICKET_NUMBER.fullmatch(number):
            return pages.not_found(who)
        chain = next(iter(explain(site.database, site.tenant, number)), None)
        if chain is None or not _may_see(site, who, chain):
            with site.database.write() as session:
                approvals.note_view(session, site.tenant, number, who.human, False, site.now())
            return pages.not_found(who)
        with site.database.read() as session:
            asked = {line.key.line: approvals.of_line(session, site.tenant, line.key) for line in chain.lines}
        told = as_json(chain, site.catalogue())
        return pages.page("ticket.html", who, ticket=told, chain=chain, asked=asked)

    return router


def _may_see(site: Site, who: Visitor, chain: Chain) -> bool:
    if who.has(Role.AUDITOR, Role.ADMIN):
        return True
    with site.database.read() as session:
        asked = [a for line in chain.lines for a in approvals.of_line(session, site.tenant, line.key)]
    return any(may_see(approval, who.human, site.now()) for approval in asked)
