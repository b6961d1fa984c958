"""`python -m tests.bench [NAME]…`: run benchmarks, all of them unless some are named. Exit 1: a target was missed.

SCALE in the environment (default 1) multiplies the size of the tenant: `SCALE=0.1` is a quick look, no measurement.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping

from tests.bench import board, durable, fleet, fullpass, kills, month, observe, tickets, writes, writes_urgent

# A benchmark prints what it measured and returns a sentence for every target that it missed.
BENCHMARKS: Mapping[str, Callable[[float], list[str]]] = {
    "full-pass": fullpass.run,
    "observe": observe.run,
    "month": month.run,
    "board": board.run,
    "writes": writes.run,
    "urgent": writes_urgent.run,
    "tickets": tickets.run,
    "store": durable.run,
    "kills": kills.run,
    "fleet": fleet.run,
}


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"no benchmark named {', '.join(unknown)}; there are: {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    missed: list[str] = []
    for name in names or list(BENCHMARKS):
        print(f"== {name}", flush=True)
        missed += [f"{name}: {sentence}" for sentence in BENCHMARKS[name](float(os.environ.get("SCALE", "1")))]
    print("\n".join(f"MISSED {sentence}" for sentence in missed) or "every target was met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
