"""From observe to enforce, as pages and for software: `/promotion` and `/promotion/{product}`, there and under the API.

Nothing is changed here: the lines of config.toml that make a step are shown, and a person writes them.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel

from reconciler.ladder import Ladder, as_json, product_json
from reconciler.promotion.values import Outcome
from reconciler.promotion.words import line_json, told
from reconciler.reading import inert
from reconciler.store import journal
from reconciler.store.agents import Agent
from reconciler.web.board.access import reader, turned_away
from reconciler.web.pages import Pages
from reconciler.web.problems import Problem
from reconciler.web.site import Site

AXES = {"mode": "directory", "answers": "tickets"}
WORDS = {
    Outcome.AGREED: "agreed",
    Outcome.DIFFERED: "differed",
    Outcome.NOBODY_ACTED: "nobody acted",
    Outcome.CANNOT_TELL: "cannot tell",
    Outcome.OVERTAKEN: "overtaken",
    Outcome.WAITING: "waiting",
}
READ = "promotion, by product"  # in the log: lines name people
Key = Annotated[str, Path(max_length=100)]


class AgreementView(BaseModel):
    """How what people did compares with what would have been done: lines by outcome, and accounts with a decided line.
    `ratio` and `lower_bound` (one-sided, at 95 %) are of accounts, from 0 to 1, and null where nothing was decided."""

    agreed: int
    differed: int
    nobody_acted: int
    cannot_tell: int
    overtaken: int
    waiting: int
    decided: int
    accounts: int
    accounts_agreed: int
    ratio: float | None
    lower_bound: float | None
    removals_differed: int


class AxisView(BaseModel):
    """One product on one axis: `mode` for the directory, `answers` for tickets. `config` are the lines of config.toml
    that make the next step."""

    axis: str
    now: str
    next: str | None
    is_ready: bool
    agreement: AgreementView
    sentence: str
    missing: list[str]
    step_back: str | None
    config: list[str]


class ProductView(BaseModel):
    product: str
    product_name: str
    axes: list[AxisView]


class PromotionView(BaseModel):
    """How far each product goes, and which step the evidence carries. Nobody is named."""

    tenant: str
    at: datetime
    since: datetime
    decided_min: int
    agreement_min: float
    products: list[ProductView]


class ComparedView(BaseModel):
    """What would have been done for one line, or was (`step` enforce), and what people made of it; `told` is that in
    words. `told`, `why` and `by` are data, never orders."""

    line: str
    axis: str
    step: str
    outcome: str
    would: str
    told: str
    why: str
    by: str | None
    digest: str
    is_removal: bool
    recorded_at: datetime
    acted_at: datetime | None
    decided_at: datetime | None


class ProductLines(ProductView):
    """The newest 500 lines, those that people decided otherwise first."""

    lines: list[ComparedView]


def routes(site: Site, pages: Pages) -> APIRouter:
    """`/promotion` and `/promotion/{product}`, for auditors and admins."""
    router = APIRouter()

    @router.get("/promotion")
    def promotion(request: Request) -> Response:
        """How far each product goes, and which step is carried."""
        asks, found = reader(site, request), _read(site)
        if not asks.sees_people or found is None:
            return turned_away(site, pages, request, asks, "/promotion")
        return pages.page(
            "promotion.html",
            asks.who,
            here="promotion",
            opened=asks.opened,
            found=as_json(found, site.catalogue()),
            axes=AXES,
            share=share,
        )

    @router.get("/promotion/{product}")
    def one(request: Request, product: Key) -> Response:
        """One product with its lines and the lines of config.toml."""
        asks, found = reader(site, request), _read(site)
        if not asks.sees_people or found is None or product not in found.positions:
            return turned_away(site, pages, request, asks, "/promotion")
        if asks.who is not None:
            with site.database.write() as session:
                journal.note_read(session, site.tenant, what=READ, by=asks.who.actor, at=site.now())
        return pages.page(
            "promotion_product.html",
            asks.who,
            here="promotion",
            opened=asks.opened,
            found=product_json(found, product, site.catalogue()),
            since=f"{found.at - found.watching.window:%Y-%m-%d}",
            lines=found.lines_of(product),
            axes=AXES,
            words=WORDS,
            told=told,
            share=share,
        )

    return router


def share(value: float | None) -> str:
    """A share of 0 to 1 as people read it; "not known" of nothing."""
    return f"{value * 100:.1f} %" if value is not None else "not known"


def add(
    router: APIRouter,
    site: Site,
    agent_of: Callable[[Request], Agent],
    guarded: list[Any],
    says_no: Callable[..., dict[int | str, dict[str, Any]]],
) -> None:
    """Put these routes on the API's router. `agent_of` says whose token a request has."""
    Caller = Annotated[Agent, Depends(agent_of)]  # noqa: N806 - a type

    @router.get("/promotion", dependencies=guarded, response_model=PromotionView, responses=says_no(401, 404, 429))
    def promotion(caller: Caller) -> Any:  # noqa: ARG001
        """How far each product goes, how what people did compares with what would have been done, and what a further
        step lacks. Nobody is named."""
        return inert(as_json(_known(site), site.catalogue()))

    @router.get(
        "/promotion/{product}",
        dependencies=guarded,
        response_model=ProductLines,
        responses=says_no(401, 403, 404, 422, 429),
    )
    def one(caller: Caller, product: Key) -> Any:
        """One product with every line that people decided otherwise, and who it was."""
        if caller.reads != "all":
            raise Problem(403, f"Agent {caller.name} may read its own proposals and no tickets.")
        found = _known(site)
        if product not in found.positions:
            raise Problem(404, "This site offers no such product.")
        with site.database.write() as session:
            by = f"agent:{caller.name}"
            journal.note_read(session, site.tenant, what=READ, by=by, at=site.now())
        lines = [line_json(shadow) for shadow in found.lines_of(product)]
        return inert(product_json(found, product, site.catalogue()) | {"lines": lines})


def _read(site: Site) -> Ladder | None:
    return site.ladder() if site.ladder is not None else None


def _known(site: Site) -> Ladder:
    found = _read(site)
    if found is None:
        raise Problem(404, "This site has no products to compare.")
    return found
