"""Which tickets go first, and why."""

from __future__ import annotations

import pytest

from reconciler.seats.urgency import Urgency


@pytest.mark.parametrize(
    ("number", "priority", "why"),
    [
        ("RITM0000001", "4", "the board, Friday"),
        ("RITM0000001", "1", "the board, Friday"),
        ("RITM0000002", "1", "its priority in ServiceNow is 1"),
        ("RITM0000002", "2", ""),
        ("RITM0000002", "", ""),
    ],
)
def test_a_ticket_is_urgent_by_name_or_by_a_priority_that_is_shown(number, priority, why):
    urgency = Urgency({"RITM0000001": "the board, Friday"}, frozenset({"1", ""}))

    assert urgency.why(number, priority) == why
    assert urgency
    assert not Urgency()
