"""The service through bad days: what it does, what it says, and that it says it once."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta

import httpx
import pytest
from sqlalchemy import event

from reconciler.audit.chain import Head
from reconciler.clock import Clock, ManualClock
from reconciler.daemon import Service
from reconciler.daemon.timetable import Duty
from reconciler.lifecycle import Phase
from reconciler.metrics import Meter
from reconciler.metrics import series as s
from reconciler.store import heartbeat, journal, leases, lines
from reconciler.wiring.measuring import registry
from tests.daemon.make_service import GRAPH, LOGIN, SERVICENOW, Served, a_service, a_settled_service
from tests.make import MONDAY
from tests.make_logs import into


@pytest.fixture
def fresh(tmp_path):
    """A service that nobody has run before."""
    with a_service(tmp_path, busy_timeout_s=0.05) as found:
        yield found


@pytest.fixture
def served(tmp_path):
    """A service that is started where another one has served for a while."""
    with a_settled_service(tmp_path, busy_timeout_s=0.05) as found:
        yield found


def notes(served: Served) -> list[str]:
    """Every note of every ticket that we wrote, by our own mark."""
    instance = served.day.world.instance
    return [n for r in instance.records("sc_req_item") for n in instance.notes(r["sys_id"]) if "[m365r:" in n]


def head(served: Served) -> Head:
    with served.day.app.database.read() as session:
        return journal.head(session, "contoso")


def is_verified(served: Served) -> bool:
    with served.day.app.database.read() as session:
        return journal.verify(journal.export(session)).ok


def test_a_start_runs_a_cycle_at_once_and_the_next_after_the_interval(fresh):
    fresh.service.turn()
    assert len(fresh.of_cycles()) == 1

    fresh.go(4)
    assert len(fresh.of_cycles()) >= 1
    fresh.go(2)
    assert len(fresh.of_cycles()) >= 2
    assert fresh.conditions() == []


def test_a_start_that_shall_wait_asks_nobody_until_then(fresh):
    settings = fresh.day.app.settings
    schedule = settings.schedule.model_copy(update={"first_cycle_after": timedelta(seconds=60)})
    app = replace(fresh.day.app, settings=settings.model_copy(update={"schedule": schedule}))
    fresh.service = Service(app, into(fresh.said))
    a_minute = settings.sandbox.speed  # in minutes of the tenant's clock

    fresh.go(0.9 * a_minute)
    assert fresh.network.asked == {}

    fresh.go(0.2 * a_minute)
    assert len(fresh.of_cycles()) == 1


def only_polls(served: Served) -> None:
    """From now on nothing is due but polls, and what they call for."""
    later = {**served.service.table.next_s, Duty.FULL: 1e12, Duty.QUICK: 1e12, Duty.CHECKPOINT: 1e12}
    served.service.table = replace(served.service.table, next_s=later, alarm_at=None)


def calm(served: Served) -> None:
    """No row of the directory's is told twice, or of somebody who did not move."""
    switches = served.day.world.directory.switches
    switches.delta_duplicates = switches.delta_replays = 0.0


def test_a_ticket_that_moves_is_seen_within_a_minute_and_nobody_of_the_directory_is_read_until_then(served):
    calm(served)
    served.go(12)
    only_polls(served)
    cycles = len(served.of_cycles())
    served.go(4)
    assert len(served.of_cycles()) == cycles

    served.day.world.instance.change("sc_req_item", served.day.ticket("RITM0010012")["sys_id"], description="changed")
    served.go(1.5)

    assert len(served.of_cycles()) == cycles + 1


def test_a_poll_in_which_nothing_moved_asks_each_system_once_and_writes_nothing(served, tmp_path):
    calm(served)
    served.go(12)
    only_polls(served)
    served.go(2)
    (store,) = tmp_path.rglob("reconciler.db")
    with closing(sqlite3.connect(store)) as other:
        version = other.execute("PRAGMA data_version").fetchone()
        before = served.network.asked.copy()
        for _ in range(5):
            served.service.table = served.service.table.wanted(Duty.PULL, 0.0)
            served.service.turn()
        after = other.execute("PRAGMA data_version").fetchone()

    asked = served.network.asked - before
    assert (asked[GRAPH], asked[SERVICENOW]) == (5, 5)
    assert after == version


