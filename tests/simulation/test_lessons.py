"""What only Graph knows is learnt from its refusal, and not asked for again."""

from __future__ import annotations

from datetime import timedelta

from desired_state.plan_rules import PlanRules
from reconciler.explain import explain
from reconciler.store import journal
from tests.simulation.make_day import TENANT, Day, a_day, contoso_with

FIRST, SECOND = "RITM0010016", "RITM0019016"


def writes(day: Day) -> list[str]:
    """What was sent to the directory for Paula."""
    return [w for w in day.watch.writes if day.world.directory.user("paula.gomez@contoso.example").user_id in w]


def test_a_pair_that_graph_refused_once_is_not_sent_again(tmp_path):
    with a_day(tmp_path, contoso_with(FIRST)) as day:
        day.app.plan_rules = PlanRules()  # nothing is known beforehand
        before = day.licences("paula.gomez@contoso.example")
        day.cycle()
        sent = writes(day)
        assert len(sent) == 1
        assert day.phase(FIRST) == "review"

        paula = day.world.instance.user("paula.gomez")["sys_id"]
        day.world.instance.order(
            SECOND, item=day.ticket(FIRST)["cat_item"], requested_for=paula, opened_at=day.world.clock.now(),
            variables={"user": paula, "product": "calling-plan-domestic", "justification": "again"},
        )  # fmt: skip
        day.world.clock.advance(timedelta(minutes=5))
        day.cycle()

        assert day.phase(SECOND) == "review"
        assert writes(day) == sent
        assert day.licences("paula.gomez@contoso.example") == before
        (note,) = day.notes(SECOND)
        assert "Domestic Calling Plan" in note
        assert "DOMESTIC AND INTERNATIONAL CALLING PLAN" in note
        assert "Microsoft Graph said so on 2026-11-02." in note
        with day.app.database.read() as session:
            log = [row for row in journal.export(session, TENANT) if row["kind"] == "learnt"]
        assert [row["subject"] for row in log] == [f"{FIRST}/1"]
        (chain,) = explain(day.app.database, TENANT, FIRST)
        told = [e.what for e in chain.lines[0].events if e.kind == "learnt"]
        assert "mutually exclusive" in told[0]
