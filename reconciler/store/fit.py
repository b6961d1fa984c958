"""What may stand in an audit body: JSON with one canonical form, and no secret (I15). Pure.

Names are ours, so a name that calls a secret is a defect and is refused. Values may be other people's text (a ticket,
an error message), so what looks like a secret in them is replaced, and nobody can stop a cycle by typing one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import rfc8785

from reconciler.digest import INT_MAX, canonical, plain, written

REDACTED = "[redacted]"
TEXT_MAX = 4000  # characters of one text; more is other people's, and a log is no place to fill up
_SECRET_NAME = re.compile(
    r"password|passwd|secret|token|authorization|apikey|cookie|privatekey|webhook|credential|bearer|assertion"
)
_SECRET_VALUE = re.compile(
    r"(?i:bearer|basic)\s+[A-Za-z0-9._~+/-]{16,}=*"  # an Authorization header
    r"|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"  # a signed token
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|(?<=[?&;])(?i:sig|signature|code|access_token|client_secret|password)=[^&\s\"']+"  # in an address
    r"|(?i:client_secret|password|api[_-]?key)\s*[=:]\s*[^\s&,;\"']+"
)
_WORDS = ("bearer", "basic", "client_secret", "password", "apikey", "api_key", "api-key")
_PLAIN = frozenset({str, int, bool, type(None)})


class UnfitBody(TypeError):
    """A defect of ours: an audit body with a float, a number beyond 2^53, or a name that calls a secret."""


def fit(body: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The body as plain JSON values, and its canonical text (RFC 8785).

    Raises:
        UnfitBody: it has no one true JSON form, or names a secret.
    """
    try:
        value = plain(body)
        quick = _quickly(value)
        if quick is not None:
            return value, quick
        value = _clean(value)
        return value, canonical(value).decode()
    except (rfc8785.CanonicalizationError, TypeError) as error:
        raise UnfitBody(f"an audit body cannot be kept: {error}") from error


def _quickly(value: Any) -> str | None:
    """The canonical text of a body in which there is nothing to clean; None where that is not certain."""
    if not _is_ours(value):
        return None
    try:
        text = written(value).decode()
    except UnicodeEncodeError:
        return None
    return text if _is_harmless(text) else None


def _is_ours(value: Any) -> bool:
    """Whether all names in it are such as we give, and nothing but text, whole numbers and lists is named by them."""
    kind = type(value)
    if kind is dict:
        inside = value.values()
        if not all(map(_is_our_name, value)):
            return False
    elif kind is list:
        inside = value
    else:
        return -INT_MAX <= value <= INT_MAX if kind is int else kind in _PLAIN
    return all(type(inner) is str or _is_ours(inner) for inner in inside)  # most are text


def _is_harmless(text: str) -> bool:
    """True where nothing in a canonical text would be cut or replaced, for certain: the quick look at a whole body.

    What `_SECRET_VALUE` finds has one of these words in it, and none of them holds what JSON writes otherwise.
    """
    if len(text) > TEXT_MAX or not text.isascii() or "=" in text or "\\u0000" in text:
        return False
    if "eyJ" in text or "-----BEGIN" in text:
        return False
    lower = text.lower()
    return not any(word in lower for word in _WORDS)


def _clean(value: Any) -> Any:
    kind = type(value)
    if kind is str:
        return _bounded(redact(value))
    if kind is dict:
        for name in value:
            if _calls_a_secret(name):
                raise UnfitBody(f"the name {name!r} calls a secret")
        return {_unicode(name): _clean(v) for name, v in value.items()}
    if kind is list:
        return [_clean(v) for v in value]
    return _bounded(redact(value)) if isinstance(value, str) else value


@lru_cache(maxsize=1024)  # bodies are written by us: few names, over and over
def _is_our_name(name: str) -> bool:
    return name.isascii() and "\0" not in name and not _calls_a_secret(name)


@lru_cache(maxsize=1024)
def _calls_a_secret(name: str) -> bool:
    return _SECRET_NAME.search(re.sub(r"[^a-z]", "", name.lower())) is not None


def _bounded(text: str) -> str:
    """Text of at most TEXT_MAX characters; of longer text the beginning, with its length and hash."""
    if len(text) <= TEXT_MAX:
        return text
    hashed = hashlib.sha256(text.encode()).hexdigest()
    return f"{text[:TEXT_MAX]}… [cut: {len(text)} characters, sha256 {hashed}]"


def redact(text: str) -> str:
    """Text without what looks like a secret, and without what no store can hold: halves of characters and U+0000."""
    kept = _unicode(text)
    return _SECRET_VALUE.sub(REDACTED, kept) if _may_hold_a_secret(kept) else kept


def _may_hold_a_secret(text: str) -> bool:
    """False where `_SECRET_VALUE` finds nothing for certain: the quick look at most texts of a row.

    Beyond ASCII, its letters match some that are not equal in lower case.
    """
    if "=" in text or ":" in text or "eyJ" in text or "-----BEGIN" in text or not text.isascii():
        return True
    lower = text.lower()
    return "bearer" in lower or "basic" in lower


def _unicode(text: str) -> str:
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
