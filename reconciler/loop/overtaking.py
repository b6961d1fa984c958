"""Urgent tickets overtake a long cycle: between its requests they are asked for, and a small one of their own serves
them.

That cycle takes the whole path (pull, look, diff, plan, gate, execute, verify, record, answer) about these tickets
alone, under the lease of the cycle that it interrupts, with a name, guards and a plan of its own (ADR 45). What it did
before the other one has a plan, that one reads again, as if it had been done before it began (ADR 50). What it did
later is nothing that the rest of the plan may build on: whoever it wrote to and whatever seats it took are left out of
the rest, and its tickets are recorded by it alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import chain

from desired_state.model import LineKey, SkuId, UserId
from reconciler.clock import Clock
from reconciler.errors import ClockWrong, RemoteError
from reconciler.lifecycle import Phase
from reconciler.line import Decision, Ending, Finding, Gated, Observed
from reconciler.loop.doing import SLICE
from reconciler.loop.gate import Gates
from reconciler.loop.guarding import Post
from reconciler.loop.reader import SOURCE, Reader
from reconciler.model import ActionKind, Outcome, Result
from reconciler.report import CycleReport
from reconciler.seats.book import Books, seats_of
from reconciler.store import tickets, watermarks

AGAIN = timedelta(minutes=2)  # after which what was given to an urgent ticket and is not proven yet is looked at again
RECENT = timedelta(minutes=10)  # before a cycle began, more than clocks differ: it reads what changed earlier itself
SERVED = "An urgent ticket of the same person was served first; what this one needs is planned anew."
NO_SEAT = "Its seat went to an urgent ticket; it is planned anew."


@dataclass(slots=True)
class Lookout:
    """Asks ServiceNow, with one request, which urgent tickets read otherwise than their copies.

    What a cycle has read is known by the copy, so a ticket is told of until one has read it, and not again after.
    """

    reader: Reader
    _since: datetime | None = None

    def ask(self, began_at: datetime) -> frozenset[str]:
        """Numbers of urgent tickets that nobody has read as they are now, of those that changed about since `began_at`.

        Raises:
            RemoteError: it could not be asked.
        """
        reader, urgency = self.reader, self.reader.urgency
        with reader.database.read() as session:
            mark = watermarks.load(session, reader.tenant, SOURCE)
        if not urgency:
            return frozenset()
        recent = began_at - RECENT
        since = self._since or (max(mark.at, recent) if mark is not None else recent)
        stamps = reader.servicenow.urgent(
            items=tuple(sorted(reader.items)), since=since, priorities=urgency.priorities, numbers=urgency.named
        )
        if stamps:
            self._since = max(since, stamps[-1].updated_at)
        with reader.database.read() as session:
            copies = tickets.load(session, reader.tenant, {stamp.number for stamp in stamps})
        read = {number: (copy.updated_at, copy.mod_count) for number, copy in copies.items()}
        return frozenset(s.number for s in stamps if read.get(s.number) != (s.updated_at, s.mod_count or 0))


@dataclass(frozen=True, slots=True)
class Meanwhile:
    """What was done before the rest of a plan: which of the rest are not carried out, and why; what was sent."""

    left: Mapping[LineKey, str] = field(default_factory=dict)
    outcomes: tuple[Outcome, ...] = ()


@dataclass(slots=True)
class Overtaking:
    """What overtakes one cycle. `serve` runs a small one about the tickets that it is handed.

    `sent` says how many requests have left so far. Where no plan is carried out, it is asked once in `every` so many.
    """

    ask: Callable[[], frozenset[str]]
    serve: Callable[[frozenset[str], int], CycleReport]
    clock: Clock
    sent: Callable[[], int] = lambda: 0
    every: int = SLICE
    reports: list[CycleReport] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    post: Post | None = None  # the guards of the cycle that is interrupted, once it has some
    observed: Observed | None = None
    spare: Counter[SkuId] = field(default_factory=Counter)
    _early: int = 0  # so many reports are older than the plan
    _asked_at: int = field(init=False)  # requests that had left by then
    _arriving: dict[str, datetime] = field(default_factory=dict)  # tickets that wait to be proven, and since when

    def __post_init__(self) -> None:
        self._asked_at = self.sent()

    def plan(self, post: Post | None, observed: Observed, spare: Counter[SkuId]) -> None:
        """A plan was made from what is observed; `spare` are the seats that it leaves free by SKU, without those that
        are not owned."""
        self.post, self.observed, self.spare, self._early = post, observed, spare, len(self.reports)

    def pause(self) -> frozenset[str]:
        """Between requests that carry out no plan: serve what is urgent now, and say which tickets that was."""
        if self.sent() - self._asked_at < self.every:
            return frozenset()
        numbers, report = self._served()
        return numbers if report is not None else frozenset()

    def __call__(self, rest: Iterable[Gated]) -> Meanwhile:
        """Serve what is urgent now before the rest of the plan."""
        numbers, report = self._served()
        if report is None or self.observed is None:
            return Meanwhile()
        acted = [e for e in report.endings if _has_acted(e)]
        self.spare.subtract(Counter(sku for e in acted for sku in _took(e, self.observed)))
        left = left_out(rest, numbers, {e.state.user for e in acted} - {None}, self.spare, self.observed)
        return Meanwhile(left, tuple(chain.from_iterable(e.outcomes for e in acted)))

    def _served(self) -> tuple[frozenset[str], CycleReport | None]:
        """Which tickets are urgent now, and the report of the cycle that served them; None where none did."""
        numbers = self._due()
        report = self._report_of(numbers) if numbers else None
        self._asked_at = self.sent()
        return numbers, report

    def _report_of(self, numbers: frozenset[str]) -> CycleReport | None:
        try:
            report = self.serve(numbers, len(self.reports) + 1)
        except (RemoteError, ClockWrong) as error:  # before anything was written; they are told of again
            self._trouble(f"urgent tickets could not be served ahead of the rest: {error}")
            return None
        self.reports.append(report)
        at = self.clock.now()
        arriving = {e.state.key.ticket for e in report.endings if e.state.phase is Phase.VERIFYING}
        self._arriving = {
            **{n: t for n, t in self._arriving.items() if n not in numbers},
            **dict.fromkeys(arriving, at),
        }
        return report

    def _due(self) -> frozenset[str]:
        at = self.clock.now()
        again = frozenset(number for number, since in self._arriving.items() if at - since >= AGAIN)
        try:
            return self.ask() | again
        except RemoteError as error:
            self._trouble(f"whether an urgent ticket arrived could not be asked: {error}")
            return again

    def _trouble(self, why: str) -> None:
        if why not in self.problems:
            self.problems.append(why)

    # --- what is left to the cycle that was interrupted

    @property
    def _late(self) -> list[CycleReport]:
        return self.reports[self._early :]

    @property
    def tickets(self) -> frozenset[str]:
        """The tickets that were recorded by cycles of their own since the plan was made."""
        return frozenset(e.state.key.ticket for report in self._late for e in report.endings)

    @property
    def outcomes(self) -> dict[LineKey, tuple[Outcome, ...]]:
        """What was done for their lines since the plan was made."""
        found: dict[LineKey, tuple[Outcome, ...]] = {}
        for ending in chain.from_iterable(report.endings for report in self._late):
            found[ending.state.key] = (*found.get(ending.state.key, ()), *ending.outcomes)
        return found

    def with_theirs(self, own: Iterable[Ending]) -> tuple[Ending, ...]:
        """How all lines ended, each as it was looked at last."""
        early = chain.from_iterable(report.endings for report in self.reports[: self._early])
        late = chain.from_iterable(report.endings for report in self._late)
        last = {e.state.key: e for e in chain(early, own, late)}
        return tuple(last[key] for key in sorted(last))

    def others(self, gates: Gates) -> Gates:
        """The lines of all other tickets."""
        done = self.tickets
        if not done:
            return gates
        return replace(gates, gated=tuple(g for g in gates.gated if g.proposal.finding.key.ticket not in done))

    def other_findings(self, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
        """What was found about all other tickets."""
        done = self.tickets
        return tuple(f for f in findings if f.key.ticket not in done) if done else findings

    def other_outcomes(self, outcomes: Mapping[LineKey, tuple[Outcome, ...]]) -> dict[LineKey, tuple[Outcome, ...]]:
        """What was done for all other tickets."""
        done = self.tickets
        return {key: told for key, told in outcomes.items() if key.ticket not in done}


def spare(books: Books) -> Counter[SkuId]:
    """The seats that a plan leaves free, by the books that were written up for it."""
    return Counter({sku: book.free for sku, book in books.items()})


def left_out(
    rest: Iterable[Gated],
    tickets_: Collection[str],
    people: Collection[UserId | None],
    free: Counter[SkuId],
    observed: Observed,
) -> dict[LineKey, str]:
    """Which of the rest of a plan are not carried out, and why. `free` is kept: below zero, seats are missing.

    Everything of these tickets and people, since the plan was made before they were served; and of those who were to
    get a seat that is gone the last ones, as many as are missing.
    """
    every = tuple(rest)
    found = {
        g.proposal.finding.key: SERVED
        for g in every
        if g.proposal.finding.key.ticket in tickets_ or g.proposal.finding.line.account in people
    }
    for g in every:
        if g.proposal.finding.key in found:
            free.update(_seats(g, observed))
    for g in reversed(every):
        if g.proposal.finding.key in found or not any(free[sku] < 0 for sku in _seats(g, observed)):
            continue
        found[g.proposal.finding.key] = NO_SEAT
        free.update(_seats(g, observed))
    return found


def _seats(gated: Gated, observed: Observed) -> frozenset[SkuId]:
    return seats_of(gated, observed) if gated.decision is Decision.CLEARED else frozenset()


def _has_acted(ending: Ending) -> bool:
    return any(o.result is Result.APPLIED or o.is_unsure for o in ending.outcomes)


def _took(ending: Ending, observed: Observed) -> frozenset[SkuId]:
    """SKUs of which its change took a seat; of a group that this plan does not know, whatever its product may be."""
    product = ending.gated.proposal.finding.line.product
    joins = any(o.action.kind is ActionKind.ADD_GROUP_MEMBER for o in ending.outcomes)
    known = seats_of(ending.gated, observed)
    return known or (frozenset(product.candidate_skus) if joins and product is not None else frozenset())
