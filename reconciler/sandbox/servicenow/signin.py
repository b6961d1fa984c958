"""Who a request speaks for: Basic, bearer token or API key.

Source: servicenow.md section 12. Every failure is the same 401; only its headers may differ.
"""

from __future__ import annotations

import base64
import binascii

import httpx

from reconciler.sandbox.servicenow.access import Caller
from reconciler.sandbox.servicenow.answers import not_authenticated
from reconciler.sandbox.servicenow.instance import Instance


def sign_in(instance: Instance, headers: httpx.Headers) -> Caller:
    """The caller of a request with these headers.

    Raises:
        ApiError: 401.
    """
    user = _user(instance, headers)
    caller = instance.caller(user) if user else None
    if caller is None:
        raise not_authenticated({"WWW-Authenticate": 'BASIC realm="Service-now"'})
    return caller


def has_credentials(headers: httpx.Headers) -> bool:
    """Whether the request carries any at all."""
    return "authorization" in headers or "x-sn-apikey" in headers


def bearer(headers: httpx.Headers) -> str:
    """The bearer token of a request, or ""."""
    scheme, _, rest = headers.get("authorization", "").partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else ""


def _user(instance: Instance, headers: httpx.Headers) -> str:
    """The sys_id of the user, "" when nothing proves one."""
    credentials, switches = instance.credentials, instance.switches
    key = headers.get("x-sn-apikey")
    if key is not None and switches.api_key_auth:
        return credentials.api_keys.get(key, "")
    token = credentials.access.get(bearer(headers))
    if token is not None:
        return token.user if token.expires_at > instance.now().timestamp() else ""
    scheme, _, rest = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic" or not switches.basic_auth:
        return ""
    try:
        name, _, password = base64.b64decode(rest, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return ""
    user = instance.truth.user_id(name)
    known = credentials.passwords.get(user)
    if known is None or known != password:
        return ""
    if switches.mfa_required:
        raise not_authenticated({"X-MFA_TOKEN": "invalid"})
    return user
