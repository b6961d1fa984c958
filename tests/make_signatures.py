"""SSH keys and signatures for tests: made by `cryptography` from the format's description, not by ssh-keygen."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from reconciler.signatures import BEGIN, END

_CURVE_HASH = {256: SHA256(), 384: SHA384(), 521: SHA512()}


def an_ed25519(number: int = 1) -> ed25519.Ed25519PrivateKey:
    """The same key for the same number."""
    return ed25519.Ed25519PrivateKey.from_private_bytes(number.to_bytes(32, "big"))


def public(key: Any, comment: str = "") -> str:
    """The public key's line."""
    line = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return f"{line} {comment}".strip()


def string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def mpint(number: int) -> bytes:
    return string(number.to_bytes(number.bit_length() // 8 + 1, "big"))


def blob_of(key: Any) -> bytes:
    return base64.b64decode(public(key).split()[1])


def signed(key: Any, payload: bytes, namespace: str, *, hash_name: str = "sha512", **changes: Any) -> str:
    """What `ssh-keygen -Y sign` would write. `changes`: magic, version, kind, value, blob, tail."""
    digest = hashlib.new(hash_name, payload).digest()
    fields = (namespace.encode(), b"", hash_name.encode(), digest)
    message = b"SSHSIG" + b"".join(string(f) for f in fields)
    kind, value = _made(key, message)
    kind, value = changes.get("kind", kind), changes.get("value", value)
    body = changes.get("magic", b"SSHSIG") + changes.get("version", 1).to_bytes(4, "big")
    body += b"".join(string(f) for f in (changes.get("blob", blob_of(key)), *fields[:3], string(kind) + string(value)))
    return armoured(body + changes.get("tail", b""))


def armoured(body: bytes) -> str:
    text = base64.b64encode(body).decode()
    lines = [text[start : start + 70] for start in range(0, len(text), 70)]
    return "\n".join([BEGIN, *lines, END, ""])


def _made(key: Any, message: bytes) -> tuple[bytes, bytes]:
    match key:
        case ed25519.Ed25519PrivateKey():
            return b"ssh-ed25519", key.sign(message)
        case ec.EllipticCurvePrivateKey():
            size = key.curve.key_size
            r, s = decode_dss_signature(key.sign(message, ec.ECDSA(_CURVE_HASH[size])))
            return f"ecdsa-sha2-nistp{size}".encode(), mpint(r) + mpint(s)
        case rsa.RSAPrivateKey():
            return b"rsa-sha2-512", key.sign(message, padding.PKCS1v15(), SHA512())
    raise TypeError(type(key).__name__)
