"""`POST /oauth_token.do`: four grants, one text for every refusal.

Source: servicenow.md section 12. While a token lives, a new request returns the same token with the seconds that
remain; a user with "web service access only" gets none by the password grant; a refresh answers an access token only.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

import httpx
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from reconciler.sandbox.servicenow.answers import answer
from reconciler.sandbox.servicenow.credentials import OAuthClient, Token
from reconciler.sandbox.servicenow.instance import Instance

JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class GrantRefused(Exception):
    """No token. Why is not told to the caller, as on the platform; the text is for people who debug the sandbox."""


def token_endpoint(instance: Instance, request: httpx.Request) -> httpx.Response:
    """Answer a token request."""
    if request.method != "POST":
        return _refused("invalid_request", "only POST is allowed", status=405)
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "application/x-www-form-urlencoded":
        return _refused("invalid_request", "the body must be form-urlencoded", status=400)
    form = dict(httpx.QueryParams(request.content.decode("utf-8", "replace")))
    try:
        return answer(200, _grant(instance, form, request.headers), {"Cache-Control": "no-store"})
    except GrantRefused:
        return _refused("server_error", "access_denied", status=401)


def _grant(instance: Instance, form: dict[str, str], headers: httpx.Headers) -> dict[str, Any]:
    client_id = form.get("client_id", "")
    client = instance.credentials.clients.get(client_id)
    if client is None:
        raise GrantRefused("no such client")
    grant = form.get("grant_type", "")
    if grant == JWT_GRANT:
        assertion = form.get("assertion") or headers.get("authentication", "").partition(" ")[2]
        return _issue(instance, client_id, _asserted_user(instance, client_id, client, assertion), refreshable=False)
    if form.get("client_secret") != client.secret:
        raise GrantRefused("wrong secret")
    match grant:
        case "client_credentials":
            if not instance.switches.client_credentials_enabled or not client.user:
                raise GrantRefused("property off, or no application user")
            return _issue(instance, client_id, client.user, refreshable=False)
        case "password":
            return _issue(instance, client_id, _password_user(instance, form), refreshable=True)
        case "refresh_token":
            kept = instance.credentials.refresh.get(form.get("refresh_token", ""))
            if kept is None or kept.client != client_id or kept.expires_at <= instance.now().timestamp():
                raise GrantRefused("no such refresh token")
            return _issue(instance, client_id, kept.user, refreshable=False)
        case _:
            raise GrantRefused("unknown grant")


def _password_user(instance: Instance, form: dict[str, str]) -> str:
    user = instance.truth.user_id(form.get("username", ""))
    if not user or instance.credentials.passwords.get(user) != form.get("password"):
        raise GrantRefused("wrong password")
    row = instance.truth.store.get("sys_user", user) or {}
    if row.get("web_service_access_only") == "true":
        raise GrantRefused("no interactive session, no token")
    return user


def _issue(instance: Instance, client_id: str, user: str, *, refreshable: bool) -> dict[str, Any]:
    if instance.caller(user) is None:
        raise GrantRefused("the user is inactive or locked out")
    now = instance.now().timestamp()
    access = _living(instance, instance.credentials.access, user, client_id, now, instance.switches.token_lifetime_s)
    made: dict[str, Any] = {
        "access_token": access,
        "scope": "useraccount",
        "token_type": "Bearer",
        "expires_in": max(0, int(instance.credentials.access[access].expires_at - now)),
    }
    if refreshable:
        lifetime = instance.switches.refresh_lifetime_s
        made["refresh_token"] = _living(instance, instance.credentials.refresh, user, client_id, now, lifetime)
    return made


def _living(
    instance: Instance, tokens: dict[str, Token], user: str, client_id: str, now: float, lifetime_s: int
) -> str:
    """The token of this user and client that still lives, else a new one."""
    for text in [text for text, token in tokens.items() if token.expires_at <= now]:
        del tokens[text]
    for text, token in tokens.items():
        if (token.user, token.client) == (user, client_id):
            return text
    made = f"{instance.truth.new_id()}{instance.truth.new_id()}"
    tokens[made] = Token(user, client_id, now + lifetime_s)
    return made


def _asserted_user(instance: Instance, client_id: str, client: OAuthClient, assertion: str) -> str:
    """The user a signed assertion names (RFC 7523, RS256); `aud` is the client id, `sub` a user name."""
    try:
        signed, _, signature = assertion.rpartition(".")
        header, claims = (json.loads(_decoded(part)) for part in signed.split("."))
        mark = _decoded(signature)
    except (ValueError, binascii.Error) as error:
        raise GrantRefused("no JWT") from error
    if header.get("alg") != "RS256" or not any(_verifies(key, signed, mark) for key in client.public_keys):
        raise GrantRefused("not signed by a known key")
    expires = claims.get("exp", 0)
    if claims.get("aud") != client_id or not isinstance(expires, int | float):
        raise GrantRefused("not meant for this client")
    if expires <= instance.now().timestamp():
        raise GrantRefused("expired")
    return instance.truth.user_id(str(claims.get("sub", "")))


def _verifies(pem: str, signed: str, mark: bytes) -> bool:
    key = serialization.load_pem_public_key(pem.encode())
    if not isinstance(key, rsa.RSAPublicKey):
        return False
    try:
        key.verify(mark, signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _refused(error: str, description: str, *, status: int) -> httpx.Response:
    return answer(status, {"error_description": description, "error": error})
