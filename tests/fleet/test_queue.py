"""The queue between workers: one job for each tenant that is due, whoever ticks, dies or loses the database."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from procrastinate import App
from procrastinate.jobs import Status
from sqlalchemy import create_engine

from reconciler import holders
from reconciler.cards.telling import DESK
from reconciler.cards.values import Channel, Kind, Notice
from reconciler.clock import ManualClock, SystemClock
from reconciler.config import load
from reconciler.daemon import Stopping, Wishes
from reconciler.errors import StoreUnusable, UserError
from reconciler.fleet.opening import working
from reconciler.fleet.queue import PROMPT, TROUBLED, Crew, build, bury_dead, defer, task_name
from reconciler.fleet.schema import conninfo_of, make_queue
from reconciler.fleet.turns import Turns
from reconciler.fleet.worker import Fleet, Places
from reconciler.health import Health
from reconciler.store import leases, looks
from reconciler.store import notices as outbox
from reconciler.store.database import Database, open_database
from reconciler.store.looks import Look
from reconciler.store.server import LINK
from tests.make import MONDAY
from tests.make_database import a_database
from tests.make_logs import into
from tests.make_postgres import Server, an_own_server

PATIENCE_S = 60.0
NOBODY = 999_999_999  # no process has such an id
NOTICE = Notice(Kind.REQUEST, "approval.request/manager", "LR-1", DESK, Channel.TEAMS, "d" * 64, {}, "a line", "R/1")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One of its own: procrastinate's tables stay, and the server is stopped and started."""
    with an_own_server() as found:
        yield found


@pytest.fixture
def url(server: Server, request: pytest.FixtureRequest) -> str:
    name = f"q{abs(hash(request.node.name)) % 10**9}"
    server.run(f"CREATE DATABASE {name} TEMPLATE current")
    make_queue(conninfo_of(server.url(name)))
    return server.url(name)


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    with a_database(url) as opened:
        yield opened


def nobody(_: str) -> str:
    raise AssertionError("no job was to be done here")


def look(tenant: str, duty: str = "quick cycle", *, is_troubled: bool = False) -> Look:
    return Look(tenant, duty, is_troubled)


def run(url: str, body: Callable[[App], Any]) -> Any:
    async def opened() -> Any:
        app = build(conninfo_of(url), Crew(nobody, lambda: ()))
        async with app.open_async():
            return await body(app)

    return asyncio.run(opened())


def jobs(url: str) -> list[dict[str, Any]]:
    async def listed(app: App) -> list[dict[str, Any]]:
        query = "SELECT id, task_name, queue_name, status::text, args FROM procrastinate_jobs ORDER BY id"
        return list(await app.connector.execute_query_all_async(query))

    found: list[dict[str, Any]] = run(url, listed)
    return found


def test_the_queue_is_made_once(server):
    server.run("CREATE DATABASE blank TEMPLATE current")
    where = conninfo_of(server.url("blank"))

    assert [make_queue(where), make_queue(where)] == [True, False]


def test_a_tenant_that_waits_already_is_not_queued_again_by_whoever_ticks(url):
    found = [look("t0"), look("t1", "ticket pull"), look("t2", "full scan", is_troubled=True)]

    async def ticks(app: App) -> list[int]:
        return list(await asyncio.gather(*(defer(app, lambda: found) for _ in range(3))))

    assert sum(run(url, ticks)) == 3
    queued = {job["args"]["tenant"]: (job["task_name"], job["queue_name"]) for job in jobs(url)}
    assert queued == {
        "t0": ("reconciler.quick_cycle", PROMPT),
        "t1": ("reconciler.ticket_pull", PROMPT),
        "t2": ("reconciler.full_scan", TROUBLED),
    }


def worked_off(url: str, *ticks: list[Look]) -> list[str]:
    """The tenants of these ticks in the order in which one place serves them."""
    taken: list[str] = []

    def take(tenant: str) -> str:
        taken.append(tenant)
        return "done"

    async def work() -> None:
        app = build(conninfo_of(url), Crew(take, lambda: ()))
        async with app.open_async():
            for due in ticks:
                await defer(app, due.copy)
            await app.run_worker_async(queues=[PROMPT], wait=False, install_signal_handlers=False, concurrency=1)
            await bury_dead(app)

    asyncio.run(work())
    return taken


