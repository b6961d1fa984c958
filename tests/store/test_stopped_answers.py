"""Answers that guards stop: nothing of them counts as sent, and they are given once they may be."""

from __future__ import annotations

from reconciler.sandbox.faults import FaultRule
from reconciler.store import switches
from tests.simulation.make_day import TENANT
from tests.simulation.make_pilot import a_pilot, ticket
from tests.store.test_answering import before


def test_an_answer_that_was_stopped_while_it_waited_is_given_as_soon_as_it_may_be(tmp_path):
    with a_pilot(tmp_path, "enforce", "full", people=2) as day:
        database, clock = day.app.database, day.world.clock

        def stop() -> None:
            with database.write() as session:
                switches.throw(session, TENANT, reason="strange", by="ada", at=clock.now())

        day.world.faults.add(FaultRule("throttled", route="PATCH /api/now/table/sc_req_item", times=1))
        day.watch.meddle = before("PATCH", "sc_req_item", stop)
        day.cycle()
        told = [day.notes(ticket(n)) for n in range(2)]
        with database.write() as session:
            switches.lift(session, TENANT, switches.KILL, reason="it was nothing", by="ada", at=clock.now())
        day.wait(1)
        day.cycle()

        assert told == [[], []]
        assert [len(day.notes(ticket(n))) for n in range(2)] == [1, 1]
        assert all(task["state"] == "3" for n in range(2) for task in day.tasks(ticket(n)))
