"""The log: one line an event, a constant message with fields, as JSON or for people to read. Set up in one place.

What other libraries log goes through the same chain. Nothing reaches a line but plain values whose every text was
scrubbed (`secrecy`), tracebacks included: a secret cannot be logged, whoever tries. `about` says what everything within
a block is about (cycle, ticket), so that a request can be found by its ticket and a ticket by a request's id.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import traceback
from collections.abc import Mapping, MutableMapping
from contextlib import AbstractContextManager
from datetime import datetime
from math import isfinite
from typing import Any, Literal, Protocol, TextIO

import structlog
from structlog.contextvars import bound_contextvars, merge_contextvars
from structlog.stdlib import ProcessorFormatter, add_log_level, add_logger_name

from desired_state.text import one_line
from reconciler.clock import Clock
from reconciler.secrecy import PROCESS, REMOVED, Vault, is_secret_name

Event = MutableMapping[str, Any]
Format = Literal["json", "console"]
LEVELS = ("debug", "info", "warning", "error")
TEXT_MAX = 2000  # characters of one value
TRACE_MAX = 20_000  # of a traceback
DEPTH_MAX, ITEMS_MAX = 6, 200
QUIET = (
    "httpx",
    "httpcore",
    "msal",
    "urllib3",
    "uvicorn",
    "asyncio",
    "alembic",
    "sqlalchemy",
    "mcp",
    "procrastinate",
    "psycopg",
)


class Log(Protocol):
    """Takes one event: a constant message and its fields."""

    def __call__(self, message: str, /, **fields: object) -> None: ...


def about(**fields: object) -> AbstractContextManager[None]:
    """Everything that is logged within the block carries these fields, in this thread."""
    return bound_contextvars(**fields)


def configure(stream: TextIO, clock: Clock, *, format: Format, level: str = "info", vault: Vault = PROCESS) -> Log:
    """Send everything that is logged in this process to `stream`, and return where the service logs itself.

    `clock` is the machine's. Called again, it replaces what was set up before.
    """
    render = _as_json if format == "json" else _for_people
    last: list[Any] = [
        merge_contextvars,
        _exception,
        _Stamp(clock),
        ProcessorFormatter.remove_processors_meta,
        _Clean(vault),
        render,
    ]
    handler = _Handler(stream)
    handler.setFormatter(
        ProcessorFormatter(foreign_pre_chain=[_foreign, add_log_level, add_logger_name], processors=last)
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(True)
    threading.excepthook = _thread_died
    return service_log()


def service_log() -> Log:
    """Where the service tells of itself. Quiet until `configure` was called."""
    own = logger("service")

    def log(message: str, /, **fields: object) -> None:
        own.info(message, **fields)

    return log


def logger(name: str) -> Any:
    """A logger for events below the service's own: debug, info, warning, error, each with fields.

    Before `configure` it is quiet: a command's output is its result.
    """
    top = logging.getLogger("reconciler")
    if not top.handlers:
        top.addHandler(logging.NullHandler())
    return structlog.wrap_logger(
        logging.getLogger(f"reconciler.{name}"),
        processors=[
            structlog.stdlib.filter_by_level,
            add_log_level,
            add_logger_name,
            ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
    )


class _Handler(logging.StreamHandler[TextIO]):
    """Where the stream is gone or full, or a record cannot be read, nothing is printed instead: what the library would
    print is not scrubbed."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's name
        """The line is lost."""


# --- the chain --------------------------------------------------------------------------------------------------------


