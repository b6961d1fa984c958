"""Whom to read by name of those whose account moved: all of a few, and of many those whom a hint does not show whole.

Many people move at once when something else of them was written: a department, a manager, a title. What a filter shows
of them is compared as a scan is; who is not shown whole with everything that is desired is read by name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from datetime import datetime

from desired_state.model import LineKey, UserId, Want
from reconciler.clients.graph import UserPage
from reconciler.errors import RemoteError
from reconciler.line import Line
from reconciler.loop.look import Eyes
from reconciler.loop.sweep import Desired, sweep
from reconciler.model import SubscribedSku

MANY = 100  # people at rest who moved at once: read by name, that would be ten requests


def to_read(
    eyes: Eyes,
    found: Iterable[Line],
    resting: Collection[LineKey],
    wants: Iterable[Want],
    skus: Callable[[], Iterable[SubscribedSku]],
    moved: frozenset[UserId],
    at: datetime,
    *,
    many: int = MANY,
) -> frozenset[UserId]:
    """Those of `moved` whose lines a cycle has to look at. Who is awake already is among them."""
    asked = [want for want in wants if want.user in moved]
    quiet = {want.user for want in asked} & {line.account for line in found if line.key in resting}
    if len(quiet) < many:
        return moved
    try:
        shown = eyes.graph.hinted(quiet)
    except RemoteError:  # then by name, where the same error is told
        return moved
    desired = Desired.compile((want for want in asked if want.user in quiet), {sku.sku: sku.plans for sku in skus()})
    seen = sweep([UserPage(shown.rows, at, is_last=True)], desired)
    return (moved - quiet) | shown.unshown | seen.candidates