def test_a_person_who_moves_is_read_within_a_minute(served):
    calm(served)
    served.go(40)
    only_polls(served)
    served.go(2)
    directory = served.day.world.directory
    with served.day.app.database.read() as session:
        granted = [state for state in lines.load(session, "contoso").values() if state.phase is Phase.GRANTED]
    names = {product.sku_id: name for name, product in directory.catalogue.products.items()}
    state, held = next((s, a) for s in granted for a in directory.user(s.user).assignments if a.group_id is None)
    cycles = len(served.of_cycles())

    directory.withdraw(state.user, names[held.sku_id])
    served.go(1.5)

    assert len(served.of_cycles()) == cycles + 1
    with served.day.app.database.read() as session:
        assert lines.load(session, "contoso")[state.key].phase is not Phase.GRANTED


def test_a_link_that_the_directory_forgot_is_said_once_and_everybody_is_scanned(served):
    calm(served)
    served.go(12)
    only_polls(served)
    served.go(2)
    scans = served.service._scans
    switches = served.day.world.directory.switches

    switches.delta_force_resync = True
    served.service.table = served.service.table.wanted(Duty.PULL, 0.0)
    served.service._pull()
    switches.delta_force_resync = False
    served.go(2)

    assert served.service._scans == scans + 1
    assert len([line for line in served.said if "forgot what it told us" in line]) == 1


@pytest.mark.parametrize("host", [SERVICENOW, GRAPH, LOGIN])
def test_a_system_that_is_down_at_the_start_and_for_hours_is_two_lines(fresh, host):
    fresh.network.down(host)
    fresh.go(120, step_s=60)

    assert fresh.of_cycles() == []
    assert len(fresh.said) == 1, fresh.said
    assert "is tried again" in fresh.said[0]
    assert len(fresh.conditions()) == 1
    assert fresh.day.watch.writes == []

    fresh.network.back()
    fresh.go(6)

    assert len(fresh.of_cycles()) >= 1
    assert [line for line in fresh.said if " again condition=" in line]
    assert fresh.conditions() == []


def test_a_system_that_goes_down_between_cycles_costs_no_answer_twice(served):
    served.go(20)
    before = notes(served)
    for host in (SERVICENOW, GRAPH):
        served.network.down(host)
        served.go(30, step_s=60)
        served.network.back()
        served.go(10)

    assert set(before) <= set(notes(served))
    assert len(notes(served)) == len(set(notes(served)))
    assert is_verified(served)


def test_an_instance_that_hibernates_is_no_empty_list(served):
    page = httpx.Response(200, html="<html><title>Instance Hibernating</title></html>")
    served.go(10)
    tickets = head(served).size
    served.network.instead = {SERVICENOW: lambda _: page}
    served.go(60, step_s=60)

    with served.day.app.database.read() as session:
        moved = [r for r in journal.export(session, "contoso", after=tickets) if r["kind"] == "line_moved"]
    assert moved == []
    assert served.conditions() == ["servicenow"]
    served.network.back()
    served.go(6)
    assert served.conditions() == []


@pytest.mark.parametrize("host", [SERVICENOW, GRAPH])
def test_whoever_wants_to_be_left_alone_for_an_hour_is(served, host):
    served.go(10)
    served.network.instead = {host: lambda _: httpx.Response(429, headers={"Retry-After": "3600"})}
    served.go(7)
    asked = served.network.asked[host]
    for _ in range(5):
        served.service.wishes.look()
        served.go(10, step_s=60)

    assert served.network.asked[host] == asked
    served.network.back()
    served.go(20, step_s=60)
    assert served.network.asked[host] > asked
    assert served.conditions() == []


