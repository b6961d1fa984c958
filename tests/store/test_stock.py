"""What a scrape reads is there in whatever shape the facts for people are."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from reconciler.approvals.values import State
from reconciler.store import approvals, stock
from tests.make import DAY, HOUR, MONDAY
from tests.make_approvals import ID, TENANT, TOM, a_draft, a_stage, an_answer


@pytest.mark.parametrize(
    ("cost", "known"),
    [({"monthly": "57.00"}, Decimal(57)), ({"monthly": None}, None), ({"monthly": "free"}, None), ("57", None)],
)
def test_what_waits_is_read_with_its_price_and_the_term_of_the_stage_that_is_open(
    database, cost: Any, known: Decimal | None
):
    stages = a_stage("manager", escalate_at=MONDAY + DAY), a_stage("owner", TOM, opened_at=None)
    with database.write() as session:
        asked = approvals.open_(session, a_draft(*stages, shown={"cost": cost}))

    with database.read() as session:
        (found,) = stock.waiting(session, TENANT)

    assert (found.since, found.late_from, found.cost) == (asked.created_at, MONDAY + DAY, known)


def test_what_is_decided_does_not_wait(database):
    with database.write() as session:
        approvals.open_(session, a_draft(a_stage()))
        approvals.decide(session, TENANT, ID, an_answer(), MONDAY + HOUR)

    with database.read() as session:
        assert list(stock.waiting(session, TENANT)) == []
        assert stock.approvals(session, TENANT) == {State.APPROVED.value: 1}
