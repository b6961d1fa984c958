"""What is read: the board, lists of tickets, seats, the audit log. Each is one read of the store and one template."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response

from desired_state.text import one_line
from reconciler.causes import Cause
from reconciler.lifecycle import Phase
from reconciler.model import Verdict
from reconciler.overview import cause_facts, overview, product_name, seat_books, whose_move
from reconciler.store import checkpoints, journal, sinks, tallies
from reconciler.store.tallies import Wanted
from reconciler.web.board.access import reader, turned_away
from reconciler.web.board.drawing import age, change, drawn, told
from reconciler.web.pages import Pages
from reconciler.web.paging import BadCursor, line_cursor, place_of
from reconciler.web.site import Site

PAGE = 50
REFRESH = (15, 3600)  # seconds; what a screen on a wall may ask for
Text = Annotated[str, Query(max_length=200)]


def routes(site: Site, pages: Pages) -> APIRouter:
    """`/`, `/tickets`, `/seats`, `/audit`."""
    router = APIRouter()

    @router.get("/")
    def home(request: Request, refresh: Annotated[str, Query(max_length=5)] = "") -> Response:
        """Drift by cause and product, lines by phase."""
        asks = reader(site, request)
        if not asks.may("board"):
            return turned_away(site, pages, request, asks, "/")
        at, catalogue = site.now(), site.catalogue()
        found = overview(site.database, site.tenant, at)
        return pages.page(
            "board.html",
            asks.who,
            here="board",
            opened=asks.opened,
            refresh=_refresh(refresh),
            tenant=site.tenant,
            mode=site.mode,
            found=found,
            board=found.board,
            lists=asks.may("tickets"),
            product=lambda key: product_name(catalogue, key),
            facts=cause_facts,
            drawn=drawn,
            change=change,
            told=told,
            age=lambda since: age(since, at),
        )

    @router.get("/tickets")
    def tickets(
        request: Request,
        q: Text = "",
        phase: Text = "",
        cause: Text = "",
        product: Text = "",
        verdict: Text = "",
        after: Text = "",
    ) -> Response:
        """Lines that are looked for, a page at a time."""
        asks = reader(site, request)
        if not asks.may("tickets"):
            return turned_away(site, pages, request, asks, "/tickets")
        wanted = _wanted(q, phase, cause, product, verdict, is_named=asks.sees_people)
        try:
            start = place_of(after) if after else None
        except BadCursor:
            start = None  # an address that somebody cut: the first page
        with site.database.read() as session:
            lines = tallies.page(session, site.tenant, wanted, after=start, limit=PAGE + 1)
        if asks.sees_people and wanted.text and asks.who is not None:
            by = asks.who.actor
            with site.database.write() as session:
                journal.note_read(session, site.tenant, what="tickets, by a search", by=by, at=site.now())
        at, catalogue = site.now(), site.catalogue()
        given = {"q": q, "phase": phase, "cause": cause, "product": product, "verdict": verdict}
        return pages.page(
            "tickets.html",
            asks.who,
            here="tickets",
            opened=asks.opened,
            lines=lines[:PAGE],
            further=_address("/tickets", {**given, "after": line_cursor(lines[PAGE - 1])}) if len(lines) > PAGE else "",
            is_first=start is None,
            first=_address("/tickets", given),
            names=asks.sees_people,
            product=lambda key: product_name(catalogue, key),
            owner=lambda line: whose_move(line, catalogue),
            age=lambda since: age(since, at),
            choices=_choices(site),
            wanted=wanted,
        )

    @router.get("/seats")
    def seats(request: Request) -> Response:
        """Seats of each SKU, who waits, and what may come free."""
        asks = reader(site, request)
        if not asks.may("seats"):
            return turned_away(site, pages, request, asks, "/seats")
        books = seat_books(site.database, site.tenant, site.catalogue(), site.now())
        books.sort(key=lambda b: (-b["waiting"], b["free"] > 0, b["name"].lower()))
        return pages.page(
            "seats.html",
            asks.who,
            here="seats",
            opened=asks.opened,
            books=books,
            names=asks.sees_people,
            lists=asks.may("tickets"),
        )

    @router.get("/audit")
    def audit(
        request: Request,
        kind: Text = "",
        about: Text = "",
        before: Annotated[str, Query(max_length=19)] = "",
    ) -> Response:
        """The log, newest first. Who reads it is in it."""
        asks = reader(site, request)
        if not asks.sees_people or asks.who is None:
            return turned_away(site, pages, request, asks, "/audit")
        edge = int(before) if before.isascii() and before.isdigit() and before != "0" else None
        kind, about = one_line(kind, 60), one_line(about, 120)
        with site.database.read() as session:
            found = journal.page(session, site.tenant, before=edge, kind=kind, subject=about, limit=PAGE + 1)
            rows = found[:PAGE]
            broken = journal.broken(session, site.tenant, [row.seq for row in rows])
            head, signed = journal.head(session, site.tenant), checkpoints.last(session, site.tenant)
            places = sinks.positions(session, site.tenant)
        by = asks.who.actor
        with site.database.write() as session:
            journal.note_read(session, site.tenant, what="audit log", by=by, at=site.now())
        given = {"kind": kind, "about": about}
        return pages.page(
            "audit.html",
            asks.who,
            here="audit",
            rows=[(row, json.dumps(row.body, ensure_ascii=False, indent=1, sort_keys=True)) for row in rows],
            broken=broken,
            head=head,
            signed=signed,
            places=list(places.values()),
            kind=kind,
            about=about,
            is_first=edge is None,
            first=_address("/audit", given),
            further=_address("/audit", {**given, "before": str(rows[-1].seq)}) if len(found) > PAGE else "",
        )

    return router


@dataclass(frozen=True, slots=True)
class Choices:
    """What the lists can be narrowed down to, as (value, words)."""

    phases: tuple[tuple[str, str], ...]
    causes: tuple[tuple[str, str], ...]
    products: tuple[tuple[str, str], ...]
    verdicts: tuple[tuple[str, str], ...]


VERDICTS = {
    Verdict.FALSE: "no access",
    Verdict.TRUE: "access",
    Verdict.PENDING: "not proven yet",
    Verdict.UNKNOWN: "cannot tell",
}


def _choices(site: Site) -> Choices:
    known = sorted((product.name, str(key)) for key, product in site.catalogue().products.items())
    return Choices(
        tuple((p.value, p.value.replace("_", " ")) for p in Phase),
        tuple(sorted((c.value, c.value.replace("_", " ")) for c in Cause)),
        tuple((key, name) for name, key in known),
        tuple((v.value, said) for v, said in VERDICTS.items()),
    )


def _wanted(text: str, phase: str, cause: str, product: str, verdict: str, *, is_named: bool) -> Wanted:
    """What is looked for; what is no value of ours is left out. People are found only by who sees their names."""
    text = one_line(text, tallies.SEARCH_MAX)
    if not is_named and not tallies.number_of(text):
        text = ""
    return Wanted(
        text=text,
        phases=(phase,) if phase in set(Phase) else (),
        cause=cause if cause in set(Cause) else "",
        product=one_line(product, 100),
        verdict=verdict if verdict in set(Verdict) else "",
    )


def _address(path: str, given: dict[str, str]) -> str:
    said = urlencode({name: value for name, value in given.items() if value})
    return f"{path}?{said}" if said else path


def _refresh(text: str) -> int:
    seconds = int(text) if text.isascii() and text.isdigit() else 0
    return min(max(seconds, REFRESH[0]), REFRESH[1]) if seconds else 0
