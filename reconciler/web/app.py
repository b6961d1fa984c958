"""All pages as one application. Plain `def` endpoints: each runs in a thread of the pool, as the store wants it."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from desired_state.text import one_line
from reconciler.errors import UserError
from reconciler.logs import logger
from reconciler.web import deciding, health, looking, signing_in, standing_in
from reconciler.web.board import pages as board
from reconciler.web.board import promotion, stopping
from reconciler.web.guarding import Guarding
from reconciler.web.pages import Pages
from reconciler.web.problems import API, Problem, answer
from reconciler.web.site import Site
from reconciler.web.trust import security_headers


def create_app(site: Site, *, further: Iterable[APIRouter] = ()) -> ASGIApp:
    """The application of one tenant's pages. `further` are routers of other parts, the API for example."""
    pages = Pages()
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    for router in (
        signing_in.routes(site, pages),
        deciding.routes(site, pages),
        standing_in.routes(site, pages),
        looking.routes(site, pages),
        board.routes(site, pages),
        promotion.routes(site, pages),
        stopping.routes(site, pages),
        health.routes(site),
        _rest(),
        *further,
    ):
        app.include_router(router)

    @app.exception_handler(HTTPException)
    def refused(_request: Request, error: HTTPException) -> Response:
        if error.status_code == 404:
            return pages.not_found(None)
        return pages.message("Not possible", "This address does not take such a request.", status=error.status_code)

    @app.exception_handler(RequestValidationError)
    def malformed(_request: Request, _error: RequestValidationError) -> Response:
        return pages.message("Nothing was changed", "What was sent cannot be read.", status=400)

    @app.exception_handler(UserError)
    def unusable(request: Request, error: UserError) -> Response:
        site.log("the store cannot be used", path=one_line(request.url.path, 200), why=str(error))
        sentence = "The store cannot be used at the moment; nothing was changed. Try again in a minute."
        if request.url.path.startswith(API):
            return answer(Problem(503, sentence, headers={"Retry-After": "60"}))
        return pages.message("Not possible now", sentence, status=503)

    @app.exception_handler(Exception)
    def broken(request: Request, error: Exception) -> Response:
        site.log("a page failed by a defect", path=one_line(request.url.path, 200), error=type(error).__name__)
        logger("web").error("a page failed by a defect", exc_info=error)
        sentence = "This is a defect of the reconciler. Whoever operates it finds it in its log."
        if request.url.path.startswith(API):
            return answer(Problem(500, sentence))
        return pages.message("Something is broken", sentence, status=500)

    def too_large(path: str) -> Response:
        if path.startswith(API):
            return answer(Problem(413, "What was sent is too large."))
        return pages.message("Nothing was changed", "What was sent is too large.", status=413)

    headers = security_headers(site.public_url, site.people.login_url)
    return Guarding(app, headers=headers, too_large=too_large)


def _rest() -> APIRouter:
    router = APIRouter()
    style = (files("reconciler.web") / "static" / "style.css").read_text("utf-8")

    @router.get("/static/style.css")
    def stylesheet() -> Response:
        return PlainTextResponse(style, media_type="text/css")

    return router
