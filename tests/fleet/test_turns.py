"""Turns of one tenant by several workers: what one leaves the next goes on with, and a late one writes nothing."""

from __future__ import annotations

import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

import httpx
import pytest

from reconciler.errors import UserError
from reconciler.fleet.turns import Turn
from reconciler.health import CONDITIONS
from reconciler.metrics import Meter
from reconciler.metrics.series import CONDITION
from reconciler.store import leases, looks
from reconciler.store.database import Database
from reconciler.wiring import App
from tests.fleet.make_fleet import Fleet, Killed, a_fleet, is_write
from tests.make_database import EMBEDDED, ENGINES, SERVER, a_database, a_place
from tests.make_metrics import a_registry

SEED = 38


@pytest.fixture
def engine() -> str:
    return SERVER


@pytest.fixture
def database(engine: str, tmp_path: Path) -> Iterator[Database]:
    """On the engine that a fleet needs; a test may say otherwise, since turns hang on nothing of it."""
    with a_place(engine, tmp_path) as place, a_database(place) as opened:
        yield opened


@cache
def alone() -> Fleet:
    """The same customer served by one worker from beginning to end."""
    with (
        tempfile.TemporaryDirectory() as folder,
        a_database(Path(folder) / "alone.db") as database,
        a_fleet(database, Path(folder), SEED) as fleet,
    ):
        fleet.settle(fleet.worker("one"))
        return fleet


def ended(fleet: Fleet) -> int:
    """How many cycles ended."""
    return sum(line.startswith("cycle ended") for line in fleet.said)


def ends_as(fleet: Fleet, other: Fleet) -> bool:
    one, two = fleet.customers["t0"], other.customers["t0"]
    return one.licences() == two.licences() and one.tickets() == two.tickets()


@pytest.mark.parametrize("engine", ENGINES)
def test_workers_that_take_turns_come_to_the_end_that_one_comes_to(database, tmp_path):
    with a_fleet(database, tmp_path, SEED) as fleet:
        fleet.settle(fleet.worker("a"), fleet.worker("b"))

    assert {worker for worker, _ in fleet.customers["t0"].writes} == {"a", "b"}
    expected = alone()
    assert ends_as(fleet, expected)
    assert Counter(what for _, what in fleet.customers["t0"].writes) == Counter(
        what for _, what in expected.customers["t0"].writes
    )


def test_nobody_is_due_after_their_turn_until_something_is(database, tmp_path):
    with a_fleet(database, tmp_path, SEED, SEED + 1) as fleet:
        worker = fleet.worker("a")
        assert [look.tenant for look in fleet.due()] == ["t0", "t1"]

        assert worker.take("t0") is Turn.DONE

        assert [look.tenant for look in fleet.due()] == ["t1"]
        fleet.wait(30)
        assert {look.tenant for look in fleet.due()} == {"t0", "t1"}


def test_somebody_who_asks_makes_a_tenant_due_until_a_cycle_was_done(database, tmp_path):
    with a_fleet(database, tmp_path, SEED) as fleet:
        worker = fleet.worker("a")
        fleet.settle(worker, days=1)
        worker.take("t0")
        assert fleet.due() == ()
        before = fleet.customers["t0"].requests

        with database.write() as session:
            leases.ask(session, "t0")

        assert [look.tenant for look in fleet.due()] == ["t0"]
        worker.take("t0")
        assert fleet.customers["t0"].requests > before
        assert fleet.due() == ()


def test_a_cycle_that_was_asked_for_is_done_once_however_much_else_the_turn_has_to_do(database, tmp_path):
    with a_fleet(database, tmp_path, SEED) as fleet:
        worker = fleet.worker("a")
        fleet.settle(worker, days=1)
        fleet.wait(10)
        worker.take("t0")
        before = ended(fleet)
        fleet.wait(60)  # notices are looked after again, which asks whether somebody wants a cycle

        with database.write() as session:
            leases.ask(session, "t0")
        worker.take("t0")

        assert ended(fleet) == before + 1


@pytest.mark.parametrize("dies_at", [3, 17, 40, 55])
def test_what_a_worker_that_died_had_begun_is_ended_by_another(database, tmp_path, dies_at):
    with a_fleet(database, tmp_path, SEED) as fleet:
        customer, first = fleet.customers["t0"], fleet.worker("a")

        def before(worker: str, _: httpx.Request) -> None:
            if worker == "a" and customer.requests >= dies_at:
                raise Killed

        customer.before = before
        with pytest.raises(Killed):
            for _ in range(20):
                fleet.wait(6)
                first.take("t0")
        fleet.expire("t0")
        fleet.settle(fleet.worker("b"))

    assert ends_as(fleet, alone())


