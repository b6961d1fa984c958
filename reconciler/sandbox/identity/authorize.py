"""`/oauth2/v2.0/authorize`: a page on which somebody picks who they are, and the answer to the application.

What could send a code to a stranger (an unknown application or address) is told to the person on a page and goes
nowhere; every other refusal goes back to the application. GET shows, POST decides: only a picked person, or a session
that may go on silently, makes a code. Facts: approvals.md section 3.3.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx

from reconciler.sandbox.directory import User
from reconciler.sandbox.identity.apps import App, SignInRefused, is_registered
from reconciler.sandbox.identity.codes import Codes
from reconciler.sandbox.identity.id_tokens import client_info
from reconciler.sandbox.identity.records import Grant, Session
from reconciler.sandbox.pages import page
from reconciler.sandbox.world import World

PEOPLE_MAX = 100
COOKIE = "sandbox_session"
PICKED = "sandbox_user"
ASKED = (
    "client_id",
    "redirect_uri",
    "response_type",
    "response_mode",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "prompt",
    "max_age",
    "login_hint",
    "domain_hint",
    "claims",
    "client_info",
)
PROMPTS = frozenset({"", "login", "select_account", "consent", "none"})
MODES = frozenset({"query", "form_post", "fragment"})


@dataclass(frozen=True)
class Asked:
    """A request that names a known application and an address of it."""

    fields: dict[str, str]
    app: App

    def __getitem__(self, name: str) -> str:
        return self.fields.get(name, "")


class Back(Exception):
    """A refusal that the application is told, by its redirect address."""

    def __init__(self, error: str, number: int, message: str) -> None:
        super().__init__(message)
        self.error = error
        self.text = f"AADSTS{number}: {message}"


class Authorizer:
    """Answers GET and POST of the authorize address, makes codes and takes them back."""

    def __init__(self, world: World, apps: Mapping[str, App]) -> None:
        self._world = world
        self._apps = apps
        self._codes = Codes(world)

    # --- the page

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Show the page, or answer the application.

        Raises:
            SignInRefused: there is nobody to answer: an unknown application or address.
        """
        given = dict(request.url.params.items())
        if request.method == "POST":
            given |= dict(parse_qsl(request.content.decode("utf-8", "replace"), keep_blank_values=True))
        asked = self._known(given)
        try:
            self._check(asked)
            if request.method == "POST" and PICKED in given:
                return self._picked(asked, given[PICKED])
            return self._silently(request, asked) or self._show(request, asked, given.get("q", ""))
        except Back as refused:
            return self._answer(asked, {"error": refused.error, "error_description": refused.text})

    def _known(self, given: Mapping[str, str]) -> Asked:
        client_id = given.get("client_id", "").lower()
        app = self._apps.get(client_id)
        if app is None:
            raise SignInRefused(
                400, "unauthorized_client", 700016, f"Application with identifier '{client_id}' was not found."
            )
        address = given.get("redirect_uri", "")
        if not is_registered(address, self._world.switches.redirect_uris):
            raise SignInRefused(
                400,
                "invalid_request",
                50011,
                f"The redirect URI '{address}' specified in the request does not match the redirect URIs configured "
                f"for the application '{client_id}'.",
            )
        fields = {name: given[name] for name in ASKED if name in given}
        return Asked({**fields, "client_id": client_id}, app)

    def _check(self, asked: Asked) -> None:
        """What an application must send; Entra itself does not insist on a nonce and a state, this sandbox does."""
        if asked["response_type"] != "code":
            raise Back("unsupported_response_type", 700054, "response_type 'code' is the only one of the sandbox.")
        if asked["response_mode"] not in MODES | {""}:
            raise Back("invalid_request", 900144, "The response_mode is not one of query, fragment and form_post.")
        if asked["prompt"] not in PROMPTS:
            raise Back("invalid_request", 90023, f"The prompt '{asked['prompt']}' is not supported.")
        if asked["code_challenge_method"] != "S256" or len(asked["code_challenge"]) != 43:
            raise Back("invalid_request", 501491, "A code_challenge of 43 characters by method S256 is required.")
        for name in ("nonce", "state"):
            if not asked[name]:
                raise Back("invalid_request", 900144, f"The request must contain the following parameter: '{name}'.")
        if "openid" not in asked["scope"].split():
            raise Back("invalid_scope", 70011, "The scope must contain 'openid'.")
        if asked["max_age"] and not asked["max_age"].isdecimal():
            raise Back("invalid_request", 90023, "max_age is a number of seconds.")
        _contexts(asked["claims"])

    def _silently(self, request: httpx.Request, asked: Asked) -> httpx.Response | None:
        """The answer for a browser that is signed in, None when a page must be shown."""
        session_id, session = self._session(request)
        if session is not None and self._may_go_on(asked, session):
            return self._answer(asked, self._code(asked, session_id, session))
        if asked["prompt"] == "none":
            raise Back("interaction_required", 50058, "A silent sign-in request was sent but nobody is signed in.")
        return None

    def _show(self, request: httpx.Request, asked: Asked, q: str) -> httpx.Response:
        found = list(self._matching(q or asked["login_hint"]))
        if not found and not q:
            found = list(self._matching(""))
        rows = [_row(user) for user in found[:PEOPLE_MAX]]
        return page(
            "pick",
            tenant=self._world.directory.display_name,
            app=asked.app.name,
            asked=sorted(asked.fields.items()),
            action=request.url.path,
            people=rows,
            more=max(0, len(found) - PEOPLE_MAX),
            q=q,
        )

    def _matching(self, q: str) -> Iterator[User]:
        """People whose name, sign-in name, department, title or role has each word of `q`; those with a role first."""
        words = q.casefold().split()
        store = self._world.directory.store
        people = (store.users[user_id] for user_id in store.user_ids() if user_id in store.users)
        for user in sorted(people, key=lambda u: (not u.app_roles, u.display_name.casefold())):
            about = (user.display_name, user.upn, user.department, user.job_title, *user.app_roles)
            text = " ".join(part for part in about if part).casefold()
            if user.deleted_at is None and all(word in text for word in words):
                yield user

    def _picked(self, asked: Asked, user_id: str) -> httpx.Response:
        if not user_id:
            raise Back("access_denied", 65004, "User declined to consent to access the app.")
        user = self._world.directory.store.users.get(user_id)
        if user is None or user.deleted_at is not None:
            raise Back("access_denied", 50034, "The user account does not exist in the directory.")
        if not user.enabled:
            heading = "Your account has been locked"
            return page("trouble", status=403, heading=heading, text="AADSTS50057: The user account is disabled.")
        session_id = self._codes.new_id("session")
        session = Session(user_id, self._world.clock.now())
        self._world.signins.sessions[session_id] = session
        answer = self._answer(asked, self._code(asked, session_id, session))
        # None, as in Entra: the page is reached from another site.
        answer.headers["set-cookie"] = f"{COOKIE}={session_id}; Path=/; Secure; HttpOnly; SameSite=None"
        return answer

    # --- sessions and codes

    def _session(self, request: httpx.Request) -> tuple[str, Session | None]:
        cookies: SimpleCookie = SimpleCookie()
        try:
            cookies.load(request.headers.get("cookie", ""))
        except CookieError:
            return "", None
        session_id = cookies[COOKIE].value if COOKIE in cookies else ""
        session = self._world.signins.sessions.get(session_id)
        user = None if session is None else self._world.directory.store.users.get(session.user_id)
        if user is None or user.deleted_at is not None or not user.enabled:
            return "", None
        return session_id, session

    def _may_go_on(self, asked: Asked, session: Session) -> bool:
        """Whether a signed-in browser is answered without a page."""
        silent = asked["prompt"] == "none" or (asked["prompt"] == "" and self._world.switches.single_sign_on)
        if not silent:
            return False
        hint = asked["login_hint"].casefold()
        user = self._world.directory.store.users[session.user_id]
        is_old = asked["max_age"] and self._world.clock.now() - session.signed_in_at > timedelta(
            seconds=int(asked["max_age"])
        )
        return not is_old and hint in {"", user.upn.casefold()}

    def sign_out(self, request: httpx.Request) -> httpx.Response:
        """End the session of this browser; back to a registered address when one is named."""
        session_id, _ = self._session(request)
        if self._world.signins.sessions.pop(session_id, None) is not None:
            self._world.signins.changes += 1
        back = request.url.params.get("post_logout_redirect_uri", "")
        if back and is_registered(back, self._world.switches.redirect_uris):
            state = request.url.params.get("state")
            answer = httpx.Response(302, headers={"location": _with_query(back, {"state": state} if state else {})})
        else:
            answer = page("trouble", heading="You signed out", text="It is a good idea to close the browser.")
        answer.headers["set-cookie"] = f"{COOKIE}=; Path=/; Secure; HttpOnly; SameSite=None; Max-Age=0"
        return answer

    def _code(self, asked: Asked, session_id: str, session: Session) -> dict[str, str]:
        """A new code, as the fields of an answer."""
        grant = Grant(
            user_id=session.user_id,
            client_id=asked["client_id"],
            redirect_uri=asked["redirect_uri"],
            challenge=asked["code_challenge"],
            nonce=asked["nonce"],
            scope=asked["scope"],
            session_id=session_id,
            issued_at=self._world.clock.now(),
            signed_in_at=session.signed_in_at,
            wants_auth_time=bool(asked["max_age"]),
            contexts=_contexts(asked["claims"]),
        )
        fields = {"code": self._codes.issue(grant), "session_state": session_id}
        user = self._world.directory.store.users[session.user_id]
        return fields | ({"client_info": client_info(self._world, user)} if asked["client_info"] else {})

    # --- the answer

    def _answer(self, asked: Asked, fields: dict[str, str]) -> httpx.Response:
        fields = fields | ({"state": asked["state"]} if asked["state"] else {})
        address = asked["redirect_uri"]
        if asked["response_mode"] == "form_post":
            return page("answer", action=address, fields=sorted(fields.items()))
        if asked["response_mode"] == "fragment":
            return httpx.Response(302, headers={"location": f"{address}#{urlencode(fields)}"})
        return httpx.Response(302, headers={"location": _with_query(address, fields)})


