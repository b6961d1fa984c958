"""ID tokens: what they say, how they are signed, and every way in which one can be wrong (approvals.md section 3.3).

Faults are those of `Switches.sign_in_fault`; each changes one thing of an otherwise good token, so that a validator
that accepts it is known to skip that one check.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import timedelta
from typing import Any, NamedTuple

import jwt
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from reconciler.sandbox.directory import User
from reconciler.sandbox.identity import keys
from reconciler.sandbox.identity.records import Grant
from reconciler.sandbox.world import World

LIFETIME = timedelta(hours=1)
FOREIGN_TENANT = "f0e1d2c3-0000-4000-8000-00000000f0e1"
STRANGERS_SEED = -1
"""A seed no world has: its keys are nobody's."""


class Issued(NamedTuple):
    """Who asks, by which address."""

    issuer: str
    client_id: str


def id_token(world: World, user: User, grant: Grant, issued: Issued) -> str:
    """The signed proof that `user` signed in, right or wrong as the switches say."""
    return _signed(world, _claims(world, user, grant, issued))


def pairwise_subject(world: World, client_id: str, user_id: str) -> str:
    """The `sub` of a person for one application."""
    digest = hashlib.sha256(f"{world.seed}/{client_id}/{user_id}".encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def client_info(world: World, user: User) -> str:
    """Who signed in, for the client's cache; unsigned."""
    info = {"uid": user.user_id, "utid": world.directory.tenant_id}
    return base64.urlsafe_b64encode(json.dumps(info).encode()).decode().rstrip("=")


def _claims(world: World, user: User, grant: Grant, issued: Issued) -> dict[str, Any]:
    switches = world.switches
    tenant_id = world.directory.tenant_id
    now = int(world.clock.now().timestamp() + switches.sign_in_clock_skew_s)
    is_guest = user.user_type == "Guest" or switches.sign_in_fault == "guest"
    claims: dict[str, Any] = {
        "aud": issued.client_id,
        "iss": issued.issuer,
        "iat": now,
        "nbf": now,
        "exp": now + int(LIFETIME.total_seconds()),
        "name": user.display_name,
        "nonce": grant.nonce,
        "oid": user.user_id,
        "preferred_username": user.upn,
        "rh": "0.sandbox.",
        "sub": pairwise_subject(world, issued.client_id, user.user_id),
        "tid": tenant_id,
        "uti": grant.session_id[:22],
        "ver": "2.0",
    }
    if user.app_roles and switches.sign_in_fault != "role_missing":
        claims["roles"] = list(user.app_roles)
    if switches.sign_in_auth_time == "always" or (switches.sign_in_auth_time == "asked" and grant.wants_auth_time):
        claims["auth_time"] = int(grant.signed_in_at.timestamp() + switches.sign_in_clock_skew_s)
    if grant.contexts:
        claims["acrs"] = list(grant.contexts)
    if "acct" in switches.sign_in_optional_claims:
        claims["acct"] = 1 if is_guest else 0
    if "sid" in switches.sign_in_optional_claims:
        claims["sid"] = grant.session_id
    if is_guest:
        claims["idp"] = f"https://sts.windows.net/{FOREIGN_TENANT}/"
    return _spoiled(claims, switches.sign_in_fault)


def _spoiled(claims: dict[str, Any], fault: str) -> dict[str, Any]:
    """The claims with what the fault is about made wrong."""
    match fault:
        case "wrong_iss":
            claims["iss"] = str(claims["iss"]).replace(claims["tid"], FOREIGN_TENANT)
        case "wrong_aud":
            claims["aud"] = "00000003-0000-0000-c000-000000000000"
        case "wrong_tid":
            claims["tid"] = FOREIGN_TENANT
        case "expired":
            for name in ("iat", "nbf", "exp"):
                claims[name] -= int(2 * LIFETIME.total_seconds())
        case "not_yet_valid":
            for name in ("iat", "nbf", "exp"):
                claims[name] += int(2 * LIFETIME.total_seconds())
        case "missing_oid":
            del claims["oid"]
        case "nonce_mismatch":
            claims["nonce"] = hashlib.sha256(str(claims["nonce"]).encode()).hexdigest()
    return claims


def _signed(world: World, claims: dict[str, Any]) -> str:
    number = world.signins.first_key
    private, kid = keys.key(world.seed, number), keys.key_id(world.seed, number)
    match world.switches.sign_in_fault:
        case "bad_signature":  # the right name of a key, signed by another
            private = keys.key(STRANGERS_SEED, 0)
        case "unknown_kid":
            private, kid = keys.key(STRANGERS_SEED, 0), keys.key_id(STRANGERS_SEED, 0)
        case "alg_none":
            return jwt.encode(claims, "", algorithm="none", headers={"kid": kid})
        case "alg_hs256":
            return _by_public_key(claims, kid, private.public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1))
    return jwt.encode(claims, private, algorithm="RS256", headers={"kid": kid})


def _by_public_key(claims: dict[str, Any], kid: str, secret: bytes) -> str:
    """The old trick: the published key taken for a shared secret. PyJWT would not sign so, hence by hand."""
    header = {"alg": "HS256", "typ": "JWT", "kid": kid}
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims)]
    mac = hmac.new(secret, b".".join(parts), hashlib.sha256).digest()
    return b".".join([*parts, base64.urlsafe_b64encode(mac).rstrip(b"=")]).decode()
