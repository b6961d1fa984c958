"""A lease is worth no more to whoever has it than to the store, however late the store's word comes."""

from __future__ import annotations

import pytest
from sqlalchemy import event
from sqlmodel import Session

from reconciler.clock import ManualClock
from reconciler.holding import NEED_S, TTL_S, held
from reconciler.store.leases import LeaseLost
from reconciler.wiring.kept import nothing
from tests.make import MONDAY
from tests.simulation.make_day import a_day
from tests.simulation.make_pilot import pilot


@pytest.mark.parametrize("late_s", [0.0, 20.0])
def test_a_claim_whose_answer_is_late_is_not_held_for_longer(tmp_path, late_s):
    clock = ManualClock(MONDAY)

    def comes_late(_: Session) -> None:
        clock.advance(seconds=late_s)

    with a_day(tmp_path, pilot(1)) as day:
        event.listen(Session, "after_commit", comes_late, once=True)
        with held(day.app, stop=nothing, only_due=False, next_in_s=None, stopwatch=clock):
            clock.advance(seconds=TTL_S - NEED_S - late_s)
            day.app.fence()
            clock.advance(seconds=0.1)
            with pytest.raises(LeaseLost):
                day.app.fence()
        day.app.fence()  # nobody holds it, and nobody is asked