def _row(user: User) -> dict[str, str]:
    about = [part for part in (user.job_title, user.department) if part]
    if user.user_type == "Guest":
        about.append("guest")
    if not user.enabled:
        about.append("account disabled")
    return {
        "id": user.user_id,
        "name": user.display_name,
        "upn": user.upn,
        "about": ", ".join(about),
        "roles": ", ".join(user.app_roles),
    }


def _contexts(claims: str) -> list[str]:
    """Authentication contexts that the `claims` parameter asks for in the ID token.

    Raises:
        Back: it is no JSON object.
    """
    if not claims:
        return []
    try:
        wanted: Any = json.loads(claims)["id_token"]["acrs"]
    except (KeyError, TypeError):
        return []
    except (ValueError, RecursionError) as wrong:
        raise Back("invalid_request", 900144, "The claims parameter is not JSON.") from wrong
    several = wanted.get("values") if isinstance(wanted, dict) else None
    values = [*several] if isinstance(several, list) else []
    if isinstance(wanted, dict):
        values.append(wanted.get("value"))
    return [value for value in values if isinstance(value, str)]


def _with_query(address: str, fields: Mapping[str, str]) -> str:
    if not fields:
        return address
    return f"{address}{'&' if urlsplit(address).query else '?'}{urlencode(fields)}"
