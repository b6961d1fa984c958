"""One seed played: a customer, bad weather, others, up to 40 cycles over weeks, and a judge after each of them."""

from __future__ import annotations

import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import httpx

from reconciler.clients.wire import make_http
from reconciler.config import Settings, load
from reconciler.errors import RemoteError, UserError
from reconciler.holding import NEED_S, TTL_S
from reconciler.line import LineState
from reconciler.loop.observe import Pace, Scope
from reconciler.once import CycleLost, once
from reconciler.sandbox.faults import FaultRule
from reconciler.sandbox.transport import SandboxTransport
from reconciler.store import journal
from reconciler.store.database import Database, row_counts
from reconciler.wiring import App
from tests.make_database import a_database
from tests.make_systems import systems_of
from tests.simulation.make_events import Others
from tests.simulation.make_tenant import Made, made
from tests.simulation.make_weather import ANYWHERE, AT_SERVICENOW, DENIED
from tests.simulation.oracle import Oracle
from tests.simulation.oracle_rows import Books

TENANT = "contoso"
MEMORY = Path("/dev/shm")
FAULTS = (*ANYWHERE, "stale_read", *AT_SERVICENOW, *DENIED)
JUMPS = (1, 2, 5, 5, 15, 40, 180, 700, 1500, 4000)  # minutes
BAD = (4, 6, 8, 10, 14, 28)  # cycles before the weather clears
LEASE_S = TTL_S - NEED_S  # of real time: a process that stood still for as long may write nothing more
SETTLING = (5, 5, 180, 1500, 4400, 60, 1500, 1500, 10)  # of the calm end, minutes before each cycle


class Killed(BaseException):
    """The process is gone."""


@dataclass
class Played:
    """What became of one seed."""

    seed: int
    cycles: int = 0
    failed: int = 0  # cycles that a remote failure ended early
    killed: int = 0
    cuts: int = 0  # of a worker's connection to the store
    late: int = 0  # workers that came back after their lease
    writes: int = 0
    events: int = 0
    granted: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    checked: Counter[str] = field(default_factory=Counter)
    phases: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    head: str = ""  # of the audit log: the same seed leaves the same log


class Edge(httpx.BaseTransport):
    """The outermost edge of our process: the oracle looks here, and here the process dies."""

    def __init__(self, inner: httpx.BaseTransport, game: Game) -> None:
        self._inner, self._game = inner, game

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        game = self._game
        game.requests += 1
        dies = game.dies_at == game.requests
        if dies and game.dies_before:
            raise Killed
        game.oracle.before(request)
        game.rows.before_write(request)
        try:
            response = self._inner.handle_request(request)
        finally:
            game.oracle.after(request)
        if dies:
            raise Killed
        return response


