"""What was done of late, read from the log: how much of a day's budgets it used, and what its results say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel import Session

from reconciler.line import Lane
from reconciler.loop.guards.breakers import Circuit, Mark, Touch, fights
from reconciler.loop.guards.budgets import Used
from reconciler.loop.guards.watch import GRAPH, SERVICENOW
from reconciler.store import guards, outbox, tally

DAY_LONG = timedelta(hours=24)
CIRCUITS = {GRAPH: "circuit.graph", SERVICENOW: "circuit.servicenow"}


@dataclass(frozen=True, slots=True)
class Lately:
    """What was done of late: how much of the budgets it used, how the breakers stand and by what results, and which
    things others turned back."""

    used: Used
    circuits: Mapping[str, Circuit]
    marks: dict[str, list[Mark]]
    fought: Mapping[tuple[str, str], tuple[str, int]]


def read_lately(
    session: Session,
    at: datetime,
    names: Sequence[str],
    kept: Mapping[tuple[str, str], guards.Fact],
    flip_window: timedelta,
) -> Lately:
    """What was done under these names of a directory; `kept` is what is remembered of their breakers."""
    looks = [e for name in names for e in tally.ended_since(session, name, at - flip_window)]
    found = {system: _circuit(kept, system, names, at) for system in CIRCUITS}
    marks = {
        system: [_mark(e) for e in looks if _is_since(e, system, since, at)] for system, (_, since) in found.items()
    }
    circuits = {system: circuit for system, (circuit, _) in found.items()}
    turned = fights(Touch(e.subject, thing, value) for e in looks for thing, value in e.things)
    return Lately(used_by(session, names, at), circuits, marks, turned)


def used_by(session: Session, names: Sequence[str], at: datetime) -> Used:
    """What was used of the budgets of a day under these names."""
    since = at - DAY_LONG
    touched = tally.together(tally.touched_since(session, name, since) for name in names)
    return _used(touched, frozenset().union(*(outbox.tickets_answered_since(session, n, since) for n in names)))


def _circuit(
    kept: Mapping[tuple[str, str], guards.Fact], system: str, names: Iterable[str], at: datetime
) -> tuple[Circuit, datetime | None]:
    """Where a breaker stands, and since when results count for it; one that another name opened counts as ours."""
    found = [_kept_circuit(kept.get((name, CIRCUITS[system]))) for name in names]
    return next((f for f in found if f[0].is_open(at)), found[0])


def _kept_circuit(kept: guards.Fact | None) -> tuple[Circuit, datetime | None]:
    if kept is None:
        return Circuit(), None
    body, at = kept
    until = datetime.fromisoformat(body["until"]) if body.get("until") else None
    return Circuit(at if until is not None else None, until, str(body.get("why", ""))), at


def _mark(ended: tally.Ended) -> Mark:
    return Mark(ended.subject, ended.at, bool(ended.trouble), ended.trouble)


def _is_since(ended: tally.Ended, system: str, since: datetime | None, at: datetime) -> bool:
    is_its_own = (SERVICENOW if ended.is_for_tickets else GRAPH) == system
    return is_its_own and ended.at > (since or at - DAY_LONG)


def _used(touched: tally.Touched, answered: frozenset[str]) -> Used:
    users = {Lane(lane): who for lane, who in touched.users.items() if lane in {each.value for each in Lane}}
    by_product = {key: _used(mine, frozenset()) for key, mine in touched.by_product.items()}
    return Used({**users, Lane.ANSWERS: answered}, touched.cost, by_product)
