"""Tokens of Microsoft Entra that are never stale, and what to check when there is none.

Tokens come from msal over our own httpx client, so that time limits, certificates and the environment are
treated as everywhere else. One thread asks, the others wait for its token: msal itself does not single-flight
(dependencies: 20 threads, 20 requests). Nothing here prints a secret; secrets sit in fields without a repr.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import msal
import msgspec
from msal.exceptions import MsalError

from reconciler.clients.auth.watch import Watch, unwatched
from reconciler.clients.wire.words import cut
from reconciler.errors import SignInFailed, Unavailable
from reconciler.secrecy import keep

SYSTEM = "Microsoft Entra sign-in"
LIMIT = {"deadline_s": 60.0}  # of a whole exchange; see wire.sockets
# Authorities that msal may ask its public discovery about; every other host (the sandbox) must not be looked up there.
MICROSOFT_HOSTS = ("login.microsoftonline.com", "login.microsoftonline.us", "login.partner.microsoftonline.cn")
HINTS: Mapping[str, str] = {
    "AADSTS7000215": "The client secret is wrong: most often the secret's id was pasted instead of its value",
    "AADSTS7000222": "The client secret has expired: create a new one for the app registration",
    "AADSTS700016": "This tenant does not know the application: check client id and tenant, and grant admin consent",
    "AADSTS90002": "There is no such tenant: check the tenant id, and that the authority is the right cloud",
    "AADSTS900023": "The tenant id is not valid: it is a GUID or a domain of the tenant",
    "AADSTS700027": "The certificate is not registered with the application, or its key does not belong to it",
    "AADSTS700024": "The assertion's time is not valid: check the clock of this machine",
    "AADSTS700213": "No federated credential of the application matches: compare issuer, subject and audience",
    "AADSTS70021": "No federated credential of the application matches: compare issuer, subject and audience",
    "AADSTS1002012": "The scope must be the Graph address followed by /.default",
    "AADSTS7000112": "The application is disabled in this tenant",
    "AADSTS53003": "A conditional access policy for workload identities blocks the application",
}


@dataclass(frozen=True, slots=True)
class ClientSecret:
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Certificate:
    """PEM text with private key and certificate. Signs with PS256 (x5t#S256), never with SHA-1."""

    pem: str = field(repr=False)
    passphrase: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Federation:
    """A file with a token of another issuer, read anew each time because it rotates."""

    token_file: Path


@dataclass(frozen=True, slots=True)
class ManagedIdentity:
    """The identity of the machine; `client_id` names a user-assigned one."""

    client_id: str | None = None


Credential = ClientSecret | Certificate | Federation | ManagedIdentity


class HttpxForMsal:
    """What msal wants of an HTTP client: get, post, close, giving status_code, text, headers, raise_for_status.

    `watch` is told of every request.
    """

    def __init__(self, http: httpx.Client, watch: Watch = unwatched) -> None:
        self._http, self._watch = http, watch

    def get(self, url: str, params: Any = None, headers: Any = None, **_: object) -> httpx.Response:
        call = partial(self._http.get, url, params=params, headers=headers, extensions=LIMIT)
        return self._watch("discovery", call)

    def post(self, url: str, params: Any = None, data: Any = None, headers: Any = None, **_: object) -> httpx.Response:
        call = partial(self._http.post, url, params=params, data=_form(data), headers=headers, extensions=LIMIT)
        return self._watch("token", call)

    def close(self) -> None:
        """The client belongs to whoever made it."""


def _form(data: Any) -> Any:
    """msal signs assertions into bytes; httpx would send their repr."""
    if not isinstance(data, dict):
        return data
    return {k: v.decode("ascii") if isinstance(v, bytes) else v for k, v in data.items() if v is not None}


class EntraTokens:
    """Application tokens for one resource of one tenant. Safe for threads; contacts nobody until first asked."""

    def __init__(
        self,
        authority: str,
        tenant_id: str,
        client_id: str,
        credential: Credential,
        http: httpx.Client,
        *,
        scope: str,
        watch: Watch = unwatched,
    ) -> None:
        """`authority` is the base (https://login.microsoftonline.com), `scope` ends in "/.default"."""
        if urlsplit(authority).scheme != "https":
            raise ValueError("the sign-in authority must be reached over https")
        self._authority = f"{authority.rstrip('/')}/{tenant_id}"
        self._client_id, self._credential, self._scope = client_id, credential, scope
        self._http = HttpxForMsal(http, watch)
        self._lock = threading.Lock()
        self._app: Any = None
        self._last = ""

    def token(self) -> str:
        """An access token that is good for at least five minutes, from msal's cache when there is one.

        Raises:
            SignInFailed: refused; `hint` says what to check.
            Unavailable: the sign-in service could not be reached.
        """
        with self._lock:
            answer = self._guarded()
            token = answer.get("access_token")
            if not isinstance(token, str) or not token:
                raise _refused(answer)
            self._last = token
            keep(token)
            return token

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token()}"}

    def fresh(self, refused: Mapping[str, str] | None = None) -> bool:
        """Forget the token. Nothing is forgotten when another thread has replaced the refused one already."""
        with self._lock:
            if refused is not None and refused.get("Authorization") != f"Bearer {self._last}":
                return True
            if isinstance(self._credential, ManagedIdentity):
                self._app = None  # its client has no way to forget a token but to be built anew
            elif self._app is not None:
                self._app.remove_tokens_for_client()
            return True

    def _guarded(self) -> dict[str, Any]:
        try:
            return self._ask()
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            raise Unavailable(SYSTEM, f"status {status} from the sign-in service", status=status) from None
        except MsalError as error:
            raise Unavailable(SYSTEM, cut(error, limit=160)) from None
        except httpx.HTTPError as error:
            raise Unavailable(SYSTEM, f"{type(error).__name__} {cut(error, limit=160)}".rstrip()) from None
        except OSError as error:
            hint = "Check that the file exists and is readable by this process"
            raise SignInFailed(SYSTEM, f"a credential file: {cut(error.strerror)}", hint=hint) from None
        except (ValueError, TypeError, msal.ManagedIdentityError) as error:
            # msal raises ValueError for a tenant or authority that discovery does not know, and for unusable keys
            hint = "Check tenant id, authority and the form of the credential"
            raise SignInFailed(SYSTEM, cut(error), hint=hint) from None

    def _ask(self) -> dict[str, Any]:
        if self._app is None:
            self._app = self._build()
        if isinstance(self._credential, ManagedIdentity):
            answer = self._app.acquire_token_for_client(resource=self._scope.removesuffix("/.default"))
        else:
            answer = self._app.acquire_token_for_client(scopes=[self._scope])
        return answer if isinstance(answer, dict) else {}

    def _build(self) -> Any:
        match self._credential:
            case ManagedIdentity(client_id=None):
                return msal.ManagedIdentityClient(msal.SystemAssignedManagedIdentity(), http_client=self._http)
            case ManagedIdentity(client_id=client_id):
                identity = msal.UserAssignedManagedIdentity(client_id=client_id)
                return msal.ManagedIdentityClient(identity, http_client=self._http)
            case credential:
                return confidential_app(self._client_id, credential, self._authority, self._http)


