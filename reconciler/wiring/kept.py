"""What outlives one cycle of a tenant, and what is asked before each of its writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from reconciler.clients.servicenow import Sizes
from reconciler.clients.wire import Budget
from reconciler.loop.pacer import Pacer
from reconciler.loop.rolling import Rolling
from reconciler.observed import Memory
from reconciler.wiring.spending import Spending


def nothing() -> None:
    """Nothing stands in the way."""


@dataclass
class Fence:
    """Asked before each attempt to send a write; raises to stop it. Set while a cycle holds its tenant.

    Before each attempt of a write that had to wait it is asked why not, by what `asking` was given.
    """

    check: Callable[[], None] = nothing
    _again: Callable[[], str] | None = field(default=None, init=False)

    def __call__(self) -> None:
        self.check()

    def why_not_again(self) -> str:
        """Why the write that is being sent and had to wait may not leave any more, "" when it may."""
        return self._again() if self._again is not None else ""

    @contextmanager
    def asking(self, why_not: Callable[[], str]) -> Iterator[None]:
        """Ask this for a block in which a write is sent."""
        before, self._again = self._again, why_not
        try:
            yield
        finally:
            self._again = before


@dataclass
class Ids:
    """sys_ids of catalogue items and groups, by the names that the configuration has for them.

    Names that were not found, or mean several records, are not kept: they are asked for again.
    """

    items: dict[str, str] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    _since_s: float | None = field(default=None, init=False)

    def forget(self, now_s: float, *, older_than_s: float) -> bool:
        """Forget them all if the oldest was asked for so long ago; whether they were. `now_s` is of a stopwatch."""
        is_old = self._since_s is not None and now_s - self._since_s >= older_than_s
        if is_old:
            self.items.clear()
            self.groups.clear()
        if is_old or self._since_s is None:
            self._since_s = now_s
        return is_old


@dataclass
class Kept:
    """What one cycle leaves to the next: tokens that are good for a while, and which system wants to be left alone.

    `spending` is what is left of the requests that were taken of an hour, `pacer` what the directory said of writes.
    `sizes` are how many rows ServiceNow serves at once, `ids` what it calls what the configuration names, `written` how
    our last answers left tickets. `observed` is what the last scan of all users showed: a hint. A fresh process does
    without any of them.
    """

    tokens: dict[str, Any] = field(default_factory=dict)
    budgets: dict[str, Budget] = field(default_factory=dict)
    spending: Spending | None = None
    pacer: Pacer | None = None
    sizes: Sizes = field(default_factory=Sizes)
    ids: Ids = field(default_factory=Ids)
    written: dict[str, int] = field(default_factory=dict)
    observed: Rolling = field(default_factory=lambda: Rolling(Memory()))
