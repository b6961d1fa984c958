"""Access tokens of the sandbox: what sign-in issues and Graph reads. Signed with the world's own key.

Only the sandbox's clock decides when a token has expired.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

import jwt

ALGORITHM = "HS256"


class Claims(NamedTuple):
    """Who a token speaks for."""

    app_id: str
    app_name: str
    roles: frozenset[str]


class InvalidToken(Exception):
    """Not a token of this tenant, or no longer one."""


def key_of(seed: int) -> bytes:
    """The signing key of a world; it guards a pretend tenant."""
    return hashlib.sha256(f"sandbox-signing-{seed}".encode()).digest()


def issue(
    *,
    key: bytes,
    tenant_id: str,
    issuer: str,
    audience: str,
    app_id: str,
    app_name: str,
    roles: Sequence[str],
    now: datetime,
    lifetime_s: float,
    token_id: str,
) -> str:
    """A bearer token that is good from `now` for `lifetime_s` seconds."""
    claims = {
        "aud": audience,
        "iss": issuer,
        "iat": int(now.timestamp()),
        "nbf": int(now.timestamp()),
        "exp": int(now.timestamp() + lifetime_s),
        "appid": app_id,
        "app_displayname": app_name,
        "idtyp": "app",
        "oid": app_id,
        "roles": list(roles),
        "tid": tenant_id,
        "uti": token_id,
        "ver": "1.0",
    }
    return jwt.encode(claims, key, algorithm=ALGORITHM, headers={"kid": "sandbox"})


def read(token: str, *, key: bytes, tenant_id: str, now: datetime) -> Claims:
    """What a token says.

    Raises:
        InvalidToken: with the reason as Graph words it.
    """
    try:
        claims = _signed(token, key)
    except jwt.PyJWTError as e:
        raise InvalidToken("CompactToken parsing failed with error code: 80049217") from e
    if claims.get("tid") != tenant_id:
        raise InvalidToken("Access token validation failure. Invalid tenant.")
    if datetime.fromtimestamp(claims["exp"], UTC) <= now:
        raise InvalidToken("Lifetime validation failed, the token is expired.")
    return Claims(claims["appid"], claims["app_displayname"], frozenset(claims["roles"]))


@lru_cache(maxsize=64)
def _signed(token: str, key: bytes) -> Mapping[str, Any]:
    """What a token says whose signature is good, whatever time it is; one token comes with each of many requests."""
    checks = {"verify_aud": False, "verify_exp": False, "verify_nbf": False, "verify_iat": False}
    claims: Mapping[str, Any] = jwt.decode(token, key, algorithms=[ALGORITHM], options=checks)  # type: ignore[arg-type]
    return claims
