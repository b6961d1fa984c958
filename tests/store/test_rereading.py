"""People are read again before they are written to: beside the slice before theirs, and by as few reads as will do."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from reconciler.clock import ManualClock
from reconciler.errors import Unavailable
from reconciler.loop.rereading import in_a_thread, when_asked
from reconciler.model import Result
from reconciler.store.database import Database
from tests.bench.writes import BY_GROUP, DIRECT, Site, people
from tests.bench.writes_directory import Directory, Lanes
from tests.make import MONDAY, VISIO, a_line
from tests.make_database import a_database

T = TypeVar("T")
COUNT, SLICE = 60, 20


@pytest.fixture
def store(tmp_path: Path):
    with a_database(tmp_path / "reconciler.db") as database:
        yield database


@dataclass
class Watched(Directory):
    """Remembers what was read by whom; somebody moves to France after so many writes."""

    threads: set[str] = field(default_factory=set)
    reads: list[tuple[int, str]] = field(default_factory=list)  # writes before it, and what was asked for
    moves: dict[int, str] = field(default_factory=dict)
    lock: Any = field(default_factory=threading.RLock)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        with self.lock:
            writes = len(self.asked)
            if writes in self.moves:
                self.countries[self.moves.pop(writes)] = "FR"
            self.threads.add(threading.current_thread().name)
            if request.url.path.endswith("/$batch"):
                self.reads.append((writes, request.content.decode()))
            return super().handle_request(request)


def a_directory(clock: ManualClock | None = None) -> Watched:
    return Watched(clock or ManualClock(MONDAY), 0.08, str(VISIO), {str(user): set() for user in people(COUNT)})


def carried_out(
    directory: Directory, store: Database, beside: Callable[[Callable[[], T]], Callable[[], T]] = when_asked
) -> dict[int, str]:
    """How the change of each person ended; slices of twenty."""
    lines = [a_line(f"RITM{n:07d}", user=user, product=DIRECT) for n, user in enumerate(people(COUNT))]
    outcomes = Site(directory, store, SLICE, beside).carry_out(lines, COUNT)
    return {
        int(key.ticket[4:]): done[-1].why if done[-1].result is Result.SKIPPED else "" for key, done in outcomes.items()
    }


MOVED = "The account changed while the plan was made; it is planned anew."


def test_the_next_slice_is_read_in_a_thread_while_this_one_leaves(store):
    directory = a_directory()

    told = carried_out(directory, store, in_a_thread)

    assert set(told.values()) == {""}
    assert all(directory.held.values())
    assert directory.threads == {threading.current_thread().name, "reads"}
    assert directory.refused == {}


@pytest.mark.parametrize("early", [False, True])
def test_who_moved_by_the_time_the_slice_before_began_is_not_written_to(store, early: bool):
    directory = a_directory(Lanes(MONDAY) if early else None)
    last = str(people(COUNT)[COUNT - 1])
    directory.moves = {15: last}  # while the first slice leaves; the last is read when the second begins to leave

    told = carried_out(directory, store)

    assert told[COUNT - 1] == MOVED
    assert directory.held.pop(last) == set()
    assert all(directory.held.values())


def test_what_could_not_be_read_beside_is_read_when_it_is_needed(store):
    directory, failed = a_directory(), [0]

    def beside(work: Callable[[], T]) -> Callable[[], T]:
        def told() -> T:
            failed[0] += 1
            raise Unavailable("graph", "later")

        return told

    told = carried_out(directory, store, beside)

    assert failed == [2]
    assert set(told.values()) == {""}
    assert all(directory.held.values())


def test_a_person_whom_this_slice_writes_to_is_read_after_it(store):
    directory = a_directory(Lanes(MONDAY))
    users = people(COUNT)
    lines = [a_line(f"RITM{n:07d}", user=user, product=DIRECT) for n, user in enumerate(users[:30])]
    lines.append(a_line("RITM0000099", user=users[5], product=BY_GROUP))
    Site(directory, store, SLICE).carry_out(lines, COUNT)

    late = [writes for writes, asked in directory.reads if str(users[5]) in asked and writes >= SLICE]
    assert late
    assert directory.held[str(users[5])] == {str(VISIO)}


def test_who_gets_what_they_did_not_hold_is_read_once_before_the_write(store):
    directory = a_directory()

    carried_out(directory, store)

    before_first = [asked for writes, asked in directory.reads if writes == 0]
    assert sum("licenseDetails" in asked for asked in before_first) == COUNT // 20  # for the plan, and not again
    assert not any("licenseDetails" in asked for writes, asked in directory.reads if writes > 0)


def test_work_in_a_thread_gives_its_result_or_raises_what_it_raised():
    def fails() -> int:
        raise Unavailable("graph", "later")

    assert in_a_thread(lambda: 7)() == 7
    with pytest.raises(Unavailable):
        in_a_thread(fails)()
