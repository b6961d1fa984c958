"""From a query to rows: what matches, in which order, before any right to read is asked.

Lookups keep a listing from reading a whole table for each page: ids and references are found by value, and a lower
bound on a time is found in order. What one query matched is remembered until the instance changes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import datetime

from reconciler.sandbox.servicenow import conditions
from reconciler.sandbox.servicenow.access import Caller
from reconciler.sandbox.servicenow.instance import Instance
from reconciler.sandbox.servicenow.paths import Path, resolve
from reconciler.sandbox.servicenow.query import RANGE, AllOf, AnyOf, Clause, Condition, Query
from reconciler.sandbox.servicenow.schema import TIMES, Row
from reconciler.sandbox.servicenow.stamps import instant, stamp

Found = list[tuple[str, Row]]
Predicate = Callable[[Row], bool]
_UNIQUE = frozenset({"sys_id", "number"})
_REMEMBERED = 16


class _Nothing(Exception):
    """The query cannot match any row for this caller."""


class Selector:
    """Answers queries over one instance."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self._records = instance.truth
        self._answers = 0
        self._remembered: dict[tuple[object, ...], Found] = {}

    def select(self, table: str, query: Query, *, caller: Caller) -> Found:
        """Rows of `table` that match, with their concrete tables. The list is the caller's to read, not to change.

        Raises:
            scripts.ScriptRefused: a `javascript:` value is more than a simple call.
        """
        self._answers += 1
        now = self._records.now()
        key = (table, query, caller, now, self._records.version, self._settings())
        known = self._remembered.get(key)
        if known is not None:
            return known
        try:
            predicate = self._predicate(table, query, caller, now)
            found = [pair for pair in self._candidates(table, query) if predicate(pair[1])]
            is_settled = self._sort(table, query, found, caller)
        except _Nothing:
            return []
        if is_settled:
            while len(self._remembered) >= _REMEMBERED:
                del self._remembered[next(iter(self._remembered))]
            self._remembered[key] = found
        return found

    def _settings(self) -> tuple[object, ...]:
        """Whatever else an answer depends on."""
        switches = self.instance.switches
        return (
            switches.invalid_query_returns_no_rows,
            switches.text_ignores_case,
            tuple(self.instance.access.rules),
            tuple(self.instance.hidden_until.items()),
        )

    # --- matching

    def _predicate(self, table: str, query: Query, caller: Caller, now: datetime) -> Predicate:
        groups: list[Predicate] = []
        for group in query.groups:
            tests = [test for any_of in group if (test := self._any_of(table, any_of, caller, now)) is not None]
            groups.append(_all(tests))
        hidden = {i for i, until in self.instance.hidden_until.items() if until > stamp(now)}
        matches: Predicate = _any(groups) if groups else (lambda _row: True)
        return (lambda row: row["sys_id"] not in hidden and matches(row)) if hidden else matches

    def _any_of(self, table: str, any_of: AnyOf, caller: Caller, now: datetime) -> Predicate | None:
        """The test of clauses joined by OR; None when every one was dropped."""
        tests: list[Predicate] = []
        for clause in any_of:
            test = self._test(table, clause, caller, now)
            if test is not None:
                tests.append(test)
            elif self.instance.switches.invalid_query_returns_no_rows:
                raise _Nothing
        return _any(tests) if tests else None

    def _test(self, table: str, clause: Clause, caller: Caller, now: datetime) -> Predicate | None:
        """One clause; None when it is invalid."""
        path = resolve(self._records, table, clause.field) if isinstance(clause, Condition) else None
        if not isinstance(clause, Condition) or path is None:
            return None
        self._check(path, caller, ranged=clause.operator in RANGE)
        value = path.value
        if clause.operator in {"SAMEAS", "NSAMEAS"}:
            other = resolve(self._records, table, clause.value)
            if other is None:
                return None
            theirs, same = other.value, clause.operator == "SAMEAS"
            return lambda row: (value(row) == theirs(row)) is same
        try:
            test = conditions.compile_test(
                clause,
                path.column,
                caller=caller,
                now=now,
                ignores_case=self.instance.switches.text_ignores_case,
            )
        except conditions.BadValue:
            return None
        return lambda row: test(value(row))

    def _check(self, path: Path, caller: Caller, *, ranged: bool) -> None:
        """A column that may not be queried empties the answer (query ACLs, section 2; the effect is inferred)."""
        access = self.instance.access
        for n, (table, column) in enumerate(path.steps):
            if not access.can_query(caller, table, column, ranged=ranged):
                raise _Nothing
            if n and not access.can_read_column(caller, table, column):
                raise _Nothing

    # --- finding without reading everything

    def _candidates(self, table: str, query: Query) -> Iterator[tuple[str, Row]]:
        group = query.groups[0] if len(query.groups) == 1 else ()
        for name in self._records.schema.concrete(table):
            rows = self._records.store.table(name)
            ids = self._ids(name, group)
            if ids is None:
                yield from ((name, row) for row in rows.by_id.values())
            else:
                yield from ((name, rows.by_id[sys_id]) for sys_id in ids if sys_id in rows.by_id)

    def _ids(self, table: str, group: AllOf) -> list[str] | None:
        """Ids among which every match of the conjunction is, or None when a full read is needed."""
        rows = self._records.store.table(table)
        by_value: list[list[str]] = []
        since: list[str] | None = None
        for any_of in group:
            clause = any_of[0]
            if len(any_of) != 1 or not isinstance(clause, Condition):
                continue
            column = self._records.schema.column(table, clause.field)
            if column is None or clause.value.startswith("javascript:"):
                continue
            if clause.operator in {"=", "IN"} and conditions.is_id(column) and clause.value:
                values = [clause.value] if clause.operator == "=" else [v.strip() for v in clause.value.split(",")]
                by_value.append(values if clause.field == "sys_id" else list(rows.with_value(clause.field, values)))
            elif clause.operator in {">", ">="} and column.kind in TIMES and since is None and instant(clause.value):
                since = list(rows.since(clause.field, clause.value))
        if since is not None:
            by_value.append(since)
        return list(dict.fromkeys(sorted(by_value, key=len)[0])) if by_value else None

    # --- order

    def _sort(self, table: str, query: Query, found: Found, caller: Caller) -> bool:
        """Sort in place; whether the order is one that the next request will repeat."""
        keys = []
        for order in query.order:
            path = resolve(self._records, table, order.field)
            if path is None:
                continue
            self._check(path, caller, ranged=True)
            keys.append((path, order.descending))
        is_settled = any(path.text in _UNIQUE for path, _ in keys)
        arbitrary = self.instance.switches.unordered_is_arbitrary
        if not is_settled and arbitrary:
            # No default order: a page without a unique key repeats and loses rows (section 4).
            random.Random(self._answers).shuffle(found)  # noqa: S311 - repeatable on purpose
        ignores_case = self.instance.switches.text_ignores_case
        for path, descending in reversed(keys):
            column, value = path.column, path.value
            found.sort(
                key=lambda pair, c=column, v=value: conditions.sort_key(  # type: ignore[misc]
                    c, v(pair[1]), ignores_case=ignores_case
                ),
                reverse=descending,
            )
        return is_settled or not arbitrary


def _all(tests: list[Predicate]) -> Predicate:
    if len(tests) == 1:
        return tests[0]
    return lambda row: all(test(row) for test in tests)


def _any(tests: list[Predicate]) -> Predicate:
    if len(tests) == 1:
        return tests[0]
    return lambda row: any(test(row) for test in tests)
