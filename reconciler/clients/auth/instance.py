"""Signing in to a ServiceNow instance: OAuth client credentials, Basic, API key. Source: servicenow.md section 12.

Credentials are always sent with the first try: some APIs answer 403 to an unauthenticated one.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec

from reconciler.clients.auth.watch import Watch, unwatched
from reconciler.clients.wire.words import cut, looks_like_html
from reconciler.clock import Clock
from reconciler.errors import SignInFailed, Unavailable
from reconciler.secrecy import keep

SYSTEM = "ServiceNow sign-in"
EARLY_S = 60.0  # a token with less than this left is renewed before it is used
# Property off, no application user and a wrong secret all give this one answer (trap 18): so all are listed.
CHECKLIST = (
    "ServiceNow gives the same answer for several causes. Check, in this order: the client secret; the property "
    "glide.oauth.inbound.client.credential.grant_type.enabled is true; the OAuth application has an OAuth application "
    "user, who is active and has the roles of the integration"
)


@dataclass(frozen=True, slots=True)
class Basic:
    user: str
    password: str = field(repr=False)

    def headers(self) -> dict[str, str]:
        pair = base64.b64encode(f"{self.user}:{self.password}".encode()).decode("ascii")
        return {"Authorization": f"Basic {pair}"}

    def fresh(self, refused: Mapping[str, str] | None = None) -> bool:  # noqa: ARG002 - a TokenSource
        """A password stays what it is; sending it again would only count towards a lock-out."""
        return False


@dataclass(frozen=True, slots=True)
class ApiKey:
    key: str = field(repr=False)

    def headers(self) -> dict[str, str]:
        return {"x-sn-apikey": self.key}

    def fresh(self, refused: Mapping[str, str] | None = None) -> bool:  # noqa: ARG002 - a TokenSource
        return False


class _Token(msgspec.Struct):
    access_token: str
    expires_in: int | str = 0


class _Error(msgspec.Struct):
    error: Any = None
    error_description: str = ""


class OAuthClientCredentials:
    """Tokens by the client_credentials grant. Safe for threads; one asks, the others wait for its token.

    While a token lives the instance hands out the same one again with its remaining seconds, so `fresh` can only
    help when the token was revoked or ran out.
    """

    def __init__(
        self,
        base_url: str,
        client_id: str,
        client_secret: str,
        http: httpx.Client,
        clock: Clock,
    ) -> None:
        if urlsplit(base_url).scheme != "https":
            raise ValueError("the ServiceNow instance must be reached over https")
        self._url = f"{base_url.rstrip('/')}/oauth_token.do"
        self._form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret}
        self._http, self._clock, self._lock = http, clock, threading.Lock()
        self._token, self._good_until = "", 0.0
        self._watch: Watch = unwatched

    def __repr__(self) -> str:
        return "OAuthClientCredentials(…)"

    def watched_by(self, watch: Watch) -> None:
        """Let somebody see how its requests go from now on."""
        self._watch = watch

    def headers(self) -> dict[str, str]:
        """Raises SignInFailed with a checklist, or Unavailable."""
        with self._lock:
            if not self._token or self._clock.monotonic() >= self._good_until:
                self._token, self._good_until = self._ask()
            return {"Authorization": f"Bearer {self._token}"}

    def fresh(self, refused: Mapping[str, str] | None = None) -> bool:
        with self._lock:
            if refused is None or refused.get("Authorization") == f"Bearer {self._token}":
                self._token = ""
            return True

    def _ask(self) -> tuple[str, float]:
        asked_at = self._clock.monotonic()
        try:
            call = partial(self._http.post, self._url, data=self._form, extensions={"deadline_s": 60.0})
            reply = self._watch("token", call)
        except httpx.HTTPError as error:
            raise Unavailable(SYSTEM, f"{type(error).__name__} {cut(error, limit=160)}".rstrip()) from None
        if reply.status_code in (202, 429) or reply.status_code >= 500 or reply.status_code in range(300, 400):
            raise Unavailable(SYSTEM, f"status {reply.status_code}", status=reply.status_code)
        if looks_like_html(reply.headers.get("Content-Type", ""), reply.content):
            why = "a web page came instead of a token: the instance may be hibernating or in maintenance"
            raise Unavailable(SYSTEM, why, status=reply.status_code)
        if reply.status_code == 200:
            try:
                token = msgspec.json.decode(reply.content, type=_Token)
                keep(token.access_token)
                return token.access_token, asked_at + max(0.0, float(token.expires_in) - EARLY_S)
            except (msgspec.DecodeError, ValueError):
                pass  # a 200 that carries an error is a refusal like any other
        raise SignInFailed(SYSTEM, self._why(reply), hint=CHECKLIST)

    def _why(self, reply: httpx.Response) -> str:
        try:
            said = msgspec.json.decode(reply.content, type=_Error)
        except msgspec.DecodeError:
            return f"status {reply.status_code}"
        return cut(f"status {reply.status_code} {said.error or ''} {said.error_description}".strip())
