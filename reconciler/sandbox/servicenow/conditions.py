"""What an operator means for a value: one condition to one test. Pure, but for the instant it is given.

Source: servicenow.md section 2 (operators), section 19 (case: `=` and `LIKE` ignore it; `IN` and ids do not).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from reconciler.sandbox.servicenow import scripts
from reconciler.sandbox.servicenow.access import Caller
from reconciler.sandbox.servicenow.query import Condition
from reconciler.sandbox.servicenow.schema import JOURNALS, NUMERIC, REFERENCES, TIMES, Column, Kind
from reconciler.sandbox.servicenow.stamps import instant, stamp

Test = Callable[[str], bool]
_UNITS = {
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "dayofweek": timedelta(days=1),
    "day": timedelta(days=1),
    "week": timedelta(weeks=1),
    "month": timedelta(days=30),
    "quarter": timedelta(days=91),
    "year": timedelta(days=365),
}


class BadValue(Exception):
    """The value cannot be read for this column: the clause is invalid."""


def is_id(column: Column) -> bool:
    """Whether values are ids: compared exactly, and worth a lookup."""
    return column.kind is Kind.GUID or column.kind in REFERENCES or column.length == 32


def sort_key(column: Column, value: str, *, ignores_case: bool = True) -> tuple[int, float, str]:
    """A key by which values of the column compare; empty sorts first, numbers by size, ids exactly."""
    if not value:
        return (0, 0.0, "")
    if column.kind in NUMERIC:
        try:
            return (1, float(value), "")
        except ValueError:
            return (2, 0.0, value)
    if column.kind in TIMES or is_id(column) or not ignores_case:
        return (1, 0.0, value)
    return (1, 0.0, value.casefold())


def compile_test(condition: Condition, column: Column, *, caller: Caller, now: datetime, ignores_case: bool) -> Test:
    """The test of one condition on the column's stored value; SAMEAS and its opposite are not decided here.

    Raises:
        BadValue: the clause is invalid.
        scripts.ScriptRefused: a `javascript:` value is more than a simple call.
    """
    op = condition.operator
    if op == "ANYTHING":
        return lambda _value: True
    if op in {"ISEMPTY", "EMPTYSTRING"}:
        return lambda value: not value
    if op == "ISNOTEMPTY":
        return bool
    if column.kind in JOURNALS:
        raise BadValue("journals cannot be searched through their column")

    def read(text: str) -> str:
        if text.startswith(scripts.PREFIX):
            text = scripts.evaluate(text, caller=caller, now=now)
        return _normal(column, text)

    def key(text: str) -> tuple[int, float, str]:
        return sort_key(column, text, ignores_case=ignores_case)

    if op in {"IN", "NOT IN"}:
        wanted = {part.strip() for part in condition.value.split(",")}
        return (lambda value: value in wanted) if op == "IN" else (lambda value: value not in wanted)
    if op in {"=", "!="}:
        target = key(read(condition.value))
        return (lambda value: key(value) == target) if op == "=" else (lambda value: key(value) != target)
    if op in {">", ">=", "<", "<="}:
        return _compare(op, key(read(condition.value)), key)
    if op == "BETWEEN":
        return _between(condition.value, read, key)
    if op in {"ON", "NOTON"}:
        _, _, span = condition.value.partition("@")
        within = _between(span, read, key)
        return within if op == "ON" else (lambda value: not within(value))
    if op in {"RELATIVEGT", "RELATIVELT"}:
        edge = key(_relative(condition.value, now))
        return _compare(">" if op == "RELATIVEGT" else "<", edge, key)
    if op == "INSTANCEOF":
        target_class = condition.value
        return lambda value: value == target_class or (target_class == "task" and value in _TASKS)
    return _text_test(op, condition.value, ignores_case=ignores_case and not is_id(column))


_TASKS = frozenset({"sc_request", "sc_req_item", "sc_task"})


def _compare(op: str, target: tuple[int, float, str], key: Callable[[str], tuple[int, float, str]]) -> Test:
    # An empty value is no number and no date: it is never less or greater.
    if op == ">":
        return lambda value: bool(value) and key(value) > target
    if op == ">=":
        return lambda value: bool(value) and key(value) >= target
    if op == "<":
        return lambda value: bool(value) and key(value) < target
    return lambda value: bool(value) and key(value) <= target


def _between(text: str, read: Callable[[str], str], key: Callable[[str], tuple[int, float, str]]) -> Test:
    low_text, at, high_text = text.partition("@")
    if not at:
        raise BadValue(f"not a range: {text!r}")
    low, high = key(read(low_text)), key(read(high_text))
    return lambda value: bool(value) and low <= key(value) <= high


def _text_test(op: str, wanted: str, *, ignores_case: bool) -> Test:
    def fold(text: str) -> str:
        return text.casefold() if ignores_case else text

    target = fold(wanted)
    match op:
        case "STARTSWITH":
            return lambda value: fold(value).startswith(target)
        case "ENDSWITH":
            return lambda value: fold(value).endswith(target)
        case "LIKE" | "CONTAINS" | "*":
            return lambda value: target in fold(value)
        case _:
            return lambda value: target not in fold(value)


def _normal(column: Column, text: str) -> str:
    if not text:
        return text
    if column.kind in TIMES:
        at = instant(text)
        if at is None:
            raise BadValue(f"not a date: {text!r}")
        return stamp(at)
    if column.kind in NUMERIC:
        try:
            float(text)
        except ValueError as error:
            raise BadValue(f"not a number: {text!r}") from error
    if column.kind is Kind.BOOLEAN:
        return {"1": "true", "0": "false"}.get(text, text.lower())
    return text


def _relative(text: str, now: datetime) -> str:
    parts = text.split("@")
    if len(parts) != 4 or parts[1] not in _UNITS or parts[2] not in {"ago", "ahead"} or not parts[3].isdigit():
        raise BadValue(f"not a relative time: {text!r}")
    by = _UNITS[parts[1]] * int(parts[3])
    return stamp(now - by if parts[2] == "ago" else now + by)
