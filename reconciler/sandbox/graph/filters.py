"""The part of $filter that Graph's directory understands: parsed once, then asked of each object. Pure.

Grammar: `and`, `or`, `not`, parentheses; `prop op literal` with eq ne ge le gt lt; `prop in (..)`;
`startswith(prop,'x')`, `endswith(prop,'x')`; `coll/any(x:x/prop eq literal)`; `coll/$count eq 0`. Texts compare without
regard to case, as the directory does. What may be filtered how is a table of the caller (graph.md section 3).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from reconciler.sandbox.graph.answers import Problem, bad_request, unsupported_query

OR_CLAUSES_MAX = 15

TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<word>[A-Za-z_@][\w.@/$-]*(?=\s*[:(])?)|(?P<number>-?\d[\w:.+-]*)|(?P<mark>[(),:]))"
)
GUID = re.compile(r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")

Read = Callable[[str], Any]
"""Property path -> its value in the object at hand."""


class Test(NamedTuple):
    """A leaf of the filter: one property and what is asked of it."""

    path: str
    operator: str
    """eq ne ge le gt lt in startswith endswith any count"""
    value: Any


class Filter:
    """A parsed filter; `matches` asks it of an object, `tests` are its leaves."""

    def __init__(self, tests: tuple[Test, ...], uses_not: bool, ask: Callable[[Read], bool]) -> None:
        self.tests = tests
        self.uses_not = uses_not
        self.matches = ask

    @property
    def is_advanced(self) -> bool:
        """Whether it needs the advanced query capabilities."""
        marks = {"ne", "endswith", "count"}
        return self.uses_not or any(t.operator in marks for t in self.tests)

    def check(self, allowed: Mapping[str, frozenset[str]], resource: str) -> None:
        """Whether each property may be filtered so.

        Raises:
            Problem: 400, a property that is not indexed or an operator that it does not take.
        """
        for test in self.tests:
            operators = allowed.get(test.path)
            if operators is None:
                raise unsupported_query("The request uses a filter property that is not indexed.")
            operator = "eq" if test.operator == "in" and "eq" in operators else test.operator
            if operator not in operators:
                raise unsupported_query(
                    f"Unsupported or invalid query filter clause specified for property '{test.path}' of resource "
                    f"'{resource}'."
                )


def parse(text: str) -> Filter:
    """Read a filter.

    Raises:
        Problem: 400, not one, or with more than 15 clauses joined by `or`.
    """
    reader = _Reader(text)
    ask = reader.disjunction()
    if reader.peek() is not None:
        raise _invalid(text)
    if reader.ors and reader.ors + 1 > OR_CLAUSES_MAX:
        raise unsupported_query(
            "Too many child clauses specified in search filter expression containing 'OR' operators: "
            f"{reader.ors + 1}. Max allowed: {OR_CLAUSES_MAX}."
        )
    return Filter(tuple(reader.tests), reader.uses_not, ask)


def _invalid(text: str) -> Problem:
    return bad_request(f"Invalid filter clause: {text}", code="BadRequest")


class _Reader:
    """Recursive descent over the tokens."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[str] = []
        at = 0
        while text[at:].strip():
            match = TOKEN.match(text, at)
            if match is None:
                raise _invalid(text)
            self._tokens.append(match.group().strip())
            at = match.end()
        self._at = 0
        self.tests: list[Test] = []
        self.uses_not = False
        self.ors = 0

    def peek(self) -> str | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _next(self) -> str:
        token = self.peek()
        if token is None:
            raise _invalid(self._text)
        self._at += 1
        return token

    def _expect(self, mark: str) -> None:
        if self._next().lower() != mark:
            raise _invalid(self._text)

    def _take(self, word: str) -> bool:
        if (self.peek() or "").lower() == word:
            self._at += 1
            return True
        return False

    def disjunction(self) -> Callable[[Read], bool]:
        parts = [self._conjunction()]
        while self._take("or"):
            self.ors += 1
            parts.append(self._conjunction())
        return parts[0] if len(parts) == 1 else lambda read: any(p(read) for p in parts)

    def _conjunction(self) -> Callable[[Read], bool]:
        parts = [self._unary()]
        while self._take("and"):
            parts.append(self._unary())
        return parts[0] if len(parts) == 1 else lambda read: all(p(read) for p in parts)

    def _unary(self) -> Callable[[Read], bool]:
        if self._take("not"):
            self.uses_not = True
            inner = self._unary()
            return lambda read: not inner(read)
        if self._take("("):
            inner = self.disjunction()
            self._expect(")")
            return inner
        return self._leaf()

    def _leaf(self) -> Callable[[Read], bool]:
        word = self._next()
        if word.lower() in ("startswith", "endswith"):
            self._expect("(")
            path = self._next()
            self._expect(",")
            value = _literal(self._next(), self._text)
            self._expect(")")
            return self._test(Test(path, word.lower(), value))
        if word.endswith("/any"):
            return self._any(word.removesuffix("/any"))
        operator = self._next().lower()
        if operator == "in":
            self._expect("(")
            values = [_literal(self._next(), self._text)]
            while self._take(","):
                values.append(_literal(self._next(), self._text))
            self._expect(")")
            return self._test(Test(word, "in", values))
        if operator not in ("eq", "ne", "ge", "le", "gt", "lt"):
            raise _invalid(self._text)
        value = _literal(self._next(), self._text)
        if word.endswith("/$count"):
            path = word.removesuffix("/$count")
            self.tests.append(Test(path, "count", value))
            return lambda read: _holds(len(read(path) or ()), operator, value)
        return self._test(Test(word, operator, value))

    def _any(self, path: str) -> Callable[[Read], bool]:
        self._expect("(")
        variable = self._next()
        self._expect(":")
        word = self._next()
        operator = self._next().lower()
        value = _literal(self._next(), self._text)
        self._expect(")")
        if not word.startswith(f"{variable}/") or operator not in ("eq", "ne", "ge", "le"):
            raise _invalid(self._text)
        name = word.removeprefix(f"{variable}/")
        self.tests.append(Test(f"{path}/{name}", "any", value))
        return lambda read: any(_holds(item.get(name), operator, value) for item in read(path) or ())

    def _test(self, test: Test) -> Callable[[Read], bool]:
        self.tests.append(test)
        return lambda read: _holds(read(test.path), test.operator, test.value)


