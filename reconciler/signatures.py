"""SSH signatures (`ssh-keygen -Y sign`), checked without a shell. Pure.

Source: OpenSSH, PROTOCOL.sshsig (format, what is signed) and PROTOCOL.key; RFC 8332 (rsa-sha2), RFC 5656 (ecdsa).
Ed25519, ECDSA on the three NIST curves and RSA (2048 bits and more, rsa-sha2-256 and -512) are accepted. Refused are
SHA-1, DSA, certificates, and keys on a security token (sk-…): what a token signs names its application and counts
touches, and nothing here could tell a real token from a copied key that says so.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

BEGIN, END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
SIGNATURE_MAX = 16_384  # characters; RSA of 8192 bits needs about 3000
RSA_BITS_MIN = 2048
_MAGIC, _VERSION = b"SSHSIG", 1
_HASHES = {b"sha256": hashlib.sha256, b"sha512": hashlib.sha512}
_CURVES: dict[bytes, HashAlgorithm] = {
    b"ecdsa-sha2-nistp256": SHA256(),
    b"ecdsa-sha2-nistp384": SHA384(),
    b"ecdsa-sha2-nistp521": SHA512(),
}
_RSA: dict[bytes, HashAlgorithm] = {b"rsa-sha2-256": SHA256(), b"rsa-sha2-512": SHA512()}


class BadSignature(ValueError):
    """It is no signature that can be believed; the text is a sentence for whoever brought it."""


def signed_by(payload: bytes, signature: str, allowed: Mapping[str, tuple[str, ...]], namespace: str) -> str | None:
    """Who signed exactly these bytes for this namespace, of `allowed`: name -> public keys ("ssh-ed25519 AAAA…").

    None when it is a good signature by a key of nobody there. A key that two names have is nobody's.

    Raises:
        BadSignature: it is damaged, of another namespace, over other bytes, or made in a way that is not accepted.
    """
    blob = verified(payload, signature, namespace)
    names = [name for name, keys in allowed.items() if any(_blob_of(key) == blob for key in keys)]
    return names[0] if len(names) == 1 else None


def verified(payload: bytes, signature: str, namespace: str) -> bytes:
    """The public key (RFC 4253 blob) that signed these bytes for this namespace.

    Raises:
        BadSignature: as `signed_by`.
    """
    reader = _Reader(_armoured(signature))
    if reader.take(len(_MAGIC)) != _MAGIC:
        raise BadSignature("this is no SSH signature: it does not begin as one")
    if reader.number() != _VERSION:
        raise BadSignature("this SSH signature has a version that is not known here")
    key, said, reserved, algorithm, made = (reader.text() for _ in range(5))
    reader.finish()
    if said != namespace.encode():
        shown = said[:60].decode("utf-8", "replace")
        raise BadSignature(f"the signature was made for '{shown}', not for '{namespace}'; sign with -n {namespace}")
    if algorithm not in _HASHES:
        raise BadSignature("the signature's hash is neither sha256 nor sha512")
    parts = (said, reserved, algorithm, _HASHES[algorithm](payload).digest())
    _check(key, made, _MAGIC + b"".join(len(p).to_bytes(4, "big") + p for p in parts))
    return key


def fingerprint(key: str | bytes) -> str:
    """A public key's name as `ssh-keygen -l` shows it, from its line or its blob; "" for what is no key."""
    blob = key if isinstance(key, bytes) else _blob_of(key)
    if blob is None:
        return ""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def accepts(key: str) -> str:
    """Why a public key's line cannot be used here, "" when it can."""
    blob = _blob_of(key)
    if blob is None:
        return "it is no public key of OpenSSH"
    try:
        _load(blob)
    except BadSignature as error:
        return str(error)
    return ""


def _armoured(text: str) -> bytes:
    if len(text) > SIGNATURE_MAX:
        raise BadSignature(f"this is too long for an SSH signature (more than {SIGNATURE_MAX} characters)")
    lines = [line.strip() for line in text.strip().splitlines()]
    if len(lines) < 3 or lines[0] != BEGIN or lines[-1] != END:
        raise BadSignature(f'this is no SSH signature: it has to begin with "{BEGIN}" and to end with its counterpart')
    try:
        return base64.b64decode("".join(lines[1:-1]), validate=True)
    except (binascii.Error, ValueError):
        raise BadSignature("the SSH signature is damaged: it is not base64") from None


def _blob_of(line: str) -> bytes | None:
    parts = line.split()
    if len(parts) < 2:
        return None
    try:
        blob = base64.b64decode(parts[1], validate=True)
        kind = _Reader(blob).text()
    except (binascii.Error, ValueError):
        return None
    return blob if kind == parts[0].encode() else None


def _load(blob: bytes) -> tuple[bytes, rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey]:
    kind = _Reader(blob).text()
    shown = kind[:60].decode("utf-8", "replace")
    if kind.startswith(b"sk-"):
        raise BadSignature("keys on a security token (sk-…) are not accepted; use an ed25519 key")
    if kind not in (b"ssh-ed25519", b"ssh-rsa", *_CURVES):
        raise BadSignature(f"keys of the kind '{shown}' are not accepted; use an ed25519 key")
    try:
        key = load_ssh_public_key(kind + b" " + base64.b64encode(blob))
    except (ValueError, UnsupportedAlgorithm):
        raise BadSignature(f"the key of the kind '{shown}' is damaged") from None
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < RSA_BITS_MIN:
        raise BadSignature(f"an RSA key of {key.key_size} bits is too short; {RSA_BITS_MIN} are the least")
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey):
        raise BadSignature(f"keys of the kind '{shown}' are not accepted; use an ed25519 key")
    return kind, key


def _check(blob: bytes, made: bytes, signed: bytes) -> None:
    kind, key = _load(blob)
    reader = _Reader(made)
    said, value = reader.text(), reader.text()
    reader.finish()
    try:
        match key:
            case ed25519.Ed25519PublicKey() if said == kind:
                key.verify(value, signed)
            case ec.EllipticCurvePublicKey() if said == kind:
                pair = _Reader(value)
                r, s = (int.from_bytes(pair.text(), "big") for _ in range(2))
                pair.finish()
                key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(_CURVES[kind]))
            case rsa.RSAPublicKey() if said in _RSA:
                key.verify(value, signed, padding.PKCS1v15(), _RSA[said])
            case _:
                raise BadSignature("the signature was made by another method than its key is for")
    except InvalidSignature:
        raise BadSignature("the signature is not over these bytes, or not by the key that it names") from None


class _Reader:
    """The wire format of SSH (RFC 4251 section 5), read strictly."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, count: int) -> bytes:
        if count > len(self._data) - self._at:
            raise BadSignature("the SSH signature is damaged: it ends too early")
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def text(self) -> bytes:
        return self.take(self.number())

    def finish(self) -> None:
        if self._at != len(self._data):
            raise BadSignature("the SSH signature is damaged: something follows its end")
