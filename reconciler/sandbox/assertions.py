"""Signed assertions in place of a client secret: certificates, and workload identity of a federated issuer.

Facts, graph.md section 12: a certificate's assertion is RS256 with `x5t` (SHA-1) or PS256 with `x5t#S256`; audience is
the token endpoint, issuer and subject the client id. A federated assertion has audience `api://AzureADTokenExchange`.
Times in assertions are judged against the sandbox's clock or, because clients that sign them read their machine's
clock, not at all while `check_times` is off.
"""

from __future__ import annotations

import base64
from typing import Any, NamedTuple

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from reconciler.clock import Clock

FEDERATED_AUDIENCE = "api://AzureADTokenExchange"
ALGORITHMS = ("RS256", "PS256")


class AssertionRefused(Exception):
    """An assertion that proves nothing; `number` is that of the AADSTS error."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.number = number


class _Issuer(NamedTuple):
    subject: str
    key: RSAPublicKey


class Assertions:
    """The certificates and issuers that applications have registered."""

    def __init__(self, clock: Clock, *, check_times: bool = False) -> None:
        self._clock = clock
        self._check_times = check_times
        self._certificates: dict[str, list[x509.Certificate]] = {}
        self._issuers: dict[tuple[str, str], _Issuer] = {}

    def register_certificate(self, client_id: str, certificate_pem: bytes) -> None:
        """Let an application prove itself with this certificate's key."""
        self._certificates.setdefault(client_id, []).append(x509.load_pem_x509_certificate(certificate_pem))

    def trust_issuer(self, client_id: str, *, issuer: str, subject: str, public_key_pem: bytes) -> None:
        """Let an application prove itself by what this issuer says of `subject`.

        Raises:
            ValueError: the key is not an RSA public key.
        """
        key = load_pem_public_key(public_key_pem)
        if not isinstance(key, RSAPublicKey):
            raise ValueError("an issuer's key must be an RSA public key")  # noqa: TRY004 - the value is what is wrong
        self._issuers[client_id, issuer] = _Issuer(subject, key)

    def check(self, assertion: str, *, client_id: str, token_endpoint: str) -> None:
        """Whether the assertion proves the application.

        Raises:
            AssertionRefused: malformed, unknown key, wrong signature, audience, issuer or subject, or expired.
        """
        try:
            header = jwt.get_unverified_header(assertion)
            unverified = jwt.decode(assertion, options={"verify_signature": False})
        except jwt.PyJWTError as e:
            raise AssertionRefused(50027, "JWT token is invalid or malformed.") from e
        if header.get("alg") not in ALGORITHMS:
            raise AssertionRefused(5002738, f"Invalid JWT token. '{header.get('alg')}' is not a supported algorithm.")
        issuer = str(unverified.get("iss"))
        federated = self._issuers.get((client_id, issuer))
        if federated is not None:
            claims = self._verify(assertion, federated.key, header["alg"], FEDERATED_AUDIENCE)
            if claims.get("sub") != federated.subject:
                raise AssertionRefused(
                    700213,
                    f"No matching federated identity record found for presented assertion subject "
                    f"'{claims.get('sub')}'.",
                )
            return
        if issuer != client_id:
            raise AssertionRefused(
                700211, f"No matching federated identity record found for presented assertion issuer '{issuer}'."
            )
        claims = self._verify(assertion, self._certificate_key(client_id, header), header["alg"], token_endpoint)
        if claims.get("sub") != client_id:
            raise AssertionRefused(700021, "Client assertion application identifier doesn't match 'client_id'.")

    def _certificate_key(self, client_id: str, header: dict[str, Any]) -> RSAPublicKey:
        for certificate in self._certificates.get(client_id, ()):
            sha1 = _thumbprint(certificate, hashes.SHA1())  # noqa: S303 - the name of a key, not a protection
            sha256 = _thumbprint(certificate, hashes.SHA256())
            name, digest = ("x5t", sha1) if header["alg"] == "RS256" else ("x5t#S256", sha256)
            fits = str(header.get(name, "")).rstrip("=") == digest  # msal 1.39.0 leaves the padding on
            key = certificate.public_key()
            if fits and isinstance(key, RSAPublicKey):
                return key
        raise AssertionRefused(
            700027,
            "The certificate with identifier used to sign the client assertion is not registered on application.",
        )

    def _verify(self, assertion: str, key: RSAPublicKey, algorithm: str, audience: str) -> dict[str, Any]:
        checks = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}
        try:
            claims: dict[str, Any] = jwt.decode(
                assertion,
                key,
                algorithms=[algorithm],
                audience=audience,
                options=checks,  # type: ignore[arg-type]
            )
        except jwt.InvalidAudienceError as e:
            raise AssertionRefused(700023, f"Client assertion audience claim does not match '{audience}'.") from e
        except jwt.PyJWTError as e:
            raise AssertionRefused(50013, "Assertion failed signature validation.") from e
        if self._check_times and claims.get("exp", 0) <= self._clock.now().timestamp():
            raise AssertionRefused(700024, "Client assertion is not within its valid time range.")
        return claims


def _thumbprint(certificate: x509.Certificate, algorithm: hashes.HashAlgorithm) -> str:
    return base64.urlsafe_b64encode(certificate.fingerprint(algorithm)).decode().rstrip("=")
