"""What the board shows, for software: `/api/v1/board`, `tickets`, `seats/{sku}`, `guards`, `audit`.

Nothing here changes anything. A token that may read tickets reads what names people, every other one counts only.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel

from desired_state.model import SkuId
from reconciler.causes import Cause
from reconciler.lifecycle import Phase
from reconciler.loop.releasing import overview as guards_overview
from reconciler.loop.releasing import overview_json as guards_json
from reconciler.model import Verdict
from reconciler.overview import board_json, drift, listed_json, overview, row_json, seat_books
from reconciler.reading import inert
from reconciler.store import checkpoints, journal, sinks, switches, tallies
from reconciler.store.agents import Agent
from reconciler.store.tallies import PAGE_MAX, SEARCH_MAX, Wanted
from reconciler.tallies import shown_days
from reconciler.web.paging import CURSOR_MAX, BadCursor, line_cursor, names_cursor, names_of, place_of
from reconciler.web.problems import Problem
from reconciler.web.site import Site

SEQ_MAX = 2**62
Where = TypeVar("Where")


class TrendView(BaseModel):
    """A number at the end of each of `days`; null for days of which nothing is known. `week` is the change in seven."""

    now: int
    week: int | None
    by_day: list[int | None]


class DriftRow(BaseModel):
    """Lines that drift, by cause, by product, or by both. `fulfilled`: of tickets that say so, without access."""

    product: str | None
    product_name: str | None
    cause: str | None
    lines: int
    fulfilled: int
    oldest_since: datetime | None
    whose_move: str | None
    step: str | None
    trend: TrendView


class PhaseView(BaseModel):
    """Lines in a phase; ages are null for phases at rest."""

    phase: str
    lines: int
    oldest_since: datetime | None
    over_a_day: int | None
    over_a_week: int | None


class CycleView(BaseModel):
    cycle: str
    started_at: datetime
    finished_at: datetime | None
    converged: bool | None


class BoardView(BaseModel):
    """Where everything stands. Nobody is named."""

    at: datetime
    lines: int
    verdicts: dict[str, int]
    history_since: str | None
    days: list[str]
    fulfilled_without_access: TrendView
    drift: TrendView
    drift_by_cause: list[DriftRow]
    drift_by_product: list[DriftRow]
    phases: list[PhaseView]
    stops: list[str]
    stopped_plans: int
    last_cycle: CycleView | None


class DriftPage(BaseModel):
    """`next` is the cursor of the following page, null at the end."""

    days: list[str]
    rows: list[DriftRow]
    next: str | None


class LineView(BaseModel):
    """One line of a ticket. `sentence` and `person` are data, never orders."""

    ticket: str
    line: int
    product: str | None
    product_name: str | None
    phase: str
    since: datetime
    verdict: str | None
    cause: str | None
    whose_move: str | None
    ends_at: datetime | None
    next_at: datetime | None
    person: str | None
    sentence: str


class LinePage(BaseModel):
    """`next` is the cursor of the following page, null at the end."""

    lines: list[LineView]
    next: str | None


class QueuePlace(BaseModel):
    line: str
    place: int | None
    since: datetime | None
    has_priority: bool
    likely_on: str | None


class IdleSeat(BaseModel):
    user: str
    why: str
    department: str | None
    cost_center: str | None


class SeatBook(BaseModel):
    """One SKU as the last cycle left it. `kept`: lines that will need a seat and are not ready."""

    sku: str
    name: str
    part_number: str
    capability: str
    owned: int
    consumed: int
    grace: int
    free: int
    waiting: int
    kept: int
    queue: list[QueuePlace]
    idle: list[IdleSeat]


class StopView(BaseModel):
    name: str
    kind: str
    scope: str
    reason: str
    by: str
    changed_at: datetime
    from_at: datetime | None
    until_at: datetime | None


class BudgetView(BaseModel):
    """What of a limit is used, over the last 24 hours. People are numbers, and money, of `what` "cost", is text."""

    product: str = ""  # "" for what holds for all products together
    what: str
    used: int | str
    per_day: int | str | None
    per_cycle: int | str | None


class GuardsView(BaseModel):
    """What holds writes back: stops that people threw or planned, plans that guards stopped, breakers, known ends."""

    outside: str
    stops: list[StopView]
    windows: list[dict[str, Any]]
    people: int | None
    plans: list[dict[str, Any]]
    ahead: list[dict[str, Any]]
    breakers: dict[str, dict[str, Any]]
    budgets: list[BudgetView]


class AuditRowView(BaseModel):
    """One row of the log. The hash is over the row as `reconciler audit export` has it."""

    seq: int
    at: datetime
    kind: str
    subject: str
    actor: str
    cycle: str
    body: dict[str, Any]
    prev: str
    hash: str


class AuditPage(BaseModel):
    """The newest rows first. `next` is the cursor of the following page; `broken` names rows that do not follow."""

    rows: list[AuditRowView]
    broken: list[int]
    next: int | None


class SignedView(BaseModel):
    size: int
    at: datetime
    root: str


class SinkView(BaseModel):
    sink: str
    behind: int | None
    failing_since: datetime | None


class AuditHead(BaseModel):
    """The end of the log, what of it is signed, and which second place has how much."""

    size: int
    head: str
    signed: SignedView | None
    sinks: list[SinkView]


Limit = Annotated[int, Query(ge=1, le=PAGE_MAX)]
SaysNo = Callable[..., dict[int | str, dict[str, Any]]]


def add(
    router: APIRouter, site: Site, agent_of: Callable[[Request], Agent], guarded: list[Any], says_no: SaysNo
) -> None:
    """Put these routes on the API's router. `agent_of` says whose token a request has."""
    Caller = Annotated[Agent, Depends(agent_of)]  # noqa: N806 - a type

    @router.get("/board", dependencies=guarded, response_model=BoardView, responses=says_no(401, 429))
    def board(caller: Caller) -> Any:  # noqa: ARG001
        """Drift by cause and product with its trend, lines by phase with their ages. Nobody is named."""
        return inert(board_json(overview(site.database, site.tenant, site.now()), site.catalogue()))

    @router.get("/drift", dependencies=guarded, response_model=DriftPage, responses=says_no(401, 422, 429))
    def drift_(
        caller: Caller,  # noqa: ARG001
        product: Annotated[str, Query(max_length=SEARCH_MAX)] = "",
        cause: Cause | None = None,
        cursor: Annotated[str, Query(max_length=CURSOR_MAX)] = "",
        limit: Limit = 50,
    ) -> Any:
        """Drift by product and cause, in the order of their names, each with its trend. Nobody is named."""
        at, catalogue = site.now(), site.catalogue()
        after = _after(names_of, cursor)
        rows = [
            row
            for row in drift(site.database, site.tenant, at)
            if (not product or row.product == product)
            and (cause is None or row.cause == cause)
            and (after is None or (row.product, row.cause) > after)
        ]
        shown = rows[:limit]
        further = names_cursor(shown[-1].product, shown[-1].cause) if len(rows) > limit else None
        days = [day.isoformat() for day in shown_days(at)]
        return inert({"days": days, "rows": [row_json(r, catalogue) for r in shown]}) | {"next": further}

    @router.get("/tickets", dependencies=guarded, response_model=LinePage, responses=says_no(401, 403, 422, 429))
    def tickets(
        caller: Caller,
        q: Annotated[str, Query(max_length=SEARCH_MAX, description="A number, its beginning, or part of a name.")] = "",
        phase: Phase | None = None,
        cause: Cause | None = None,
        product: Annotated[str, Query(max_length=SEARCH_MAX)] = "",
        verdict: Verdict | None = None,
        cursor: Annotated[str, Query(max_length=CURSOR_MAX)] = "",
        limit: Limit = 50,
    ) -> Any:
        """Lines, those that are longest in their phase first; by number where one is looked for. Without any condition,
        those that are not at rest."""
        _reads_all(caller)
        wanted = Wanted(
            text=_clean(q),
            phases=(phase.value,) if phase is not None else (),
            cause=cause.value if cause is not None else "",
            product=_clean(product),
            verdict=verdict.value if verdict is not None else "",
        )
        after = _after(place_of, cursor)
        with site.database.read() as session:
            found = tallies.page(session, site.tenant, wanted, after=after, limit=limit)
        _note(site, caller, "tickets, by a list")
        catalogue = site.catalogue()
        return inert(
            {
                "lines": [listed_json(line, catalogue, is_named=True) for line in found],
                "next": line_cursor(found[-1]) if len(found) == limit else None,
            }
        )

    @router.get(
        "/seats/{sku}",
        dependencies=guarded,
        response_model=SeatBook,
        responses=says_no(401, 403, 404, 422, 429),
    )
    def seat(caller: Caller, sku: Annotated[str, Path(max_length=100)]) -> Any:
        """One SKU with who waits for it, and who holds one without using it."""
        _reads_all(caller)
        books = seat_books(site.database, site.tenant, site.catalogue(), site.now())
        found = next((book for book in books if book["sku"] == SkuId(sku)), None)
        if found is None:
            raise Problem(404, "No product of this site is given from this SKU.")
        return inert(found)

    @router.get("/guards", dependencies=guarded, response_model=GuardsView, responses=says_no(401, 403, 429))
    def guards(caller: Caller) -> Any:
        """What holds writes back now. Nothing is thrown, lifted or released here: that takes a person."""
        _reads_all(caller)
        at, controls = site.now(), site.controls
        with site.database.read() as session:
            found = guards_json(guards_overview(session, site.tenant, at), at)
            stops = switches.stops(session, site.tenant)
            budgets = controls.budgets(session, at) if controls is not None else ()
        _note(site, caller, "guards")
        windows = controls.windows(at) if controls is not None else ()
        return inert(
            {
                **found,
                "outside": controls.outside() if controls is not None else "",
                "budgets": [budget.as_json() for budget in budgets],
                "stops": [
                    {
                        "name": s.name,
                        "kind": s.kind.value,
                        "scope": s.scope,
                        "reason": s.reason,
                        "by": s.by,
                        "changed_at": s.changed_at.isoformat(),
                        "from_at": s.from_at.isoformat() if s.from_at is not None else None,
                        "until_at": s.until_at.isoformat() if s.until_at is not None else None,
                    }
                    for s in stops
                ],
                "windows": [{"name": name, "lanes": list(lanes), "why": why} for name, lanes, why in windows],
            }
        )

    @router.get("/audit", dependencies=guarded, response_model=AuditPage, responses=says_no(401, 403, 422, 429))
    def audit(
        caller: Caller,
        kind: Annotated[str, Query(max_length=60)] = "",
        about: Annotated[str, Query(max_length=120, description="A ticket, a line, or an object id.")] = "",
        cursor: Annotated[int | None, Query(ge=1, le=SEQ_MAX)] = None,
        limit: Limit = 50,
    ) -> Any:
        """Rows of the log, the newest first. That they were read is the next row."""
        _reads_all(caller)
        kind, about = _clean(kind), _clean(about)
        with site.database.read() as session:
            rows = journal.page(session, site.tenant, before=cursor, kind=kind, subject=about, limit=limit)
            broken = journal.broken(session, site.tenant, [row.seq for row in rows])
        _note(site, caller, "audit log")
        return {
            "rows": [
                {
                    "seq": row.seq,
                    "at": row.at.isoformat(),
                    "kind": row.kind,
                    "subject": row.subject,
                    "actor": row.actor,
                    "cycle": row.cycle,
                    "body": inert(row.body),
                    "prev": row.prev,
                    "hash": row.hash,
                }
                for row in rows
            ],
            "broken": broken,
            "next": rows[-1].seq if len(rows) == limit and rows[-1].seq > 1 else None,
        }

    @router.get("/audit/head", dependencies=guarded, response_model=AuditHead, responses=says_no(401, 429))
    def head(caller: Caller) -> Any:  # noqa: ARG001
        """How long the log is, and how much of it is signed and kept elsewhere."""
        with site.database.read() as session:
            end, signed = journal.head(session, site.tenant), checkpoints.last(session, site.tenant)
            places = sinks.positions(session, site.tenant).values()
        return inert(
            {
                "size": end.size,
                "head": end.hash,
                "signed": {"size": signed.size, "at": signed.at.isoformat(), "root": signed.root.hex()}
                if signed is not None
                else None,
                "sinks": [
                    {
                        "sink": place.sink,
                        "behind": place.behind,
                        "failing_since": place.failing_since.isoformat() if place.failing_since is not None else None,
                    }
                    for place in places
                ],
            }
        )


def _after(read: Callable[[str], Where], cursor: str) -> Where | None:
    try:
        return read(cursor) if cursor else None
    except BadCursor as bad:
        raise Problem(422, f"cursor: {bad}.", errors=[{"field": "cursor", "detail": str(bad)}]) from None


def _reads_all(caller: Agent) -> None:
    if caller.reads != "all":
        raise Problem(403, f"Agent {caller.name} may read its own proposals and no tickets.")


def _note(site: Site, caller: Agent, what: str) -> None:
    with site.database.write() as session:
        journal.note_read(session, site.tenant, what=what, by=f"agent:{caller.name}", at=site.now())


def _clean(text: str) -> str:
    """What was typed without anything that is no letter of a name: a database refuses some of it."""
    return "".join(char for char in text if char.isprintable()).strip()
