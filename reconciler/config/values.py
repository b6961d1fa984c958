"""Kinds of value that config.toml is made of, each with a sentence for when it is wrong. Pure."""

from __future__ import annotations

import re
from datetime import date, datetime, time
from decimal import Decimal
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, PlainValidator

from desired_state.overlays import Share as Share
from desired_state.overlays import Span as Span
from desired_state.text import is_address
from reconciler.allowance import Allowance, allowance


class Section(BaseModel):
    """One table of the file: frozen, and a key that it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("the name of a time zone is expected, for example 'Europe/Berlin' or 'UTC'") from None
    return name


def _https(url: str) -> str:
    """An address without path, query or password; what is sent there carries a token."""
    try:
        parts = urlsplit(url)
        is_fine = parts.scheme == "https" and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        is_fine = False
    if not is_fine or parts.username or parts.query or parts.fragment or parts.path.strip("/"):
        raise ValueError("an https address without a path is expected, for example 'https://contoso.service-now.com'")
    return url.rstrip("/")


def _guid(text: str) -> str:
    lowered = text.strip().lower()
    groups = [len(part) for part in lowered.split("-")]
    if groups != [8, 4, 4, 4, 12] or any(char not in "0123456789abcdef-" for char in lowered):
        raise ValueError("an id like '72f988bf-86f1-41af-91ab-2d7cd011db47' is expected")
    return lowered


def _country(code: str) -> str:
    if len(code) != 2 or not (code.isascii() and code.isalpha() and code.isupper()):
        raise ValueError(f"'{code[:20]}' is no country code; two capital letters are expected, for example 'DE'")
    return code


_HOST_PORT = re.compile(r"(\[[0-9a-fA-F:]+\]|[^\s:/@]+):[0-9]{1,5}")


def _place(text: str) -> str:
    """A second place for the audit log."""
    kind, _, rest = text.partition(":")
    way, address = kind.removeprefix("syslog+"), rest.removeprefix("//")
    if kind == "file" and rest.startswith("/"):
        return text
    if kind == "syslog+unix" and address.startswith("/"):
        return text
    if (
        way in ("tls", "tcp", "udp")
        and kind != way
        and re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[^\s:/@]+):[0-9]{1,5}", address)
    ):
        return text
    raise ValueError(
        "a folder or a collector is expected: 'file:/absolute/folder', 'syslog+tls://host:6514', "
        "'syslog+tcp://host:601', 'syslog+udp://host:514' or 'syslog+unix:///dev/log'"
    )


def _name(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,62}", name):
        raise ValueError("a name is written with lower-case letters, digits, - and _")
    return name


def _since(value: Any) -> Any:
    """A date as TOML has it, or as text, or "all"."""
    if value == "all" or (isinstance(value, date) and not isinstance(value, datetime)):
        return value
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError('a date without quotes is expected, for example 2026-12-31, or "all"') from None


def _network(text: str) -> str:
    try:
        return str(ip_network(text, strict=False))
    except ValueError:
        raise ValueError("an address or a network is expected, for example '10.0.0.7' or '10.0.0.0/24'") from None


def _host(name: str) -> str:
    if not re.fullmatch(r"(\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+(:[0-9]{1,5})?", name):
        raise ValueError("the name of a host is expected, for example 'flows.contoso.com' or '*.flows.contoso.com'")
    return name


def _server(name: str) -> str:
    if name and not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|[0-9a-fA-F:]{2,45}", name):
        raise ValueError("the name of a host is expected, for example 'smtp.office365.com', or ''")
    return name


def _address(text: str) -> str:
    if text and not is_address(text):
        raise ValueError("a plain mail address is expected, for example 'licences@contoso.com'")
    return text.lower()


def _domain(name: str) -> str:
    if not is_address(f"a@{name}"):
        raise ValueError("the part of an address after the @ is expected, for example 'contoso.com'")
    return name.lower()


def _hours(text: str) -> str:
    found = re.fullmatch(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])", text)
    if text and (found is None or text[:5] == text[6:]):
        raise ValueError("two times of the day are expected, for example '20:00-07:00', or ''")
    return text


def _lowered(words: Any) -> Any:
    if isinstance(words, list | tuple):
        return tuple(word.strip().lower() if isinstance(word, str) else word for word in words)
    return words


def _weekdays(days: Any) -> Any:
    if isinstance(days, list | tuple) and all(day in WEEKDAYS for day in days):
        return tuple(days)
    raise ValueError(f"a list of weekdays is expected, of {', '.join(WEEKDAYS)}")


def _wall_time(value: Any) -> time:
    """A time as TOML has it, or as text."""
    try:
        found = value if isinstance(value, time) else time.fromisoformat(value)
    except (TypeError, ValueError):
        found = None
    if found is None or found.tzinfo is not None:
        raise ValueError('a time of day is expected, for example "18:00"')
    return found


def _collector(text: str) -> str:
    """Plain HTTP is allowed: a collector is most often on the same machine."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise ValueError('is an address such as "http://localhost:4318/v1/traces", without a name or password in it')
    return text


WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Weekdays = Annotated[tuple[str, ...], BeforeValidator(_weekdays)]
WallTime = Annotated[time, PlainValidator(_wall_time)]
Allowed = Annotated[Allowance, PlainValidator(allowance), PlainSerializer(str)]
Money = Annotated[Decimal, Field(ge=0, le=100_000_000, decimal_places=2)]
Zone = Annotated[str, AfterValidator(_zone)]
HttpsUrl = Annotated[str, AfterValidator(_https)]
CollectorUrl = Annotated[str, AfterValidator(_collector)]
Network = Annotated[str, AfterValidator(_network)]
Place = Annotated[str, AfterValidator(_place)]
Guid = Annotated[str, AfterValidator(_guid)]
File = Path  # relative ones count from the folder of the configuration file
Lowered = Annotated[tuple[str, ...], BeforeValidator(_lowered)]
HostName = Annotated[str, AfterValidator(_host)]
ServerName = Annotated[str, AfterValidator(_server)]
Address = Annotated[str, AfterValidator(_address)]
Domain = Annotated[str, AfterValidator(_domain)]
Hours = Annotated[str, AfterValidator(_hours)]
Count = Annotated[int, Field(ge=0, le=1_000_000)]
Country = Annotated[str, AfterValidator(_country)]
KeyName = Annotated[str, AfterValidator(_name)]
Since = Annotated[date | Literal["all"], PlainValidator(_since)]
Port = Annotated[int, Field(ge=0, le=65535)]
