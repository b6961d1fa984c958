"""Where a cycle that reads, watches or answers may be interrupted: between two requests, with no transaction open.

Whoever is called there may run a small cycle about some tickets, and says which (see `overtaking`): what the caller
remembers of them is old then.
"""

from __future__ import annotations

from collections.abc import Callable

PIECE = 1000  # people who are read without a pause: fifty full batches, and as many for their plans
Pause = Callable[[], frozenset[str]]  # numbers of the tickets that were worked on just now


def uninterrupted() -> frozenset[str]:
    """Nothing goes ahead of anything."""
    return frozenset()