def test_what_was_cut_off_is_served_before_those_who_wait_longer(url):
    cut = replace(look("cut"), is_cut=True)

    assert worked_off(url, [look("t0"), look("t1")], [cut]) == ["cut", "t0", "t1"]


def test_an_account_that_does_not_own_the_queue_works_with_it_once_it_is_granted(url, server, database):
    server.run("CREATE ROLE hand LOGIN")
    database.grants("hand", apply=True)

    assert worked_off(url.replace("//postgres@", "//hand@"), [look("t0")]) == ["t0"]


def test_what_a_newer_version_calls_its_duties_is_done_all_the_same():
    assert task_name("something new") == "reconciler.full_scan"


def test_what_a_dead_worker_had_begun_is_put_down_and_its_tenant_queued_again(url):
    """The state in which procrastinate's own recovery would fail for ever: begun by the dead one, and queued again."""

    async def died(app: App) -> tuple[int, int]:
        manager = app.job_manager
        dead = await manager.register_worker()
        await defer(app, lambda: [look("t0")])
        job = await manager.fetch_job(queues=None, worker_id=dead)
        assert job is not None
        await app.connector.execute_query_async(
            "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 hour' WHERE id = %(id)s", id=dead
        )
        again = await defer(app, lambda: [look("t0")])
        return again, await bury_dead(app)

    assert run(url, died) == (1, 1)
    assert [job["status"] for job in jobs(url)] == [Status.FAILED.value, Status.TODO.value]


def test_places_for_those_in_trouble_are_few_and_never_all():
    assert Places.of(1).queues() == ((("control",), 1), (("prompt", "troubled"), 1))
    assert [(Places.of(n).prompt, Places.of(n).troubled) for n in (2, 4, 8)] == [(1, 1), (3, 1), (6, 2)]


def test_a_tenant_that_goes_on_owing_a_notice_is_asked_for_less_and_less_often(tmp_path):
    clock, asked = ManualClock(MONDAY), []
    with a_database(tmp_path / "reconciler.db") as database:
        wishes = Wishes()
        turns = Turns(lambda _: pytest.fail("nothing is opened here"), into([]), wishes)
        health = Health(into([]), clock.monotonic)
        fleet = Fleet("", database, turns, lambda: ["t0"], clock, health, wishes)
        with database.write() as session:
            looks.know(session, ["t0"])
            looks.put_off(session, "t0", for_s=600)  # it cannot be opened
            outbox.queue(session, "t0", NOTICE, MONDAY)

        for _ in range(300):  # ten minutes
            asked += [clock.monotonic() for look in fleet.due() if look.tenant == "t0"]
            clock.sleep(2)
        wishes.close()

    assert len([s for s in asked if s < 20]) >= 3  # its notices may not be due there for a moment
    assert len(asked) <= 15
    assert asked[-1] > 500


# --- the process ----------------------------------------------------------------------------------------------------


