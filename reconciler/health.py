"""How the service is: what it does now, what is wrong, and since when. Safe for threads; asks nobody.

A condition is something that is wrong for a while: a system that does not answer, a store that cannot be written. It is
said once when it begins and once when it is over, however often it is met in between. Names of conditions are a closed
list, so that a probe, a metric and a log line can share them; why it is so is for the log only. What is said is a
constant message with fields, as every line of the log.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

SERVICENOW, GRAPH, SIGN_IN, TEAMS, STORE = "servicenow", "graph", "sign_in", "teams", "store"
SLOW, PARTLY, LEASE, CLOCK, STANDSTILL, CONFIGURATION, AUDIT, NOTICES, DEFECT = (
    "slow",
    "partly",
    "lease",
    "clock",
    "standstill",
    "configuration",
    "audit",
    "notices",
    "defect",
)
CONDITIONS = (
    SERVICENOW,
    GRAPH,
    SIGN_IN,
    TEAMS,
    STORE,
    SLOW,
    PARTLY,
    LEASE,
    CLOCK,
    STANDSTILL,
    CONFIGURATION,
    AUDIT,
    NOTICES,
    DEFECT,
)
OWN = frozenset({STORE, CONFIGURATION, DEFECT})  # of a process, whichever tenant it meets them with
STARTING, WAITING, CYCLE, STANDBY, STOPPING = "starting", "waiting", "cycle", "standby", "stopping"
STALLED_AFTER_S = 600.0  # without a sign of life inside a cycle: longer than any wait of one call

_SYSTEMS = {
    "Microsoft Graph": GRAPH,
    "ServiceNow": SERVICENOW,
    "Microsoft Entra sign-in": SIGN_IN,
    "ServiceNow sign-in": SIGN_IN,
    "Teams": TEAMS,
}


def condition_of(system: str) -> str:
    """The condition of a remote system by its name for people."""
    return _SYSTEMS.get(system, DEFECT)


@dataclass(frozen=True, slots=True)
class Condition:
    """What is wrong, as it was last said."""

    name: str
    since: datetime
    message: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Pulse:
    """The service at one moment. `beat_age_s` is how long ago the loop last showed that it moves."""

    state: str
    state_since: datetime | None
    conditions: tuple[Condition, ...]
    beat_age_s: float
    cycles: int
    failures: int  # in a row
    last_success_at: datetime | None
    standby_for: str = ""

    @property
    def is_alive(self) -> bool:
        return self.beat_age_s < STALLED_AFTER_S


@dataclass(frozen=True, slots=True)
class Known:
    """What people have been told of and is not over: conditions, and sentences with when they were said."""

    conditions: tuple[Condition, ...] = ()
    notes: Mapping[str, datetime] = field(default_factory=dict)


class Say(Protocol):
    """Takes one event for the log: a constant message and its fields."""

    def __call__(self, message: str, /, **fields: object) -> None: ...


class Health:
    """Kept by the service, read by probes and by the watchdog.

    `say` takes what is new for the log; `stopwatch` gives the machine's own seconds, whatever a sandbox's clock does.
    """

    def __init__(self, say: Say, stopwatch: Callable[[], float]) -> None:
        self._say, self._stopwatch = say, stopwatch
        self._lock = threading.Lock()
        self._conditions: dict[str, Condition] = {}
        self._notes: dict[str, datetime] = {}
        self._beat = stopwatch()
        self._pulse = Pulse(STARTING, None, (), 0.0, 0, 0, None)

    def beat(self) -> None:
        """The loop moves."""
        self._beat = self._stopwatch()

    def state(self, name: str, at: datetime, *, standby_for: str = "") -> None:
        """What the service does from now on."""
        self.beat()
        with self._lock:
            if self._pulse.state != name or self._pulse.standby_for != standby_for:
                self._pulse = replace(self._pulse, state=name, state_since=at, standby_for=standby_for)

    def succeeded(self, at: datetime) -> None:
        """A cycle came to its end."""
        with self._lock:
            self._pulse = replace(self._pulse, cycles=self._pulse.cycles + 1, failures=0, last_success_at=at)

    def failed(self) -> int:
        """A cycle failed; how many have in a row."""
        with self._lock:
            self._pulse = replace(self._pulse, failures=self._pulse.failures + 1)
            return self._pulse.failures

    def bad(self, name: str, message: str, at: datetime, *, why: str = "", **fields: object) -> None:
        """Something is wrong. Said when it was not; `why` is for people, other fields for programs."""
        assert name in CONDITIONS, name
        with self._lock:
            before = self._conditions.get(name)
            since = before.since if before is not None else at
            self._conditions[name] = Condition(name, since, message, why)
        if before is None:
            self._say(message, condition=name, why=why, **fields)

    def good(self, name: str, at: datetime) -> None:
        """It is not, or not any more. Said when it was."""
        with self._lock:
            before = self._conditions.pop(name, None)
        if before is not None:
            # how long a clock stood still it cannot tell itself
            after = _span(at - before.since) if name != STANDSTILL else ""
            self._say(_OVER[name], condition=name, after=after)

    def note(self, sentences: Mapping[str, str] | tuple[str, ...], at: datetime) -> None:
        """What a cycle wants a person to know: each sentence once, until a cycle comes without it."""
        now = dict.fromkeys(sentences)
        with self._lock:
            fresh = [sentence for sentence in now if sentence not in self._notes]
            self._notes = {sentence: self._notes.get(sentence, at) for sentence in now}
        for sentence in fresh:
            self._say("a person should know", sentence=sentence)

    def known(self) -> Known:
        """What was said and is not over, for whoever looks after the tenant next."""
        with self._lock:
            shared = (c for name, c in sorted(self._conditions.items()) if name not in OWN)
            return Known(tuple(replace(c, why="") for c in shared), dict(self._notes))

    def adopt(self, known: Known) -> None:
        """Go on from what another process has said: what is still wrong is not said again, and its end is."""
        with self._lock:
            own = {name: c for name, c in self._conditions.items() if name in OWN}
            self._conditions = {c.name: c for c in known.conditions if c.name in CONDITIONS and c.name not in OWN} | own
            self._notes = dict(known.notes)

    def forget(self) -> None:
        """Another process looks after it now and says how it is."""
        with self._lock:
            self._conditions, self._notes = {}, {}

    def pulse(self) -> Pulse:
        """How it is now."""
        with self._lock:
            conditions = tuple(self._conditions[name] for name in sorted(self._conditions))
            age = max(0.0, self._stopwatch() - self._beat)
            return replace(self._pulse, conditions=conditions, beat_age_s=age)


_OVER = {
    SERVICENOW: "ServiceNow answers again",
    GRAPH: "Microsoft Graph answers again",
    SIGN_IN: "sign-in works again",
    TEAMS: "Teams answers again",
    STORE: "the store can be used again",
    SLOW: "cycles are in time again",
    PARTLY: "every line could be read and changed again",
    LEASE: "this service does the cycles again",
    CLOCK: "the clock goes evenly again",
    STANDSTILL: "the clock moves again",
    CONFIGURATION: "the configuration can be read again",
    AUDIT: "the audit log is signed again",
    NOTICES: "people can be told again",
    DEFECT: "cycles come to their end again",
}


def _span(span: timedelta) -> str:
    seconds = max(0, int(span.total_seconds()))
    for size, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {name}"
    return f"{seconds} s"
