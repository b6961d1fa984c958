"""`reconciler worker` as processes: two of them on one store, and one is killed in the middle of its cycle."""

from __future__ import annotations

import os
import re
import selectors
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import text

from reconciler.sandbox.world import World
from reconciler.sandbox.world_file import read_world
from reconciler.store.database import open_database
from tests.make_postgres import NoServer, a_server
from tests.simulation.make_day import a_played_day

pytestmark = [pytest.mark.tls, pytest.mark.long]
PATIENCE_S = 300.0
OFTEN = {'every = "5m"': 'every = "2s"', 'pull_every = "1m"': 'pull_every = "1s"'}


@pytest.fixture
def url() -> Iterator[str]:
    try:
        server = a_server()
    except NoServer as error:
        pytest.skip(str(error))
    server.run("CREATE DATABASE fleet")
    yield server.url("fleet")
    server.stop()


class Site:
    """A folder with a configuration, and commands in it."""

    def __init__(self, folder: Path, url: str) -> None:
        said = Path("config.toml").read_text("utf-8")
        for old, new in {'url = ""': f'url = "{url}"', **OFTEN}.items():
            assert old in said, old
            said = said.replace(old, new, 1)
        (folder / "config.toml").write_text(said, "utf-8")
        self.state = folder / "var"
        self._command = [sys.executable, "-m", "reconciler", "--config", str(folder / "config.toml")]
        self._env = {**os.environ, "RECONCILER_STATE_DIR": str(self.state)}

    def run(self, *words: str) -> str:
        done = subprocess.run(
            [*self._command, *words], env=self._env, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextmanager
    def running(self, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        """A process that has said its first line. Its log is `stderr`, unbuffered: nothing waits unseen behind it."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "bufsize": 0}
        process = subprocess.Popen([*self._command, *words], env=self._env, **pipes)  # type: ignore[call-overload]
        try:
            assert process.stdout.readline()
            yield process
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=30)
            process.kill()
            process.wait()


def heard(pattern: str, times: int, *processes: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
    """Wait until one of them has logged so many such lines; that one."""
    said, counts = [], dict.fromkeys(processes, 0)
    with selectors.DefaultSelector() as ready:
        for process in processes:
            assert process.stderr is not None
            ready.register(process.stderr, selectors.EVENT_READ, process)
        while events := ready.select(PATIENCE_S):
            for key, _ in events:
                line = key.data.stderr.readline().decode()
                assert line, said
                said.append(line)
                counts[key.data] += re.search(pattern, line) is not None
                if counts[key.data] == times:
                    found: subprocess.Popen[bytes] = key.data
                    return found
    raise AssertionError(said)


def truth(world: World) -> dict[str, object]:
    """What people hold, and what each ticket was told."""
    store = world.directory.store
    held = {
        user: sorted((a.sku_id, str(a.group_id), *sorted(a.disabled)) for a in world.directory.assign_states(user))
        for user in store.users
    }
    told = {row["number"]: len(world.instance.notes(row["sys_id"])) for row in world.instance.records("sc_req_item")}
    return {"held": held, "told": told}


def test_a_worker_killed_in_a_cycle_loses_nothing_and_doubles_nothing(tmp_path, url):
    site = Site(tmp_path, url)
    site.run("db", "upgrade")
    with ExitStack() as up:
        up.enter_context(site.running("sandbox", "serve"))
        workers = [up.enter_context(site.running("worker")) for _ in range(2)]
        killed = heard(" write accepted ", 6, *workers)
        killed.kill()
        killed.wait(PATIENCE_S)
        other = next(worker for worker in workers if worker is not killed)
        heard(" cycle ended ", 3, other)
    assert "holds" in site.run("audit", "verify")
    with open_database(url) as database, database.read() as session:
        rows = session.connection().execute(text("SELECT ticket, line, phase FROM line"))
        phases = {f"{ticket}/{line}": phase for ticket, line, phase in rows}
        failed = session.connection().execute(text("SELECT task_name FROM procrastinate_jobs WHERE status = 'failed'"))
        put_down = [name for (name,) in failed if name not in ("reconciler.tick", "reconciler.bury")]

    world, _ = read_world(site.state / "sandbox" / "world.json")
    with a_played_day(tmp_path / "alone") as day:
        assert phases == day.phases()
        assert truth(world) == truth(day.world)
    assert len(put_down) <= 1  # what the dead worker had begun; no turn failed
