"""Ten thousand tickets at once: each is taken in, and no more is done about them than the budgets allow."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from reconciler.loop.observe import Scope
from reconciler.once import once
from tests.daemon.make_service import GRAPH, SERVICENOW, Network
from tests.simulation.make_day import a_day
from tests.soak.customer import Customer

MANY = int(os.environ.get("TICKETS", "10000"))
LIMIT = 250  # of grants in a cycle, and in a day: config.toml


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_many_tickets_at_once_are_taken_in_and_stopped_by_the_budget(tmp_path):
    customer = Customer(1, people=MANY // 2)
    customer.calm()
    for _ in range(MANY):
        customer.order()
    with a_day(tmp_path, customer.world) as day:
        network = Network()
        for http in (day.app.systems.graph_http, day.app.systems.servicenow_http):
            http._transport = network.wrap(http._transport)

        report = once(day.app, Scope())

        numbers = {e.state.key.ticket for e in report.endings}
        assert {o.number for o in customer.orders} <= numbers
        assert len(day.watch.writes) <= 2 * LIMIT
        assert day.watch.unannounced == []
        assert any(trip.guard in ("cycle budget", "day budget") for trip in report.trips), report.trips
        assert network.asked[SERVICENOW] < MANY  # pages and batches, not one request a ticket
        assert network.asked[GRAPH] < MANY
        phases = Counter(e.state.phase.value for e in report.endings)
        assert phases["received"] == 0, phases
