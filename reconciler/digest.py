"""Canonical JSON (RFC 8785) and SHA-256: one way to name a request, a plan, a text. Pure.

Numbers in digested values are integers or strings; a float has no place in a decision.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any

import rfc8785


def plain(value: Any) -> Any:
    """The value as JSON: dataclasses by field, sets sorted, instants and money as text.

    Raises:
        TypeError: a float, or a type that has no one true JSON form.
    """
    match value:
        case None | bool():
            return value
        case Enum():
            return value.value
        case str() | int():
            return value
        case datetime():
            return value.isoformat()
        case date():
            return value.isoformat()
        case Decimal():
            return str(value)
        case Mapping():
            return {str(k): plain(v) for k, v in value.items()}
        case Set():
            return sorted(plain(v) for v in value)
        case Sequence():
            return [plain(v) for v in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    raise TypeError(f"a {type(value).__name__} cannot be part of a digest")


def digest(value: Any) -> str:
    """SHA-256 over the canonical JSON of `value`, as 64 hex digits."""
    return hashlib.sha256(rfc8785.dumps(plain(value))).hexdigest()
