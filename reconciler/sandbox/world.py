"""One seeded world: both remote systems, the clock that drives them, and what will happen to them.

The world is the truth that the services read and write and that tests compare with. Its clock stands still unless it
is turned; turning it runs every event that falls due, in order of time, then of scheduling. Everything in it is
JSON-plain on request, so a world can be kept between commands and found again exactly.
"""

from __future__ import annotations

import heapq
import random
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from reconciler.sandbox.directory import Directory
from reconciler.sandbox.faults import Faults, rng_from_json, rng_to_json
from reconciler.sandbox.identity.records import SignIns
from reconciler.sandbox.mail.records import Post
from reconciler.sandbox.servicenow import Instance
from reconciler.sandbox.switches import Switches
from reconciler.sandbox.teams.workflows import Workflows

Event = dict[str, Any]
Handler = Callable[[Event], None]


class SandboxClock:
    """A clock that stands still until it is turned; waiting turns it and lets what is due happen."""

    def __init__(self, world: World, at: datetime) -> None:
        if at.tzinfo is None:
            raise ValueError("a clock needs an aware instant")
        self._world = world
        self._start = at.astimezone(UTC)
        self._now = self._start

    def now(self) -> datetime:
        """The instant, aware, in UTC."""
        return self._now

    def monotonic(self) -> float:
        """Seconds turned since the world began."""
        return (self._now - self._start).total_seconds()

    def sleep(self, seconds: float) -> None:
        """Turn the clock by `seconds`; what is due happens. Zero or less does nothing."""
        if seconds > 0:
            self.advance(timedelta(seconds=seconds))

    def advance(self, by: timedelta) -> None:
        """Turn the clock forward; it never turns back.

        Raises:
            ValueError: `by` is negative.
        """
        if by < timedelta(0):
            raise ValueError("a clock is never turned back")
        with self._world.lock:
            target = self._now + by
            while (due := self._world.next_event_at()) is not None and due <= target:
                self._now = max(self._now, due)
                self._world.run_next_event()
            self._now = target

    def set_to(self, start: datetime, now: datetime) -> None:
        """Put a loaded clock to where it stood; runs nothing."""
        self._start, self._now = start, now


class World:
    """A tenant of Microsoft Entra, a ServiceNow instance, and one clock for both."""

    def __init__(self, at: datetime, *, seed: int = 1) -> None:
        self.lock = threading.RLock()
        self.seed = seed
        self.wakings = 0  # how often it was loaded from its file: what is made by chance differs each time
        self.rng = random.Random(f"world-{seed}")  # noqa: S311 - repeatable on purpose
        self.clock = SandboxClock(self, at)
        self.switches = Switches()
        self.faults = Faults(self.clock, seed=seed)
        self._events: list[tuple[datetime, int, Event]] = []
        self._events_made = 0
        self._handlers: dict[str, Handler] = {}
        self.directory = Directory(
            self.clock,
            self.switches,
            schedule=self.at,
            rng=random.Random(f"directory-{seed}"),  # noqa: S311
            keeps_history=lambda: self.faults.enabled,
        )
        for kind, handler in self.directory.handlers().items():
            self.on(kind, handler)
        self.instance = Instance(now=self.clock.now, rng=random.Random(f"instance-{seed}"))  # noqa: S311
        self.on("edit", self._edit)
        self.signins = SignIns()
        self.post = Post(self.clock, self.switches)
        self.teams = Workflows(self.clock, self.switches, self.at)
        self.on("teams_run", self.teams.run_due)

    def on(self, kind: str, handler: Handler) -> None:
        """Say what happens when an event of this kind falls due.

        Raises:
            ValueError: the kind has a handler already.
        """
        if kind in self._handlers:
            raise ValueError(f"events of kind {kind!r} are handled already")
        self._handlers[kind] = handler

    def at(self, instant: datetime, event: Event) -> None:
        """Let `event` happen when the clock is turned to or past `instant`.

        Raises:
            ValueError: nothing handles events of this kind, or `instant` is naive.
        """
        if event["kind"] not in self._handlers:
            raise ValueError(f"nothing handles events of kind {event['kind']!r}")
        if instant.tzinfo is None:
            raise ValueError("an event needs an aware instant")
        with self.lock:
            self._events_made += 1
            heapq.heappush(self._events, (instant, self._events_made, event))

    def _edit(self, event: Event) -> None:
        """A person changes a ServiceNow record in the forms."""
        self.instance.change(event["table"], event["sys_id"], by=event["by"], **event["values"])

    def next_event_at(self) -> datetime | None:
        """When the next event falls due, or None."""
        return self._events[0][0] if self._events else None

    def events_pending(self) -> int:
        """How many events have not happened yet."""
        return len(self._events)

    def run_next_event(self) -> None:
        """Let the earliest event happen now."""
        _, _, event = heapq.heappop(self._events)
        self._handlers[event["kind"]](event)

    def to_json(self) -> dict[str, Any]:
        """The whole world, JSON-plain."""
        with self.lock:
            return {
                "seed": self.seed,
                "wakings": self.wakings,
                "started_at": (self.clock.now() - timedelta(seconds=self.clock.monotonic())).isoformat(),
                "now": self.clock.now().isoformat(),
                "rng": rng_to_json(self.rng),
                "switches": msgspec.to_builtins(self.switches),
                "faults": self.faults.to_json(),
                "events": [[at.isoformat(), n, event] for at, n, event in self._events],
                "events_made": self._events_made,
                "directory": self.directory.to_json(),
                "instance": self.instance.to_json(),
                "signins": self.signins.to_json(),
                "teams": self.teams.to_json(),
                "post": self.post.to_json(),
            }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> World:
        """The world that `to_json` wrote."""
        start, now = datetime.fromisoformat(data["started_at"]), datetime.fromisoformat(data["now"])
        world = cls(start, seed=data["seed"])
        world.clock.set_to(start, now)
        world.wakings = data.get("wakings", 0)
        rng_from_json(world.rng, data["rng"])
        kept = msgspec.convert(data["switches"], Switches)
        for name in Switches.__struct_fields__:  # in place: the parts of the world share this one value
            setattr(world.switches, name, getattr(kept, name))
        world.faults.load(data["faults"])
        world._events = [(datetime.fromisoformat(at), n, event) for at, n, event in data["events"]]
        heapq.heapify(world._events)
        world._events_made = data["events_made"]
        world.directory.load(data["directory"])
        world.instance = Instance.from_json(
            data["instance"],
            now=world.clock.now,
            rng=random.Random(f"instance-{world.seed}-{world._events_made}-{world.wakings}"),  # noqa: S311
        )
        world.signins = SignIns.from_json(data["signins"])
        world.teams.load(data["teams"])
        world.post.load(data["post"])
        return world
