"""`python -m tests.soak --hours 336`: one soak, its figures, and exit code 1 when something was wrong."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.soak.soak import Plan, soak


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=336.0, help="virtual hours; two weeks when left out")
    parser.add_argument("--speed", type=float, default=0.0, help="virtual seconds a second; 0 picks one")
    parser.add_argument("--kills", type=int, default=0, help="how often the process is killed; 0 picks a number")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--services", type=int, default=1, help="processes at a time on one store")
    parser.add_argument("--keep", type=Path, help="a folder for the store, the world and the logs")
    given = parser.parse_args()
    plan = Plan.of(given.hours, speed=given.speed, kills=given.kills, seed=given.seed, services=given.services)
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        found = soak(plan, given.keep or Path(folder), tell=lambda line: print(line, file=sys.stderr, flush=True))
    print(found.told())
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
