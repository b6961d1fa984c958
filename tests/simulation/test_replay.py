"""A seed replays from its number: again in this process, and in another, which iterates over its sets differently."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache

import pytest

from tests.simulation.play import Played, play

QUICK = 305  # a process that dies, stale reads, a cycle that ends early
LONG = 316  # products by group, processes that die, throttling, lost replies, cycles that end early: 38 cycles
TELL = (
    "import sys; from tests.simulation.play import play; p = play(int(sys.argv[1])); print(*p.told, p.head, sep='\\n')"
)


def told(played: Played) -> list[str]:
    """What a seed tells, and the head of its audit log at the end."""
    return [line for text in (*played.told, played.head) for line in text.splitlines()]


def told_elsewhere(seed: int) -> list[str]:
    """The same in a process of its own, whose hashes are not those of this one."""
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    run = [sys.executable, "-c", TELL, str(seed)]
    return subprocess.run(run, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()


@cache
def played(seed: int) -> Played:
    return play(seed)


def test_a_seed_is_played_the_same_way_again():
    first, again = played(QUICK), play(QUICK)

    assert told(first) == told(again)
    assert (first.writes, first.phases, first.faults) == (again.writes, again.phases, again.faults)


@pytest.mark.parametrize("seed", [QUICK, pytest.param(LONG, marks=pytest.mark.long)])
def test_a_seed_tells_the_same_and_leaves_the_same_log_in_another_process(seed: int):
    here = told(played(seed))

    assert len(here) > 10
    assert here == told_elsewhere(seed)
