"""What a cycle did, as whoever runs it is told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import chain

from reconciler.line import Ending, Trip
from reconciler.loop import new_plans
from reconciler.loop.deps import Deps, Run
from reconciler.loop.desk import Told
from reconciler.loop.gate import Gates
from reconciler.loop.guarding import Post
from reconciler.loop.guards.judge import FIGHT
from reconciler.loop.send import Sender
from reconciler.model import AnswerKind
from reconciler.report import CycleReport, folded
from reconciler.store import journal


def report(
    d: Deps,
    run: Run,
    at: datetime,
    gates: Gates,
    endings: tuple[Ending, ...],
    told: Told,
    sender: Sender,
    post: Post,
) -> CycleReport:
    """What a cycle did and met."""
    with d.database.read() as session:
        head = journal.head(session, d.tenant)
    return CycleReport(
        cycle=run.cycle,
        tenant=d.tenant,
        mode=d.mode,
        answers=d.level,
        is_dry_run=run.is_dry,
        started_at=at,
        finished_at=d.clock.now(),
        endings=endings,
        plan_digest=gates.plan_digest,
        given=told.given,
        trips=_trips(gates.trips, told.trips, post.trips),
        requests=d.requests(),
        writes={"graph": sender.sent.graph, "servicenow": sender.sent.servicenow},
        audit_head=head.hash,
        audit_size=head.size,
        problems=folded((*told.problems, *_unseen(run, endings), *_defects(endings))),
        warnings=tuple(filter(None, (d.guarding.clocks().odd, new_plans.told(gates.gated)))),
    )


def with_urgent(report: CycleReport, urgent: Sequence[CycleReport]) -> CycleReport:
    """The report of a cycle with what cycles about urgent tickets, within it, did and met. Their lines are in it."""
    if not urgent:
        return report
    every = (*urgent, report)
    given: dict[str, tuple[AnswerKind, ...]] = {}
    for one in every:
        given |= {number: (*given.get(number, ()), *kinds) for number, kinds in one.given.items()}
    return replace(
        report,
        given=given,
        trips=_trips(*(one.trips for one in every)),
        writes={system: sum(one.writes.get(system, 0) for one in every) for system in report.writes},
        problems=tuple(dict.fromkeys(problem for one in every for problem in one.problems)),
    )


def _trips(*found: Iterable[Trip]) -> tuple[Trip, ...]:
    """Every guard once a lane, however often it stopped something; one ticket or person at a time where it says so."""
    alone = ("ticket budget", FIGHT)
    once = {(t.guard, t.lane, t.sentence if t.guard in alone else ""): t for t in reversed([*chain(*found)])}
    return tuple(reversed(once.values()))


def _unseen(run: Run, endings: tuple[Ending, ...]) -> tuple[str, ...]:
    """Tickets that were asked for by name and are not among the lines."""
    missing = sorted(run.scope.tickets - {e.state.key.ticket for e in endings})
    return tuple(f"ServiceNow shows no ticket {n} of a configured catalogue item" for n in missing)


def _defects(endings: Iterable[Ending]) -> Iterator[str]:
    """Lines that could not be judged by a fault of ours."""
    for ending in endings:
        if ending.finding.defect:
            key, why = ending.state.key, ending.finding.defect
            yield f"{key} could not be judged because of a defect ({why}); please report it"