class Hands:
    """Stands for turns: what was taken, and a wait that a test ends. Each makes its tenant not due."""

    def __init__(self, database: Database) -> None:
        self.database, self.taken, self.gate = database, [], threading.Event()
        self.at_once: set[str] = set()
        self.doubled: list[str] = []
        self.changed = threading.Condition()
        self.gate.set()

    def take(self, tenant: str) -> str:
        with self.database.write() as session:
            lease = leases.claim(session, tenant, f"{threading.get_ident()}", ttl_s=60)
        if not isinstance(lease, leases.Lease):
            return "held"
        with self.changed:
            self.doubled += [tenant] if tenant in self.at_once else []
            self.at_once.add(tenant)
            self.taken.append(tenant)
            self.changed.notify_all()
        if tenant.startswith("slow"):
            assert self.gate.wait(PATIENCE_S)
        with self.database.write() as session:
            later = leases.now_s(session) + 3600
            looks.leave(session, lease, look_s=later, duty="quick cycle", is_troubled=False, left_over="")
            leases.release(session, lease)
        with self.changed:
            self.at_once.discard(tenant)
        return "done"

    def wait_for(self, is_there: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(is_there, PATIENCE_S), self.taken


@contextmanager
def a_worker(
    url: str,
    database: Database,
    hands: Hands,
    tenants: list[str],
    said: list[str],
    *,
    concurrency: int = 4,
    reload: Callable[[], None] = lambda: None,
) -> Iterator[Wishes]:
    """A worker in a thread; it is stopped at the end, and has to stop."""
    wishes, clock = Wishes(), SystemClock()
    turns = Turns(lambda _: pytest.fail("nothing is opened here"), into(said), wishes)
    turns.take = hands.take  # type: ignore[method-assign,assignment]
    health = Health(into(said), clock.monotonic)
    fleet = Fleet(conninfo_of(url), database, turns, lambda: tenants, clock, health, wishes, concurrency, 1, reload)
    thread = threading.Thread(target=fleet.run)
    thread.start()
    try:
        yield wishes
    finally:
        hands.gate.set()
        wishes.stop()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
        wishes.close()


def test_two_workers_serve_every_tenant_once_and_none_twice(url, database):
    hands, said, tenants = Hands(database), [], [f"t{n}" for n in range(30)]

    with a_worker(url, database, hands, tenants, said), a_worker(url, database, hands, tenants, said):
        hands.wait_for(lambda: len(set(hands.taken)) == 30)

    # a tick that overlaps the beginning of a turn asks once more, and there is nothing to do then
    assert max(Counter(hands.taken).values()) <= 3
    assert hands.doubled == []
    assert said == []


def test_what_a_process_of_this_machine_had_that_was_killed_goes_on_before_its_lease_is_over(url, database):
    hands, tenants = Hands(database), ["killed", "elsewhere"]
    with database.write() as session:
        leases.claim(session, "killed", holders.name_of(NOBODY), ttl_s=600)
        leases.claim(session, "elsewhere", "elsewhere" + holders.name_of(NOBODY), ttl_s=600)

    with a_worker(url, database, hands, tenants, []):
        hands.wait_for(lambda: "killed" in hands.taken)

    assert "elsewhere" not in hands.taken


def test_tenants_in_trouble_do_not_keep_others_from_their_turn(url, database):
    slow, prompt = [f"slow{n}" for n in range(8)], [f"t{n}" for n in range(8)]
    hands, tenants = Hands(database), [*slow, *prompt]
    with database.write() as session:
        looks.know(session, tenants)
        for tenant in slow:
            lease = leases.claim(session, tenant, "before", ttl_s=60)
            assert isinstance(lease, leases.Lease)
            looks.leave(session, lease, look_s=0, duty="quick cycle", is_troubled=True, left_over="")
            leases.release(session, lease)
    hands.gate.clear()

    with a_worker(url, database, hands, tenants, [], concurrency=4):
        hands.wait_for(lambda: set(prompt) <= set(hands.taken))

        assert sum(1 for tenant in hands.taken if tenant.startswith("slow")) == 1
        hands.gate.set()
        hands.wait_for(lambda: set(tenants) <= set(hands.taken))


def test_long_cycles_of_others_do_not_keep_a_tenant_in_trouble_from_the_place_that_is_kept_for_it(url, database):
    hands, tenants = Hands(database), ["slow0", "slow1", "slow2"]
    hands.gate.clear()

    with a_worker(url, database, hands, tenants, [], concurrency=4):
        hands.wait_for(lambda: len(hands.taken) == 3)
        with database.write() as session:
            looks.know(session, ["t0"])
            looks.put_off(session, "t0", for_s=1)
        tenants.append("t0")

        hands.wait_for(lambda: "t0" in hands.taken)


def test_a_worker_does_as_many_turns_at_once_as_it_was_told_however_few_processors_there_are(url, database):
    concurrency = 44
    slow = [f"slow{n}" for n in range(Places.of(concurrency).prompt)]
    hands, tenants = Hands(database), list(slow)
    hands.gate.clear()

    with a_worker(url, database, hands, tenants, [], concurrency=concurrency):
        hands.wait_for(lambda: set(hands.taken) == set(slow))


def test_a_worker_whose_database_was_restarted_goes_on_and_says_so_once(server, url, database):
    hands, said, tenants = Hands(database), [], ["t0"]

    with a_worker(url, database, hands, tenants, said):
        hands.wait_for(lambda: hands.taken == ["t0"])
        server.control("-m", "fast", "restart")  # at once it would forget what it had not written down
        tenants.append("t1")
        hands.wait_for(lambda: "t1" in hands.taken)

    assert [line for line in said if "the queue cannot be reached" in line][1:] == []


def test_a_store_without_a_queue_is_refused_in_one_sentence(server):
    server.run("CREATE DATABASE unqueued TEMPLATE current")
    where = server.url("unqueued")
    with a_database(where) as database:
        wishes, clock = Wishes(), SystemClock()
        turns = Turns(lambda _: pytest.fail("nothing is opened here"), into([]), wishes)
        health = Health(into([]), clock.monotonic)
        fleet = Fleet(conninfo_of(where), database, turns, lambda: ["t0"], clock, health, wishes)
        with pytest.raises(UserError, match="has no queue for workers; make it with `reconciler db upgrade`"):
            fleet.run()
        wishes.close()


def test_a_store_that_cannot_be_reached_at_the_start_is_waited_for(tmp_path):
    (tmp_path / "config.toml").write_text(
        '[store]\nurl = "postgresql+psycopg://nobody@127.0.0.1:1/nothing"\n[tenants.a]\nsandbox = true\n', "utf-8"
    )
    settings = load(tmp_path / "config.toml", {"RECONCILER_STATE_DIR": str(tmp_path)})
    said: list[str] = []

    class Impatient(Wishes):
        def wait(self, seconds: float) -> None:
            assert seconds <= 30
            if len(waits) == 2:
                self.stop()
            waits.append(seconds)

    waits: list[float] = []
    wishes = Impatient()
    with pytest.raises(Stopping), working(settings, into(said), wishes, concurrency=1, wall=SystemClock()):
        pytest.fail("there is no store")
    wishes.close()

    assert len(waits) == 3
    assert len(said) == 1
    assert "not started yet" in said[0]
    assert "cannot be reached" in said[0]


def test_a_worker_that_is_told_to_read_its_configuration_serves_tenants_that_are_new(url, database):
    hands, tenants, said = Hands(database), ["t0"], Heard()

    with a_worker(url, database, hands, tenants, said, reload=lambda: tenants.append("t1")) as wishes:
        hands.wait_for(lambda: hands.taken == ["t0"])
        wishes.reload()
        hands.wait_for(lambda: hands.taken == ["t0", "t1"])

    assert said == ["the configuration was read again and is in use tenants=2"]


def test_a_configuration_that_is_refused_changes_nothing_and_is_told_of(url, database):
    hands, tenants, said = Hands(database), ["t0"], Heard()

    def refuse() -> None:
        raise UserError("config.toml: [tenants] has none")

    with a_worker(url, database, hands, tenants, said, reload=refuse) as wishes:
        wishes.reload()
        assert said.something.wait(PATIENCE_S)
        hands.wait_for(lambda: hands.taken == ["t0"])

    assert len(said) == 1
    assert "refused, the one before stays" in said[0]
    assert "[tenants] has none" in said[0]


class Heard(list[str]):
    """What was said, and a wait for the first of it."""

    def __init__(self) -> None:
        super().__init__()
        self.something = threading.Event()

    def append(self, line: str, /) -> None:
        super().append(line)
        self.something.set()


def test_both_ways_to_the_store_notice_a_network_that_swallows_everything(server):
    asked = conninfo_of("postgresql+psycopg://a@b/c?connect_timeout=3")
    assert "connect_timeout=3" in asked  # what the configuration says counts

    with psycopg.connect(conninfo_of(server.url("current"))) as connection:
        told = connection.info.get_parameters()
    with a_database(server.url("current")) as database, database.read() as session:
        driver = session.connection().connection.driver_connection
        assert driver is not None
        told_there = driver.info.get_parameters()

    for name, value in LINK.items():
        assert (told[name], told_there[name]) == (value, value)


def test_more_places_mean_more_connections_and_none_left_is_one_sentence(server):
    where = server.url("current")
    with open_database(where, connections=20) as many, ExitStack() as held:
        for _ in range(20):
            held.enter_context(many.read())
    engine = create_engine(where, pool_size=1, max_overflow=0, pool_timeout=0.01)
    with Database(engine, name="the store") as few, few.read() as first:
        first.connection()
        with pytest.raises(StoreUnusable, match="all connections of this process to the store are in use"), few.read():
            pytest.fail("there is one connection")
