"""What software may read of a tenant besides tickets, and how text reaches software: inert, from the store alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, cast

from desired_state.catalogue import Catalogue
from desired_state.text import one_line
from reconciler.seats.book import position
from reconciler.store import heartbeat, tallies
from reconciler.store import seats as kept
from reconciler.store.database import Database

TEXT_MAX, NAME_MAX = 2000, 200

# Names under which text stands that people or other systems wrote.
UNTRUSTED = frozenset(
    {"item", "state_text", "closed_by", "name", "justification", "cost_center", "comment", "reason", "words", "by"}
    | {"acting_for", "waits_for", "owner_name", "inputs", "sentence", "what", "changes", "before", "after", "user"}
)


def seats(database: Database, tenant: str, catalogue: Catalogue) -> list[dict[str, Any]]:
    """Each SKU that products are given from: counts, how many wait. Nobody is named."""
    ours = {sku for product in catalogue.products.values() for sku in product.candidate_skus}
    with database.read() as session:
        books = kept.load(session, tenant)
    return [
        {
            "sku": sku,
            "name": one_line(catalogue.skus.get(sku, ("", book.part_number or sku))[1], NAME_MAX),
            "part_number": one_line(book.part_number, NAME_MAX),
            "owned": book.enabled,
            "consumed": book.consumed,
            "free": book.free,
            "waiting": position(book, None)[1],
        }
        for sku, book in sorted(books.items())
        if sku in ours
    ]


def standing(database: Database, tenant: str) -> dict[str, Any]:
    """How many lines are in which phase and why, and when a cycle ended last."""
    phases: Counter[str] = Counter()
    causes: Counter[str] = Counter()
    with database.read() as session:
        for count in tallies.counts(session, tenant):
            phases[count.kind.phase] += count.lines
            if count.kind.cause:
                causes[count.kind.cause] += count.lines
        beat = heartbeat.last(session, tenant)
    return {
        "tenant": tenant,
        "lines": phases.total(),
        "phases": dict(sorted(phases.items())),
        "causes": dict(sorted(causes.items())),
        "last_cycle_ended_at": beat.finished_at.isoformat() if beat is not None and beat.finished_at else None,
    }


def inert(told: Mapping[str, Any]) -> dict[str, Any]:
    """The same values with every text on one line and without anything invisible that steers a reader or a display."""
    return cast("dict[str, Any]", _clean(told))


def _clean(value: Any) -> Any:
    match value:
        case str():
            return one_line(value, TEXT_MAX)
        case Mapping():
            return {one_line(str(name), NAME_MAX): _clean(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_clean(inner) for inner in value]
        case _:
            return value


def marked(told: Mapping[str, Any]) -> dict[str, Any]:
    """`inert`, and every text that people or other systems wrote put into {"untrusted_text": …}: data, never orders."""
    return cast("dict[str, Any]", _mark(inert(told), is_untrusted=False))


def _mark(value: Any, *, is_untrusted: bool) -> Any:
    match value:
        case str():
            return {"untrusted_text": value} if is_untrusted and value else value
        case dict():
            return {name: _mark(v, is_untrusted=is_untrusted or name in UNTRUSTED) for name, v in value.items()}
        case list():
            return [_mark(inner, is_untrusted=is_untrusted) for inner in value]
        case _:
            return value
