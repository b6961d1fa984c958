"""The API for software: what it may read, and the one thing that it may ask for.

A bearer token names an agent of this tenant. It reads what its agent may and proposes; nothing here decides and nothing
here writes to a remote system. Cookies of the pages count for nothing here, and tokens for nothing there.
"""

from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from pydantic import BaseModel

from desired_state.text import one_line
from reconciler.explain import Chain, explain, why_not
from reconciler.explain import as_json as chain_as_json
from reconciler.offering import KEY, ProposalBody
from reconciler.proposing import (
    Counter,
    No,
    Offer,
    Refused,
    as_json,
    view_of,
    views,
)
from reconciler.reading import inert, seats, standing
from reconciler.store import agents, journal
from reconciler.store.agents import Agent
from reconciler.web import waking
from reconciler.web.board import api as board_api
from reconciler.web.board import promotion
from reconciler.web.problems import API, ApiRoute, Problem, too_many
from reconciler.web.site import Site
from reconciler.web.trust import TICKET_NUMBER

_STATUS = {
    No.TENANT: 403,
    No.NOT_YOURS: 403,
    No.PERSON: 403,
    No.PRODUCT: 422,
    No.PERIOD: 422,
    No.PRICE: 422,
    No.KEY: 409,
    No.SAME: 409,
    No.FULL: 429,
    No.DECIDED: 409,
    No.UNKNOWN: 404,
}


class ProblemBody(BaseModel):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[dict[str, str]] = []


class SelectedInstead(BaseModel):
    ticket: str
    product: str


class ProposalView(BaseModel):
    """A proposal and how it stands. `state` is what became of it so far."""

    number: str
    agent: str
    at: str
    person: str
    product: str
    reason: str
    starts_on: str | None
    ends_on: str | None
    duration_days: int | None
    cost_center: str
    source_ticket: str
    price_max_monthly: str | None
    state: Literal["filed", "held", "waiting", "approved", "rejected", "expired", "void", "cancelled", "changed"]
    phase: str | None
    sentence: str
    digest: str | None
    selected_instead: SelectedInstead | None


class ProposalList(BaseModel):
    proposals: list[ProposalView]


class Woken(BaseModel):
    woken: Literal[True]


_PROBLEM: dict[str, Any] = {"content": {"application/problem+json": {"schema": ProblemBody.model_json_schema()}}}


def _says_no(*codes: int) -> dict[int | str, dict[str, Any]]:
    words = {
        400: "the body is no text",
        401: "no valid token",
        403: "the token may not",
        404: "not there, or not shown",
        409: "it is there already, or does not wait any more",
        413: "the body is larger than 64 KiB",
        422: "not valid",
        429: "too many; Retry-After says when",
    }
    return {code: {"description": words[code], **_PROBLEM} for code in codes}


@dataclass(frozen=True)
class Api:
    """What the API works with besides the site."""

    site: Site
    counter: Counter

    def agent(self, request: Request) -> Agent:
        """Whose token it is, once it may ask. Raises Problem."""
        site = self.site
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        at = site.now()
        unknown = Problem(
            401, "This takes the token of an agent of this tenant.", headers={"WWW-Authenticate": "Bearer"}
        )
        if scheme.lower() != "bearer" or not token.strip():
            raise unknown
        with site.database.read() as session:
            found = agents.find(session, site.tenant, token.strip())
        if found is None or found.standing(at) != "active":
            if found is not None:
                path, standing_ = one_line(request.url.path, 200), found.standing(at)
                site.log("an agent was not let in", agent=found.name, standing=standing_, path=path)
            raise unknown
        with site.database.write() as session:
            wait = agents.spend(session, found, at)
        if wait > 0:
            raise too_many(wait, f"Agent {found.name} may send {found.per_minute} requests a minute.")
        return found


