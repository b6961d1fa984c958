"""Figure 7: one state change with its audit row, on the disk when it returns, against a bare fdatasync in the same run.

A state change is what ships: a line that stands in the store moves to another phase (`lines`), its row is chained to
the log (`journal`), and both are committed with the pragmas of a store. Group by group, as a plan is begun, so many of
them are one commit. The bare thing is 512 bytes appended to a file beside the store and fdatasync. Sides take turns, so
that whatever else the disk does meets all of them. Time is wall time without what other processes had the core for:
on a busy machine that is most of a sync, after which somebody else runs first, and would make our own work look free.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from statistics import median

from desired_state.model import LineKey, UserId
from reconciler.lifecycle import Phase
from reconciler.line import LineState
from reconciler.model import Verdict
from reconciler.store import journal, lines
from reconciler.store.database import Database, open_database
from tests.bench.measure import cpu_s, waited_s
from tests.make import MONDAY

TENANT = "contoso"
LINES = 2_000
GROUPS = (20, 100, 1_000)
ONE_BY_ONE_MIN, GROUPED_MIN = 0.5, 5.0
ROUNDS = 7
FOLDER = "BENCH_DIR"  # in the environment: where the store is, for another file system


def run(scale: float) -> list[str]:
    """Print rates and ratios; return a sentence for each target that was missed."""
    with (
        tempfile.TemporaryDirectory(dir=os.environ.get(FOLDER)) as folder,
        open_database(Path(folder) / "s.db") as store,
    ):
        moves = _Moves(store.of(TENANT))
        moves.group(LINES)
        singles = max(50, round(100 * scale))
        grouped = max(1_000, round(2 * scale) * 1_000)
        work: dict[str, tuple[int, Callable[[], None]]] = {"one by one": (singles, lambda: moves.one_by_one(singles))}
        for size in GROUPS:
            work[f"{size:,} a commit"] = (grouped, lambda size=size: moves.groups(grouped, size))  # type: ignore[misc]
        with _bare(Path(folder) / "bare") as sync:
            work = {"bare fdatasync": (singles, lambda: _times(sync, singles)), **work}
            for _, warm in work.values():  # the write-ahead log has its size, and is written over from here on
                warm()
            taken = _turns(work)
    return _told(taken)


class _Moves:
    """Lines that go back and forth between two phases."""

    def __init__(self, store: Database) -> None:
        self._store, self._numbers = store, count()

    def group(self, size: int) -> None:
        """So many state changes in one commit."""
        states = [_state(next(self._numbers)) for _ in range(size)]
        with self._store.write() as session:
            kept = lines.save_all(session, TENANT, states, MONDAY)
            told = [journal.Entry("line_moved", str(s.key), _body(s)) for s in states]
            journal.append_all(session, TENANT, told, at=MONDAY, cycle="c1")
        if len(kept) != size:
            raise AssertionError("a state that changed was not kept")

    def groups(self, total: int, size: int) -> None:
        for _ in range(total // size):
            self.group(size)

    def one_by_one(self, total: int) -> None:
        for _ in range(total):
            state = _state(next(self._numbers))
            with self._store.write() as session:
                if not lines.save(session, TENANT, state, MONDAY):
                    raise AssertionError("a state that changed was not kept")
                journal.append(
                    session, TENANT, kind="line_moved", subject=str(state.key), body=_body(state), at=MONDAY, cycle="c1"
                )


def _state(number: int) -> LineState:
    turn, line = divmod(number, LINES)
    phase = (Phase.CONVERGING, Phase.VERIFYING)[turn % 2]
    user = UserId(f"00000000-0000-4000-8000-{line:012d}")
    key = LineKey(f"RITM{line:07d}", 1)
    return LineState(key, phase, Verdict.FALSE, since=MONDAY, user=user, attempts=turn, product="visio-plan-2")


def _body(state: LineState) -> dict[str, object]:
    """What `record` tells of a line that moved."""
    return {
        "from": Phase.CONVERGING.value,
        "to": state.phase.value,
        "verdict": state.verdict,
        "cause": None,
        "tier": None,
        "found": "missing",
        "sentence": "The licence was assigned; its plans are not readable yet.",
        "user": state.user,
        "proof": {"access": "pending", "plan": state.user, "sku": state.user},
        "decision": "cleared",
        "rules": [{"rule": "standard", "says": "allow"}],
        "digest": f"{state.attempts:064d}",
        "plan": f"{state.attempts:064d}",
    }


@contextmanager
def _bare(path: Path) -> Iterator[Callable[[], None]]:
    file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    block = b"x" * 512

    def sync() -> None:
        os.write(file, block)
        os.fdatasync(file)

    try:
        yield sync
    finally:
        os.close(file)


def _times(work: Callable[[], None], times: int) -> None:
    for _ in range(times):
        work()


Taken = dict[str, list[tuple[float, float]]]  # name -> seconds and CPU seconds of one, round by round


def _turns(work: dict[str, tuple[int, Callable[[], None]]]) -> Taken:
    taken: Taken = {name: [] for name in work}
    for _ in range(ROUNDS):
        for name, (n, each) in work.items():
            taken[name].append(_timed(n, each))
    return taken


def _timed(n: int, work: Callable[[], None]) -> tuple[float, float]:
    cpu, waited, began = cpu_s(), waited_s(), time.perf_counter()
    work()
    return (time.perf_counter() - began - waited_s() + waited) / n, (cpu_s() - cpu) / n


def _told(taken: Taken) -> list[str]:
    bare = [wall for wall, _ in taken["bare fdatasync"]]
    missed = []
    print(f"{'':<16}{'a second':>10}{'to fdatasync: middle (least to most)':>40}{'CPU µs each':>14}")
    for name, found in taken.items():
        ratios = sorted(b / wall for b, (wall, _) in zip(bare, found, strict=True))
        middle, cpu = median(ratios), min(cpu for _, cpu in found)
        rate = 1 / median(wall for wall, _ in found)
        print(f"{name:<16}{rate:>10,.0f}{f'{middle:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})':>40}{1e6 * cpu:>14.0f}")
        wanted = ONE_BY_ONE_MIN if name == "one by one" else GROUPED_MIN
        if name != "bare fdatasync" and middle < wanted:
            missed.append(f"figure 7, {name}: {middle:.2f} times a bare fdatasync, wanted {wanted:g}")
    return missed
