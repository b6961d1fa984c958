"""A seed replays from its number: another process, which iterates over its sets in another order, plays the same."""

from __future__ import annotations

import os
import subprocess
import sys

SEED = 316  # products by group, processes that die, throttling, lost replies, cycles that end early: 38 cycles
TELL = (
    "import sys; from tests.simulation.play import play; p = play(int(sys.argv[1])); print(*p.told, p.head, sep='\\n')"
)


def told(hash_seed: str) -> list[str]:
    """What the seed tells in a process of its own, and the head of its audit log at the end."""
    run = [sys.executable, "-c", TELL, str(SEED)]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    return subprocess.run(run, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()


def test_a_seed_tells_the_same_and_leaves_the_same_log_in_every_process():
    first, second = told("1"), told("2")

    assert len(first) > 10
    assert first == second
