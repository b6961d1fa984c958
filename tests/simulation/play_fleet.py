"""A seed played by workers of a fleet over PostgreSQL: whoever is next takes the turn, and the judge is the same.

Which worker takes which turn, and what happens to it in the middle, is drawn from the seed. Turns come when the fleet's
own timetable says that somebody has to look; now and then somebody comes without need, as a late job does.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
from sqlalchemy import make_url

from reconciler.config import Settings
from reconciler.fleet.turns import Turn
from reconciler.line import LineState
from reconciler.loop.observe import Scope
from reconciler.once import once
from reconciler.sandbox import hosts
from reconciler.sandbox.transport import SandboxTransport
from reconciler.store import lines, looks
from reconciler.store.database import Database
from tests.fleet.make_fleet import is_write
from tests.make_database import a_database, for_the_application
from tests.make_postgres import the_server
from tests.simulation.make_tenant import Made
from tests.simulation.make_workers import Crew, Killed, Kind, Mishap, Worker
from tests.simulation.play import TENANT, Begin, Game

MISHAPS = 0.35  # of the turns while the weather is bad
NO_NEED = 0.3  # of the turns that nobody is due for
STILL = timedelta(minutes=2)  # longer than a lease
LEASE_MIN = 1.5
LOOKS_MAX = 40  # at the latest by then a cycle was done: there are some of them between two cycles


class Edge(httpx.BaseTransport):
    """What a worker reaches the systems through. The oracle looks here, and here most of what happens to it happens."""

    def __init__(self, game: FleetGame, worker: str) -> None:
        self._inner, self._game, self._worker = SandboxTransport(game.world), game, worker

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        game = self._game
        game.asks(self._worker, request)
        game.oracle.before(request)
        game.rows.before_write(request)
        try:
            response = self._inner.handle_request(request)
        finally:
            game.oracle.after(request)
        game.was_served(self._worker, request, is_well=response.status_code < 400)
        return response


class FleetGame(Game):
    """A customer being played by workers."""

    def __init__(
        self,
        tenant: Made,
        folder: Path,
        settings: Settings,
        database: Database,
        held: ExitStack,
        *,
        url: str,
        admin: psycopg.Connection[tuple[Any, ...]],
        workers: int,
    ) -> None:
        super().__init__(tenant, folder, settings, database, held)
        self.crew = Crew(TENANT, settings, self.world, url, admin, lambda name: Edge(self, name), tenant.seed)
        self.fate = random.Random(f"fate-{tenant.seed}")
        self.mishap: Mishap | None = None  # of the turn that is played, unless it happens in the store
        self.late: set[str] = set()  # workers whose lease was over before they came back
        self._turn_of: Worker | None = None
        held.callback(self.crew.close)
        for _ in range(workers):
            self.crew.hire()
        with database.write() as session:
            looks.know(session, [TENANT])

    # --- time

    def wait(self, minutes: float) -> None:
        super().wait(minutes)
        if minutes >= LEASE_MIN:
            self._leases_end()

    def _leases_end(self) -> None:
        """Leases go by the server's clock, which is not the world's: what is over by the world's is ended."""
        self.crew.admin.execute("UPDATE lease SET until_s = 0")

    def _is_due(self) -> bool:
        with self.database.read() as session:
            return bool(looks.due(session, [TENANT], now_s=self.crew.now_s()))

    def _until_due(self) -> None:
        with self.database.read() as session:
            next_look = looks.next_of(session, TENANT)
        at = next_look.at.timestamp() if next_look is not None else 0.0
        self.wait(max(0.5, (at - self.crew.now_s()) / 60))

    # --- turns

    def cycle(self, *, may_die: bool = False) -> tuple[LineState, ...] | None:
        """Turns until one of them did a cycle; while the weather is bad, one turn, in which anything may happen."""
        self.result.cycles += 1
        self.rows.cycle_begins()
        self.rows.may_rest = True
        is_bad = may_die or self.result.cycles == 1
        is_cut, ended = False, self._ended()
        for _ in range(1 if is_bad else LOOKS_MAX):
            if not self._is_due():
                if is_bad and self.fate.random() >= NO_NEED:
                    break
                if not is_bad:
                    self._until_due()
            mishap = Mishap.drawn(self.fate) if may_die and self.fate.random() < MISHAPS else None
            outcome = self._turn(self.fate.choice(self.crew.workers), mishap)
            is_cut = is_cut or mishap is not None or outcome is not Turn.DONE
            if not is_bad and outcome is not Turn.DONE:
                self.oracle.fail("turn", f"in calm weather it was {outcome or 'the end of its worker'}: {self._last()}")
            if self._ended() > ended:
                break
        else:
            if not is_bad:
                self.oracle.fail("turn", f"{LOOKS_MAX} looks and no cycle: {self._last()}")
        with self.database.read() as session:
            states = tuple(lines.load(session, TENANT).values())
        is_cut = is_cut or self._ended() == ended
        self.rows.cycle_ends(states, was_cut=is_cut)
        self.last = states
        if not is_bad:
            self.digest = once(self.app, Scope(), is_dry=True).plan_digest
        return states

    def _turn(self, worker: Worker, mishap: Mishap | None) -> Turn | None:
        """One turn; None when it was the end of the worker."""
        self.requests, self.mishap, self._turn_of = 0, mishap, worker
        worker.line.expect(mishap)
        cuts = worker.line.cuts
        try:
            outcome = worker.turns.take(TENANT)
        except Killed:
            self.result.killed += 1
            self.crew.bury(worker)
            outcome = None
        else:
            worker.line.expect(None)
            self.result.cuts += worker.line.cuts - cuts
        self.mishap = None
        self.late.discard(worker.name)
        if outcome is not Turn.DONE:
            self.result.failed += 1
        self.result.told.append(f"    {worker.name} {mishap or ''} {outcome or 'is gone'}")
        return outcome

    # --- what happens at the wire

    def asks(self, worker: str, request: httpx.Request) -> None:
        """A worker is about to ask for something."""
        if worker in self.late and is_write(request):
            self.oracle.fail("lease", f"{worker} came back late and sent {request.method} {request.url.path}")
        self.requests += 1
        if self._happens(Kind.DIES_BEFORE):
            assert self._turn_of is not None
            self._turn_of.line.is_dead = True
            raise Killed

    def was_served(self, worker: str, request: httpx.Request, *, is_well: bool) -> None:
        """Its answer is on the way to it."""
        if self._happens(Kind.DIES_AFTER):
            assert self._turn_of is not None
            self._turn_of.line.is_dead = True
            raise Killed
        # A write that is to be repeated is fenced by the machine's own stopwatch, and a sign-in comes in the middle of
        # one: neither can stand still by a clock that is turned by hand.
        if is_well and request.url.host != hosts.LOGIN_HOST and "oauth" not in request.url.path:
            if self._happens(Kind.LATE):
                self._stands_still(worker)
            elif self._happens(Kind.MET):
                self._is_met()

    def _happens(self, kind: Kind) -> bool:
        if self.mishap is None or self.mishap.kind is not kind or self.requests < self.mishap.at:
            return False
        self.mishap = None
        return True

    def _stands_still(self, worker: str) -> None:
        """Its lease is over, another one takes a turn, and only then it goes on."""
        late = self._turn_of
        self.world.clock.advance(STILL)
        self.oracle.tickets_moved()
        self._leases_end()
        other = self.fate.choice([w for w in self.crew.workers if w is not late])
        self._turn(other, None)
        self._turn_of = late
        self.late.add(worker)
        self.result.late += 1

    def _is_met(self) -> None:
        busy = self._turn_of
        for other in [w for w in self.crew.workers if w is not busy]:
            if other.turns.take(TENANT) is not Turn.HELD:
                self.oracle.fail("lease", f"{other.name} took a turn while another one had the tenant")
        self._turn_of = busy

    # --- small things

    def _ended(self) -> int:
        return sum(said.startswith("cycle ended") for said in self.crew.said)

    def _last(self) -> str:
        return "; ".join(self.crew.said[-2:])


@contextmanager
def on_a_server() -> Iterator[tuple[str, Database, psycopg.Connection[tuple[Any, ...]]]]:
    """An empty store: its address for an account that may run the service, and its owner's two ways to it.

    Raises:
        NoServer: none can run here.
    """
    server = the_server()
    with server.store() as url, a_database(url) as database, server.connect(make_url(url).database or "") as admin:
        yield str(for_the_application(url)), database, admin


def workers(count: int) -> Begin:
    """So many workers over an empty store on PostgreSQL.

    Raises:
        NoServer: none can run here.
    """

    def begin(tenant: Made, folder: Path, settings: Settings, held: ExitStack) -> Game:
        url, database, admin = held.enter_context(on_a_server())
        return FleetGame(tenant, folder, settings, database, held, url=url, admin=admin, workers=count)

    return begin


def one_process(tenant: Made, folder: Path, settings: Settings, held: ExitStack) -> Game:
    """One process, which may die and be started again, over an empty store on PostgreSQL. Raises NoServer."""
    url, _, _ = held.enter_context(on_a_server())
    return Game(tenant, folder, settings, held.enter_context(a_database(url)), held)
