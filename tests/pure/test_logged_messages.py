"""Every line of the log has a constant message: what differs from time to time is in its fields."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = sorted(
    path for package in ("desired_state", "reconciler") for path in (ROOT / package).rglob("*.py")
    if "sandbox" not in path.parts
)  # fmt: skip
LEVELS = ("debug", "info", "warning", "error", "exception", "critical")
# what takes a message for the log, and which of its arguments that is
MESSAGE_AT = {"log": 0, "_say": 0, **dict.fromkeys(LEVELS, 0), "bad": 1, "_is": 2}


def varying(source: str) -> Iterator[str]:
    """The calls whose message is put together from values."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        at = MESSAGE_AT.get(_called(node.func))
        if at is not None and at < len(node.args) and not _is_constant(node.args[at]):
            yield f"line {node.lineno}: {ast.unparse(node.args[at])}"


def _called(func: ast.expr) -> str:
    match func:
        case ast.Attribute(attr=name):
            return name
        case ast.Name(id="log"):
            return "log"
    return ""


def _is_constant(message: ast.expr) -> bool:
    match message:
        case ast.Constant():
            return isinstance(message.value, str)
        case ast.IfExp(body=yes, orelse=no):
            return _is_constant(yes) and _is_constant(no)
        case ast.Subscript(value=ast.Name(id=table)):  # of a table of messages
            return table.isupper()
        case ast.Name(id=name):  # handed on; whoever hands it in is looked at too
            return name == "message"
    return False


def test_no_message_is_put_together_from_values():
    found = {str(path.relative_to(ROOT)): list(varying(path.read_text("utf-8"))) for path in CODE}

    assert {name: calls for name, calls in found.items() if calls} == {}


@pytest.mark.parametrize(
    "call",
    [
        'self.log(f"cycle {name} ended")',
        "site.log(str(error))",
        'logger("x").warning("a" + b)',
        'self._pulse.bad(words.CLOCK, f"set by {by}", now)',
        'self._is(words.SLOW, True, "{} s".format(took))',
    ],
)
def test_one_that_is_would_be_found(call: str):
    assert len(list(varying(call))) == 1