def _literal(token: str, text: str) -> Any:
    if token.startswith("'"):
        return token[1:-1].replace("''", "'")
    lowered = token.lower()
    if lowered in ("true", "false"):
        return lowered == "true"
    if lowered == "null":
        return None
    if GUID.match(token) or re.match(r"^\d{4}-\d\d-\d\d", token):
        return token
    if re.match(r"^-?\d+$", token):
        return int(token)
    raise _invalid(text)


def _plain(value: Any) -> Any:
    """A value that compares as the directory compares it."""
    if isinstance(value, str):
        if re.match(r"^\d{4}-\d\d-\d\d(T|$)", value):
            moment = value if "T" in value else f"{value}T00:00:00Z"
            return datetime.fromisoformat(moment.replace("Z", "+00:00"))
        return value.casefold()
    return value


def _holds(actual: Any, operator: str, wanted: Any) -> bool:
    if operator == "in":
        return any(_holds(actual, "eq", w) for w in wanted)
    left, right = _plain(actual), _plain(wanted)
    if operator == "eq":
        return bool(left == right)
    if operator == "ne":
        return bool(left != right)
    if left is None or right is None:
        return False
    if operator == "startswith":
        return str(left).startswith(str(right))
    if operator == "endswith":
        return str(left).endswith(str(right))
    try:
        return bool({"ge": left >= right, "le": left <= right, "gt": left > right, "lt": left < right}[operator])
    except TypeError:
        return False
