"""What holds for the whole suite."""

from __future__ import annotations

import gc
import os
from pathlib import Path

from hypothesis import HealthCheck, settings

# A simulated customer makes millions of small frozen values and no cycles worth looking for every 700 of them:
# measured, the seeds take 7 % less time.
gc.set_threshold(50_000, 50, 50)

# For `make_postgres`; the product refuses variables with its prefix that it does not know.
if named := os.environ.pop("RECONCILER_TEST_PG_BIN", ""):
    os.environ["TEST_PG_BIN"] = named

# The stores of tests are where a commit waits for no disk: nobody needs them after a crash. What waits for one, how
# often and when, is the store's own business and the same everywhere. Some tests run what they put there.
MEMORY, ROOM_BYTES = Path("/dev/shm"), 2**31
if MEMORY.is_dir():
    there = os.statvfs(MEMORY)
    if there.f_bavail * there.f_frsize >= ROOM_BYTES and not there.f_flag & os.ST_NOEXEC:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))  # where pytest makes its folders

# How fast this machine is today says nothing about the code; CI looks for the same examples every time. Each run looks
# at fifty new ones of what does not say how many: EXAMPLES=1000 makes a night of it.
EXAMPLES = int(os.environ.get("EXAMPLES", "50"))
settings.register_profile("suite", max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("suite"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "suite")
