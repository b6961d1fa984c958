"""Urgent tickets that arrive while a cycle reads, watches or answers, by the shipped cycle: tenant, ticket and log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from desired_state import ledger
from reconciler.model import AnswerKind
from reconciler.once import CycleLost
from reconciler.sandbox.faults import FaultRule
from reconciler.store import leases, switches
from tests.simulation.make_day import MARK, TENANT
from tests.simulation.make_pilot import SKU, ticket
from tests.stories.make_urgent import (
    EVERYBODY,
    GRANTS,
    LATE,
    NEW,
    SEATS,
    SLICE,
    Backlog,
    Killed,
    a_backlog,
    all_are_served,
    dies_and_goes_on,
    intents,
    spare_person,
)

TABLES = "/api/now/table"


def is_of(request: httpx.Request, table: str, method: str = "GET") -> bool:
    path = request.url.path
    return request.method == method and (path.endswith(table) or f"{TABLES}/{table}/" in path)


def reads_tickets(_: Backlog, request: httpx.Request) -> bool:
    return is_of(request, "/sc_item_option_mtom")


def reads_people(_: Backlog, request: httpx.Request) -> bool:
    return b"licenseDetails" in request.content


def watches(backlog: Backlog, request: httpx.Request) -> bool:
    """The look after the last write and the last question of the plan."""
    is_written = len(backlog.given) >= LATE and backlog.asked_when[-1:] == [len(backlog.given)]
    return is_written and b"licenseDetails" in request.content


def answers(_: Backlog, request: httpx.Request) -> bool:
    return is_of(request, "sc_req_item", "PATCH")


STRETCHES = [reads_tickets, reads_people, watches, answers]
Stretch = Callable[[Backlog, httpx.Request], bool]


@contextmanager
def a_cycle(
    folder: Path, *, every: int = 1, slices: int = SLICE, seats: int = SEATS, grants_per_day: int = GRANTS
) -> Iterator[Backlog]:
    """A backlog of which the cycle asks for urgent tickets after so many requests."""
    with a_backlog(folder, slice_requests=slices, seats=seats, grants_per_day=grants_per_day) as backlog:
        backlog.day.app = replace(backlog.day.app, asks_every=every)
        yield backlog


def once_in(backlog: Backlog, stretch: Stretch, what: Callable[[], object]) -> list[int]:
    """Let something happen at the first request of a stretch; says how many had been given something by then."""
    met: list[int] = []

    def meddle(request: httpx.Request) -> None:
        if not met and stretch(backlog, request):
            met.append(len(backlog.given))
            what()

    backlog.meanwhile = meddle
    return met


@pytest.mark.parametrize("stretch", STRETCHES)
def test_an_urgent_ticket_is_served_in_the_stretch_in_which_it_arrives(tmp_path, stretch):
    with a_cycle(tmp_path) as backlog:
        spare_person(backlog)
        met = once_in(backlog, stretch, lambda: backlog.orders(LATE))
        report = backlog.day.cycle()

        assert len(met) == 1
        assert backlog.given == [*EVERYBODY[: met[0]], "p8", *EVERYBODY[met[0] : LATE]]
        (intent,) = intents(backlog, "p8")
        assert intent["cycle"] == f"{report.cycle}-urgent1"
        assert backlog.day.watch.unannounced == []
        assert [e.state.key.ticket for e in report.endings].count(NEW) == 1
        assert report.writes["graph"] == 9
        for _ in range(3):
            backlog.day.wait(10)
            backlog.day.cycle()
        assert {backlog.day.phase(number) for number in (NEW, *map(ticket, range(LATE)))} == {"granted"}
        assert {len(backlog.day.notes(number)) for number in (NEW, *map(ticket, range(LATE)))} == {1}
        assert len(backlog.given) == 9


@pytest.mark.parametrize("stretch", STRETCHES)
def test_a_ticket_of_the_backlog_that_becomes_urgent_in_it_is_served_and_told_once(tmp_path, stretch):
    """Also one that was carried out already, and is being watched or answered."""
    with a_cycle(tmp_path) as backlog:
        met = once_in(backlog, stretch, lambda: backlog.becomes_urgent(3))
        report = backlog.day.cycle()

        assert met
        assert sorted(backlog.given) == EVERYBODY
        assert [e.state.key.ticket for e in report.endings].count(ticket(3)) == 1
        for _ in range(3):
            backlog.day.wait(20)
            backlog.day.cycle()
        assert {backlog.day.phase(ticket(n)) for n in range(9)} == {"granted"}
        assert {len([n for n in backlog.day.notes(ticket(n)) if MARK.search(n)]) for n in range(9)} == {1}
        with backlog.day.app.database.read() as session:
            standings = ledger.standings(session, TENANT)
        assert all(s.is_by_us for s in standings.values())
        assert len(backlog.given) == 9


@pytest.mark.parametrize("stretch", [reads_tickets, reads_people])
def test_who_is_in_the_backlog_as_well_is_written_to_once(tmp_path, stretch):
    with a_cycle(tmp_path) as backlog:
        once_in(backlog, stretch, lambda: backlog.orders(LATE))
        backlog.day.cycle()

        assert backlog.given == ["p8", *EVERYBODY[:LATE]]
        for _ in range(3):
            backlog.day.wait(20)
            backlog.day.cycle()
        assert backlog.day.phase(NEW) == backlog.day.phase(ticket(LATE)) == "granted"
        assert len(backlog.given) == 9


@pytest.mark.parametrize("stretch", [reads_tickets, reads_people])
def test_a_seat_that_is_taken_before_there_is_a_plan_is_not_planned_with(tmp_path, stretch):
    with a_cycle(tmp_path, seats=8) as backlog:
        spare_person(backlog)
        once_in(backlog, stretch, lambda: backlog.orders(LATE))
        backlog.day.cycle()

        assert backlog.given == ["p8", *EVERYBODY[:7]]
        assert backlog.day.phase(ticket(7)) == "waiting_for_seat"
        assert backlog.day.world.directory.seats_free(SKU) == 0
        assert backlog.day.watch.removals == []


@pytest.mark.parametrize("stretch", STRETCHES)
def test_the_kill_switch_stops_an_urgent_ticket_in_every_stretch(tmp_path, stretch):
    with a_cycle(tmp_path) as backlog:
        spare_person(backlog)

        def stop() -> None:
            backlog.orders(LATE)
            with backlog.day.app.database.write() as session:
                switches.throw(session, TENANT, reason="strange", by="ada", at=backlog.day.world.clock.now())

        met = once_in(backlog, stretch, stop)
        report = backlog.day.cycle()

        assert backlog.given == EVERYBODY[: met[0]]
        assert intents(backlog, "p8") == []
        assert report.exit_code == 4


@pytest.mark.parametrize("stretch", STRETCHES)
def test_a_lost_lease_ends_both_in_every_stretch(tmp_path, stretch):
    with a_cycle(tmp_path) as backlog:
        spare_person(backlog)

        def take_over() -> None:
            backlog.orders(LATE)
            with backlog.day.app.database.write() as session:
                leases.abandon(session, TENANT, leases.holder(session, TENANT).by)
                leases.claim(session, TENANT, "elsewhere:1:2:abc", ttl_s=90.0)

        met = once_in(backlog, stretch, take_over)
        with pytest.raises(CycleLost):
            backlog.day.cycle()

        assert backlog.given == EVERYBODY[: met[0]]


@pytest.mark.parametrize("stretch", STRETCHES)
def test_a_budget_of_a_day_is_shared_in_every_stretch(tmp_path, stretch):
    with a_cycle(tmp_path, grants_per_day=8) as backlog:
        spare_person(backlog)
        met = once_in(backlog, stretch, lambda: backlog.orders(LATE))
        report = backlog.day.cycle()

        assert len(backlog.given) == (
            8 if met[0] else 1
        )  # seven more are allowed: a plan of eight is stopped as a whole
        assert {trip.limit for trip in report.trips} == {8}


@pytest.mark.parametrize("stretch", STRETCHES)
def test_a_question_that_fails_loses_nothing(tmp_path, stretch):
    with a_cycle(tmp_path, slices=250) as backlog:
        spare_person(backlog)

        def fail(request: httpx.Request) -> None:
            if "priorityIN" in str(request.url):
                raise httpx.ConnectError("the network is gone", request=request)

        seen = once_in(backlog, stretch, lambda: backlog.orders(LATE))
        before = backlog.meanwhile

        def both(request: httpx.Request) -> None:
            before(request)
            if seen:
                fail(request)

        backlog.meanwhile = both
        report = backlog.day.cycle()
        backlog.meanwhile = lambda _: None

        assert backlog.given == EVERYBODY[:LATE]
        assert any("urgent" in problem for problem in report.problems)
        assert {backlog.day.phase(ticket(n)) for n in range(LATE)} == {"granted"}
        backlog.day.cycle()
        assert backlog.given[LATE:] == ["p8"]


def test_a_small_cycle_that_cannot_read_loses_nothing(tmp_path):
    with a_cycle(tmp_path, slices=250) as backlog:
        spare_person(backlog)

        def fail() -> None:
            backlog.orders(LATE)
            backlog.day.world.faults.add(FaultRule("unavailable", route="GET /api/now/table/sc_req_item", times=50))

        once_in(backlog, reads_people, fail)
        backlog.at[1] = backlog.day.world.faults.clear
        report = backlog.day.cycle()

        assert backlog.given[:LATE] == EVERYBODY[:LATE]
        assert any("urgent" in problem for problem in report.problems)


@pytest.mark.parametrize("stretch", STRETCHES)
def test_a_process_that_dies_in_it_leaves_nothing_doubled_or_lost(tmp_path, stretch):
    with a_cycle(tmp_path) as backlog:
        spare_person(backlog)
        once_in(backlog, stretch, lambda: backlog.orders(LATE))
        arrives = backlog.meanwhile

        def die(request: httpx.Request) -> None:
            arrives(request)
            if request.url.path.endswith("/assignLicense") and intents(backlog, "p8"):
                raise Killed

        backlog.meanwhile = die
        dies_and_goes_on(backlog)

        assert sorted(backlog.given) == EVERYBODY
        assert all_are_served(backlog)


def test_at_most_one_question_is_asked_in_so_many_requests(tmp_path):
    with a_cycle(tmp_path, every=20, slices=250) as backlog:
        requests: list[bool] = []
        backlog.meanwhile = lambda request: requests.append("priorityIN" in str(request.url))
        backlog.day.cycle()

        places = [n for n, is_question in enumerate(requests) if is_question]
        assert len(places) > 1
        assert all(later - earlier > 20 for earlier, later in zip([0, *places], places, strict=False))


def test_a_short_cycle_asks_nothing(tmp_path):
    with a_cycle(tmp_path, every=250, slices=250) as backlog:
        backlog.day.cycle()

        assert (backlog.asked, len(backlog.given)) == ([], 9)


def test_what_was_given_while_a_backlog_was_read_is_looked_at_again_and_told(tmp_path):
    with a_cycle(tmp_path) as backlog:
        spare_person(backlog)
        once_in(backlog, reads_tickets, lambda: backlog.orders(LATE))
        report = backlog.day.cycle()

        assert backlog.day.phase(NEW) == "granted"
        assert AnswerKind.CLOSED in report.given[NEW]
