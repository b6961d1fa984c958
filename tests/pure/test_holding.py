"""What a person holds: which plans are on, what a merge leaves off, what a successor takes over."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from desired_state.model import GroupId, PlanId, SkuId
from reconciler.loop.holding import Holding, carried_over, family, holding, switched_on
from reconciler.model import Assignment, Grant, PlanState
from tests.make import ADA, E3, E5, MCOEV, SWAY, TEAMS1, VISIO, VISIO_WEB, YAMMER, a_sku, a_user, details_of, seen

STAFF = GroupId("staff")
FORMS_3, FORMS_5 = PlanId("plan-forms-3"), PlanId("plan-forms-5")
CONTENTS = {
    E3: {TEAMS1: "TEAMS1", SWAY: "SWAY", FORMS_3: "FORMS_PLAN_E3"},
    E5: {TEAMS1: "TEAMS1", SWAY: "SWAY", FORMS_5: "FORMS_PLAN_E5", MCOEV: "MCOEV"},
    VISIO: {SWAY: "SWAY", VISIO_WEB: "VISIOONLINE"},
}
plans = st.frozensets(st.sampled_from([TEAMS1, SWAY, YAMMER, MCOEV, FORMS_3, FORMS_5]))


def held(rows: dict[tuple[SkuId, GroupId | None], set[PlanId]]) -> Holding:
    return Holding({row: frozenset(off) for row, off in rows.items()}, CONTENTS)


@given(off=plans, wanted=plans)
def test_what_is_needed_is_on_and_every_other_plan_keeps_its_state(off, wanted):
    left = switched_on(off, wanted)

    assert not left & wanted
    assert left - wanted == off - wanted


def test_a_plan_is_on_when_any_assignment_switches_it_on():
    both = held({(E3, None): {TEAMS1}, (E3, STAFF): {SWAY}})

    assert set(both.plans) == {TEAMS1, SWAY, FORMS_3}
    assert both.plans[TEAMS1] == ((E3, STAFF),)
    assert both.on(E3) == {SWAY, FORMS_3}


def test_a_change_sets_and_clears_direct_licences_and_leaves_inherited_ones():
    after = held({(E3, None): set(), (E3, STAFF): {SWAY}}).changed(add=[Grant(E5, frozenset({SWAY}))], remove=[E3])

    assert after.rows == {(E3, STAFF): {SWAY}, (E5, None): {SWAY}}


def test_what_a_sku_contains_is_the_tenants_list_and_only_without_it_what_the_person_shows():
    user = a_user(holds={VISIO: (), E3: (SWAY,)})
    details = details_of({VISIO: {YAMMER: PlanState.SUCCESS}, E3: {TEAMS1: PlanState.SUCCESS}})

    found = holding(user, seen(user, details={ADA: details}, skus=[a_sku(VISIO, plans=(VISIO_WEB,))]))

    assert set(found.plans) == {VISIO_WEB, TEAMS1}


def test_an_assignment_in_error_gives_nothing():
    user = a_user(assignments=(Assignment(VISIO, STAFF, frozenset(), "Error", "CountViolation"),))

    assert holding(user, seen(user)).plans == {}


def test_what_was_off_stays_off_in_the_successor_by_id_and_by_family():
    before = held({(E3, None): {SWAY, FORMS_3}})

    assert carried_over(E5, [E3], before) == {SWAY, FORMS_5}


def test_what_one_of_two_predecessors_had_on_is_on_in_the_successor():
    before = held({(E3, None): {SWAY, TEAMS1}, (VISIO, None): set()})

    assert carried_over(E5, [E3, VISIO], before) == {TEAMS1}


def test_the_id_of_a_plan_decides_before_its_family():
    contents = {E3: {TEAMS1: "X_P1", SWAY: "X_P2"}, E5: {SWAY: "X_P2"}}
    before = Holding({(E3, None): frozenset({TEAMS1})}, contents)

    assert carried_over(E5, [E3], before) == frozenset()


def test_nothing_is_off_in_a_licence_that_replaces_nothing():
    assert carried_over(E5, [], held({(E3, None): {SWAY}})) == frozenset()


@pytest.mark.parametrize(
    ("name", "kin"),
    [
        ("FORMS_PLAN_E3", "FORMS_PLAN_E5"),
        ("FLOW_O365_P2", "FLOW_O365_P3"),
        ("BPOS_S_TODO_2", "bpos_s_todo_3"),
        ("WHITEBOARD_PLAN2", "WHITEBOARD_PLAN3"),
        ("AAD_PREMIUM", "AAD_PREMIUM_P2"),
    ],
)
def test_editions_of_one_service_are_a_family(name, kin):
    assert family(name) == family(kin)


@pytest.mark.parametrize(
    ("name", "stranger"), [("INTUNE_A", "INTUNE_O365"), ("FLOW_O365_P2", "POWERAPPS_O365_P2"), ("365", "366")]
)
def test_other_services_are_no_family(name, stranger):
    assert family(name) != family(stranger)
