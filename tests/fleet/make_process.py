"""`reconciler` as processes over a server of PostgreSQL: a folder with a configuration, commands in it, their logs."""

from __future__ import annotations

import os
import re
import selectors
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from reconciler.sandbox.state import SandboxState
from reconciler.sandbox.world import World
from reconciler.sandbox.world_file import read_world
from reconciler.store import journal
from reconciler.store.database import open_database
from tests.simulation.make_weather import ALIKE, STORIES

PATIENCE_S = 300.0
# The sandbox's clock stands still between two steps of it, and cycles come by the machine's: often, and often whole.
OFTEN = {'every = "5m"': 'every = "2s"', 'pull_every = "1m"': 'pull_every = "1s"'}
OFTEN['full_scan_every = "6h"'] = 'full_scan_every = "2s"'


@dataclass
class Running:
    """A process that has said its first line, and what it has logged so far."""

    process: subprocess.Popen[bytes]
    first: str
    said: list[str] = field(default_factory=list)

    def read(self) -> str:
        """The next line of its log; waits for one. "" when there is none any more."""
        assert self.process.stderr is not None
        line = self.process.stderr.readline().decode()
        self.said += [line] if line else []
        return line

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE_S)


class Site:
    """A folder with the shipped configuration over a store, and commands in it.

    `url` is how the test reaches the store, `as_named` how the configuration names it where that is another way.
    """

    def __init__(self, folder: Path, url: str, *, as_named: str = "", changes: Mapping[str, str] = OFTEN) -> None:
        said = Path("config.toml").read_text("utf-8")
        for old, new in {'url = ""': f'url = "{as_named or url}"', **changes}.items():
            assert old in said, old
            said = said.replace(old, new, 1)
        folder.mkdir(exist_ok=True)
        (folder / "config.toml").write_text(said, "utf-8")
        self.state, self.url = folder / "var", url
        self._command = [sys.executable, "-m", "reconciler", "--config", str(folder / "config.toml")]
        self._env = {**os.environ, "RECONCILER_STATE_DIR": str(self.state)}

    def run(self, *words: str, before: Sequence[str] = ()) -> str:
        """One command to its end; what it says. `before` are words in front of it that begin it elsewhere."""
        command = [*before, *self._command, *words]
        done = subprocess.run(command, env=self._env, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextmanager
    def running(self, *words: str, before: Sequence[str] = ()) -> Iterator[Running]:
        """A process for a block. Its log is `stderr`, unbuffered: nothing waits unseen behind it."""
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "bufsize": 0}
        process = subprocess.Popen([*before, *self._command, *words], env=self._env, **pipes)
        try:
            assert process.stdout is not None
            first = process.stdout.readline().decode()
            assert first, process.communicate(timeout=PATIENCE_S)[1].decode()
            yield Running(process, first)
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=30)
            process.kill()
            process.wait()

    def advance(self, by: timedelta) -> None:
        """Turn the clock of the sandbox that is being served."""
        with SandboxState(self.state / "sandbox").connect() as served:
            served.advance(by)

    # --- what has become of it

    def world(self) -> World:
        """The sandbox's world as it is kept."""
        return read_world(self.state / "sandbox" / "world.json")[0]

    def intents(self) -> set[int]:
        """The rows of the log that announce a write."""
        return {row["seq"] for row in self._log() if row["kind"] == "intent"}

    def unanswered(self) -> set[int]:
        """Those of them that have no result."""
        return self.intents() - {row["body"]["intent"] for row in self._log() if row["kind"] == "result"}

    def _log(self) -> list[dict[str, Any]]:
        with open_database(self.url) as database, database.read() as session:
            return list(journal.export(session))

    def column(self, sql: str) -> list[Any]:
        """What a query of one column finds."""
        with open_database(self.url) as database, database.read() as session:
            return list(session.connection().exec_driver_sql(sql).scalars())


def heard(pattern: str, times: int, *processes: Running, each: bool = False) -> Running:
    """Wait until so many such lines were logged from now on, by all together or by one; whose the last one was."""
    counts: Counter[int] = Counter()
    with selectors.DefaultSelector() as ready:
        for running in processes:
            assert running.process.stderr is not None
            ready.register(running.process.stderr, selectors.EVENT_READ, running)
        while events := ready.select(PATIENCE_S):
            for key, _ in events:
                running = key.data
                line = running.read()
                assert line, running.said
                counts[running.process.pid] += re.search(pattern, line) is not None
                if (counts[running.process.pid] if each else counts.total()) >= times:
                    return running  # type: ignore[no-any-return]
    raise AssertionError([line for running in processes for line in running.said])


def truth(world: World) -> dict[str, object]:
    """What people hold, and where the tickets of the stories are. Whom of those who are alike a seat went to is all the
    same."""
    directory, instance = world.directory, world.instance

    def licences(upn: str) -> list[tuple[object, ...]]:
        states = directory.assign_states(directory.user(upn).user_id)
        return sorted((a.sku_id, str(a.group_id), *sorted(a.disabled)) for a in states)

    people = sorted(user.upn for user in directory.store.users.values())
    items = {row["number"]: row for row in instance.records("sc_req_item") if row["number"] in STORIES}
    return {
        "licences": {upn: licences(upn) for upn in people if upn not in ALIKE},
        "licences of those who are alike": sorted(licences(upn) for upn in ALIKE),
        "locations": {upn: directory.user(upn).usage_location for upn in people},
        "tickets": {number: (row["state"], row["active"]) for number, row in items.items()},
        "notes": {number: len(instance.notes(row["sys_id"])) for number, row in items.items()},
    }


def said_twice(world: World) -> list[str]:
    """Notes that a ticket carries more than once, and tasks that were made for it more than once."""
    found = []
    for row in world.instance.records("sc_req_item"):
        notes = Counter([*world.instance.notes(row["sys_id"]), *world.instance.notes(row["sys_id"], "comments")])
        tasks = world.instance.records("sc_task", request_item=row["sys_id"])
        made = Counter(task["correlation_id"] for task in tasks if task["correlation_id"])
        found += [f"{row['number']}: {what}" for what, times in (notes + made).items() if times > 1]
    return found
