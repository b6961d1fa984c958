"""What happened, told in the words of the domain; the registry behind it counts. The edges are handed one.

A meter without a registry counts nothing: that is the one that a one-shot command and a rehearsal work with. Nothing
here raises for what it is told: a value outside its closed set is counted under the set's last resort.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from reconciler.health import CONDITIONS
from reconciler.metrics import labels as lab
from reconciler.metrics import series as s
from reconciler.metrics.facts import Times
from reconciler.metrics.registry import Registry
from reconciler.metrics.series import Series

_KINDS = {"question": "note"}  # what the desk sees as the same kind of answer


@dataclass(frozen=True, slots=True)
class Meter:
    """Counts for one tenant. `ours` and `flows` are user names in ServiceNow: whose closing is whose."""

    registry: Registry | None = None
    tenant: str = ""
    mode: str = ""
    ours: frozenset[str] = frozenset()
    flows: frozenset[str] = frozenset()

    def of(self, tenant: str, mode: str, *, ours: frozenset[str], flows: frozenset[str]) -> Meter:
        """The same registry, told of one tenant."""
        return replace(self, tenant=tenant, mode=mode, ours=ours, flows=flows)

    # --- the loop

    def cycle_ended(self, result: str, seconds: float) -> None:
        """A cycle is over; `result` is one of `labels.CYCLE_RESULTS`, `seconds` without its wait in the queue."""
        self._add(s.CYCLES_TOTAL, result=result)
        self._add(s.CYCLE_SECONDS, seconds, result=result)
        if self.registry is not None and result in lab.SUCCESSES:
            self._add(s.LAST_SUCCESS, self.registry.wall())
        self.progress()

    def waited(self, seconds: float) -> None:
        """A cycle that was due has begun after so long."""
        self._add(s.QUEUE_WAIT, seconds)

    def progress(self) -> None:
        """The loop made a step."""
        if self.registry is not None:
            self._add(s.PROGRESS, self.registry.wall())

    def modes(self, by_product: Mapping[str, str]) -> None:
        """What may be written now, by product."""
        for product, mode in by_product.items():
            self._add(s.MODE_LEVEL, float(lab.MODES.index(mode)), product=product)

    def conditions(self, wrong: Collection[str]) -> None:
        """What is wrong with the service now, of all that can be."""
        for name in CONDITIONS:
            self._add(s.CONDITION, float(name in wrong), condition=name)

    def shares(self, by_product: Mapping[str, float]) -> None:
        """How many of the people it is enforced for, 0 to 1, by product."""
        for product, share in by_product.items():
            self._add(s.ENFORCE_SHARE, share, product=product)

    def idle_writes(self, count: int) -> None:
        """Writes were sent in a cycle that had nothing to do."""
        self._add(s.IDLE_WRITES, count)

    def tripped(self, guard: str) -> None:
        """A guard stopped a lane in this cycle."""
        self._add(s.GUARD_TRIPS, guard=lab.guard(guard))

    # --- the systems

    def exchanged(
        self, api: str, operation: str, status: int, seconds: float, *, is_sent: bool = True, attempt: int = 1
    ) -> None:
        """One try of a request; `status` 0 where no reply came."""
        group, code = lab.operation(operation), lab.code_class(status, is_sent=is_sent)
        self._add(s.API_REQUESTS, api=api, operation=group, code=code)
        if is_sent:
            self._add(s.API_SECONDS, seconds, api=api, operation=group)
        if status == 429:
            self._add(s.API_THROTTLED, api=api)
        if attempt > 1:
            self._add(s.API_RETRIES, api=api)

    def quota(self, api: str, ratio: float) -> None:
        """How much of our share of a system's quota is left, 0 to 1."""
        self._add(s.API_QUOTA, ratio, api=api)

    # --- lines

    def verdict(self, product: str, verdict: str, cause: str, closed_by: str, when: str) -> None:
        """A line has its first definite verdict."""
        self._add(s.VERDICTS, product=product, verdict=verdict, cause=cause, closed_by=closed_by, when=when)

    def drifted(self, product: str, cause: str) -> None:
        """A line was found to differ, or to differ for another cause."""
        self._add(s.DRIFT_DETECTED, product=product, cause=cause)

    def flapped(self, cause: str, times: int) -> None:
        """Others turned back what was granted."""
        self._add(s.FLAPS, times, cause=cause)

    def granted(self, product: str, path: str, tier: str, took: Times) -> None:
        """A line's access is proven for the first time."""
        parts = {"technical": took.technical, "seat": took.seat, "approval": took.approval}
        for part, seconds in parts.items():
            if seconds is not None:
                self._add(s.TIME_TO_ACCESS, seconds, product=product, path=path, part=part)
        if took.verification is not None:
            self._add(s.VERIFICATION, took.verification, product=product, tier=tier)

    def seat_waited(self, product: str, seconds: float) -> None:
        """A line has left the queue for a seat."""
        self._add(s.SEAT_WAIT, seconds, product=product)

    def acted(self, kind: str, result: str) -> None:
        """A change of the directory was planned, sent, refused, skipped or taken back."""
        self._add(s.ACTIONS, kind=kind, result=result, mode=self.mode)

    def costs(self, known: Mapping[str, float]) -> None:
        """What a month costs, by kind, as a whole cycle saw it; shown beside what the store knows."""
        if self.registry is not None:
            self.registry.remember_costs(self.tenant, known)

    # --- people

    def answered(self, kind: str, result: str) -> None:
        """A ticket was given an answer, or not."""
        self._add(s.ANSWERS, kind=_KINDS.get(kind, kind), result=result)

    def reopened(self, product: str, cause: str) -> None:
        """A ticket was opened again by us, for this product and cause among others."""
        self._add(s.REOPENED, product=product or lab.NONE, cause=cause or lab.NONE)

    def proposed(self, source: str, outcome: str) -> None:
        """Something was put before people, or decided by them."""
        self._add(s.PROPOSALS, source=source, outcome=outcome)

    def compared(self, product: str, axis: str, outcome: str) -> None:
        """It was judged what people made of what would have been done."""
        self._add(s.PROMOTION, product=product, axis=axis, outcome=outcome)

    def decided(self, product: str, seconds: float) -> None:
        """A request for approval has its last answer."""
        self._add(s.APPROVAL_SECONDS, seconds, product=product)

    def _add(self, series: Series, amount: float = 1.0, **labels: str) -> None:
        if self.registry is not None:
            self.registry.add(series, amount, **{"tenant": self.tenant, **labels})


UNCOUNTED = Meter()  # of a command, a rehearsal, a test that asks for nothing else
