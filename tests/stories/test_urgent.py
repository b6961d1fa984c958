"""Urgent tickets that arrive while a long plan is carried out, by the shipped cycle: tenant, ticket and audit log."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from reconciler.loop.execute import SLICE as SHIPPED
from reconciler.loop.observe import Scope
from reconciler.model import AnswerKind
from reconciler.once import CycleLost, once
from reconciler.sandbox.faults import FaultRule
from reconciler.store import leases, switches
from reconciler.wiring.app import PATIENCE
from tests.bench.writes_urgent import BEFORE
from tests.simulation.make_day import MARK, TENANT
from tests.simulation.make_pilot import SKU, ticket
from tests.stories.make_urgent import (
    EVERYBODY,
    LATE,
    LOW,
    NEW,
    Backlog,
    Killed,
    a_backlog,
    all_are_served,
    dies_and_goes_on,
    intents,
    spare_person,
)


def test_an_urgent_ticket_that_arrives_is_served_before_the_rest_of_the_plan(tmp_path):
    with a_backlog(tmp_path) as backlog:
        spare_person(backlog)
        backlog.at[4] = lambda: backlog.orders(LATE)
        report = backlog.day.cycle()

        assert backlog.given == ["p0", "p1", "p2", "p3", "p4", "p5", "p8", "p6", "p7"]
        assert len(backlog.day.licences("p8@contoso.example")) == 1
        (intent,) = intents(backlog, "p8")
        assert intent["cycle"] == f"{report.cycle}-urgent1"
        moves = [row["body"] for row in backlog.rows("line_moved") if row["subject"] == f"{NEW}/1"]
        assert {move["priority"] for move in moves} == {"its priority in ServiceNow is 1"}
        assert backlog.day.watch.unannounced == []
        assert NEW in {e.state.key.ticket for e in report.endings}
        assert report.writes["graph"] == 9

        backlog.day.wait(10)
        backlog.day.cycle()
        assert backlog.day.phase(NEW) == "granted"
        assert len([note for note in backlog.day.notes(NEW) if MARK.search(note)]) == 1
        assert len(backlog.given) == 9


def test_few_requests_lie_between_the_question_and_the_write(tmp_path):
    with a_backlog(tmp_path) as backlog:
        spare_person(backlog)
        backlog.at[4] = lambda: backlog.orders(LATE)
        met: list[tuple[int, int]] = []  # how many were given something, and what was asked for by then
        backlog.meanwhile = lambda _: met.append((len(backlog.given), len(backlog.asked)))
        backlog.day.cycle()

        assert backlog.given[6] == "p8"
        assert met.count((6, 3)) <= BEFORE  # the write is among them, and the question was met before it is counted


def test_what_it_was_given_is_looked_at_again_while_the_plan_goes_on(tmp_path):
    with a_backlog(tmp_path) as backlog:
        spare_person(backlog)
        backlog.at[1] = lambda: backlog.orders(LATE)
        backlog.at[5] = lambda: backlog.day.wait(5)
        told: list[str] = []
        backlog.at[8] = lambda: told.extend(backlog.day.notes(NEW))
        report = backlog.day.cycle()

        assert backlog.given[3] == "p8"
        assert told  # the requester knows before the plan has come to its end
        assert AnswerKind.CLOSED in report.given[NEW]


def test_a_ticket_that_is_urgent_when_the_plan_is_made_goes_first(tmp_path):
    with a_backlog(tmp_path) as backlog:
        backlog.becomes_urgent(LATE)
        backlog.day.cycle()

        assert backlog.given == ["p8", *EVERYBODY[:8]]


def test_a_ticket_that_is_not_urgent_waits_for_the_next_cycle(tmp_path):
    with a_backlog(tmp_path) as backlog:
        spare_person(backlog)
        backlog.at[4] = lambda: backlog.orders(LATE, priority=LOW)
        report = backlog.day.cycle()

        assert backlog.given == EVERYBODY[:8]
        assert NEW not in {e.state.key.ticket for e in report.endings}
        backlog.day.cycle()
        assert backlog.given[8:] == ["p8"]


def test_a_named_ticket_is_urgent_with_the_reason_of_who_named_it(tmp_path):
    named = f'priorities = {{ {NEW} = "the auditors come tomorrow" }}'
    with a_backlog(tmp_path, urgent=named) as backlog:
        spare_person(backlog)
        backlog.at[2] = lambda: backlog.orders(LATE, priority=LOW)
        backlog.day.cycle()

        assert backlog.given[3] == "p8"
        moves = [row["body"] for row in backlog.rows("line_moved") if row["subject"] == f"{NEW}/1"]
        assert {move["priority"] for move in moves} == {"the auditors come tomorrow"}


def test_nothing_is_asked_where_nothing_can_be_urgent_or_the_plan_is_short(tmp_path):
    with a_backlog(tmp_path / "off", urgent="") as backlog:
        backlog.day.cycle()
        assert (backlog.asked, len(backlog.given)) == ([], 9)
    with a_backlog(tmp_path / "short", slice_requests=SHIPPED) as backlog:
        backlog.day.cycle()
        assert (backlog.asked, len(backlog.given)) == ([], 9)


def test_a_cycle_about_named_tickets_serves_no_others(tmp_path):
    with a_backlog(tmp_path) as backlog:
        spare_person(backlog)
        backlog.at[2] = lambda: backlog.orders(LATE)
        once(backlog.day.app, Scope(tickets=frozenset(map(ticket, range(8)))))

        assert (backlog.given, backlog.asked) == (EVERYBODY[:8], [])


def test_it_is_asked_once_a_slice(tmp_path):
    with a_backlog(tmp_path) as backlog:
        backlog.day.cycle()

        assert backlog.given == EVERYBODY
        assert len(backlog.asked) == 4  # before each of three slices, and after the last


def test_a_ticket_of_the_backlog_that_becomes_urgent_is_served_next_and_once(tmp_path):
    with a_backlog(tmp_path) as backlog:
        backlog.at[2] = lambda: backlog.becomes_urgent(LATE)
        report = backlog.day.cycle()

        assert backlog.given == ["p0", "p1", "p2", "p8", "p3", "p4", "p5", "p6", "p7"]
        assert [e.state.key.ticket for e in report.endings].count(ticket(LATE)) == 1
        assert len(intents(backlog, "p8")) == 1
        backlog.day.wait(10)
        backlog.day.cycle()
        assert backlog.day.phase(ticket(LATE)) == "granted"
        assert len(backlog.given) == 9
        assert len(backlog.day.notes(ticket(LATE))) == 1


def test_who_is_in_both_is_written_to_once_and_planned_anew(tmp_path):
    with a_backlog(tmp_path) as backlog:
        backlog.at[2] = lambda: backlog.orders(LATE)
        report = backlog.day.cycle()

        assert backlog.given == ["p0", "p1", "p2", "p8", "p3", "p4", "p5", "p6", "p7"]
        ended = {e.state.key.ticket: e for e in report.endings}
        (outcome,) = ended[ticket(LATE)].outcomes
        assert "An urgent ticket of the same person was served first" in outcome.why
        for _ in range(3):
            backlog.day.wait(20)
            backlog.day.cycle()
        assert backlog.day.phase(NEW) == backlog.day.phase(ticket(LATE)) == "granted"
        assert len(backlog.given) == 9


def test_the_last_of_the_plan_gives_its_seat_to_the_urgent_ticket(tmp_path):
    with a_backlog(tmp_path, seats=8) as backlog:
        spare_person(backlog)
        backlog.at[2] = lambda: backlog.orders(LATE)
        report = backlog.day.cycle()

        assert backlog.given == ["p0", "p1", "p2", "p8", "p3", "p4", "p5", "p6"]
        ended = {e.state.key.ticket: e for e in report.endings}
        assert ended[ticket(7)].outcomes[0].why == "Its seat went to an urgent ticket; it is planned anew."
        backlog.day.wait(20)
        backlog.day.cycle()
        assert backlog.day.phase(ticket(7)) == "waiting_for_seat"
        assert backlog.day.watch.removals == []
        assert backlog.day.world.directory.seats_free(SKU) == 0


def test_the_kill_switch_stops_an_urgent_ticket_as_it_stops_the_rest(tmp_path):
    with a_backlog(tmp_path) as backlog:
        spare_person(backlog)

        def stop() -> None:
            backlog.orders(LATE)
            with backlog.day.app.database.write() as session:
                switches.throw(session, TENANT, reason="strange", by="ada", at=backlog.day.world.clock.now())

        backlog.at[3] = stop
        report = backlog.day.cycle()

        assert backlog.given == ["p0", "p1", "p2"]
        assert intents(backlog, "p8") == []
        assert report.exit_code == 4


def test_a_budget_of_a_day_counts_what_urgent_tickets_and_the_plan_used_together(tmp_path):
    with a_backlog(tmp_path, grants_per_day=8) as backlog:
        spare_person(backlog)
        backlog.at[2] = lambda: backlog.orders(LATE)
        report = backlog.day.cycle()

        assert backlog.given == ["p0", "p1", "p2", "p8", "p3", "p4", "p5", "p6"]
        assert [trip.limit for trip in report.trips] == [8]
        backlog.day.cycle()
        assert len(backlog.given) == 8


def test_a_lost_lease_ends_both_before_the_next_write(tmp_path):
    with a_backlog(tmp_path) as backlog:
        spare_person(backlog)
        backlog.at[3] = lambda: backlog.orders(LATE)

        def take_over(request: httpx.Request) -> None:
            if "priorityIN" in str(request.url) and len(backlog.given) == 3:
                with backlog.day.app.database.write() as session:
                    leases.abandon(session, TENANT, leases.holder(session, TENANT).by)
                    leases.claim(session, TENANT, "elsewhere:1:2:abc", ttl_s=90.0)

        backlog.meanwhile = take_over
        with pytest.raises(CycleLost):
            backlog.day.cycle()

        assert backlog.given == ["p0", "p1", "p2"]


def looks_that_fail(backlog: Backlog, given: int) -> Callable[[httpx.Request], None]:
    """The plans of people cannot be read for a while, once so many were given something."""
    left = PATIENCE.attempts

    def fail(request: httpx.Request) -> None:
        nonlocal left
        if left and len(backlog.given) == given and b"licenseDetails" in request.content:
            left -= 1
            raise httpx.ReadTimeout("the network is gone", request=request)

    return fail


def test_a_question_that_fails_between_slices_loses_neither_record_nor_rest(tmp_path):
    with a_backlog(tmp_path) as backlog:
        spare_person(backlog)

        def fail() -> None:
            backlog.orders(LATE)
            backlog.day.world.faults.add(FaultRule("unavailable", route="GET /api/now/table/sc_req_item", times=50))

        backlog.at[3] = fail
        backlog.at[7] = backlog.day.world.faults.clear
        report = backlog.day.cycle()

        assert backlog.given[:8] == EVERYBODY[:8]
        assert any("urgent" in problem for problem in report.problems)
        assert {backlog.day.phase(ticket(n)) for n in range(8)} == {"granted"}
        assert backlog.given[8:] == ["p8"]  # asked for again after the last slice


def test_what_was_given_to_an_urgent_ticket_counts_where_it_cannot_be_looked_at_then(tmp_path):
    with a_backlog(tmp_path, grants_per_day=8) as backlog:
        spare_person(backlog)
        backlog.at[2] = lambda: backlog.orders(LATE)
        backlog.meanwhile = looks_that_fail(backlog, 4)
        report = backlog.day.cycle()

        assert backlog.given == ["p0", "p1", "p2", "p8", "p3", "p4", "p5", "p6"]  # the day has room for eight
        assert backlog.day.phase(NEW) == "verifying"
        assert any("could not be looked at" in problem for problem in report.problems)
        backlog.day.wait(20)
        backlog.day.cycle()
        assert backlog.day.phase(NEW) == "granted"
        assert len(backlog.day.notes(NEW)) == 1


def test_what_was_sent_is_recorded_where_nobody_can_be_looked_at_after_it(tmp_path):
    with a_backlog(tmp_path, slice_requests=SHIPPED) as backlog:
        backlog.meanwhile = looks_that_fail(backlog, 9)
        report = backlog.day.cycle()

        assert backlog.given == EVERYBODY
        assert {backlog.day.phase(ticket(n)) for n in range(9)} == {"verifying"}
        assert any("could not be looked at" in problem for problem in report.problems)
        backlog.day.wait(20)
        backlog.day.cycle()
        assert {backlog.day.phase(ticket(n)) for n in range(9)} == {"granted"}
        assert backlog.given == EVERYBODY


LATER = [pytest.param(n, marks=pytest.mark.long) for n in range(2, 12, 3)]


@pytest.mark.parametrize("nth", [1, 12, 13, 14, 15, *LATER])
def test_a_process_that_dies_while_an_urgent_ticket_is_served_leaves_nothing_doubled_or_lost(tmp_path, nth):
    with a_backlog(tmp_path) as backlog:
        spare_person(backlog)
        backlog.at[4] = lambda: backlog.orders(LATE)
        since = 0

        def die(_: httpx.Request) -> None:
            nonlocal since
            since += len(backlog.asked) == 3
            if since == nth:
                raise Killed

        backlog.meanwhile = die
        dies_and_goes_on(backlog)

        assert sorted(backlog.given) == EVERYBODY
        assert all_are_served(backlog)
        assert backlog.day.watch.unannounced == []
