"""The page of one ticket: what was asked, found, decided, sent and seen, from the store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request, Response

from reconciler.approvals.judge import may_see
from reconciler.explain import Chain, as_json, explain, obstacles
from reconciler.store import approvals, journal
from reconciler.web.board.access import opened
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
        with site.database.write() as session:
            journal.note_read(session, site.tenant, what=f"ticket {number}", by=who.actor, at=site.now())
        catalogue, at = site.catalogue(), site.now()
        told = as_json(chain, catalogue)
        in_the_way = {line.key.line: obstacles(chain, line, catalogue, at, mode=site.mode) for line in chain.lines}
        return pages.page(
            "ticket.html",
            who,
            here="ticket",
            opened=opened(site, request),
            ticket=told,
            chain=chain,
            in_the_way=in_the_way,
            paths={line["line"]: _path(line) for line in told["lines"]},
        )

    return router


def _path(line: Mapping[str, Any]) -> list[str]:
    """The phases that a line went through, as the log has them; the last one is where it is."""
    seen = [str(look["phase"]) for look in line["observations"] if look["phase"]]
    if line["phase"]:
        seen.append(line["phase"])
    return [phase for n, phase in enumerate(seen) if n == 0 or phase != seen[n - 1]]


def _may_see(site: Site, who: Visitor, chain: Chain) -> bool:
    if who.reads_all:
        return True
    return any(may_see(approval, who.human, site.now()) for line in chain.lines for approval in line.approvals)
