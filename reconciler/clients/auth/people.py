"""Signing people in: the authorization-code flow with PKCE through msal, and the keys that Entra signs with.

Nothing here decides who somebody is: msal redeems the code and checks neither signature, issuer, audience nor time
(approvals.md 3.1), so `redeem` hands out the raw ID token for `web.identity` to judge. No token is kept: msal's cache
is one that forgets. The keys come from the address in the authority's own discovery document, over our HTTP client,
and only from the authority's host or one that is listed.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import httpx
import msal
import msgspec
from msal.exceptions import MsalError

from reconciler.clients.auth.entra import (
    LIMIT,
    MICROSOFT_HOSTS,
    Certificate,
    ClientSecret,
    Federation,
    HttpxForMsal,
    confidential_app,
)
from reconciler.clients.auth.watch import Watch, unwatched
from reconciler.clients.wire.words import cut
from reconciler.clock import Clock
from reconciler.errors import SignInFailed, Unavailable

SYSTEM = "Microsoft Entra sign-in"
KEYS_KEPT = timedelta(hours=24)
REFETCH_EVERY = timedelta(minutes=5)  # for a key id that is not known
_CODE = re.compile(r"[a-z_]{1,60}")
_USED = ("code", "state", "error", "error_description", "error_uri")


class SignInRefused(Exception):
    """Entra did not let a person in, or the answer belongs to no sign-in of ours. `code` is a short word."""

    def __init__(self, code: str) -> None:
        super().__init__(f"the sign-in was refused: {code}")
        self.code = code


class _Forgetful(msal.TokenCache):  # type: ignore[misc]  # msal has no types
    """A cache that keeps nothing: a person's tokens are of no use to us once they are judged."""

    def add(self, event: object, now: object = None) -> None:
        """Nothing is kept."""


class _Discovery(msgspec.Struct):
    issuer: str
    jwks_uri: str


class _Keys(msgspec.Struct):
    keys: list[dict[str, Any]]