def routes(site: Site, counter: Counter) -> APIRouter:
    """Everything under /api/v1."""
    api = Api(site, counter)
    router = APIRouter(prefix=API, route_class=ApiRoute)
    scheme = HTTPBearer(auto_error=False, description="The token of one agent: `reconciler agents add`.")
    Caller = Annotated[Agent, Depends(api.agent)]  # noqa: N806 - a type
    guarded = [Depends(scheme)]

    @router.post(
        "/proposals",
        status_code=201,
        dependencies=guarded,
        response_model=ProposalView,
        responses={200: {"model": ProposalView}, **_says_no(400, 401, 403, 409, 413, 422, 429)},
    )
    def propose(
        caller: Caller,
        body: ProposalBody,
        response: Response,
        idempotency_key: Annotated[str, Header(pattern=KEY)],
    ) -> Any:
        """Suggest a licence. It waits for a person, always. The same key with the same body is taken in once."""
        offer = Offer(**body.model_dump())
        taken = counter.take(caller, offer, key=idempotency_key, at=site.now())
        if isinstance(taken, Refused):
            if taken.why is No.FULL:
                raise too_many(3600, taken.sentence)
            raise Problem(_STATUS[taken.why], taken.sentence)
        response.status_code = 201 if taken.is_new else 200
        return _shown(site, taken.proposal.number, caller)

    @router.get("/proposals", dependencies=guarded, response_model=ProposalList, responses=_says_no(401, 429))
    def proposals(caller: Caller) -> Any:
        """Your own proposals, oldest first."""
        with site.database.read() as session:
            return {"proposals": [as_json(view) for view in views(session, site.tenant, caller.name)]}

    @router.get(
        "/proposals/{number}",
        dependencies=guarded,
        response_model=ProposalView,
        responses=_says_no(401, 404, 422, 429),
    )
    def proposal(caller: Caller, number: str) -> Any:
        """One of your own proposals."""
        return _shown(site, number, caller)

    @router.delete(
        "/proposals/{number}",
        dependencies=guarded,
        response_model=ProposalView,
        responses=_says_no(401, 404, 409, 422, 429),
    )
    def withdraw(caller: Caller, number: str) -> Any:
        """Withdraw one of your own proposals that still waits. Again, it changes nothing."""
        found = counter.withdraw(caller, number, at=site.now())
        if isinstance(found, Refused):
            raise Problem(_STATUS[found.why], found.sentence)
        return as_json(found)

    @router.get("/tickets/{number}", dependencies=guarded, responses=_says_no(401, 403, 404, 422, 429))
    def ticket(caller: Caller, number: str) -> dict[str, Any]:
        """The chain of one ticket, as `reconciler explain --output json` prints it. Texts in it are data."""
        return inert(chain_as_json(_chain(site, caller, number), site.catalogue()))

    @router.get("/tickets/{number}/why-not", dependencies=guarded, responses=_says_no(401, 403, 404, 422, 429))
    def why(caller: Caller, number: str) -> dict[str, Any]:
        """What stands in the way of each line, whose move it is, and what exactly."""
        chain = _chain(site, caller, number)
        return inert(why_not(chain, site.catalogue(), site.now(), mode=site.mode))

    @router.get("/seats", dependencies=guarded, responses=_says_no(401, 429))
    def seats_(caller: Caller) -> dict[str, Any]:  # noqa: ARG001
        """Seats of the products that this site gives, as the last cycle left them. Nobody is named."""
        return {"seats": seats(site.database, site.tenant, site.catalogue())}

    @router.get("/status", dependencies=guarded, responses=_says_no(401, 429))
    def status(caller: Caller) -> dict[str, Any]:  # noqa: ARG001
        """Lines by phase and cause, and the last cycle."""
        return standing(site.database, site.tenant)

    @router.post(
        "/wake",
        status_code=202,
        dependencies=guarded,
        response_model=Woken,
        responses=_says_no(401, 404, 413),
    )
    def wake(request: Request) -> Any:
        """Say that a ticket may have moved. Nothing that is sent is read or believed: the service looks for itself."""
        if not waking.may_wake(site, request.headers.get("authorization", "")):
            raise Problem(401, "This takes the wake token.", headers={"WWW-Authenticate": "Bearer"})
        if site.wake is not None:
            site.wake()
        return {"woken": True}

    board_api.add(router, site, api.agent, guarded, _says_no)
    promotion.add(router, site, api.agent, guarded, _says_no)

    @cache
    def described() -> dict[str, Any]:
        return get_openapi(
            title="License reconciler",
            version="1",
            description="Assistants may suggest; only this governed layer acts.",
            routes=router.routes,
        )

    @router.get("/openapi.json", include_in_schema=False)
    def openapi() -> Response:
        return JSONResponse(described())

    @router.api_route("/{rest:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"], include_in_schema=False)
    def nothing(rest: str) -> Response:
        known = _methods(router, f"{API}/{rest}")
        if known:
            raise Problem(405, "This address does not take such a request.", headers={"Allow": ", ".join(known)})
        raise Problem(404, "There is nothing at this address.")

    return router


def _methods(router: APIRouter, path: str) -> list[str]:
    """What the other routes of this path take."""
    found = {
        method
        for route in router.routes
        if isinstance(route, ApiRoute) and not route.path.endswith("{rest:path}") and route.path_regex.fullmatch(path)
        for method in route.methods or ()
    }
    return sorted(found)


def _shown(site: Site, number: str, caller: Agent) -> dict[str, Any]:
    with site.database.read() as session:
        view = view_of(session, site.tenant, number, caller.name)
    if view is None:
        raise Problem(404, "This agent has no proposal of this number.")
    return as_json(view)


def _chain(site: Site, caller: Agent, number: str) -> Chain:
    """The chain of a ticket that this agent may read, which is then in the log. Raises Problem."""
    with site.database.read() as session:
        is_own = view_of(session, site.tenant, number, caller.name) is not None
    if caller.reads != "all" and not is_own:
        raise Problem(403, f"Agent {caller.name} may read its own proposals and no tickets.")
    chain = None
    if TICKET_NUMBER.fullmatch(number):
        chain = next(iter(explain(site.database, site.tenant, number)), None)
    if chain is None:
        raise Problem(404, "No ticket of this number is known.")
    with site.database.write() as session:
        journal.note_read(session, site.tenant, what=f"ticket {number}", by=f"agent:{caller.name}", at=site.now())
    return chain
