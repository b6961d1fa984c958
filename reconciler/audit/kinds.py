"""Rows of the log by the event names of the contract (approvals.md 6.4). Pure.

A row is one thing that happened, and may be several events: a line that moved was found to have drifted and was judged
by the rules in the same transaction, with the same facts. The names are for whoever reads an export; the log keeps one
row for it, and a converged cycle none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_ONE = {"intent": "change.intent", "result": "change.result"}
_ROWS = {
    "change.intent": "intent",
    "change.result": "result",
    "policy.evaluated": "line_moved",
    "drift.found": "line_moved",
}


def events_of(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The events that a row tells of: its own kind where that is one of the contract's names, or has none there."""
    kind, body = str(row["kind"]), row.get("body")
    if kind == "line_moved" and isinstance(body, Mapping):
        judged = ("policy.evaluated",) if body.get("rules") or body.get("ruling") else ()
        found = ("drift.found",) if body.get("found") or body.get("aftermath") else ()
        return (*found, *judged) or (kind,)
    return (_ONE.get(kind, kind),)


def rows_of(names: Iterable[str]) -> frozenset[str]:
    """The kinds of row in which events of these names, or rows of these kinds, are."""
    return frozenset(_ROWS.get(name, name) for name in names)


def only(rows: Iterable[Mapping[str, Any]], names: frozenset[str]) -> Iterator[Mapping[str, Any]]:
    """The rows of these kinds, or that tell of these events; all of them where nothing is named."""
    return (row for row in rows if not names or row["kind"] in names or names & set(events_of(row)))
