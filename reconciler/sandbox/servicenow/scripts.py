"""The `javascript:` values that a guarded script evaluator still allows: simple `gs.` calls, nothing else. Pure.

Source: servicenow.md section 2 (javascript values) and section 6: `gs.dateGenerate` reads in the user's zone and
yields UTC. "Today" is the day of the user too.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from reconciler.sandbox.servicenow.access import Caller
from reconciler.sandbox.servicenow.stamps import from_local, stamp, zone

PREFIX = "javascript:"
_CALL = re.compile(r"gs\.([A-Za-z]+)\(([^()]*)\);?")
_TEXT = re.compile(r"'([^']*)'|\"([^\"]*)\"")
_AGO = {"minutesAgo": "minutes", "hoursAgo": "hours", "daysAgo": "days"}


class ScriptRefused(Exception):
    """The value is more than one simple call."""


def evaluate(value: str, *, caller: Caller, now: datetime) -> str:
    """The text that a `javascript:` value stands for.

    Raises:
        ScriptRefused: it is not a simple call of a function known here.
    """
    match = _CALL.fullmatch(value.removeprefix(PREFIX).strip())
    if match is None:
        raise ScriptRefused(f"guarded script: only a simple gs call may be evaluated, not {value!r}")
    name, inside = match.groups()
    arguments = [part.strip() for part in inside.split(",")] if inside.strip() else []
    local = now.astimezone(zone(caller.time_zone))
    if name in _AGO and len(arguments) == 1 and arguments[0].isdigit():
        return stamp(now - timedelta(**{_AGO[name]: int(arguments[0])}))
    if name in {"daysAgoStart", "daysAgoEnd"} and len(arguments) == 1 and arguments[0].isdigit():
        return _edge(local - timedelta(days=int(arguments[0])), end=name.endswith("End"))
    days = {"Today": 0, "Yesterday": 1, "Tomorrow": -1}
    for edge in ("beginningOf", "endOf"):
        if name.startswith(edge) and name.removeprefix(edge) in days and not arguments:
            day = local - timedelta(days=days[name.removeprefix(edge)])
            return _edge(day, end=edge == "endOf")
    if name == "dateGenerate" and 1 <= len(arguments) <= 2:
        texts = [_unquoted(argument) for argument in arguments]
        clock = {"start": "00:00:00", "end": "23:59:59"}.get(texts[-1], texts[-1]) if len(texts) == 2 else "00:00:00"
        return from_local(f"{texts[0]} {clock}", caller.time_zone)
    if name in {"nowDateTime", "now"} and not arguments:
        return stamp(now)
    if name == "getUserID" and not arguments:
        return caller.sys_id
    if name == "getUserName" and not arguments:
        return caller.user_name
    raise ScriptRefused(f"guarded script: gs.{name} with these arguments is not allowed")


def _edge(local: datetime, *, end: bool) -> str:
    start = local.replace(hour=0, minute=0, second=0, microsecond=0)
    return stamp((start.replace(hour=23, minute=59, second=59) if end else start).astimezone(UTC))


def _unquoted(argument: str) -> str:
    match = _TEXT.fullmatch(argument)
    if match is None:
        raise ScriptRefused(f"guarded script: not a text: {argument}")
    return match.group(1) or match.group(2) or ""