@pytest.mark.parametrize("engine", ENGINES)
def test_a_worker_that_stood_still_past_its_lease_writes_nothing_more(database, tmp_path):
    with a_fleet(database, tmp_path, SEED) as fleet:
        customer, late, prompt = fleet.customers["t0"], fleet.worker("late"), fleet.worker("prompt")
        since: list[int] = []

        def before(worker: str, request: httpx.Request) -> None:
            if worker == "late" and is_write(request) and not since:
                since.append(len(customer.writes))
                fleet.expire("t0")
                assert prompt.take("t0") is Turn.DONE

        customer.before = before
        outcome = late.take("t0")

        assert since
        assert outcome in (Turn.LOST, Turn.FAILED)
        # The one request that was on its way when the worker stood still cannot be called back; it says what the other
        # one said, and nothing follows it.
        assert Counter(worker for worker, _ in customer.writes[since[0] :])["late"] <= 1
        with database.read() as session:
            left = looks.left_over(session, "t0")
        fleet.settle(prompt)
        assert left
    assert customer.licences() == alone().customers["t0"].licences()


def test_turns_that_begin_after_another_configuration_was_read_go_by_it(database, tmp_path):
    with a_fleet(database, tmp_path, SEED, SEED + 1) as fleet:
        worker = fleet.worker("a")
        by: list[str] = []

        def in_the_middle(who: str, _: httpx.Request) -> None:
            by.append(who)
            if len(by) == 3:
                worker.use(lambda tenant: fleet.open("b", tenant), {"t0"})

        fleet.customers["t0"].before = in_the_middle
        worker.take("t0")
        assert set(by) == {"a"}
        fleet.wait(30)
        worker.take("t0")

        assert set(by) == {"a", "b"}
        assert worker.take("t1") is Turn.FOREIGN


def test_two_jobs_of_one_tenant_at_once_are_one_turn(database, tmp_path):
    with a_fleet(database, tmp_path, SEED) as fleet:
        one, two = fleet.worker("a"), fleet.worker("b")
        met: list[Turn] = []

        def before(worker: str, _: httpx.Request) -> None:
            if worker == "a" and not met:
                met.extend([one.take("t0"), two.take("t0")])

        fleet.customers["t0"].before = before
        assert one.take("t0") is Turn.DONE

    assert met == [Turn.HELD, Turn.HELD]
    assert {worker for worker, _ in fleet.customers["t0"].writes} == {"a"}


class Between:
    """A lock of a worker; what comes in as soon as it is let go."""

    def __init__(self, comes_in: Callable[[], None]) -> None:
        self._lock, self._comes_in = threading.Lock(), comes_in

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        self._comes_in()


@pytest.mark.parametrize("engine", [EMBEDDED])
def test_a_tenant_that_two_jobs_open_at_once_is_opened_once_and_closed(database, tmp_path):
    with a_fleet(database, tmp_path, SEED) as fleet:
        doors: list[str] = []
        is_busy = False  # nobody comes in while somebody who came in is served, nor at the end

        @contextmanager
        def door(tenant: str) -> Iterator[App]:
            doors.append("opened")
            with fleet.open("a", tenant) as app:
                yield app
            doors.append("closed")

        def comes_in() -> None:
            nonlocal is_busy
            if doors and not is_busy:
                is_busy = True
                worker.take("t0")
                is_busy = False

        worker = replace(fleet.worker("a"), open=door, lock=Between(comes_in))
        assert worker.take("t0") is Turn.DONE
        is_busy = True
        worker.close()

    assert doors == ["opened", "closed"]


def test_what_was_left_by_another_version_makes_everything_due(database, tmp_path):
    with a_fleet(database, tmp_path, SEED) as fleet:
        worker = fleet.worker("a")
        worker.take("t0")
        with database.write() as session:
            lease = leases.claim(session, "t0", "somebody", ttl_s=60)
            assert isinstance(lease, leases.Lease)
            looks.leave(session, lease, look_s=0, duty="what is new", is_troubled=False, left_over="{}")
            leases.release(session, lease)
        before = fleet.customers["t0"].requests

        assert worker.take("t0") is Turn.DONE

    assert fleet.customers["t0"].requests > before


