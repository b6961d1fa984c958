"""Who signed in: one ID token of Entra, judged. Pure: the token, the key and the instant are arguments.

msal redeems the code and validates nothing (approvals.md 3.1, measured with 1.39.0), so everything is checked here:
signature by RS256 and nothing else, issuer and audience exactly, the tenant, the nonce of this very sign-in, times with
a minute of leeway, and that the ids are ids. A person is (`tid`, `oid`); names in the token are for showing only.
Claims are documented in Microsoft's "ID token claims reference" and "claims validation" (read 2026-11).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, NoReturn

import jwt
from jwt.types import Options

LEEWAY = timedelta(seconds=60)
TOKEN_MAX = 16_384  # characters; real ones have about 1 500
KEY_BITS_MIN = 2048
REQUIRED = ("exp", "iat", "nbf", "aud", "iss", "sub", "oid", "tid", "nonce")
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SIGNATURE_ONLY: Options = {
    "verify_signature": True,
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
}
_KEPT = ("iss", "tid", "oid", "sub", "aud", "iat", "auth_time", "amr", "acrs", "sid")


class Role(StrEnum):
    """App roles of the registration that mean something here."""

    APPROVER = "Licence.Approver"
    AUDITOR = "Licence.Auditor"
    ADMIN = "Licence.Admin"


class Why(StrEnum):
    """Why a token is refused: for the audit log and for tests."""

    MALFORMED = "malformed"
    ALGORITHM = "algorithm"
    UNKNOWN_KEY = "unknown_key"
    SIGNATURE = "signature"
    INCOMPLETE = "incomplete"
    ISSUER = "issuer"
    AUDIENCE = "audience"
    TENANT = "tenant"
    EXPIRED = "expired"
    TOO_EARLY = "too_early"
    NONCE = "nonce"
    GUEST = "guest"
    NOT_FRESH = "not_fresh"


SENTENCES: Mapping[Why, str] = {
    Why.MALFORMED: "Microsoft's answer is not a sign-in that can be read.",
    Why.ALGORITHM: "The sign-in is not signed in the one way that is accepted.",
    Why.UNKNOWN_KEY: "The sign-in is signed with a key that Microsoft does not publish.",
    Why.SIGNATURE: "The signature of the sign-in is wrong.",
    Why.INCOMPLETE: "The sign-in lacks a part that is needed to know who you are.",
    Why.ISSUER: "The sign-in was issued by somebody else than this organisation's directory.",
    Why.AUDIENCE: "The sign-in was made for another application.",
    Why.TENANT: "The sign-in belongs to another organisation.",
    Why.EXPIRED: "The sign-in is too old.",
    Why.TOO_EARLY: "The sign-in is dated in the future; the clock of this server or of Microsoft is wrong.",
    Why.NONCE: "The answer belongs to another sign-in than the one that was begun here.",
    Why.GUEST: "Guest accounts are not admitted here.",
    Why.NOT_FRESH: "For this decision you have to enter your credentials again.",
}


class TokenRefused(Exception):
    """A token that does not let anybody in. Its text never shows the token or a claim."""

    def __init__(self, why: Why) -> None:
        super().__init__(SENTENCES[why])
        self.why = why


@dataclass(frozen=True, slots=True)
class Expected:
    """What a token has to say. `nonce` is the one of the flow as msal keeps it; the token carries its SHA-256.

    `max_age` is set where somebody must have given their credentials this recently.
    """

    issuer: str
    client_id: str
    tenant_id: str
    nonce: str = field(repr=False)
    admits_guests: bool = False
    max_age: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody who signed in. `evidence` are the claims that prove it, with `sha256`, the digest of the raw token."""

    tid: str
    oid: str
    name: str
    upn: str
    roles: frozenset[str]
    credentials_at: datetime | None
    evidence: Mapping[str, Any]

    @property
    def digest(self) -> str:
        return str(self.evidence["sha256"])


def key_id(raw: str) -> str:
    """The id of the key that a token says it is signed with. Nothing else in its header is believed.

    Raises:
        TokenRefused: it is no token, or names another algorithm than RS256.
    """
    if len(raw) > TOKEN_MAX:
        raise TokenRefused(Why.MALFORMED)
    try:
        header = jwt.get_unverified_header(raw)
    except (jwt.PyJWTError, ValueError, TypeError):
        raise TokenRefused(Why.MALFORMED) from None
    if header.get("alg") != "RS256":
        raise TokenRefused(Why.ALGORITHM)
    kid = header.get("kid")
    if "crit" in header or not isinstance(kid, str) or not 0 < len(kid) <= 200:
        raise TokenRefused(Why.MALFORMED)
    return kid


