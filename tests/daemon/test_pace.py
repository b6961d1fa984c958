"""A quick cycle costs what moved; a scan finds what others did to whom nothing moved."""

from __future__ import annotations

from datetime import timedelta

import pytest

from reconciler.daemon import Service
from reconciler.daemon.timetable import Duty
from reconciler.loop.observe import Pace, Scope
from reconciler.once import once
from reconciler.sandbox.faults import FaultRule
from reconciler.store import lines, outbox
from tests.daemon.make_service import GRAPH, Network
from tests.make_logs import into
from tests.simulation.make_day import a_day
from tests.soak.customer import PRODUCTS, Customer

ORDERS = 30


@pytest.fixture(scope="module")
def settled(tmp_path_factory):
    """Contoso with thirty more tickets, all served, and a network that counts."""
    customer = Customer(1)
    customer.calm()
    for _ in range(ORDERS):
        customer.order()
    with a_day(tmp_path_factory.mktemp("pace"), customer.world) as day:
        network = Network()
        for http in (day.app.systems.graph_http, day.app.systems.servicenow_http):
            http._transport = network.wrap(http._transport)
        for _ in range(3):
            once(day.app, Scope())
            day.wait(30)
        yield customer, day, network


def requests(network: Network, run) -> tuple[int, object]:
    before = network.asked[GRAPH]
    report = run()
    return network.asked[GRAPH] - before, report


def test_paces_differ_in_what_they_read_and_not_in_what_they_find(settled):
    customer, day, network = settled
    open_ended = [o for o in customer.orders if not o.days]

    every, whole = requests(network, lambda: once(day.app, Scope()))
    quick, few = requests(network, lambda: once(day.app, Scope(pace=Pace.QUICK)))

    assert len(few.endings) <= len(whole.endings) - len(open_ended)
    assert quick < every
    assert {e.state.key for e in few.endings} < {e.state.key for e in whole.endings}

    victim = next(o for o in open_ended if o.product == "power-bi-pro")  # given directly, not by a group
    directory = day.world.directory
    directory.withdraw(directory.user(victim.upn).user_id, PRODUCTS[victim.product])
    day.wait(10)
    missed = once(day.app, Scope(pace=Pace.QUICK))
    found = once(day.app, Scope(pace=Pace.SCAN))

    assert victim.number not in {e.state.key.ticket for e in missed.endings}
    phases = {e.state.key.ticket: (e.state.phase.value, e.state.cause) for e in found.endings}
    assert phases[victim.number] == ("drifted", "removed_later")
    assert len(found.endings) < len(whole.endings)  # who is as they should be was seen in pages

    assert len(day.app.kept.observed.memory) == len(directory.store.users)
    again = once(day.app, Scope(pace=Pace.SCAN))  # which reads few rows of what it remembers, and finds the same
    assert {e.state.key: e.state.phase for e in again.endings} == {e.state.key: e.state.phase for e in found.endings}


def test_a_page_now_and_then_shows_what_delta_does_not_tell(settled):
    customer, day, network = settled
    once(day.app, Scope(pace=Pace.SCAN))
    once(day.app, Scope(pace=Pace.QUICK))
    service = Service(day.app, into([]))
    service.hearing.sliced_s = -1e9
    asked = network.asked[GRAPH]
    service._scan_on()
    assert (network.asked[GRAPH], service.table.is_called) == (asked + 1, True)  # who is in trouble is looked at again
    known, service.table = service.hearing.people, service.table.done(Duty.QUICK, 0.0, 0.5)

    victim = [o for o in customer.orders if o.product == "power-bi-pro" and not o.days][-1]
    user = day.world.directory.user(victim.upn).user_id
    day.world.directory.withdraw(user, PRODUCTS[victim.product])
    day.wait(10)
    service._scan_on()
    assert user not in service.hearing.people  # not before it is due again
    service.hearing.sliced_s = -1e9
    service._scan_on()

    assert service.hearing.people == known | {user}
    assert service.table.is_called
    found = once(day.app, Scope(pace=Pace.QUICK, moved=service.hearing.people))
    assert victim.number in {e.state.key.ticket for e in found.endings}


def test_whom_a_page_shows_is_read_in_the_same_turn(settled):
    customer, day, _ = settled
    once(day.app, Scope(pace=Pace.SCAN))
    said: list[str] = []
    service = Service(day.app, into(said))
    victim = [o for o in customer.orders if o.product == "power-bi-pro" and not o.days][-1]
    user = day.world.directory.user(victim.upn).user_id
    day.world.directory.withdraw(user, PRODUCTS[victim.product])
    day.wait(10)
    for duty in (Duty.FULL, Duty.NOTICES, Duty.CHECKPOINT):
        service.table = service.table.done(duty, service._now_s(), 0.5)
    service.hearing.sliced_s = -1e9

    service.work_off()

    assert any(line.startswith("cycle ended") for line in said)
    assert service.hearing.people == frozenset()
    with day.app.database.read() as session:
        phases = {key.ticket: state.phase.value for key, state in lines.load(session, day.app.name).items()}
    assert phases[victim.number] == "drifted"


def test_a_ticket_that_moves_wakes_its_line(settled):
    customer, day, _ = settled
    awake = {e.state.key.ticket for e in once(day.app, Scope(pace=Pace.QUICK)).endings}
    order = next(o for o in customer.orders if o.number not in awake)
    day.world.instance.change("sc_req_item", day.ticket(order.number)["sys_id"], description="changed")
    day.wait(1)

    woken = once(day.app, Scope(pace=Pace.QUICK))
    day.world.clock.advance(timedelta(minutes=10))
    once(day.app, Scope(pace=Pace.QUICK))
    later = once(day.app, Scope(pace=Pace.QUICK))

    assert order.number in {e.state.key.ticket for e in woken.endings}
    assert order.number not in {e.state.key.ticket for e in later.endings}


def test_a_ticket_that_is_owed_an_answer_does_not_rest(settled):
    customer, day, _ = settled
    world = day.world
    order = customer.order()
    world.faults.add(FaultRule("unavailable", route="PATCH"))
    for _ in range(3):  # granted, looked at, and with nothing due: but the ticket was not told
        once(day.app, Scope())
        day.wait(30)
    world.faults.clear()
    with day.app.database.read() as session:
        assert {o.answer.ticket for o in outbox.unsent(session, day.app.name)} == {order.number}

    once(day.app, Scope(pace=Pace.QUICK))

    assert len(world.instance.notes(day.ticket(order.number)["sys_id"])) == 1
    with day.app.database.read() as session:
        assert outbox.unsent(session, day.app.name) == ()


def test_whom_a_cycle_has_written_to_and_looked_at_since_calls_for_no_other_cycle(settled):
    customer, day, _ = settled
    directory, service = day.world.directory, Service(day.app, into([]))
    day.world.switches.delta_replays = 0.0
    service.hearing.ask(day.app)  # from here on
    order = customer.order()
    while order.product != "power-bi-pro" or order.days:
        order = customer.order()
    user = directory.user(order.upn)
    service.cycle(Duty.QUICK)

    assert PRODUCTS["power-bi-pro"] in {directory.store.skus[a.sku_id].part_number for a in user.assignments}
    service._pull()
    assert user.user_id not in service.hearing.people

    user.usage_location = "SE"
    directory.store.touch(user, "usageLocation")
    service._pull()
    assert user.user_id in service.hearing.people
