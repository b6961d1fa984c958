"""What a cycle of one tenant works with, and what one is about."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from sqlmodel import Session

from desired_state.model import PlanId, UserId
from desired_state.rules import Rules
from reconciler.clock import Clock
from reconciler.loop.approving import Asking
from reconciler.loop.desk import Desk
from reconciler.loop.diff import Windows
from reconciler.loop.execute import SLICE
from reconciler.loop.gate import Policy
from reconciler.loop.guarding import Guarding, Post
from reconciler.loop.look import Eyes
from reconciler.loop.notary import Notary
from reconciler.loop.observe import Scope
from reconciler.loop.overtaking import Lookout
from reconciler.loop.pacer import Pacer
from reconciler.loop.plan import Bounds
from reconciler.loop.reader import Reader
from reconciler.loop.rereading import Beside, when_asked
from reconciler.loop.seating import Seating
from reconciler.loop.send import Again, Write
from reconciler.metrics import UNCOUNTED, Meter
from reconciler.model import ObservedUser
from reconciler.promotion.values import WATCHING, Watching
from reconciler.store.database import Database
from reconciler.traces import UNTRACED, Tracer

Progress = Callable[[str], None]
Hear = Callable[[Mapping[UserId, ObservedUser]], None]  # told of accounts as they were read since they were changed


@dataclass(frozen=True, slots=True)
class Deps:
    """Everything that a cycle of one tenant works with; built once in `wiring`."""

    tenant: str
    tenant_id: str
    mode: str
    level: str  # of answers
    database: Database
    clock: Clock
    eyes: Eyes
    reader: Reader
    desk: Desk
    rules: Rules
    policy: Policy
    windows: Windows
    bounds: Bounds
    plan_names: Mapping[PlanId, str]
    watch: timedelta
    retry_window: timedelta
    rng: random.Random
    progress: Progress
    requests: Callable[[], Mapping[str, int]]
    hear: Hear  # called once what was changed is about to be looked at: who moved until now is read after it
    seating: Seating
    guarding: Guarding
    asking: Asking
    notary: Notary | None = None
    pacer: Pacer | None = None
    fence: Again | None = None
    lookout: Lookout | None = None  # for urgent tickets, while a long plan is carried out
    slice_requests: int = SLICE
    asks_every: int = SLICE  # requests, where no plan is carried out, for urgent tickets
    beside: Beside = when_asked  # how the people of the next slice are read
    meter: Meter = UNCOUNTED
    tracer: Tracer = UNTRACED
    watching: Watching = WATCHING


@dataclass(frozen=True, slots=True)
class Run:
    """One cycle: its name, what it is about, and the check that its lease still holds.

    `is_within`: it runs between the requests of another one, which reads all other tickets. `interrupts` are that
    one's guards, once it has some.
    """

    cycle: str
    scope: Scope
    is_dry: bool
    guard: Callable[[Session, Write], None]
    interrupts: Post | None = None
    is_within: bool = False