def test_a_tenant_that_cannot_be_reached_is_troubled_and_the_others_are_served(database, tmp_path):
    with a_fleet(database, tmp_path, SEED, SEED + 1) as fleet:
        worker = fleet.worker("a")

        def refuse(_worker: str, request: httpx.Request) -> None:
            raise httpx.ConnectError("connection refused", request=request)

        fleet.customers["t0"].before = refuse
        worker.take("t0")
        worker.take("t1")
        fleet.wait(600)

        found = {look.tenant: look.is_troubled for look in fleet.due()}

    assert found == {"t0": True, "t1": False}
    assert fleet.customers["t1"].writes
    assert any("tenant=t0" in line and "condition=" in line for line in fleet.said)


def test_a_worker_keeps_few_tenants_open_and_serves_them_all(database, tmp_path):
    with a_fleet(database, tmp_path, *range(SEED, SEED + 4)) as fleet:
        worker = fleet.worker("a", kept_max=2)
        for name in (*fleet.customers, *fleet.customers):
            worker.take(name)
            fleet.wait(10)

        assert len(worker._seats) == 2
    assert all(customer.requests for customer in fleet.customers.values())


def test_a_worker_that_stops_leaves_its_tenant_to_others_at_once(database, tmp_path):
    with a_fleet(database, tmp_path, SEED) as fleet:
        first, second = fleet.worker("a"), fleet.worker("b")
        customer = fleet.customers["t0"]

        def before(worker: str, _: httpx.Request) -> None:
            if worker == "a" and customer.requests == 20:
                first.wishes.stop()

        customer.before = before
        assert first.take("t0") is Turn.STOPPED
        assert first.take("t0") is Turn.STOPPED

        assert [look.tenant for look in fleet.due()] == ["t0"]
        assert second.take("t0") is Turn.DONE
        fleet.settle(second)
    assert ends_as(fleet, alone())


# --- what cannot be served ------------------------------------------------------------------------------------------

embedded = pytest.mark.parametrize("engine", [EMBEDDED])  # nothing of it hangs on the engine


class Door:
    """Opens a customer for a worker, or raises what is wrong with it."""

    def __init__(self, fleet: Fleet, wrong: Exception | None) -> None:
        self._fleet, self.wrong = fleet, wrong

    def __call__(self, tenant: str) -> AbstractContextManager[App]:
        if self.wrong is not None:
            raise self.wrong
        return self._fleet.open("a", tenant)


def ask(fleet: Fleet, tenant: str) -> None:
    with fleet.database.write() as session:
        leases.ask(session, tenant)


@embedded
def test_a_tenant_that_cannot_be_opened_is_put_off_and_told_of_once(database, tmp_path):
    with a_fleet(database, tmp_path, SEED) as fleet:
        door = Door(fleet, UserError("no key"))
        worker = replace(fleet.worker("a"), open=door)
        ask(fleet, "t0")

        for _ in range(3):
            assert [look.tenant for look in fleet.due()] == ["t0"]
            assert worker.take("t0") is Turn.FAILED
            assert fleet.due() == ()
            fleet.wait(2)

        assert len([line for line in fleet.said if "could not be opened" in line]) == 1
        door.wrong = None
        assert worker.take("t0") is Turn.DONE
        assert fleet.customers["t0"].requests
        assert any("condition=configuration" in line and "after=" in line for line in fleet.said)
        worker.close()


@embedded
def test_a_defect_is_raised_and_its_tenant_put_off(database, tmp_path):
    with a_fleet(database, tmp_path, SEED) as fleet:
        worker = replace(fleet.worker("a"), open=Door(fleet, ZeroDivisionError()))

        with pytest.raises(ZeroDivisionError):
            worker.take("t0")

        assert fleet.due() == ()
        assert any("tenant=t0" in line and "ZeroDivisionError" in line for line in fleet.said)
        fleet.wait(2)
        assert [look.tenant for look in fleet.due()] == ["t0"]


@embedded
def test_a_tenant_of_another_configuration_is_left_to_its_workers(database, tmp_path):
    with a_fleet(database, tmp_path, SEED) as fleet:
        looks_before = fleet.due()

        assert fleet.worker("a").take("elsewhere") is Turn.FOREIGN
        assert replace(fleet.worker("a"), ours={"t1"}).take("t0") is Turn.FOREIGN

        assert fleet.due() == looks_before
    assert fleet.said == []