def identify(raw: str, key: Mapping[str, Any] | None, expected: Expected, at: datetime) -> Identity:
    """The person that a token proves.

    `key` is the published JSON Web Key that `key_id` names, None when there is none. `at` is now, aware.

    Raises:
        TokenRefused: `why` says which check failed; the first that does.
    """
    kid = key_id(raw)
    claims = _signed(raw, _usable(key, expected))
    if any(name not in claims for name in REQUIRED):
        raise TokenRefused(Why.INCOMPLETE)
    tid, oid = _text(claims, "tid").lower(), _text(claims, "oid").lower()
    if claims["iss"] != expected.issuer:
        raise TokenRefused(Why.ISSUER)
    if claims["aud"] != expected.client_id:  # a list is refused, even one that has us in it
        raise TokenRefused(Why.AUDIENCE)
    if tid != expected.tenant_id.lower():
        raise TokenRefused(Why.TENANT)
    if not _GUID.fullmatch(oid) or not _text(claims, "sub"):
        raise TokenRefused(Why.INCOMPLETE)
    if claims.get("ver", "2.0") != "2.0":
        raise TokenRefused(Why.MALFORMED)
    _check_times(claims, at)
    if claims["nonce"] != hashlib.sha256(expected.nonce.encode()).hexdigest():
        raise TokenRefused(Why.NONCE)
    if not expected.admits_guests and _is_guest(claims, expected):
        raise TokenRefused(Why.GUEST)
    given = _instant(claims["auth_time"]) if "auth_time" in claims else None
    if expected.max_age is not None and (given is None or given + expected.max_age + LEEWAY < at):
        raise TokenRefused(Why.NOT_FRESH)
    roles = _roles(claims)
    evidence = {name: claims[name] for name in _KEPT if name in claims}
    evidence |= {"kid": kid, "roles": sorted(roles), "sha256": hashlib.sha256(raw.encode()).hexdigest()}
    return Identity(
        tid=tid,
        oid=oid,
        name=_shown(claims.get("name")),
        upn=_shown(claims.get("preferred_username")) or _shown(claims.get("upn")),
        roles=roles,
        credentials_at=given,
        evidence=_plain(evidence),
    )


def _usable(key: Mapping[str, Any] | None, expected: Expected) -> jwt.PyJWK:
    """The key as a verifier, when it is an RSA key for signatures, of this issuer where it says so."""
    if key is None or key.get("kty") != "RSA" or key.get("use", "sig") != "sig" or key.get("alg", "RS256") != "RS256":
        raise TokenRefused(Why.UNKNOWN_KEY)
    issuer = key.get("issuer")  # Microsoft marks keys of one tenant so; "{tenantid}" stands for any
    if isinstance(issuer, str) and issuer.replace("{tenantid}", expected.tenant_id) != expected.issuer:
        raise TokenRefused(Why.UNKNOWN_KEY)
    public = {name: key.get(name) for name in ("kty", "kid", "n", "e")}
    try:
        usable = jwt.PyJWK(public, algorithm="RS256")
        bits = usable.key.key_size
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError):
        raise TokenRefused(Why.UNKNOWN_KEY) from None
    if bits < KEY_BITS_MIN:
        raise TokenRefused(Why.UNKNOWN_KEY)
    return usable


def _signed(raw: str, key: jwt.PyJWK) -> Mapping[str, Any]:
    """The claims under a good signature; what they say is judged by the caller, at its instant."""
    try:
        claims: dict[str, Any] = jwt.decode(raw, key, algorithms=["RS256"], options=_SIGNATURE_ONLY)
    except jwt.InvalidSignatureError:
        raise TokenRefused(Why.SIGNATURE) from None
    except jwt.InvalidAlgorithmError:
        raise TokenRefused(Why.ALGORITHM) from None
    except (jwt.PyJWTError, ValueError, TypeError):
        raise TokenRefused(Why.MALFORMED) from None
    return claims


def _check_times(claims: Mapping[str, Any], at: datetime) -> None:
    if _instant(claims["exp"]) + LEEWAY <= at:
        raise TokenRefused(Why.EXPIRED)
    if _instant(claims["nbf"]) - LEEWAY > at or _instant(claims["iat"]) - LEEWAY > at:
        raise TokenRefused(Why.TOO_EARLY)


def _is_guest(claims: Mapping[str, Any], expected: Expected) -> bool:
    """`acct` 1 is a guest (an optional claim of the registration); `idp` names another directory than this one."""
    if "acct" in claims and claims["acct"] not in (0, "0"):
        return True
    home = (expected.issuer, f"https://sts.windows.net/{expected.tenant_id}/")
    return claims.get("idp", expected.issuer) not in home


def _instant(value: object) -> datetime:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 253_402_300_000:
        _incomplete()
    return datetime.fromtimestamp(value, UTC)


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims[name]
    return value if isinstance(value, str) else _incomplete()


def _incomplete() -> NoReturn:
    raise TokenRefused(Why.INCOMPLETE)


def _roles(claims: Mapping[str, Any]) -> frozenset[str]:
    found = claims.get("roles")
    return (
        frozenset(r for r in found if isinstance(r, str) and r in set(Role)) if isinstance(found, list) else frozenset()
    )


def _shown(value: object) -> str:
    return value[:256] if isinstance(value, str) else ""


def _plain(evidence: Mapping[str, Any]) -> dict[str, Any]:
    """Evidence as it can be kept: text, whole numbers and lists of text, each cut."""
    kept: dict[str, Any] = {}
    for name, value in evidence.items():
        if isinstance(value, str):
            kept[name] = value[:500]
        elif isinstance(value, int) and not isinstance(value, bool):
            kept[name] = value
        elif isinstance(value, list):
            kept[name] = [every[:100] for every in value[:20] if isinstance(every, str)]
    return kept
