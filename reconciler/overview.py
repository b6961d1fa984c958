"""What the board shows, read from the store in one view of it, and the same as JSON for the API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from desired_state.catalogue import Catalogue
from desired_state.model import ProductKey, SkuId
from desired_state.text import one_line
from reconciler.answers import owner
from reconciler.causes import CAUSES, Cause
from reconciler.lifecycle import Phase
from reconciler.seats.book import Book, position
from reconciler.seats.forecast import likely
from reconciler.store import guards as kept_guards
from reconciler.store import heartbeat, leases, switches, tallies
from reconciler.store import seats as kept_seats
from reconciler.store.database import Database
from reconciler.store.guards import FORECAST
from reconciler.store.heartbeat import Heartbeat
from reconciler.store.tallies import Listed
from reconciler.tallies import Board, Row, Trend, board, crossed, shown_days

NAME_MAX = 200


@dataclass(frozen=True, slots=True)
class Overview:
    """The board, the last cycle, and what holds writes back: names of stops, and how many plans guards stopped."""

    board: Board
    beat: Heartbeat | None
    is_running: bool
    stops: tuple[str, ...]
    stopped_plans: int


def overview(database: Database, tenant: str, at: datetime) -> Overview:
    """Everything of the page `/`."""
    with database.read() as session:
        counts = tallies.counts(session, tenant)
        found = board(
            counts,
            tallies.moves(session, tenant, shown_days(at)[0]),
            at=at,
            known_since=tallies.known_since(session, tenant),
            by_phase=tallies.ages(session, tenant, at),
            by_cause=tallies.oldest_by_cause(session, tenant),
        )
        beat = heartbeat.last(session, tenant)
        is_running = leases.holder(session, tenant) is not None
        lanes = ("grants", "removals", "usage_locations", "answers")
        stops = [s for s in switches.stops(session, tenant) if any(s.stops(lane, at) for lane in lanes)]
        plans = [p for p in kept_guards.plans(session, tenant) if p.guard != FORECAST]
    waiting = sum(1 for p in plans if p.used_at is None and not p.is_released(at))
    return Overview(found, beat, is_running, tuple(s.name for s in stops), waiting)


def drift(database: Database, tenant: str, at: datetime) -> tuple[Row, ...]:
    """Drift by product and cause, in the order of their names."""
    with database.read() as session:
        counts, moves = tallies.counts(session, tenant), tallies.moves(session, tenant, shown_days(at)[0])
        return crossed(counts, moves, at=at, known_since=tallies.known_since(session, tenant))


def product_name(catalogue: Catalogue, key: str) -> str:
    return one_line(catalogue.product_name(ProductKey(key)), NAME_MAX) if key else "not understood"


def cause_facts(cause: str) -> tuple[str, str]:
    """Whose move it is, and what the reconciler does by itself ("" for nothing)."""
    known = CAUSES.get(Cause(cause)) if cause in set(Cause) else None
    return (known.owner.value, known.step) if known is not None else ("", "")


def whose_move(line: Listed, catalogue: Catalogue) -> str:
    """Whose move a line is, as the tickets are told; "" where nobody has to do anything."""
    product = catalogue.product(ProductKey(line.product)) if line.product else None
    cause = Cause(line.cause) if line.cause in set(Cause) else None
    return owner(Phase(line.phase), cause, product)


def board_json(found: Overview, catalogue: Catalogue) -> dict[str, Any]:
    """The board as the API has it. Nobody is named."""
    shown, beat = found.board, found.beat
    return {
        "at": shown.at.isoformat(),
        "lines": shown.lines,
        "verdicts": dict(shown.verdicts),
        "history_since": shown.known_since.isoformat() if shown.known_since is not None else None,
        "days": [day.isoformat() for day in shown.days],
        "fulfilled_without_access": _trend(shown.false),
        "drift": _trend(shown.drift),
        "drift_by_cause": [row_json(row, catalogue) for row in shown.causes],
        "drift_by_product": [row_json(row, catalogue) for row in shown.products],
        "phases": [
            {
                "phase": row.phase,
                "lines": row.lines,
                "oldest_since": row.ages.oldest.isoformat() if row.ages.oldest is not None else None,
                "over_a_day": row.ages.over_day,
                "over_a_week": row.ages.over_week,
            }
            for row in shown.phases
        ],
        "stops": list(found.stops),
        "stopped_plans": found.stopped_plans,
        "last_cycle": None
        if beat is None
        else {
            "cycle": beat.cycle,
            "started_at": beat.started_at.isoformat(),
            "finished_at": beat.finished_at.isoformat() if beat.finished_at is not None else None,
            "converged": beat.is_converged,
        },
    }


def _trend(trend: Trend) -> dict[str, Any]:
    return {"now": trend.now, "week": trend.week, "by_day": list(trend.days)}


def row_json(row: Row, catalogue: Catalogue) -> dict[str, Any]:
    """One row of drift. Nobody is named."""
    mover, step = cause_facts(row.cause)
    return {
        "product": row.product or None,
        "product_name": product_name(catalogue, row.product) if row.product else None,
        "cause": row.cause or None,
        "lines": row.lines,
        "fulfilled": row.closed,
        "oldest_since": row.oldest.isoformat() if row.oldest is not None else None,
        "whose_move": mover or None,
        "step": step or None,
        "trend": _trend(row.trend),
    }


def listed_json(line: Listed, catalogue: Catalogue, *, is_named: bool) -> dict[str, Any]:
    """One line of a list. Without `is_named` nobody is named, and no sentence is shown that could name somebody."""
    return {
        "ticket": line.key.ticket,
        "line": line.key.line,
        "product": line.product or None,
        "product_name": product_name(catalogue, line.product) if line.product else None,
        "phase": line.phase,
        "since": line.since.isoformat(),
        "verdict": line.verdict or None,
        "cause": line.cause or None,
        "whose_move": whose_move(line, catalogue) or None,
        "ends_at": line.ends_at.isoformat() if line.ends_at is not None else None,
        "next_at": line.next_at.isoformat() if line.next_at is not None else None,
        "person": line.person or None if is_named else None,
        "sentence": one_line(line.note, 2000) if is_named else "",
    }


def seat_books(database: Database, tenant: str, catalogue: Catalogue, at: datetime) -> list[dict[str, Any]]:
    """The SKUs that products of the catalogue are given from, as the last cycle left them."""
    ours = {sku for product in catalogue.products.values() for sku in product.candidate_skus}
    with database.read() as session:
        books: Mapping[SkuId, Book] = kept_seats.load(session, tenant)
    return [seat_json(sku, book, catalogue, at) for sku, book in sorted(books.items()) if sku in ours]


def seat_json(sku: SkuId, book: Book, catalogue: Catalogue, at: datetime) -> dict[str, Any]:
    """One SKU. Idle seats name people, and are proposed only while somebody waits."""
    return {
        "sku": sku,
        "name": catalogue.skus.get(sku, ("", book.part_number or sku))[1],
        "part_number": book.part_number,
        "capability": book.capability,
        "owned": book.enabled,
        "consumed": book.consumed,
        "grace": book.warning,
        "free": book.free,
        "waiting": position(book, None)[1],
        "kept": len(book.kept),
        "queue": [_place(book, n, at) for n in range(len(book.queue))],
        "idle": [
            {"user": i.upn, "why": i.why, "department": i.department or None, "cost_center": i.cost_center or None}
            for i in book.idle
            if book.queue
        ],
    }


def _place(book: Book, n: int, at: datetime) -> dict[str, Any]:
    waiting = book.queue[n]
    place, _ = position(book, waiting.turn.key)
    free_at = likely(place, book.ends, book.sku, at)
    return {
        "line": str(waiting.turn.key),
        "place": place,
        "since": waiting.since.isoformat() if waiting.since is not None else None,
        "has_priority": not waiting.turn.is_ordinary,
        "likely_on": free_at.date().isoformat() if free_at is not None else None,
    }