@embedded
def test_a_tenant_that_was_asked_for_and_fails_is_not_due_at_once_again(database, tmp_path):
    with a_fleet(database, tmp_path, SEED) as fleet:
        customer, worker = fleet.customers["t0"], fleet.worker("a")
        fleet.settle(worker)
        worker.take("t0")

        def refuse(_worker: str, request: httpx.Request) -> None:
            raise httpx.ConnectError("connection refused", request=request)

        customer.before = refuse
        ask(fleet, "t0")
        worker.take("t0")
        assert fleet.due() == ()

        customer.before = lambda _worker, _request: None
        fleet.wait(0.6)  # longer than the first wait after a failure, and shorter than any interval
        before = customer.requests
        assert [look.tenant for look in fleet.due()] == ["t0"]
        worker.take("t0")
        assert customer.requests > before
        assert any("answers again" in line for line in fleet.said)


@embedded
def test_what_is_wrong_is_said_once_however_few_tenants_stay_open(database, tmp_path):
    with a_fleet(database, tmp_path, SEED, SEED + 1) as fleet:
        fleet.meter = Meter(a_registry(*fleet.customers))
        worker = fleet.worker("a", kept_max=1)

        def refuse(_worker: str, request: httpx.Request) -> None:
            raise httpx.ConnectError("connection refused", request=request)

        fleet.customers["t0"].before = refuse
        for _ in range(3):
            worker.take("t0")
            worker.take("t1")
            fleet.wait(20)

        assert len([line for line in fleet.said if "condition=" in line]) == 1
        registry = fleet.meter.registry
        assert registry is not None
        wrong = {
            name: sum(registry.value(CONDITION, tenant=name, condition=c) or 0 for c in CONDITIONS)
            for name in fleet.customers
        }
        assert wrong == {"t0": 1, "t1": 0}


@embedded
def test_what_is_wrong_is_said_once_whichever_worker_meets_it_and_over_when_one_does(database, tmp_path):
    with a_fleet(database, tmp_path, SEED) as fleet:
        meters = {name: Meter(a_registry(*fleet.customers)) for name in ("a", "b")}
        workers = {name: fleet.worker(name) for name in meters}

        def turn(name: str) -> dict[str, float]:
            """What each worker's gauges say after a turn of this one."""
            fleet.meter = meters[name]
            workers[name].take("t0")
            fleet.wait(20)
            for worker in workers.values():
                worker.hand_over()
            registries = {of: meter.registry for of, meter in meters.items()}
            return {
                of: sum(r.value(CONDITION, tenant="t0", condition=c) or 0 for c in CONDITIONS)
                for of, r in registries.items()
                if r is not None
            }

        def refuse(_worker: str, request: httpx.Request) -> None:
            raise httpx.ConnectError("connection refused", request=request)

        fleet.customers["t0"].before = refuse
        told = [turn("a"), turn("b"), turn("a"), turn("b")]
        fleet.customers["t0"].before = lambda _worker, _request: None
        told.append(turn("a"))
        spoken = [line for line in fleet.said if "condition=" in line]

        assert told == [{"a": 1, "b": 0}, {"a": 0, "b": 1}, {"a": 1, "b": 0}, {"a": 0, "b": 1}, {"a": 0, "b": 0}]
        assert len(spoken) == 2
        assert "answers again" in spoken[1]
        assert "after=81 min" in spoken[1]  # since the first worker met it


@embedded
def test_a_clock_of_the_store_that_is_set_back_delays_nothing_for_long(database, tmp_path):
    with a_fleet(database, tmp_path, SEED) as fleet:
        worker = fleet.worker("a")
        fleet.settle(worker)
        worker.take("t0")

        fleet.back_s = 86_400.0
        assert [look.tenant for look in fleet.due()] == ["t0"]
        worker.take("t0")
        assert fleet.due() == ()
        before = fleet.customers["t0"].requests
        fleet.wait(10)
        worker.take("t0")

        assert fleet.customers["t0"].requests > before


@embedded
def test_a_service_beside_the_workers_leaves_their_cycles_to_them(database, tmp_path):
    with a_fleet(database, tmp_path, SEED) as fleet:
        assert fleet.worker("a").take("t0") is Turn.DONE

        with database.write() as session:
            found = leases.claim_due(session, "t0", "service", ttl_s=60)

        every_s = fleet.customers["t0"].settings.schedule.every.total_seconds()
        assert isinstance(found, leases.NotDue)
        assert found.in_s > 0.9 * every_s + 20