class PeopleSignIn:
    """One registration that people sign in to. Safe for threads; contacts nobody until first asked."""

    def __init__(
        self,
        authority: str,
        tenant_id: str,
        client_id: str,
        credential: ClientSecret | Certificate | Federation,
        http: httpx.Client,
        clock: Clock,
        *,
        key_hosts: Collection[str] = MICROSOFT_HOSTS,
        watch: Watch = unwatched,
    ) -> None:
        """`authority` is the base (https://login.microsoftonline.com). Raises ValueError when it is not https."""
        if urlsplit(authority).scheme != "https":
            raise ValueError("the sign-in authority must be reached over https")
        self.login_url = authority.rstrip("/")
        self.tenant_id, self.client_id = tenant_id.lower(), client_id
        self.issuer = f"{self.login_url}/{self.tenant_id}/v2.0"
        self._credential, self._http, self._clock, self._watch = credential, http, clock, watch
        self._key_hosts = {urlsplit(self.login_url).netloc.lower(), *key_hosts}
        self._building, self._fetching = threading.Lock(), threading.Lock()
        self._app: Any = None
        self._keys: Mapping[str, Mapping[str, Any]] = {}
        self._fetched_at: datetime | None = None

    def begin(self, *, redirect_uri: str, prompt: str = "", max_age: timedelta | None = None) -> dict[str, Any]:
        """A new flow: `auth_uri` is where the browser goes, `state` names it, the rest is for `redeem`.

        Raises:
            Unavailable: the sign-in service could not be reached.
            SignInFailed: it does not know our registration's tenant, or the credential is unusable.
        """
        asked = {"prompt": prompt} if prompt else {}
        flow: dict[str, Any] = self._guarded(
            lambda app: app.initiate_auth_code_flow(
                scopes=[],
                redirect_uri=redirect_uri,
                response_mode="form_post",
                **asked,
                **({"max_age": int(max_age.total_seconds())} if max_age is not None else {}),
            )
        )
        flow.pop("max_age", None)  # msal would compare with the machine's clock; we judge `auth_time` ourselves
        return flow

    def redeem(self, flow: Mapping[str, Any], form: Mapping[str, str]) -> str:
        """The raw ID token for the answer that Entra posted. It proves nothing before it is judged.

        Raises:
            SignInRefused: Entra said no, or the answer does not belong to this flow.
            Unavailable, SignInFailed: as `begin`.
        """
        answer = {name: form[name] for name in _USED if form.get(name)}
        if answer.get("state") != flow.get("state"):
            raise SignInRefused("state_mismatch")
        result = self._guarded(lambda app: app.acquire_token_by_auth_code_flow(dict(flow), answer), is_redeeming=True)
        token = result.get("id_token") if isinstance(result, dict) else None
        if isinstance(token, str) and token:
            return token
        code = result.get("error") if isinstance(result, dict) else None
        raise SignInRefused(code if isinstance(code, str) and _CODE.fullmatch(code) else "no_identity")

    def key(self, kid: str) -> Mapping[str, Any] | None:
        """The published key of this id, None when there is none. An unknown id is looked for once in five minutes.

        Raises:
            Unavailable: the keys could not be read, and none is known.
        """
        with self._fetching:
            now = self._clock.now()
            age = now - self._fetched_at if self._fetched_at is not None else None
            is_stale = age is None or age >= KEYS_KEPT or (kid not in self._keys and age >= REFETCH_EVERY)
            if is_stale:
                try:
                    self._keys = self._published()
                except Unavailable:
                    if age is None or age >= KEYS_KEPT:
                        raise
                self._fetched_at = now
            return self._keys.get(kid)

    def _published(self) -> Mapping[str, Mapping[str, Any]]:
        found = self._read(f"{self.issuer}/.well-known/openid-configuration", _Discovery)
        place = urlsplit(found.jwks_uri)
        if found.issuer != self.issuer:
            raise Unavailable(SYSTEM, "its discovery document names another issuer than this tenant's")
        if place.scheme != "https" or place.netloc.lower() not in self._key_hosts:
            raise Unavailable(SYSTEM, "its discovery document sends us to another host for the keys")
        named: dict[str, Mapping[str, Any]] = {}
        for key in self._read(found.jwks_uri, _Keys).keys:
            kid = key.get("kid")
            if isinstance(kid, str):
                named.setdefault(kid, key)
        return named

    def _read(self, url: str, shape: type[Any]) -> Any:
        try:
            reply = self._watch("discovery", partial(self._http.get, url, extensions=LIMIT))
        except httpx.HTTPError as error:
            raise Unavailable(SYSTEM, f"{type(error).__name__} {cut(error, limit=160)}".rstrip()) from None
        if reply.status_code != 200:
            raise Unavailable(SYSTEM, f"status {reply.status_code}", status=reply.status_code)
        try:
            return msgspec.json.decode(reply.content, type=shape)
        except msgspec.DecodeError:
            raise Unavailable(SYSTEM, "its discovery document or its keys cannot be read") from None

    def _guarded(self, ask: Any, *, is_redeeming: bool = False) -> Any:
        """One question to msal. Its own words are not repeated: they may hold the claims of a token."""
        try:
            with self._building:
                if self._app is None:
                    self._app = confidential_app(
                        self.client_id,
                        self._credential,
                        f"{self.login_url}/{self.tenant_id}",
                        HttpxForMsal(self._http, self._watch),
                        token_cache=_Forgetful(),
                    )
            return ask(self._app)
        except httpx.HTTPStatusError as error:
            self._app = None  # msal answers everybody with one 5xx for a minute; a new client asks again
            status = error.response.status_code
            raise Unavailable(SYSTEM, f"status {status} from the sign-in service", status=status) from None
        except (MsalError, httpx.HTTPError) as error:
            self._app = None
            raise Unavailable(SYSTEM, type(error).__name__) from None
        except OSError as error:
            hint = "Check that the file exists and is readable by this process"
            raise SignInFailed(SYSTEM, f"a credential file: {cut(error.strerror)}", hint=hint) from None
        except (ValueError, TypeError, KeyError, AttributeError, RuntimeError):
            if is_redeeming and self._app is not None:
                raise SignInRefused("unusable_answer") from None
            hint = "Check tenant id, authority and the form of the credential"
            raise SignInFailed(SYSTEM, "the registration cannot be used", hint=hint) from None