def confidential_app(
    client_id: str,
    credential: ClientSecret | Certificate | Federation,
    authority: str,
    http: HttpxForMsal,
    *,
    token_cache: Any = None,
) -> Any:
    """msal's client of one registration; making it asks the authority for its endpoints.

    Raises:
        ValueError: the authority is unknown or the credential has the wrong form.
    """
    match credential:
        case ClientSecret(value=secret):
            proof: Any = secret
        case Certificate(pem=pem, passphrase=passphrase):
            proof = {"private_key": pem, "public_certificate": pem}
            if passphrase:
                proof["passphrase"] = passphrase
        case Federation(token_file=path):
            proof = {"client_assertion": lambda: path.read_text(encoding="utf-8").strip()}
    is_microsoft = (urlsplit(authority).hostname or "").lower() in MICROSOFT_HOSTS
    return msal.ConfidentialClientApplication(
        client_id,
        client_credential=proof,
        authority=authority,
        instance_discovery=None if is_microsoft else False,
        http_client=http,
        token_cache=token_cache,
    )


def _refused(answer: Mapping[str, Any]) -> SignInFailed:
    code, text = cut(answer.get("error", "no token")), cut(answer.get("error_description", ""))
    hint = next((hint for known, hint in HINTS.items() if f"{known}:" in text), "")
    trace = cut(answer.get("correlation_id", "") or "", limit=60)
    return SignInFailed(SYSTEM, f"{code} {text}".strip(), hint=hint, request_id=trace)


class _Claims(msgspec.Struct):
    roles: list[str] = []


def roles(token: str) -> frozenset[str]:
    """Application permissions that a token carries, for `doctor` only: the signature is not checked.

    Empty when it carries none or is not a JWT.
    """
    try:
        payload = token.split(".")[1]
        raw = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
        return frozenset(msgspec.json.decode(raw, type=_Claims).roles)
    except (IndexError, ValueError, msgspec.DecodeError):
        return frozenset()