def test_a_token_that_ends_in_the_middle_of_a_cycle_is_renewed(fresh):
    fresh.day.world.switches.token_lifetime_s = 20.0  # less than the waits of the first cycle

    fresh.service.turn()

    assert fresh.network.asked[LOGIN] > 2
    assert len(fresh.of_cycles()) == 1
    assert fresh.conditions() == []


def test_a_secret_that_was_wrong_is_read_again(served):
    served.day.world.switches.client_secret_expired = True
    served.go(2)
    assert served.conditions() == ["sign_in"]

    served.day.world.switches.client_secret_expired = False
    served.go(6)

    assert served.conditions() == []


class Set:
    """A clock that was set by `by`; its stopwatch knows nothing of it."""

    def __init__(self, inner: Clock) -> None:
        self.inner, self.by = inner, timedelta(0)

    def now(self) -> datetime:
        return self.inner.now() + self.by

    def monotonic(self) -> float:
        return self.inner.monotonic()

    def sleep(self, seconds: float) -> None:
        self.inner.sleep(seconds)


def set_clock(served) -> Set:
    clock = Set(served.day.app.systems.clock)
    app = replace(served.day.app, systems=replace(served.day.app.systems, clock=clock))
    served.service = Service(app, into(served.said))
    served.go(15)
    return clock


@pytest.mark.parametrize("minutes", [-4, 4])
def test_a_clock_that_is_set_a_little_stops_nothing_and_answers_nobody_twice(served, minutes):
    clock = set_clock(served)
    cycles = len(served.of_cycles())

    clock.by = timedelta(minutes=minutes)
    served.go(31)

    assert len(served.of_cycles()) >= cycles + 5
    assert [line for line in served.said if "the clock was set" in line] != []
    assert len(notes(served)) == len(set(notes(served)))
    assert served.service.table.failures == 0


def with_speed(served, speed: float, wall: ManualClock) -> Service:
    app = served.day.app
    sandbox = app.settings.sandbox.model_copy(update={"speed": speed})
    settings = app.settings.model_copy(update={"sandbox": sandbox})
    meter = Meter(registry(settings, ["contoso"], wall))
    served.service = Service(replace(app, settings=settings, meter=meter), into(served.said), wall=wall)
    return served.service


def told(service: Service, condition: str) -> float | None:
    assert service.app.meter.registry is not None
    return service.app.meter.registry.value(s.CONDITION, tenant="contoso", condition=condition)


def test_a_clock_that_stands_still_is_a_condition_after_two_minutes_said_once(served):
    wall = ManualClock(MONDAY)
    service = with_speed(served, 60, wall)
    service.turn()
    assert (told(service, "standstill"), told(service, "graph")) == (0, 0)

    for _ in range(30):
        wall.advance(seconds=10)
        service.turn()

    assert (served.conditions(), told(service, "standstill")) == (["standstill"], 1)
    assert len([line for line in served.said if line.startswith("the clock stands still")]) == 1
    served.day.wait(1)
    service.turn()
    assert (served.conditions(), told(service, "standstill")) == ([], 0)
    assert [line for line in served.said if line.startswith("the clock moves again")] != []


def test_a_sandbox_that_is_turned_by_hand_may_stand_still(served):
    wall = ManualClock(MONDAY)
    service = with_speed(served, 0, wall)
    service.turn()

    for _ in range(40):
        wall.advance(seconds=30)
        service.turn()

    assert served.conditions() == []
    assert len(served.of_cycles()) >= 3  # by the machine's stopwatch


@pytest.mark.parametrize("hours", [-1, 1, -30])
def test_a_clock_that_both_systems_contradict_stops_the_cycles_until_it_is_right(served, hours):
    clock = set_clock(served)
    cycles, writes = len(served.of_cycles()), len(served.day.watch.writes)

    clock.by = timedelta(hours=hours)
    served.go(31)

    assert served.conditions() == ["clock"]
    assert (len(served.of_cycles()), len(served.day.watch.writes)) == (cycles, writes)
    clock.by = timedelta(0)
    served.go(31)
    assert served.conditions() == []
    assert len(served.of_cycles()) >= cycles + 3
    assert len(notes(served)) == len(set(notes(served)))