@contextmanager
def a_folder() -> Iterator[Path]:
    """Somewhere in memory, where there is such a place."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        yield Path(folder)


class Game:
    """A customer being played."""

    def __init__(self, tenant: Made, folder: Path, settings: Settings, database: Database, held: ExitStack) -> None:
        self.tenant, self.folder, self.settings, self.database = tenant, folder, settings, database
        self.world = tenant.world
        self.rng = random.Random(f"play-{tenant.seed}")
        self.chance = random.Random(f"names-{tenant.seed}")  # of a process; a new one goes on where the last one died
        self.oracle = Oracle(tenant)
        self.rows = Books(tenant, database, self.oracle)
        self.others = Others(tenant, self.oracle, random.Random(f"others-{tenant.seed}"))
        self.result = Played(tenant.seed)
        self.requests, self.dies_at, self.dies_before = 0, 0, False
        self.last: tuple[LineState, ...] = ()  # where each line stood after the last cycle that came to its end
        self.digest = ""  # of its plan
        service = SandboxTransport(self.world)
        self._http = [held.enter_context(make_http(Edge(service, self))) for _ in range(2)]
        self.app = self._app()

    def _app(self) -> App:
        http = self._http
        reached = systems_of(self.world.clock, http[0], http[1], random_bytes=self.chance.randbytes)
        return App(TENANT, self.settings, self.settings.tenants[TENANT], reached, self.database)

    # --- weather

    def storm(self) -> None:
        """Another mixture of what can go wrong on the wire, or none."""
        self.calm()
        if self.rng.random() < 0.3:
            return
        for fault in self.rng.sample(FAULTS, self.rng.randint(1, 4)):
            rule = FaultRule(fault, share=self.rng.choice((0.02, 0.06, 0.15)), burst=self.rng.choice((1, 1, 3)))
            self.world.faults.add(rule)
        switches = self.world.switches
        switches.licence_lock_tail_s = self.rng.choice((0.0, 0.0, 8.0))
        switches.replica_lag_s = self.rng.choice((0.0, 0.0, 20.0, 90.0))
        switches.advanced_lag_s = self.rng.choice((0.0, 0.0, 60.0))
        switches.empty_pages = self.rng.choice((0.0, 0.2))

    def calm(self) -> None:
        self.world.faults.clear()
        switches = self.world.switches
        switches.licence_lock_tail_s = switches.replica_lag_s = switches.advanced_lag_s = switches.empty_pages = 0.0

    # --- cycles

    def cycle(self, *, may_die: bool = False) -> tuple[LineState, ...] | None:
        """One cycle, and where each line stands; None when it ended early. The process may die on the way and is
        started again by the next."""
        self.result.cycles += 1
        self.requests = 0
        self.dies_at = self.rng.randint(1, 40) if may_die and self.rng.random() < 0.2 else 0
        self.dies_before = self.rng.random() < 0.5
        self.rows.cycle_begins()
        states: tuple[LineState, ...] | None = None
        began = time.time()
        try:
            scope = self._scope()
            self.rows.may_rest = scope.pace is not Pace.EVERY
            report = once(self.app, scope)
            for defect in (p for p in report.problems if "defect" in p):
                self.oracle.fail("defect", defect)
            states, self.digest = tuple(ending.state for ending in report.endings), report.plan_digest
        except Killed:
            self.result.killed += 1
            self.app = self._app()
        except RemoteError as error:
            self.result.failed += 1
            self.result.told.append(f"    {error}")
        except CycleLost as lost:  # leases count real seconds: if the machine stood still, it is played again
            if time.time() - began < LEASE_S:
                self.oracle.fail("cycle", f"it was fast and ended: {lost}")
                return None
            self.dies_at = 0
            self.result.failed += 1
            self.rows.cycle_ends(None)
            return self.cycle()
        except UserError as error:
            self.result.failed += 1
            self.result.told.append(f"    {error}")
            if self.world.faults.enabled or self.others.hidden:
                self.app = self._app()
            else:
                self.oracle.fail("cycle", f"it ended in calm weather: {error}")
        self.dies_at = 0
        self.rows.cycle_ends(states)
        self.last = states if states is not None else self.last
        return states

    def _scope(self) -> Scope:
        """Of every other customer a service takes care: quick cycles, and a scan of everybody now and then."""
        if self.tenant.seed % 2 == 0 or not self.world.faults.enabled:
            return Scope()
        return Scope(pace=Pace.SCAN if self.result.cycles % 4 == 0 else Pace.QUICK)

    def wait(self, minutes: float) -> None:
        self.world.clock.advance(timedelta(minutes=minutes))
        self.oracle.others()
        self.oracle.tickets_moved()


Begin = Callable[[Made, Path, Settings, ExitStack], Game]


def begun(tenant: Made, folder: Path, settings: Settings, held: ExitStack) -> Game:
    """One process, which may die and be started again, over a store in a file."""
    return Game(tenant, folder, settings, held.enter_context(a_database(folder / "reconciler.db")), held)


def play(seed: int, *, tell: bool = False, begin: Begin = begun) -> Played:
    """Play one seed to its end, or to the first thing that was wrong. `begin` says who plays, and on which store."""
    with a_folder() as folder, ExitStack() as held:
        tenant = made(seed)
        config = folder / "config.toml"
        config.write_text(tenant.site.toml(), encoding="utf-8")
        # Where it was played is no part of a seed, but an audit log tells where its configuration lies.
        settings = load(config, {"RECONCILER_STATE_DIR": str(folder)}).model_copy(update={"source": config.name})
        game = begin(tenant, folder, settings, held)
        database = game.database
        _play(game, tell=tell)
        game.calm()
        result = game.result
        result.wrong, result.checked = list(game.oracle.wrong), game.oracle.checked
        with database.read() as session:
            result.head = str(journal.head(session, TENANT))
        result.faults, result.writes = Counter(tenant.world.faults.met), game.oracle.writes
        result.phases = Counter(f"{state.phase}/{state.cause or 'well'}" for state in game.last)
        return result


def _play(game: Game, *, tell: bool) -> None:
    rng, result = game.rng, game.result

    def say(text: str) -> None:
        result.told.append(text)
        if tell:
            print(text)

    stood: dict[str, str] = {}

    def done(what: str) -> bool:
        stands = {str(state.key): f"{state.phase} {state.cause or ''}".strip() for state in game.last}
        moved = ", ".join(f"{key} {now}" for key, now in stands.items() if stood.get(key) != now)
        stood.update(stands)
        say(f"{game.world.clock.now():%m-%d %H:%M:%S} {what}: {moved}")
        for sentence in game.oracle.wrong:
            say(f"  WRONG {sentence}")
        return bool(game.oracle.wrong)

    game.oracle.tickets_moved()
    say(f"seed {game.tenant.seed}: {game.tenant.site}")
    later = random.Random(f"plans-{game.tenant.seed}")
    added = {later.randint(1, 5) for _ in range(later.choice((0, 1, 2)))}
    for n in range(rng.choice(BAD)):
        if n in added:
            say(f"    {game.others.add_plan(later)}")
        if n % 4 == 1:
            game.storm()
        for _ in range(rng.choice((0, 0, 1, 1, 2, 4)) if n else 0):
            say(f"    {game.others.act()}")
            result.events += 1
        game.cycle(may_die=n > 0)
        if done(f"cycle {result.cycles}"):
            return
        game.wait(rng.choice(JUMPS))
    game.calm()
    game.others.show_all()
    for minutes in SETTLING:
        game.wait(minutes)
        game.cycle()
        if done(f"calm {result.cycles}"):
            return
    _groups_work(game)
    if game.world.clock.now().minute >= 55:  # a day may end somewhere, and with it a period: taken back, then told
        for _ in range(2):
            game.wait(5)
            game.cycle()
    _rest(game)
    done("at rest")


def _groups_work(game: Game) -> None:
    """A group that took in or let go somebody in the last calm cycles gets the time that it takes here."""
    for _ in range(4):  # what it gives or takes may let another line go on, to another group
        due = max(
            (at for group in game.world.directory.store.groups.values() for at in group.waiting.values()), default=None
        )
        if due is None:
            return
        for minutes in ((due - game.world.clock.now()).total_seconds() / 60 + 1, 5):
            game.wait(max(minutes, 0))
            game.cycle()


def _rest(game: Game) -> None:
    """Nothing changes any more: a cycle sends nothing, adds no row, and plans the same from a copy of the store."""
    writes = game.oracle.writes + game.rows.tells
    with game.database.read() as session:
        rows = row_counts(session)
    dry = once(game.app, Scope(), is_dry=True)
    again = game.cycle()
    with game.database.read() as session:
        after = row_counts(session)
    game.oracle.checked["rest"] += 1
    if game.oracle.writes + game.rows.tells != writes:
        game.oracle.fail("rest", f"a cycle over an unchanged world sent {game.rows.last}")
    if rows != after:
        changed = {t: after[t] - n for t, n in rows.items() if after[t] != n}
        game.oracle.fail("rest", f"a cycle over an unchanged world added rows: {changed}")
    if again is None or dry.plan_digest != game.digest:
        game.oracle.fail("digest", "the same input gave another plan")
    game.rows.settled(again)
