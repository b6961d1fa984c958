"""ID tokens of keys of our own, right and wrong."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from reconciler.web.identity import Expected
from tests.make import MONDAY

TENANT = "11111111-2222-4333-8444-555555555555"
ELSEWHERE = "99999999-2222-4333-8444-555555555555"
PERSON = "aaaaaaaa-2222-4333-8444-555555555555"
CLIENT = "cccccccc-2222-4333-8444-555555555555"
ISSUER = f"https://login.microsoftonline.com/{TENANT}/v2.0"
NONCE = "the nonce of this flow"
EXPECTED = Expected(ISSUER, CLIENT, TENANT, NONCE)


def a_key(name: str = "one", bits: int = 2048) -> rsa.RSAPrivateKey:
    return _made(name, bits)


@cache
def _made(name: str, bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def published(name: str = "one", bits: int = 2048, **changes: Any) -> dict[str, Any]:
    key = json.loads(RSAAlgorithm.to_jwk(a_key(name, bits).public_key()))
    known = {name: key[name] for name in ("kty", "n", "e")}
    return {**known, "kid": name, "use": "sig", "alg": "RS256", **changes}


def claims(at: datetime = MONDAY, **changes: Any) -> dict[str, Any]:
    """Right claims; a change to None takes one away."""
    now = int(at.timestamp())
    right = {
        "ver": "2.0",
        "iss": ISSUER,
        "aud": CLIENT,
        "iat": now,
        "nbf": now,
        "exp": now + int(timedelta(hours=1).total_seconds()),
        "nonce": hashlib.sha256(NONCE.encode()).hexdigest(),
        "oid": PERSON,
        "tid": TENANT,
        "sub": "pairwise",
        "name": "Laura McBride",
        "preferred_username": "laura@contoso.example",
        "roles": ["Licence.Approver"],
    }
    return {name: value for name, value in {**right, **changes}.items() if value is not None}


def a_token(
    given: dict[str, Any] | None = None, *, key: str = "one", bits: int = 2048, headers: Any = None, **changes: Any
) -> str:
    body = claims(**changes) if given is None else given
    return jwt.encode(body, a_key(key, bits), algorithm="RS256", headers={"kid": key, **(headers or {})})
