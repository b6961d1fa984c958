"""The service over a server of PostgreSQL that goes down, and comes back in the middle of a cycle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from reconciler.store import journal
from tests.daemon.make_service import Served, a_service
from tests.make_postgres import Server, an_own_server


@pytest.fixture
def server() -> Iterator[Server]:
    with an_own_server() as found:
        yield found


@pytest.fixture
def served(server: Server, tmp_path: Path) -> Iterator[Served]:
    with a_service(tmp_path, busy_timeout_s=2, place=server.url("current")) as found:
        yield found


def is_whole(served: Served) -> bool:
    """Nothing was written that no committed intent announced, and the log holds."""
    with served.day.app.database.read() as session:
        return served.day.watch.unannounced == [] and journal.verify(journal.export(session)).ok


def test_a_server_that_is_down_is_said_once_and_nothing_is_written_until_it_is_back(served, server):
    served.go(6)
    server.control("-m", "fast", "stop")
    writes = len(served.day.watch.writes)
    served.go(15, step_s=60)

    assert served.conditions() == ["audit", "store"]  # a log that cannot be reached is not signed either
    assert len([line for line in served.said if "condition=store" in line]) == 1, served.said
    assert len(served.day.watch.writes) == writes

    server.control("start")
    served.go(65, step_s=300)
    assert served.conditions() == []
    assert is_whole(served)


def test_a_restart_in_the_middle_of_a_cycle_loses_nothing_and_doubles_nothing(served, server):
    """The store goes away between the intent of the first licence write and its result."""
    restarted: list[str] = []

    def restart(request: httpx.Request) -> None:
        if request.url.path.endswith("/assignLicense") and not restarted:
            restarted.append(request.url.path)
            server.control("-m", "immediate", "restart")

    served.day.watch.meddle = restart
    served.go(20, step_s=60)

    assert restarted
    assert served.conditions() == []
    assert is_whole(served)
    with served.day.app.database.read() as session:
        log = list(journal.export(session))
    intents = {row["seq"]: row["body"] for row in log if row["kind"] == "intent"}
    assert {row["body"]["intent"] for row in log if row["kind"] == "result"} == set(intents)
    asked = [(b["action"], b["lines"]) for b in intents.values() if b["system"] == "graph"]
    assert len(asked) == len({str(one) for one in asked})
