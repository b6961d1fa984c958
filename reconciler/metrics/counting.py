"""One line's or one cycle's facts, told to a meter. The loop calls these where the facts are kept, and only there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import groupby

from desired_state.model import SkuId
from reconciler.lifecycle import Phase
from reconciler.line import Decision, Ending, Finding, LineState
from reconciler.metrics import facts
from reconciler.metrics import labels as lab
from reconciler.metrics.meter import Meter
from reconciler.model import Result
from reconciler.report import CycleReport
from reconciler.seats.book import Books


def judged(meter: Meter, first: Finding, after: LineState) -> None:
    """A line's state was kept with what was found about it at the start of the cycle."""
    before, product = first.line.state, _product(first)
    verdict = facts.new_verdict(first, after)
    if verdict is not None:
        by = facts.closed_by(first.line.ticket, ours=meter.ours, flows=meter.flows)
        cause = first.cause.value if first.cause is not None else lab.NONE
        meter.verdict(product, verdict.value, cause, by, facts.when(first))
    found = first.cause.value if first.cause is not None else None
    turned_back = after.reversals - (before.reversals if before is not None else 0)
    if turned_back > 0:
        meter.flapped(found or lab.NONE, turned_back)


def begun(meter: Meter, first: Finding, after: LineState) -> None:
    """A line's state was kept before anything is sent for it."""
    judged(meter, first, after)
    cause = facts.drift_found(first, None)
    if cause is not None:
        meter.drifted(_product(first), cause)


def ended(meter: Meter, ending: Ending, moves: Sequence[facts.Move], at: datetime, *, is_begun: bool) -> None:
    """A line's state at the end of its cycle was kept. `is_begun`: `begun` was told of it.

    `moves` are those of a line that is granted for the first time, oldest first; () for any other.
    """
    first, after = ending.gated.proposal.finding, ending.state
    before, product = first.line.state, _product(first)
    if not is_begun:
        judged(meter, first, after)
    cause = facts.drift_found(first, after)
    if cause is not None and not (is_begun and cause == facts.drift_found(first, None)):
        meter.drifted(product, cause)
    if before is not None and before.phase is Phase.WAITING_FOR_SEAT and after.phase is not before.phase:
        meter.seat_waited(product, (at - (before.since or at)).total_seconds())
    declared = first.line.declared
    approved_at = getattr(declared, "due_since", None)
    if moves and approved_at is not None and after.granted_at is not None and first.line.product is not None:
        took = facts.times(moves, approved_at=approved_at, until=after.granted_at)
        meter.granted(product, first.line.product.path.value, after.tier or lab.NONE, took)
    for outcome in ending.outcomes:
        if outcome.result in (Result.SKIPPED, Result.ROLLED_BACK):
            meter.acted(outcome.action.kind.value, outcome.result.value)  # what was sent was counted as it was sent
    if not ending.outcomes and ending.gated.decision is not Decision.STOPPED and after.phase is not Phase.REVIEW:
        for action in ending.gated.proposal.actions:
            meter.acted(action.kind.value, Result.PLANNED.value)


def is_first_grant(ending: Ending) -> bool:
    """Whether its access was proven just now for the first time; nobody knows since when what was found there is."""
    first = ending.gated.proposal.finding
    before = first.line.state
    was_there = first.line.granted_at is not None or (before is not None and before.granted_at is not None)
    has_waited = before is not None or bool(ending.outcomes)
    return ending.state.phase is Phase.GRANTED and not was_there and has_waited


def cycle_result(report: CycleReport | None) -> str:
    """How a cycle ended, as a label; None: it failed."""
    if report is None:
        return "failed"
    if report.problems:
        return "partly_failed"
    if report.trips:
        return "guarded"
    return "converged" if report.is_converged else "drift_left"


def guards(meter: Meter, report: CycleReport) -> None:
    """Every guard that stopped something in this cycle, once."""
    for name, _ in groupby(sorted(trip.guard for trip in report.trips)):
        meter.tripped(name)


def whole_cycle(
    meter: Meter,
    endings: Iterable[Ending],
    books: Books,
    prices: Mapping[SkuId, Decimal],
    *,
    writes: int,
    was_owed: bool,
) -> None:
    """A cycle over every line is over. `was_owed`: answers waited when it began, so it had something to do."""
    every = tuple(endings)
    if writes and not was_owed and facts.is_idle(every):
        meter.idle_writes(writes)
    if prices:
        meter.costs({kind: float(amount) for kind, amount in facts.costs(every, books, prices).items()})


def _product(first: Finding) -> str:
    line = first.line
    if line.product is not None:
        return line.product.key
    return line.declared.product or lab.NONE
