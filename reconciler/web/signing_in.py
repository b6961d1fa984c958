"""Signing in and out: the flow of approvals.md 3.2, with Entra's answer judged by `identity`.

A flow is kept on the server under its state, together with the page that was asked for, and is used once by the
browser that began it. Whoever is let in gets a session of a new id. Every sign-in and every refusal of one that was
begun here is a row of the audit log.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse
from sqlmodel import Session

from reconciler.approvals.values import Human
from reconciler.clients.auth import SignInRefused
from reconciler.errors import RemoteError
from reconciler.store import journal, sessions
from reconciler.web.identity import Identity, TokenRefused, identify, key_id
from reconciler.web.pages import Pages
from reconciler.web.site import CALLBACK, Site
from reconciler.web.trust import HOME
from reconciler.web.visits import (
    LOGIN_COOKIE,
    address,
    agent,
    clear_session,
    is_from_our_form,
    set_login,
    set_session,
    visitor,
)

Text = Annotated[str, Form(max_length=20_000)]
NOT_NOW = "Sign-in is not possible now"
UNREACHED = (
    "Microsoft's sign-in does not work at the moment. Whoever operates this service finds the reason in its log."
)
AGAIN = ("/sign-in", "Sign in with another account")


def begin(
    site: Site,
    pages: Pages,
    request: Request,
    place: str,
    *,
    prompt: str = "",
    max_age: timedelta | None = None,
    replaces: str = "",
) -> Response:
    """Send a browser to Entra, and remember where it wanted to go."""
    try:
        flow = site.people.begin(redirect_uri=site.callback_url, prompt=prompt, max_age=max_age)
    except RemoteError as error:
        site.log("sign-in cannot begin", why=str(error))
        return pages.message(NOT_NOW, UNREACHED, status=503)
    known = request.cookies.get(LOGIN_COOKIE, "")
    browser = known if 32 <= len(known) <= 100 else site.secret()  # one browser may open two links at once
    with site.database.write() as session:
        is_kept = sessions.begin(
            session,
            site.tenant,
            state=str(flow["state"]),
            browser=browser,
            flow=flow,
            place=place,
            max_age_s=int(max_age.total_seconds()) if max_age is not None else None,
            replaces=replaces,
            at=site.now(),
        )
    if not is_kept:
        sentence = "Too many sign-ins are under way; try again in a few minutes."
        return pages.message(NOT_NOW, sentence, status=503)
    response = RedirectResponse(str(flow["auth_uri"]), 302 if request.method == "GET" else 303)
    set_login(response, browser)
    return response


def routes(site: Site, pages: Pages) -> APIRouter:
    """Sign-in, its answer, and signing out."""
    router = APIRouter()

    @router.get("/sign-in")
    def sign_in(request: Request) -> Response:
        """Choose an account, whoever is signed in at Microsoft."""
        return begin(site, pages, request, HOME, prompt="select_account")

    @router.post(CALLBACK)
    def callback(
        request: Request,
        state: Text = "",
        code: Text = "",
        error: Text = "",
        error_description: Text = "",
    ) -> Response:
        """Entra's answer, posted by the browser from Entra's page."""
        at, begun = site.now(), None
        browser = request.cookies.get(LOGIN_COOKIE, "")
        if state and browser:
            with site.database.write() as session:
                begun = sessions.take(session, site.tenant, state=state, browser=browser, at=at)
        if begun is None:
            sentence = (
                "This sign-in is over: it was used already, took longer than ten minutes, or was begun in another "
                f"browser or at another address than {site.public_url}. Nothing was changed."
            )
            return pages.message("Sign in once more", sentence, status=400, link=(HOME, "Start again"))
        form = {"state": state, "code": code, "error": error, "error_description": error_description}
        max_age = timedelta(seconds=begun.max_age_s) if begun.max_age_s is not None else None
        try:
            raw = site.people.redeem(begun.flow, form)
            key = site.people.key(key_id(raw))
            identity = identify(raw, key, site.expected(str(begun.flow["nonce"]), max_age), at)
        except (SignInRefused, TokenRefused) as refused:
            return _refused(site, pages, request, refused)
        except RemoteError as failure:
            site.log("sign-in cannot end", why=str(failure))
            return pages.message(NOT_NOW, UNREACHED, status=503, link=(HOME, "Try again"))
        secret = site.secret()
        with site.database.write() as session:
            sessions.open_(
                session,
                site.tenant,
                secret=secret,
                tid=identity.tid,
                oid=identity.oid,
                name=identity.name,
                upn=identity.upn,
                roles=identity.roles,
                evidence=identity.evidence,
                credentials_at=identity.credentials_at,
                replaces=begun.replaces,
                at=at,
            )
            _told_in_log(site, request, session, identity)
        response = RedirectResponse(begun.place, 303)
        set_session(response, secret)
        return response

    @router.post("/sign-out")
    def sign_out(request: Request, form_token: Text = "") -> Response:
        """End the session here; Microsoft's own goes on."""
        who = visitor(site, request)
        if who is not None:
            if not is_from_our_form(site, request, who, form_token):
                return pages.forged(who)
            with site.database.write() as session:
                sessions.close(session, who.session)
        response = RedirectResponse("/signed-out", 303)
        clear_session(response)
        return response

    @router.get("/signed-out")
    def signed_out() -> Response:
        return pages.page("signed_out.html", None)

    return router


def _refused(site: Site, pages: Pages, request: Request, refused: SignInRefused | TokenRefused) -> Response:
    if isinstance(refused, TokenRefused):
        why, sentence = refused.why.value, str(refused)
    else:
        why, sentence = refused.code, "Microsoft did not sign you in."
        if refused.code == "access_denied":
            sentence = "The sign-in was cancelled, or Microsoft does not let you use this application."
    with site.database.write() as session:
        body = {"why": why, "address": address(site, request), "agent": agent(request)}
        journal.append(session, site.tenant, kind="auth.refused", subject="sign-in", body=body, at=site.now())
    return pages.message("You are not signed in", sentence, status=403, link=AGAIN)


def _told_in_log(site: Site, request: Request, session: Session, identity: Identity) -> None:
    human = Human(identity.tid, identity.oid, identity.name, identity.upn)
    body = {
        "who": human.told,
        "evidence": identity.evidence,
        "address": address(site, request),
        "agent": agent(request),
    }
    journal.append(
        session, site.tenant, kind="auth.signin", subject=identity.oid, body=body, at=site.now(), actor=human.account
    )