def test_a_full_disk_stops_writes_and_the_service_goes_on_when_there_is_room_again(fresh):
    engine = fresh.day.app.database._engine
    with fresh.day.app.database.read() as session:
        pages = session.connection().exec_driver_sql("PRAGMA page_count").scalar_one()
    room = [pages + 12]

    @event.listens_for(engine, "begin")
    def quota(connection) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {room[0]}")

    fresh.go(30, step_s=60)
    writes = len(fresh.day.watch.writes)
    fresh.go(30, step_s=60)

    assert fresh.conditions() == ["store"]
    assert len([line for line in fresh.said if "no room left" in line]) == 1
    assert len(fresh.day.watch.writes) == writes
    room[0] = 1_000_000
    fresh.go(6)
    assert fresh.conditions() == []
    assert fresh.day.watch.unannounced == []
    assert is_verified(fresh)


def test_a_store_that_is_locked_is_waited_for(served, tmp_path):
    served.go(6)
    with closing(sqlite3.connect(tmp_path / "reconciler.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        served.go(15)
        assert "store" in served.conditions()
        assert len([line for line in served.said if "locked" in line]) == 1
        other.execute("ROLLBACK")
    served.go(6)

    assert served.conditions() == []


def test_a_store_that_is_taken_away_is_never_begun_anew(served, tmp_path):
    served.go(6)
    elsewhere = tmp_path / "elsewhere.db"
    (tmp_path / "reconciler.db").rename(elsewhere)
    writes = len(served.day.watch.writes)
    served.go(15)

    assert served.conditions() == ["store"]
    assert "is gone" in served.health.pulse().conditions[0].why
    assert len(served.day.watch.writes) == writes
    assert not (tmp_path / "reconciler.db").exists()

    elsewhere.rename(tmp_path / "reconciler.db")
    served.go(6)
    assert served.conditions() == []


def test_a_second_service_on_the_same_store_does_not_do_what_was_done(served):
    served.service.turn()
    other = Service(served.day.app, into(served.said))
    number = beat(served).number

    assert other.cycle(Duty.QUICK, only_due=True) is None
    assert beat(served).number == number

    with served.day.app.database.write() as session:
        leases.ask(session, "contoso")
    assert other.cycle(Duty.QUICK, only_due=True) is not None
    assert other.cycle(Duty.QUICK, only_due=True) is None


def test_a_service_stands_by_while_another_one_has_the_tenant_and_names_it(served):
    with served.day.app.database.write() as session:
        lease = leases.claim(session, "contoso", "elsewhere:1:2:abc", ttl_s=90.0)
    assert isinstance(lease, leases.Lease)
    served.go(3)

    pulse = served.health.pulse()
    assert (pulse.state, pulse.standby_for) == ("standby", "elsewhere:1:2:abc")
    assert served.said == []
    with served.day.app.database.write() as session:
        leases.release(session, lease)
    served.go(1)
    assert len(served.of_cycles()) == 1


def test_a_lease_that_is_lost_in_a_cycle_ends_it_before_the_next_write(fresh):
    taken = []

    def take_over(request: httpx.Request) -> None:
        if request.method in ("POST", "PATCH") and "assignLicense" in request.url.path and not taken:
            with fresh.day.app.database.write() as session:
                leases.abandon(session, "contoso", leases.holder(session, "contoso").by)
                taken.append(leases.claim(session, "contoso", "elsewhere:1:2:abc", ttl_s=90.0))

    fresh.day.watch.meddle = take_over
    fresh.service.turn()

    assert taken
    writes = fresh.day.watch.writes
    assert "assignLicense" in writes[-1]
    assert sum("assignLicense" in write for write in writes) == 1
    assert fresh.conditions() == ["lease"]


def beat(served: Served) -> heartbeat.Heartbeat:
    with served.day.app.database.read() as session:
        found = heartbeat.last(session, "contoso")
    assert found is not None
    return found