class _Stamp:
    """When, by the machine's clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __call__(self, _logger: object, _name: str, event: Event) -> Event:
        event["at"] = self._clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return event


def _foreign(_logger: object, _name: str, event: Event) -> Event:
    """A record of another library: its text is a field, not our message."""
    event["sentence"] = event.pop("event", "")
    event["event"] = "library"
    return event


def _exception(_logger: object, _name: str, event: Event) -> Event:
    """A traceback as text, without the values of local names."""
    found = event.pop("exc_info", None)
    if found:
        error = found if isinstance(found, BaseException) else None
        if isinstance(found, tuple):
            error = found[1]
        error = error or sys.exc_info()[1]
        if error is not None:
            event["error"] = type(error).__name__
            event["trace"] = "".join(traceback.format_exception(error))[-TRACE_MAX:]
    return event


class _Clean:
    """Plain values only, every text scrubbed, every value of a secret's name gone."""

    def __init__(self, vault: Vault) -> None:
        self._scrub = vault.scrub

    def __call__(self, _logger: object, _name: str, event: Event) -> Event:
        trace = event.pop("trace", None)
        clean = self._mapping(event, 0)
        if trace is not None:
            lines = self._scrub(str(trace)).splitlines()
            clean["trace"] = self._scrub("\n".join(_traced(line) for line in lines))
        return clean

    def _mapping(self, found: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for name, value in list(found.items())[:ITEMS_MAX]:
            if value == "" and not depth:
                continue  # nothing to say
            is_hidden = is_secret_name(str(name)) and value not in (None, "")
            kept[self._text(name, 100)] = REMOVED if is_hidden else self._plain(value, depth + 1)
        return kept

    def _plain(self, value: object, depth: int) -> Any:
        match value:
            case None | bool() | int():
                return value
            case float():
                return round(value, 6) if isfinite(value) else str(value)
            case datetime():
                return value.isoformat()
            case Mapping() if depth < DEPTH_MAX:
                return self._mapping(value, depth)
            case list() | tuple() if depth < DEPTH_MAX:
                return [self._plain(inner, depth + 1) for inner in value[:ITEMS_MAX]]
            case set() | frozenset() if depth < DEPTH_MAX:  # in an order that is the same in every process
                return sorted((self._plain(inner, depth + 1) for inner in value), key=str)[:ITEMS_MAX]
        return self._text(value, TEXT_MAX)

    def _text(self, value: object, limit: int) -> str:
        """On one line, scrubbed before it is cut: half a secret is one too."""
        try:
            text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        except Exception:  # a value whose own text fails must not fail the log
            text = f"<{type(value).__name__}>"
        text = self._scrub(text)
        if text.isprintable() and len(text) <= limit:
            return text  # most are: nothing steers a display, nothing is cut
        return one_line(self._scrub(one_line(text, 10 * limit)), limit)


def _traced(line: str) -> str:
    """One line of a traceback, its indentation kept, without what steers a terminal."""
    return " " * (len(line) - len(line.lstrip(" "))) + one_line(line, 1000)


# --- the last step ----------------------------------------------------------------------------------------------------


def _as_json(_logger: object, _name: str, event: Event) -> str:
    first = {name: event.pop(name) for name in ("at", "level", "event") if name in event}
    return json.dumps({**first, **dict(sorted(event.items()))}, ensure_ascii=False, allow_nan=False, default=str)


def _for_people(_logger: object, _name: str, event: Event) -> str:
    at, level, message = event.pop("at", ""), event.pop("level", ""), event.pop("event", "")
    name, trace = event.pop("logger", ""), event.pop("trace", "")
    sentence = event.pop("sentence", "")
    said = f"{message}: {sentence}" if sentence else message
    loud = f" {level.upper()}" if level in ("warning", "error", "critical") else ""
    foreign = f" [{name}]" if message == "library" else ""
    fields = "".join(f" {key}={_shown(value)}" for key, value in sorted(event.items()))
    lines = "".join(f"\n    {line}" for line in str(trace).splitlines())
    return f"{at}{loud}{foreign} {said}{fields}{lines}"


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return json.dumps(text, ensure_ascii=False) if not text or " " in text or '"' in text else text


def _thread_died(args: threading.ExceptHookArgs) -> None:
    if args.exc_type is not SystemExit and args.exc_value is not None:
        logger("thread").error("a thread ended", name=args.thread.name if args.thread else "", exc_info=args.exc_value)
