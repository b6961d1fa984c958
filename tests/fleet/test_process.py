"""`reconciler worker` as processes: two of them on one store, and one is killed in the middle of its cycle.

Where it dies decides what waits for how long, so time goes on until nothing waits for anything but people.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from reconciler.loop.execute import TOGETHER
from tests.fleet.make_process import Running, Site, heard, said_twice, truth
from tests.make_postgres import NoServer, Server, a_server
from tests.simulation.make_day import a_day

pytestmark = [pytest.mark.tls, pytest.mark.long, pytest.mark.timeout(900)]
STEPS = (timedelta(minutes=15), timedelta(hours=3), timedelta(days=1))
CYCLES = 3  # after each step
AT_REST = "SELECT ticket || '/' || line || ' ' || phase FROM line WHERE ticket <> 'RITM0010032'"
ALIKE = "SELECT phase FROM line WHERE ticket = 'RITM0010032'"  # three people and two seats
PUT_DOWN = """SELECT task_name FROM procrastinate_jobs
    WHERE status = 'failed' AND task_name NOT IN ('reconciler.tick', 'reconciler.bury')"""


@dataclass(frozen=True)
class End:
    """Where a store and its systems ended."""

    truth: dict[str, object]
    phases: list[str]
    alike: list[str]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    try:
        server = a_server()
    except NoServer as error:
        pytest.skip(str(error))
    yield server
    server.stop()


def a_site(server: Server, folder: Path, name: str) -> Site:
    server.run(f"CREATE DATABASE {name}")
    site = Site(folder, server.url(name))
    site.run("db", "upgrade")
    return site


def let_time_pass(site: Site, *workers: Running) -> None:
    heard(" cycle ended ", CYCLES, *workers)
    for step in STEPS:
        site.advance(step)
        heard(" cycle ended ", CYCLES, *workers)


def end_of(site: Site) -> End:
    assert "holds" in site.run("audit", "verify")
    return End(truth(site.world()), sorted(site.column(AT_REST)), sorted(site.column(ALIKE)))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> End:
    """The same days served by one process that nothing happens to, over a store in a file."""
    with a_day(tmp_path_factory.mktemp("undisturbed")) as day:
        for step in (timedelta(0), *STEPS):
            day.world.clock.advance(step)
            for _ in range(CYCLES):
                day.cycle()
        with day.app.database.read() as session:
            phases, alike = (list(session.connection().exec_driver_sql(sql).scalars()) for sql in (AT_REST, ALIKE))
        return End(truth(day.world), sorted(phases), sorted(alike))


@pytest.mark.parametrize("writes", [2, 9])
def test_a_worker_killed_in_a_cycle_loses_nothing_and_doubles_nothing(server, tmp_path, undisturbed, writes):
    site = a_site(server, tmp_path, f"killed_{writes}")
    with ExitStack() as up:
        up.enter_context(site.running("sandbox", "serve"))
        workers = [up.enter_context(site.running("worker")) for _ in range(2)]
        killed = heard(" write accepted ", writes, *workers, each=True)
        killed.kill()
        begun = site.unanswered()
        let_time_pass(site, *[worker for worker in workers if worker is not killed])

    assert end_of(site) == undisturbed
    assert said_twice(site.world()) == []
    assert site.unanswered() <= begun
    assert len(begun) <= TOGETHER
    assert len(site.column(PUT_DOWN)) <= 1  # what the dead worker had begun; no turn failed
