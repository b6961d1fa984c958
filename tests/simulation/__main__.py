"""Plays seeds: `make simulate SEEDS=1000 FROM=2000`, or one, told cycle by cycle: `make simulate SEED=1234`.

With STORE=postgresql the store is on a server, and with WORKERS=3 so many workers of a fleet take turns.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections import Counter

from tests.make_postgres import NoServer, the_server
from tests.simulation import play_fleet
from tests.simulation.play import Begin, Played, begun, play

SHOWN = 20


def main() -> int:
    """Play what was asked for; 1 when something was wrong."""
    asked = argparse.ArgumentParser(prog="make simulate")
    asked.add_argument("--seed", type=int, help="play this one and tell it")
    asked.add_argument("--seeds", type=int, default=200, help="how many")
    asked.add_argument("--from", dest="first", type=int, default=0, help="the first of them")
    asked.add_argument("--store", choices=("sqlite", "postgresql"), default="sqlite", help="where it is kept")
    asked.add_argument(
        "--workers", type=int, default=0, help="workers that take turns, on PostgreSQL; 0 for one process"
    )
    given = asked.parse_args()
    is_server = given.store == "postgresql"
    if given.workers and not is_server:
        asked.error("workers share a store on PostgreSQL: --store postgresql")
    begin = play_fleet.workers(given.workers) if given.workers else play_fleet.one_process if is_server else begun
    if is_server:
        try:
            the_server()
        except NoServer as error:
            asked.error(str(error))
    gc.set_threshold(50_000, 50, 50)  # as in the tests
    if given.seed is not None:
        return 1 if play(given.seed, tell=True, begin=begin).wrong else 0
    total, failed, began = Summary(), 0, time.monotonic()
    for n, seed in enumerate(range(given.first, given.first + given.seeds)):
        played = played_safely(seed, begin)
        total.add(played)
        if played.wrong:
            failed += 1
            print(f"\rseed {seed}: {'; '.join(played.wrong[:3])}", flush=True)
        if sys.stderr.isatty() or n % 100 == 99:
            spent = time.monotonic() - began
            print(
                f"\r{n + 1} of {given.seeds} seeds, {failed} failed, {spent:.0f} s",
                end=" ",
                file=sys.stderr,
                flush=True,
            )
    print(f"\n{total.text(time.monotonic() - began)}")
    return 1 if failed else 0


def played_safely(seed: int, begin: Begin) -> Played:
    """A seed that raises is a seed that failed."""
    try:
        return play(seed, begin=begin)
    except Exception as error:
        return Played(seed, wrong=[f"{type(error).__name__}: {error}"])


class Summary:
    """What a number of seeds came to."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.checked: Counter[str] = Counter()
        self.phases: Counter[str] = Counter()
        self.failures: list[Played] = []

    def add(self, played: Played) -> None:
        """Count one seed in."""
        names = ("cycles", "failed", "killed", "cuts", "late", "writes", "events")
        self.counts.update({"seeds": 1, **{name: getattr(played, name) for name in names}})
        self.faults += played.faults
        self.checked += played.checked
        self.phases += played.phases
        self.failures += [played] if played.wrong else []

    def text(self, seconds: float) -> str:
        """The summary, for people."""
        c = self.counts
        rows = [
            f"{c['seeds']} seeds, {c['cycles']} cycles in {seconds:.0f} s"
            f" ({1000 * seconds / max(1, c['cycles']):.0f} ms a cycle)",
            f"{c['failed']} cycles ended early, {c['killed']} processes died, {c['cuts']} times cut off from the store,"
            f" {c['late']} came back late; {c['events']} events by others,"
            f" {c['writes']} writes to the directory",
            f"faults met: {_listed(self.faults)}",
            f"checked: {_listed(self.checked)}",
            f"lines ended: {_listed(self.phases)}",
            f"{len(self.failures)} seeds failed" + (":" if self.failures else ""),
            *(f"  make simulate SEED={f.seed}   {f.wrong[0]}" for f in self.failures[:SHOWN]),
        ]
        return "\n".join(rows)


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {n}" for name, n in sorted(counts.items())) or "none"


if __name__ == "__main__":
    sys.exit(main())
