"""One process of a fleet: takes jobs until it is told to stop, and outlives the loss of its database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace

import psycopg
from procrastinate import App
from procrastinate.exceptions import ProcrastinateException

from reconciler import health as words
from reconciler import holders
from reconciler.backoff import delay
from reconciler.clock import Clock
from reconciler.daemon import Wishes
from reconciler.errors import UserError
from reconciler.fleet.queue import CONTROL, DEAD_AFTER_S, HEARTBEAT_S, NOTICES, PROMPT, TROUBLED, Crew, build
from reconciler.fleet.turns import Turns
from reconciler.health import Health
from reconciler.store import looks
from reconciler.store.database import Database
from reconciler.store.looks import Look

LOOK_S = 0.2  # how soon a stop is seen
HAND_OVER_S = 15.0  # how long two workers may say different things of a tenant
STALLED_AFTER_S = 60.0
TELL_MAX_S = 60.0  # how long a notice waits that is still owed after its tenant was asked for again and again
OWN_THREADS = 4  # beside those of turns: whose time has come, whom others have had, the configuration
SHARE = 4  # of so many places, one is for tenants that are slow or failing


@dataclass(frozen=True)
class Places:
    """How many turns a worker does at once: for everybody, and of these at most for tenants in trouble."""

    prompt: int
    troubled: int

    @classmethod
    def of(cls, concurrency: int) -> Places:
        """At least one turn; with two or more, those in trouble never have all places."""
        troubled = 0 if concurrency < 2 else max(1, concurrency // SHARE)
        return cls(max(1, concurrency) - troubled, troubled)

    def queues(self) -> tuple[tuple[tuple[str, ...], int], ...]:
        """Which queues are served together, and by how many places.

        Who looks whose time has come has a place of their own: where long cycles had all others, nobody would be queued
        for a place that is free.
        """
        if not self.troubled:
            return ((CONTROL,), 1), ((PROMPT, TROUBLED), self.prompt)
        return ((CONTROL,), 1), ((PROMPT,), self.prompt), ((TROUBLED,), self.troubled)


class NoQueue(Exception):
    """The store has no tables for the queue."""


@dataclass
class Fleet:
    """What one worker needs: the store, the queue beside it, and the tenants."""

    conninfo: str
    database: Database
    turns: Turns
    tenants: Callable[[], Collection[str]]
    clock: Clock
    health: Health
    wishes: Wishes
    concurrency: int = 4
    tick_every_s: int = 2
    reload: Callable[[], None] = lambda: None  # have turns and tenants by the configuration as it is now
    _beat: float | None = field(default=None, init=False)
    _hand_over_s: float = field(default=0.0, init=False)  # when to look again whose tenants others have had
    _asked: dict[str, tuple[int, float]] = field(default_factory=dict, init=False)  # to tell: how often, when again
    _is_up: bool = field(default=False, init=False)  # the queue was reached since it was last lost

    @property
    def is_alive(self) -> bool:
        """Whether the loop that takes jobs moves; turns move in threads of their own, and each ends by itself."""
        return self._beat is None or self.clock.monotonic() - self._beat < STALLED_AFTER_S

    def run(self) -> None:
        """Work until the worker has to stop. Raises UserError when there is no queue in the store."""
        asyncio.run(self._run())

    def due(self) -> Iterable[Look]:
        """Whose time has come by the store. What a process of this machine had that was killed has nobody any more."""
        tenants = self.tenants()
        freed = holders.free_all(self.database)
        with self.database.read() as session:
            found = looks.due(session, tenants)
            owing = looks.to_tell(session, tenants, self.clock.now())
        yield from (replace(look, is_cut=look.is_cut or look.tenant in freed) for look in found)
        here = {look.tenant for look in found}
        yield from (Look(tenant, NOTICES, is_troubled=False) for tenant in self._to_tell(owing) if tenant not in here)

    def _to_tell(self, owing: Collection[str]) -> list[str]:
        """Who is asked for to tell what they owe: less and less often for as long as they owe it, since a tenant that
        cannot be opened, or tells nobody any more, owes it at every tick."""
        now_s = self.clock.monotonic()
        before = {tenant: self._asked.get(tenant, (0, now_s)) for tenant in sorted(owing)}
        chosen = [tenant for tenant, (_, next_s) in before.items() if now_s >= next_s]
        for tenant in chosen:
            times = before[tenant][0]
            before[tenant] = times + 1, now_s + min(TELL_MAX_S, self.tick_every_s * 2.0 ** min(times, 10))
        self._asked = before
        return chosen

    def _know(self) -> None:
        with self.database.write() as session:
            looks.know(session, self.tenants())

    async def _run(self) -> None:
        # By itself a loop has four threads more than there are processors: turns that take long would keep all of them,
        # also from what shows that the loop moves.
        threads = ThreadPoolExecutor(max_workers=self.concurrency + OWN_THREADS, thread_name_prefix="worker")
        asyncio.get_running_loop().set_default_executor(threads)
        attempt = 0
        while not self.wishes.is_stopping:
            try:
                await asyncio.to_thread(self._know)  # a store that does not answer must not look like a loop that hangs
                await self._work()
            except NoQueue:
                raise UserError(
                    f"{self.database.name} has no queue for workers; make it with `reconciler db upgrade`", exit_code=1
                ) from None
            except (UserError, ProcrastinateException, psycopg.Error) as error:
                attempt = 1 if self._is_up else attempt + 1
                self._is_up = False
                why = str(error) or type(error).__name__
                self.health.bad(words.STORE, "the queue cannot be reached", self.clock.now(), why=why)
                await self._pause(delay(attempt, cap_s=30.0))

    async def _work(self) -> None:
        """Take jobs for as long as the queue can be reached. Each try has connections of its own."""
        crew = Crew(self.turns.take, self.due)
        app = build(self.conninfo, crew, pool=self.concurrency + 4, tick_every_s=self.tick_every_s)
        places = Places.of(self.concurrency)
        async with app.open_async():
            if not await app.check_connection_async():
                raise NoQueue
            self.health.good(words.STORE, self.clock.now())
            self._is_up = True
            tasks = [asyncio.create_task(self._worker(app, *rest)) for rest in places.queues()]
            watch = asyncio.create_task(self._stopped())
            try:
                await asyncio.wait({*tasks, watch}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (*tasks, watch):
                    task.cancel()
                ended = await asyncio.gather(*tasks, watch, return_exceptions=True)
            for outcome in ended:
                if isinstance(outcome, Exception):
                    raise outcome

    async def _worker(self, app: App, queues: Collection[str], concurrency: int) -> None:
        await app.run_worker_async(
            queues=list(queues),
            concurrency=concurrency,
            install_signal_handlers=False,
            delete_jobs="successful",
            update_heartbeat_interval=HEARTBEAT_S,
            stalled_worker_timeout=DEAD_AFTER_S,
            fetch_job_polling_interval=1.0,
        )

    async def _stopped(self) -> None:
        while not self.wishes.is_stopping:
            self._beat = self.clock.monotonic()
            if self._beat >= self._hand_over_s:
                self._hand_over_s = self._beat + HAND_OVER_S
                await asyncio.to_thread(self._hand_over)
            if self.wishes.take_reload():
                await asyncio.to_thread(self._read_again)
            await asyncio.sleep(LOOK_S)

    def _hand_over(self) -> None:
        with suppress(UserError):  # a store that is lost is told of where jobs are taken
            self.turns.hand_over()

    def _read_again(self) -> None:
        """The configuration, because somebody asked for it. One that is refused changes nothing."""
        try:
            self.reload()
            self._know()
        except UserError as error:
            message = "the configuration is refused, the one before stays"
            self.health.bad(words.CONFIGURATION, message, self.clock.now(), why=str(error))
            return
        self.health.good(words.CONFIGURATION, self.clock.now())
        self.turns.log("the configuration was read again and is in use", tenants=len(self.tenants()))

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopped(), seconds)
