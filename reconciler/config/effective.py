"""The configuration that one tenant runs by, as one JSON document without secrets: what a digest is of.

Durations are text in seconds ("300s"), money and fractions are text, so that it can be read back by the same models.
Where rows are kept and where the state folder is are no part of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, SecretStr

from reconciler.config.model import Settings
from reconciler.config.tenants import Approvals, Tenant
from reconciler.digest import digest
from reconciler.errors import UserError
from reconciler.signers import Signer, parse_signers

_SECONDS = re.compile(r"\d{1,12}(\.\d+)?s")
_SECTIONS = ("schedule", "web", "notify", "audit")


def document(settings: Settings, tenant: str) -> dict[str, Any]:
    """What a tenant runs by. Raises UserError for a list of signers that cannot be read."""
    return _without_signers(settings, tenant) | {"signers": _signer_lines(settings, tenant)}


def _without_signers(settings: Settings, tenant: str) -> dict[str, Any]:
    own = settings.tenants[tenant]
    found: dict[str, Any] = {name: as_json(getattr(settings, name)) for name in _SECTIONS}
    if own.sandbox:
        found["sandbox"] = as_json(settings.sandbox)
    return found | {
        "tenant": as_json(own),
        "products": as_json(settings.products),
        "items": {item.sys_id or item.name: _without(as_json(item), "tenants") for item in settings.items_for(tenant)},
        "rules": {rule.id: _without(as_json(rule), "tenants", "id") for rule in settings.rules_for(tenant).rules},
    }


def _signer_lines(settings: Settings, tenant: str) -> list[str]:
    return [signer.line() for signer in signers(settings, tenant)]


class Effective:
    """What a tenant runs by, with its digest. Settings never change, so only the file of signers is read each time."""

    def __init__(self, settings: Settings, tenant: str) -> None:
        self._settings, self._tenant = settings, tenant
        self._last: tuple[list[str], dict[str, Any], str] | None = None

    def read(self) -> tuple[Mapping[str, Any], str]:
        """The document and its digest, as they are now. Raises UserError for a list of signers that cannot be read."""
        lines = _signer_lines(self._settings, self._tenant)
        if self._last is None or self._last[0] != lines:
            found = _without_signers(self._settings, self._tenant) | {"signers": lines}
            self._last = (lines, found, digest_of(found))
        return self._last[1:]


@cache
def defaults() -> Mapping[str, Any]:
    """The document of a tenant that sets nothing: what keys mean that an older document does not have."""
    empty = Settings(tenants={"any": Tenant(sandbox=True)})
    found = document(empty, "any")
    found["tenant"]["sandbox"] = False
    del found["sandbox"]  # a section that only the sandbox's tenants have
    return found | {"products": {}, "items": {}, "rules": {}, "signers": []}


def digest_of(found: Mapping[str, Any]) -> str:
    """The digest of a document, 64 hex digits."""
    return digest(found)


def signers(settings: Settings, tenant: str) -> tuple[Signer, ...]:
    """Who may sign for a tenant, as its file says it now. Raises UserError."""
    file = settings.tenants[tenant].approvals.allowed_signers_file
    if file is None:
        return ()
    try:
        return parse_signers(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"{file}: {error}") from None


def as_json(value: Any) -> Any:
    """A value of the configuration as JSON, without secrets."""
    match value:
        case BaseModel():
            fields = type(value).model_fields
            return {n: as_json(getattr(value, n)) for n, f in fields.items() if not _is_secret(f.annotation)}
        case Mapping():
            return {str(key): as_json(inner) for key, inner in value.items()}
        case None | bool() | int() | str() if not isinstance(value, Enum):
            return value
        case Enum():
            return as_json(value.value)
        case timedelta():
            return (
                f"{value / timedelta(seconds=1):g}s"
                if value % timedelta(seconds=1)
                else f"{value // timedelta(seconds=1)}s"
            )
        case float() | Decimal():
            return _number(Decimal(str(value)))
        case datetime() | date() | time():
            return value.isoformat()
        case list() | tuple():
            return [as_json(inner) for inner in value]
        case set() | frozenset():
            return sorted((as_json(inner) for inner in value), key=str)
        case Path():
            return str(value)
    return str(value)


def _is_secret(annotation: Any) -> bool:
    return annotation is SecretStr or SecretStr in get_args(annotation)


def _number(value: Decimal) -> str:
    """9.4 and 9.40 are one price."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _without(found: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in found.items() if key not in keys}


def approvals_of(tenant: Mapping[str, Any]) -> Approvals:
    """Who approves, as the "tenant" of a kept document has it.

    Raises:
        pydantic.ValidationError, KeyError: it was kept by a version that had other keys.
    """
    return Approvals.model_validate(_spans(tenant["approvals"]))


def _spans(value: Any) -> Any:
    """Durations as they were: what is kept in seconds may be longer than what people write."""
    match value:
        case dict():
            return {key: _spans(inner) for key, inner in value.items()}
        case list():
            return [_spans(inner) for inner in value]
        case str() if _SECONDS.fullmatch(value):
            return timedelta(seconds=float(value[:-1]))
    return value
