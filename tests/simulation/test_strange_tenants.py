"""Tenants that are not like Contoso, by the shipped loop: what a closed ticket is told, and what is left alone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from reconciler.line import Ending
from reconciler.report import actions_of
from reconciler.sandbox.faults import FaultRule
from reconciler.sandbox.world import World
from tests.simulation.make_day import Day, a_day, contoso_with

TICKET = "RITM0019101"
ANNA = "ingrid.sorensen"  # no other ticket is about her


def account(name: str = ANNA) -> str:
    return f"{name}@contoso.example"


def ask(world: World, product: str, *, who: str = ANNA, days: float = 3, **more: Any) -> None:
    """A ticket that was closed complete some days ago."""
    person = world.instance.user(who)["sys_id"]
    item = world.instance.records("sc_req_item", number="RITM0010001")[0]["cat_item"]
    world.instance.order(
        TICKET, item=item, requested_for=person, opened_at=world.clock.now() - timedelta(days=days),
        variables={"user": person, "product": product, "justification": "needed"}, **more,
    )  # fmt: skip


def graph_writes_for(day: Day, who: str = ANNA) -> list[str]:
    return [w for w in day.watch.writes if day.world.directory.user(account(who)).user_id in w]


def ending(day: Day) -> Ending:
    return next(e for e in day.reports[-1].endings if e.state.key.ticket == TICKET)


def found(day: Day) -> tuple[Any, Any, str]:
    state = ending(day).state
    return state.verdict, state.cause, state.phase.value


def is_handed_back(day: Day) -> bool:
    """The ticket is open again, with a task in a queue and a note that says why."""
    return day.ticket(TICKET)["active"] == "true" and bool(day.tasks(TICKET)) and bool(day.notes(TICKET))


@pytest.fixture
def world() -> World:
    """Some of Contoso, two removals in it, and Ingrid has no licence yet."""
    world = contoso_with("RITM0010001", "RITM0010005", "RITM0010018")
    ingrid = world.directory.user(account())
    world.directory.licensing.set_assignments(ingrid, [], actor=None)
    for sku in world.directory.store.skus.values():
        sku.enabled += 5
    return world


def test_a_licence_whose_subscription_is_suspended_gives_nobody_access_and_its_ticket_goes_back(world, tmp_path):
    directory = world.directory
    directory.grant(directory.user(account()).user_id, "VISIOONLINE_PLAN1", provisioned=True)
    ask(world, "visio-plan-1")
    directory.store.skus[directory.sku("VISIOONLINE_PLAN1")].capability = "Suspended"
    with a_day(tmp_path, world) as day:
        day.cycle()

        assert found(day) == ("false", "provisioning_error", "review")
        assert is_handed_back(day)
        assert "VISIOONLINE_PLAN1" in day.notes(TICKET)[0]
        assert "suspended" in day.notes(TICKET)[0]
        assert graph_writes_for(day) == []


def test_a_person_whose_country_one_source_knows_is_handed_to_people_and_served_once_they_set_it(world, tmp_path):
    ingrid = world.directory.user(account())
    ingrid.usage_location = ingrid.country = None
    ask(world, "visio-plan-1")
    with a_day(tmp_path, world) as day:
        day.cycle()
        day.wait(5)
        day.cycle()

        assert found(day) == ("false", "usage_location_missing", "review")
        assert is_handed_back(day)
        assert "ServiceNow person says SE" in day.notes(TICKET)[0]
        assert graph_writes_for(day) == []

        ingrid.usage_location = "SE"
        world.directory.store.touch(ingrid, "usageLocation")
        day.wait(5)
        day.cycle()
        assert found(day)[2] == "granted"
        assert world.directory.sku("VISIOONLINE_PLAN1") in {sku for sku, _, _ in day.licences(account())}


def test_a_service_that_a_group_switches_off_is_handed_back_where_no_group_could_switch_it_on(world, tmp_path):
    directory = world.directory
    kiosk = directory.add_group("Kiosk staff", licenses={"SPE_E3": ("INTUNE_A",)})
    directory.add_member(kiosk, directory.user(account()).user_id)
    ask(world, "intune")
    with a_day(tmp_path, world) as day:
        day.cycle()

        assert found(day) == ("false", "plan_disabled", "review")
        assert is_handed_back(day)
        assert "Kiosk staff" in day.notes(TICKET)[0]
        assert graph_writes_for(day) == []


def test_a_service_that_never_finishes_being_set_up_is_handed_back_after_its_window_and_undone_by_nobody(
    world, tmp_path
):
    directory = world.directory
    directory.set_provisioning(directory.user(account()).user_id, "VISIOONLINE", ends_in="PendingActivation")
    ask(world, "visio-plan-1")
    with a_day(tmp_path, world) as day:
        day.cycle()
        assert found(day)[1:] == ("provisioning_pending", "verifying")
        assert day.notes(TICKET) == []
        day.wait(25 * 60)
        day.cycle()

        assert found(day) == ("false", "provisioning_pending", "review")
        assert is_handed_back(day)
        assert len(graph_writes_for(day)) == 1  # it stays assigned: pending is no failure


def test_of_a_bundles_two_editions_only_the_one_that_was_asked_for_is_switched_on(world, tmp_path):
    directory = world.directory
    ingrid = directory.user(account()).user_id
    directory.grant(ingrid, "SPE_E5", disabled=("AAD_PREMIUM", "AAD_PREMIUM_P2", "SWAY"))
    ask(world, "entra-p1")
    with a_day(tmp_path, world) as day:
        day.cycle()

        assert found(day)[2] == "granted"
        ((_, _, off),) = day.licences(account())
        assert set(off) == {directory.plan("AAD_PREMIUM_P2"), directory.plan("SWAY")}


def caller(world: World) -> str:
    """Ingrid has a suite with a telephone system, and a Domestic Calling Plan that somebody gave her."""
    directory = world.directory
    ingrid = directory.user(account()).user_id
    directory.grant(ingrid, "SPE_E5")
    directory.grant(ingrid, "MCOPSTN1")
    ask(world, "calling-plan-international")
    return ingrid


def direct(day: Day) -> set[str]:
    skus = day.world.directory.store.skus
    return {skus[sku].part_number for sku, is_direct, _ in day.licences(account()) if is_direct}


def test_an_exchange_through_a_group_that_does_not_work_gives_the_old_licence_back(world, tmp_path):
    directory = world.directory
    ingrid = caller(world)
    directory.set_provisioning(ingrid, "MCOPSTN2", ends_in="Error")
    with a_day(tmp_path, world) as day:
        day.cycle()
        assert direct(day) == {"SPE_E5"}
        assert ingrid in directory.group("M365-Calling-International").members
        for _ in range(8):
            day.wait(12 * 60)
            day.cycle()

        assert found(day)[1:] == ("provisioning_error", "review")
        assert ingrid not in directory.group("M365-Calling-International").members
        assert direct(day) == {"SPE_E5", "MCOPSTN1"}
        assert is_handed_back(day)


def test_a_member_whose_exchange_is_not_given_gets_the_old_licence_back(world, tmp_path):
    directory = world.directory
    ingrid = caller(world)
    directory.add_member(directory.group("M365-Calling-International").group_id, ingrid)
    with a_day(tmp_path, world) as day:
        day.world.faults.add(FaultRule("server_error", route="POST /users/{id}/reprocessLicenseAssignment"))
        for _ in range(6):
            day.cycle()
            day.wait(12 * 60)
        assert direct(day) == {"SPE_E5", "MCOPSTN1"}
        assert found(day)[2] == "review"
        assert is_handed_back(day)


def test_an_exchange_whose_second_half_is_refused_is_undone_at_once_and_not_tried_again(world, tmp_path):
    directory = world.directory
    ingrid = caller(world)
    directory.add_member(directory.group("M365-Calling-International").group_id, ingrid)
    directory.prohibit("MCOPSTN2", "SE")
    with a_day(tmp_path, world) as day:
        day.cycle()

        assert direct(day) == {"SPE_E5", "MCOPSTN1"}
        assert found(day)[2] == "review"
        sent = len(graph_writes_for(day))
        day.wait(60)
        day.cycle()
        assert len(graph_writes_for(day)) == sent
        assert actions_of(ending(day)) == []  # a person has it: nothing is planned


def test_an_exchange_that_could_not_be_undone_at_once_is_undone_later(world, tmp_path):
    directory = world.directory
    ingrid = caller(world)
    directory.add_member(directory.group("M365-Calling-International").group_id, ingrid)
    directory.prohibit("MCOPSTN2", "SE")
    with a_day(tmp_path, world) as day:
        directory.prohibit("MCOPSTN1", "SE")  # it cannot be given back either, for a while
        day.cycle()
        assert direct(day) == {"SPE_E5"}
        assert found(day)[2] == "converging"
        del directory.licensing.limits[directory.plan("MCOPSTN1")]
        day.wait(60)
        day.cycle()

        assert direct(day) == {"SPE_E5", "MCOPSTN1"}
        assert found(day)[2] == "review"
        assert is_handed_back(day)


def test_an_exchange_whose_second_half_fails_for_a_while_is_finished_later(world, tmp_path):
    directory = world.directory
    ingrid = caller(world)
    with a_day(tmp_path, world) as day:
        world.faults.add(FaultRule("server_error", route="POST /users/{id}/assignLicense"))
        day.cycle()
        assert ingrid in directory.group("M365-Calling-International").members
        assert direct(day) == {"SPE_E5", "MCOPSTN1"}
        world.faults.clear()
        for hours in (25, 1):  # removals of others failed as well: a day's limit is used up
            day.wait(hours * 60)
            day.cycle()

        assert found(day)[2] == "granted"
        assert direct(day) == {"SPE_E5"}


def test_the_second_half_of_an_undo_follows_at_once_and_the_group_is_not_joined_again(world, tmp_path):
    directory = world.directory
    ingrid = caller(world)
    directory.set_provisioning(ingrid, "MCOPSTN2", ends_in="Error")
    with a_day(tmp_path, world) as day:
        for hours in (0, 12, 36, 12, 1):  # given, in error, past one window, past the group's as well, seen twice
            day.wait(hours * 60)
            day.cycle()
        members = directory.group("M365-Calling-International").members
        assert ingrid not in members
        for _ in range(3):
            day.wait(60)
            day.cycle()
            assert ingrid not in members

        assert direct(day) == {"SPE_E5", "MCOPSTN1"}
        assert found(day)[1:] == ("provisioning_error", "review")
        assert is_handed_back(day)
