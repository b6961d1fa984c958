"""What would have been done is kept once, judged once, and goes when it is old."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from desired_state.model import LineKey
from reconciler.promotion.values import Axis, Outcome, Shadow
from reconciler.store import shadows
from tests.make import DAY, MONDAY

TENANT = "contoso"
FIRST = Shadow(
    LineKey("RITM0000001", 1),
    Axis.MODE,
    "d" * 64,
    "visio",
    "observe",
    ({"do": "licence", "sku": "s", "off": ["a"], "name": "VISIO"},),
    MONDAY,
    user="u",
    base={"is_active": True},
)


def judged(shadow: Shadow, at, outcome: Outcome = Outcome.AGREED) -> Shadow:
    return replace(shadow, outcome=outcome, why="It came.", by="Tom", acted_at=at, decided_at=at)


def test_what_is_kept_is_read_back_as_it_was(database):
    with database.write() as session:
        shadows.add(session, TENANT, FIRST)
        shadows.add(session, "other", FIRST)

    with database.read() as session:
        assert shadows.waiting(session, TENANT) == [FIRST]
        assert shadows.of_tickets(session, TENANT, ["RITM0000001", "RITM0000002"]) == [FIRST]
        assert shadows.of_tickets(session, TENANT, ["RITM0000002"]) == []


def test_what_was_judged_waits_no_more_and_is_found_while_the_window_reaches_it(database):
    found = judged(FIRST, MONDAY + DAY)
    with database.write() as session:
        shadows.add(session, TENANT, FIRST)
        shadows.judged(session, TENANT, found)

    with database.read() as session:
        assert shadows.waiting(session, TENANT) == []
        assert shadows.since(session, TENANT, MONDAY) == [found]
        assert shadows.since(session, TENANT, MONDAY + 2 * DAY) == []


@pytest.mark.parametrize(("age", "left"), [(timedelta(days=3), 0), (timedelta(days=1), 1)])
def test_what_was_judged_long_ago_goes_and_what_waits_stays(database, age, left):
    waits = replace(FIRST, digest="e" * 64, recorded_at=MONDAY - 400 * DAY)
    with database.write() as session:
        for one in (FIRST, waits):
            shadows.add(session, TENANT, one)
        shadows.judged(session, TENANT, judged(FIRST, MONDAY - age))
        shadows.prune(session, TENANT, MONDAY - 2 * DAY)

    with database.read() as session:
        assert shadows.waiting(session, TENANT) == [waits]
        assert len(shadows.since(session, TENANT, MONDAY - 400 * DAY)) == 1 + left
