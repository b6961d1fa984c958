"""Workers of a simulated customer, each as a process has them: clients, tokens, chance and connections of its own.

A `Mishap` is what happens in the middle of a turn: the worker dies, its connection to the store is cut, it stands still
until its lease is over and another one has taken its place, or another one comes while it works. What dies leaves its
lease and its transactions behind, as a process that was killed does.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import httpx
import psycopg
from sqlalchemy import event

from reconciler.clients.wire import make_http
from reconciler.config import Settings
from reconciler.daemon import Wishes
from reconciler.errors import StoreUnusable
from reconciler.fleet.turns import Turns
from reconciler.sandbox.world import World
from reconciler.store.database import Database, open_database
from reconciler.wiring import App
from tests.make_logs import into
from tests.make_systems import systems_of

Wrap = Callable[[str], httpx.BaseTransport]  # what a worker of this name reaches the systems through


class Killed(BaseException):
    """The process is gone."""


class Kind(StrEnum):
    """What can happen to a worker in its turn."""

    DIES_BEFORE = "died before a request"
    DIES_AFTER = "died after a request"
    DIES_IN_STORE = "died at a statement"
    DIES_AT_COMMIT = "died after a commit"
    CUT = "cut off at a statement"
    CUT_AT_COMMIT = "cut off at a commit that was kept"
    LATE = "late"
    MET = "met another"


IN_STORE = (Kind.DIES_IN_STORE, Kind.CUT)
AT_COMMIT = (Kind.DIES_AT_COMMIT, Kind.CUT_AT_COMMIT)
FAR = dict.fromkeys(IN_STORE, 150) | dict.fromkeys(AT_COMMIT, 30)  # statements and commits of a turn; requests: 40


@dataclass(frozen=True)
class Mishap:
    """What happens at the how-manieth request, statement or commit of a turn."""

    kind: Kind
    at: int

    @classmethod
    def drawn(cls, rng: random.Random) -> Mishap:
        kind = rng.choice(tuple(Kind))
        return cls(kind, rng.randint(1, FAR.get(kind, 40)))


@dataclass
class Line:
    """A worker's connections to the store. Each of them is the session of `name`; `end` ends one of these by its id."""

    database: Database
    end: Callable[[int], None]
    mishap: Mishap | None = None
    is_dead: bool = False
    cuts: int = 0
    _seen: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        engine = self.database._engine
        event.listen(engine, "before_cursor_execute", lambda conn, *_: self._statement(conn))
        event.listen(engine, "commit", self._commit)

    def expect(self, mishap: Mishap | None) -> None:
        """From here on; the count begins anew."""
        self.mishap, self._seen = mishap, {}

    def _statement(self, connection: Any) -> None:
        match self._met(IN_STORE):
            case Kind.DIES_IN_STORE:
                self._die()
            case Kind.CUT:
                self.cuts += 1
                self.end(connection.connection.dbapi_connection.info.backend_pid)

    def _commit(self, connection: Any) -> None:
        match self._met(AT_COMMIT):
            case Kind.DIES_AT_COMMIT:
                connection.connection.dbapi_connection.commit()
                self._die()
            case Kind.CUT_AT_COMMIT:  # the server has kept it, and its word does not arrive
                self.cuts += 1
                connection.connection.dbapi_connection.commit()
                connection.connection.dbapi_connection.close()

    def _met(self, kinds: tuple[Kind, ...]) -> Kind | None:
        is_main = threading.current_thread() is threading.main_thread()
        if self.is_dead:
            raise Killed if is_main else StoreUnusable("the process is gone")
        if (
            not is_main or self.mishap is None or self.mishap.kind not in kinds
        ):  # a lease is prolonged by another thread
            return None
        seen = self._seen[kinds[0]] = self._seen.get(kinds[0], 0) + 1
        if seen != self.mishap.at:
            return None
        found, self.mishap = self.mishap.kind, None
        return found

    def _die(self) -> None:
        self.is_dead = True
        raise Killed


@dataclass
class Worker:
    """One worker."""

    name: str
    turns: Turns
    line: Line
    held: ExitStack

    def close(self) -> None:
        """Its process has ended, by whatever end."""
        self.line.is_dead = False
        self.line.expect(None)
        self.held.close()


@dataclass
class Crew:
    """Workers over one store. `admin` is a session of its superuser, `wrap` the world as a worker reaches it."""

    tenant: str
    settings: Settings
    world: World
    url: str
    admin: psycopg.Connection[tuple[Any, ...]]
    wrap: Wrap
    seed: int
    said: list[str] = field(default_factory=list)
    workers: list[Worker] = field(default_factory=list)
    _hired: int = 0

    def hire(self, index: int | None = None) -> None:
        """One more, or one in the place of another that is gone."""
        self._hired += 1
        name = f"w{self._hired}"
        with ExitStack() as held:
            database = open_database(f"{self.url}&application_name={name}")
            held.callback(database.close)
            line = Line(database, self._end)
            chance, wishes = random.Random(f"{name}-{self.seed}"), Wishes()
            held.callback(wishes.close)
            turns = Turns(
                lambda _tenant: self._opened(name, database, chance),
                into(self.said),
                wishes,
                self.world.clock,
                now_s=lambda _session: self.now_s(),
                database=database,
                ours=frozenset({self.tenant}),
                rng=chance,
            )
            held.callback(turns.close)
            worker = Worker(name, turns, line, held.pop_all())
        if index is None:
            self.workers.append(worker)
        else:
            self.workers[index] = worker

    def bury(self, worker: Worker) -> None:
        """It is gone: its sessions end, its lease stays, and another one is begun in its place."""
        self.admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = %s", (worker.name,)
        )
        worker.close()
        self.hire(self.workers.index(worker))

    def now_s(self) -> float:
        """The seconds of the store's clock, which is the world's here."""
        return self.world.clock.now().timestamp()

    def close(self) -> None:
        for worker in self.workers:
            worker.close()

    @contextmanager
    def _opened(self, name: str, database: Database, chance: random.Random) -> Iterator[App]:
        with make_http(self.wrap(name)) as graph, make_http(self.wrap(name)) as desk:
            reached = systems_of(self.world.clock, graph, desk, random_bytes=chance.randbytes)
            own = database.of(self.tenant)
            yield App(self.tenant, self.settings, self.settings.tenants[self.tenant], reached, own)

    def _end(self, pid: int) -> None:
        self.admin.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
