"""The encoded query language: text to a value, and back. Pure.

`cond ( ^cond | ^ORcond | ^NQcond )* ( ^ORDERBYf | ^ORDERBYDESCf )*` (servicenow.md section 2). `^OR` binds to the
condition just before it; `^NQ` starts another complete query; ordering is one list for all of them; `^^` stands for
one `^` inside a value. Whether a named column exists is not known here: the reader of the query decides that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

# Longest first, so that `NOT IN` is not read as `IN`, nor `>=` as `>`. Words must follow the column name directly.
OPERATORS = (
    "DOES NOT CONTAIN",
    "EMPTYSTRING",
    "INSTANCEOF",
    "ISNOTEMPTY",
    "RELATIVEGT",
    "RELATIVELT",
    "STARTSWITH",
    "ENDSWITH",
    "NOT LIKE",
    "CONTAINS",
    "ANYTHING",
    "NSAMEAS",
    "BETWEEN",
    "ISEMPTY",
    "NOT IN",
    "SAMEAS",
    "NOTON",
    "LIKE",
    "IN",
    "ON",
    "!=",
    ">=",
    "<=",
    "!*",
    "=",
    ">",
    "<",
    "*",
)
UNARY = frozenset({"ISEMPTY", "ISNOTEMPTY", "ANYTHING", "EMPTYSTRING"})
NEGATIVE = frozenset({"!=", "NOT IN", "NOT LIKE", "DOES NOT CONTAIN", "!*", "NSAMEAS", "NOTON"})
RANGE = frozenset(
    {">", ">=", "<", "<=", "STARTSWITH", "ENDSWITH", "LIKE", "NOT LIKE", "CONTAINS", "DOES NOT CONTAIN", "*", "!*",
     "BETWEEN", "RELATIVEGT", "RELATIVELT", "ON", "NOTON"}
)  # fmt: skip
"""Operators that need the query_range right; the others need query_match (section 2, query ACLs)."""
# Real operators that the sandbox does not imitate: refused aloud, so that no test passes by accident.
_NOT_IMITATED = ("DYNAMIC", "IN_HIERARCHY", "DATEPART")
_FIELD = re.compile(r"[a-z_][a-z0-9_]*(?:\.[a-z_][a-z0-9_]*)*")
_FIELD_LOOSE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")


class NotImitated(Exception):
    """The query uses a part of the language that the sandbox does not have."""


@dataclass(frozen=True)
class Condition:
    """`field operator value`; `value` is unescaped, and empty for unary operators."""

    field: str
    operator: str
    value: str = ""


@dataclass(frozen=True)
class Invalid:
    """A clause that no instance understands; it is dropped, or empties the answer (section 2, first trap)."""

    text: str


Clause = Condition | Invalid
AnyOf = tuple[Clause, ...]
"""Clauses of which one must hold."""
AllOf = tuple[AnyOf, ...]


@dataclass(frozen=True)
class Order:
    """One sort key."""

    field: str
    descending: bool = False


@dataclass(frozen=True)
class Query:
    """`groups` of which one must hold (`^NQ`), each a conjunction; no group with clauses means every row."""

    groups: tuple[AllOf, ...] = ()
    order: tuple[Order, ...] = ()


@lru_cache(maxsize=256)
def parse(text: str) -> Query:
    """Read an encoded query.

    Raises:
        NotImitated: it uses DYNAMIC, IN_HIERARCHY, DATEPART, JOIN, RLQUERY or full text search.
    """
    groups: list[list[list[Clause]]] = [[]]
    order: list[Order] = []
    for term in _terms(text):
        if term.startswith("ORDERBYDESC"):
            order.append(Order(term.removeprefix("ORDERBYDESC"), descending=True))
        elif term.startswith("ORDERBY"):
            order.append(Order(term.removeprefix("ORDERBY")))
        elif term == "EQ" or not term:  # EQ ends a query copied from a list
            continue
        elif term.startswith("NQ"):
            groups.append([[_clause(term[2:])]])
        elif _is_or(term):
            clause = _clause(term[2:])
            if groups[-1]:
                groups[-1][-1].append(clause)
            else:
                groups[-1].append([clause])
        else:
            groups[-1].append([_clause(term)])
    made = tuple(tuple(tuple(any_of) for any_of in group) for group in groups)
    return Query(() if made == ((),) else made, tuple(order))


def render(query: Query) -> str:
    """The text of a query; `parse` reads it back to the same value."""
    parts: list[str] = []
    for n, group in enumerate(query.groups):
        for i, any_of in enumerate(group):
            for j, clause in enumerate(any_of):
                prefix = "OR" if j else "NQ" if n and not i else ""
                parts.append(prefix + _text(clause))
    parts.extend(f"ORDERBY{'DESC' if key.descending else ''}{key.field}" for key in query.order)
    return "^".join(parts)


def _text(clause: Clause) -> str:
    if isinstance(clause, Invalid):
        return clause.text.replace("^", "^^")
    return f"{clause.field}{clause.operator}{clause.value.replace('^', '^^')}"


def _terms(text: str) -> list[str]:
    """Split at single `^`; a pair is a literal one."""
    parts = text.split("^^")
    terms = parts[0].split("^")
    for part in parts[1:]:
        first, *rest = part.split("^")
        terms[-1] += "^" + first
        terms.extend(rest)
    return terms


def _is_or(term: str) -> bool:
    # A column cannot begin with a capital letter, so `ORx=` is an OR and `order=` is not.
    return term.startswith("OR")


def _clause(text: str) -> Clause:
    for word in ("JOIN", "RLQUERY", "ENDRLQUERY", "123TEXTQUERY321", "GOTO123TEXTQUERY321", "SUBQUERY"):
        if text.startswith(word):
            raise NotImitated(f"{word} is not imitated by the sandbox")
    match = _FIELD.match(text)
    if match is not None:
        rest = text[match.end() :]
        for word in _NOT_IMITATED:
            if rest.startswith(word):
                raise NotImitated(f"{word} is not imitated by the sandbox")
        for operator in OPERATORS:
            if rest.startswith(operator):
                value = rest[len(operator) :]
                return Condition(match.group(), operator, "" if operator in UNARY else value)
    loose = _FIELD_LOOSE.match(text)
    if loose is not None and text[loose.end() : loose.end() + 1] in {"=", "!", ">", "<", "*"}:
        # A name in the wrong case: a condition on a column that does not exist.
        for operator in ("!=", ">=", "<=", "!*", "=", ">", "<", "*"):
            if text.startswith(operator, loose.end()):
                return Condition(loose.group(), operator, text[loose.end() + len(operator) :])
    return Invalid(text)
