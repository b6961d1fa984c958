"""What a line that waits for a seat is told: which seat, why, its place, and what is known of the wait. Pure.

The same sentence as long as nothing changed (I10), and nobody else's request in it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from reconciler.line import Decision, Gated
from reconciler.seats.book import Book, Books, position, since
from reconciler.seats.forecast import likely
from reconciler.seats.idle import near, sentence


def explained(gated: Iterable[Gated], books: Books, *, at: datetime, use_grace: bool) -> tuple[Gated, ...]:
    """The judged lines, those that wait for a seat with the whole sentence."""
    return tuple(
        replace(g, sentence=_sentence(g, books[g.proposal.short_of[0]], at, use_grace))
        if g.decision is Decision.QUEUED
        else g
        for g in gated
    )


def _sentence(gated: Gated, book: Book, at: datetime, use_grace: bool) -> str:
    line = gated.proposal.finding.line
    place, of = position(book, line.key)
    free_at = likely(place, book.ends, book.sku, at)
    told = [
        gated.sentence,
        _why(book, use_grace),
        f"Place {place} of {of} in the queue since {since(line, at):%Y-%m-%d}.",
        f"Served before older requests: {line.priority}." if line.priority else "",
        f"A licence is likely to come free on {free_at:%Y-%m-%d}."
        if free_at is not None
        else "When one comes free is not known.",
        sentence(near(book.idle, cost_center=cost_center(gated), department=department(gated))),
    ]
    return " ".join(part for part in told if part)


def _why(book: Book, use_grace: bool) -> str:
    if book.capability.lower() not in ("enabled", "warning"):
        return "" if book.capability == "not owned" else f"The subscription is {book.capability.lower()}."
    if book.free > 0:
        return "What is free is kept for requests that were approved earlier."
    if book.warning > 0 and not use_grace:
        return f"{book.warning} more are in grace, and the configuration does not use those."
    return f"All {book.enabled + (book.warning if use_grace else 0)} are in use." if book.enabled else ""


def cost_center(gated: Gated) -> str:
    """The cost centre of who waits, as the ticket system knows the person; "" when it is not known."""
    person = gated.proposal.finding.line.person
    return (person.cost_center if person is not None else None) or ""


def department(gated: Gated) -> str:
    """The department of who waits: the directory's word, else the ticket system's; "" when it is not known."""
    finding = gated.proposal.finding
    person = finding.line.person
    shown = finding.user.department if finding.user is not None else None
    return shown or (person.department if person is not None else None) or ""
