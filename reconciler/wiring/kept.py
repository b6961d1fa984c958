"""What outlives one cycle of a tenant, and what is asked before each of its writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from reconciler.clients.servicenow import Sizes
from reconciler.clients.wire import Budget
from reconciler.loop.rolling import Rolling
from reconciler.observed import Memory


def nothing() -> None:
    """Nothing stands in the way."""


@dataclass
class Fence:
    """Asked before each attempt to send a write; raises to stop it. Set while a cycle holds its tenant."""

    check: Callable[[], None] = nothing

    def __call__(self) -> None:
        self.check()


@dataclass
class Kept:
    """What one cycle leaves to the next: tokens that are good for a while, and which system wants to be left alone.

    `sizes` are how many rows ServiceNow serves at once, `written` how our last answers left tickets. `observed` is what
    the last scan of all users showed: a hint. A fresh process does without any of them.
    """

    tokens: dict[str, Any] = field(default_factory=dict)
    budgets: dict[str, Budget] = field(default_factory=dict)
    sizes: Sizes = field(default_factory=Sizes)
    written: dict[str, int] = field(default_factory=dict)
    observed: Rolling = field(default_factory=lambda: Rolling(Memory()))
