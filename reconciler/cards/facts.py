"""What a request shows to people, in words. Pure. What it does not say is "not known", never left out.

`Approval.shown` is written when the request opens. Nothing here is made inert: that is done where it is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from reconciler.approvals.values import Approval, Human

NOT_KNOWN = "not known"
_REACH = 8_000  # of a text, characters that are looked at: more than any card can show


def facts_of(approval: Approval) -> list[tuple[str, str]]:
    """Who, what, for how much, by which rule's word; the order is that of the card."""
    told = approval.shown
    proposed = text(told.get("proposed_by"), "")
    rows = [
        ("User", person(told.get("person"))),
        ("Licence", text(told.get("product"))),
        ("Given", text(told.get("path"))),
        ("Period", text(told.get("period"))),
        ("Cost a month", cost(told)),
        ("Cost centre", text(told.get("cost_center"))),
        ("Seats", seats(told.get("seats"))),
        ("Asked for by", person(told.get("requester"))),
        ("Ordered by", person(told.get("opener"))),
        *([("Proposed by", proposed)] if proposed else []),
        ("Ticket", f"{approval.line.ticket}, line {approval.line.line}"),
    ]
    because = text(told.get("asked_because"), "")
    return [*rows, *([("Asked because", because)] if because else [])]


def rules_of(approval: Approval) -> list[tuple[str, str, str]] | None:
    """Rule, outcome, sentence; None where it is not known which rules were judged."""
    found = _rows(approval.shown, "rules")
    if found is None:
        return None
    return [(text(r.get("rule")), words(text(r.get("outcome"))), text(r.get("sentence"), "")) for r in found]


def changes_of(approval: Approval) -> list[tuple[str, str, str, str]] | None:
    """What, before, after, and whether it can be undone; None where it is not known what would change."""
    found = _rows(approval.shown, "changes")
    return None if found is None else [_change(row) for row in found]


def irreversible_of(approval: Approval) -> list[str] | None:
    """What cannot be undone, in sentences; None where that is not known."""
    found = approval.shown.get("irreversible")
    return [text(every) for every in found] if isinstance(found, list) else None


def cost(told: Mapping[str, Any]) -> str:
    found = told.get("cost")
    value = found.get("monthly") if isinstance(found, Mapping) else None
    try:
        amount = Decimal(value) if isinstance(value, str | int) else None
    except InvalidOperation:
        return NOT_KNOWN
    return f"{amount:f}" if amount is not None and amount.is_finite() and abs(amount) < 10**12 else NOT_KNOWN


def seats(value: object) -> str:
    free = value.get("free") if isinstance(value, Mapping) else None
    of = value.get("of") if isinstance(value, Mapping) else None
    return NOT_KNOWN if free is None else f"{text(free)} free" + (f" of {text(of)}" if of is not None else "")


def person(value: object) -> str:
    if not isinstance(value, Mapping):
        return text(value)
    name, upn = text(value.get("name"), ""), text(value.get("upn"), "")
    return f"{name} ({upn})" if name and upn else name or upn or NOT_KNOWN


def human(value: Human) -> str:
    return value.name or value.upn or value.oid or NOT_KNOWN


def text(value: object, nothing: str = NOT_KNOWN) -> str:
    return nothing if value is None or value == "" else str(value)[:_REACH]


def words(name: str) -> str:
    return name.replace("_", " ")


def _rows(told: Mapping[str, Any], name: str) -> list[Mapping[str, Any]] | None:
    found = told.get(name)
    return [row for row in found if isinstance(row, Mapping)] if isinstance(found, list) else None


def _change(row: Mapping[str, Any]) -> tuple[str, str, str, str]:
    undo = {"reversible": "yes", "irreversible": "no"}.get(text(row.get("undo")), words(text(row.get("undo"))))
    return text(row.get("what")), _value(row.get("before")), _value(row.get("after")), undo


def _value(value: object, depth: int = 0) -> str:
    """A recorded state in words; ids are left out, they are in the record."""
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case Mapping() if depth < 3:
            if set(value) == {"licence"}:
                return _value(value["licence"], depth + 1)
            named = {str(n): v for n, v in value.items() if not str(n).endswith("_id") and v != []}
            told = [(words(n), _value(v, depth + 1)) for n, v in named.items()]
            return "; ".join(v if n == "sku" else f"{n}: {v}" for n, v in told)[:_REACH] or "none"
        case list() if depth < 3:
            return ", ".join(_value(every, depth + 1) for every in value[:100])[:_REACH] or "none"
    return str(value)[:_REACH]
