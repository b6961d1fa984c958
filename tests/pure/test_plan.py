"""Drift into actions: what is bought, for whom first, and what stands in the way."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from desired_state.model import Person, UserId
from reconciler.causes import Cause
from reconciler.line import Line, Observed, Plan
from reconciler.loop.diff import Windows, diff
from reconciler.loop.plan import Bounds, plan
from reconciler.model import (
    ActionKind,
    Grant,
    PlanState,
    Undo,
)
from tests.make import (
    ADA,
    BOB,
    DAY,
    E3,
    MONDAY,
    SWAY,
    TEAMS1,
    VISIO,
    a_line,
    a_product,
    a_sku,
    a_user,
    details_of,
    seen,
)

GERMAN = Person("p1", email="ada@contoso.example", country="DE")


def planned(lines: list[Line], observed: Observed, bounds: Bounds | None = None) -> Plan:
    return plan(diff(lines, observed, at=MONDAY, windows=Windows()), observed, bounds or Bounds())


def test_a_missing_licence_is_assigned_with_all_its_plans_on():
    result = planned([a_line()], seen(a_user()))

    (action,) = result.actions
    assert (action.kind, action.user, action.add, action.remove) == (
        ActionKind.ASSIGN_LICENSE,
        ADA,
        (Grant(VISIO, frozenset()),),
        (),
    )
    assert action.inverse == {"add": [], "remove": [VISIO]}


def test_a_location_on_which_two_sources_agree_is_set_before_the_licence():
    result = planned([a_line(person=GERMAN)], seen(a_user(usage_location="")))

    first, second = result.actions
    assert (first.kind, first.country, first.undo) == (ActionKind.SET_USAGE_LOCATION, "DE", Undo.IRREVERSIBLE)
    assert first.sources == ("ServiceNow person", "Entra country")
    assert second.kind is ActionKind.ASSIGN_LICENSE


def test_one_source_alone_and_two_that_disagree_set_nothing():
    no_person = planned([a_line()], seen(a_user(usage_location="")))
    french = planned([a_line(person=replace(GERMAN, country="FR"))], seen(a_user(usage_location="")))

    for result in (no_person, french):
        assert result.actions == ()
        assert result.proposals[0].blocked is Cause.USAGE_LOCATION_MISSING
    assert "disagree" in french.proposals[0].sentence


def test_a_country_outside_the_allow_list_is_not_set():
    result = planned(
        [a_line(person=GERMAN)], seen(a_user(usage_location="")), Bounds(countries=frozenset({"FR", "NL"}))
    )

    assert result.actions == ()
    assert "DE" in result.proposals[0].sentence


def test_the_last_free_seat_goes_to_the_oldest_request():
    early = a_line("RITM0000002", user=BOB, requested_at=MONDAY - 9 * DAY)
    late = a_line("RITM0000001", requested_at=MONDAY - DAY)
    observed = seen(a_user(), a_user(BOB), skus=[a_sku(free=1)])

    result = planned([late, early], observed)

    assert [a.user for a in result.actions] == [BOB]
    assert [p.blocked for p in result.proposals] == [None, Cause.NO_SEAT]


def test_two_lines_for_the_same_person_and_product_share_one_assignment():
    lines = [a_line("RITM0000001"), a_line("RITM0000002", requested_at=MONDAY - DAY)]

    result = planned(lines, seen(a_user(), skus=[a_sku(free=1)]))

    assert len(result.actions) == 1
    assert result.proposals[1].with_ == lines[0].key


def test_a_plan_is_switched_on_with_the_complete_list_of_what_stays_off():
    product = a_product("teams", proof_plans=(TEAMS1,))
    user = a_user(holds={E3: (TEAMS1, SWAY)})
    plans = details_of({E3: {TEAMS1: PlanState.DISABLED, SWAY: PlanState.DISABLED}})

    result = planned([a_line(product=product)], seen(user, details={ADA: plans}, skus=[a_sku(E3, free=0)]))

    (action,) = result.actions
    assert action.add == (Grant(E3, frozenset({SWAY})),)
    assert action.inverse == {"add": [{"sku_id": E3, "disabled_plans": sorted([TEAMS1, SWAY])}], "remove": []}


def test_a_product_that_builds_on_a_plan_the_person_lacks_is_not_bought():
    product = a_product(prerequisite_plans=(TEAMS1,))

    result = planned([a_line(product=product)], seen(a_user()))

    assert (result.actions, result.proposals[0].blocked) == ((), Cause.DEPENDENCY_MISSING)


def test_a_product_dearer_than_what_was_approved_is_not_bought():
    result = planned([a_line(price_cap=Decimal("4.99"))], seen(a_user()))

    assert (result.actions, result.proposals[0].blocked) == ((), Cause.POLICY_REFUSED)


def test_a_sku_whose_content_in_this_tenant_does_not_prove_the_product_is_not_bought():
    result = planned([a_line()], seen(a_user(), skus=[a_sku(plans=(SWAY,))]))

    assert (result.actions, result.proposals[0].blocked) == ((), Cause.NO_SEAT)


@given(order=st.permutations(range(6)), free=st.integers(0, 6))
def test_the_same_world_gives_the_same_digest_in_any_order_and_never_overspends(order, free):
    people = [UserId(f"{n:08d}-0000-4000-8000-000000000000") for n in range(6)]
    lines = [a_line(f"RITM000000{n}", user=people[n], requested_at=MONDAY - n * DAY) for n in range(6)]
    observed = seen(*(a_user(p) for p in people), skus=[a_sku(free=free)])

    straight, shuffled = planned(lines, observed), planned([lines[n] for n in order], observed)

    assert straight.digest == shuffled.digest
    assert len(straight.actions) == min(free, 6)
    assert {a.user for a in straight.actions} == set(people[6 - min(free, 6) :])


def test_a_line_that_may_not_be_sent_takes_no_seat_and_no_change_from_one_that_may():
    held = a_line("RITM0000001", user=BOB, requested_at=MONDAY - 9 * DAY)
    same = a_line("RITM0000003", requested_at=MONDAY - 8 * DAY)
    free = a_line("RITM0000002", requested_at=MONDAY - DAY)
    observed = seen(a_user(), a_user(BOB), skus=[a_sku(free=1)])
    findings = diff([held, same, free], observed, at=MONDAY, windows=Windows())

    result = plan(findings, observed, Bounds(), aside={held.key, same.key})

    by_key = {p.finding.key: p for p in result.proposals}
    assert [a.user for a in by_key[free.key].actions] == [ADA]
    assert by_key[held.key].blocked is Cause.NO_SEAT
    assert by_key[same.key].with_ == free.key


def test_two_services_of_one_licence_are_switched_on_one_after_the_other():
    teams = a_product("teams", proof_plans=(TEAMS1,))
    sway = a_product("sway", proof_plans=(SWAY,))
    user = a_user(holds={E3: (TEAMS1, SWAY)})
    plans = details_of({E3: {TEAMS1: PlanState.DISABLED, SWAY: PlanState.DISABLED}})
    lines = [a_line("RITM0000001", product=teams), a_line("RITM0000002", product=sway, requested_at=MONDAY - DAY)]

    result = planned(lines, seen(user, details={ADA: plans}, skus=[a_sku(E3)]))

    assert [a.add for a in result.actions] == [(Grant(E3, frozenset({SWAY})),), (Grant(E3, frozenset()),)]


def test_another_sku_stands_in_only_when_it_is_known_not_to_cost_more():
    product = a_product(candidate_skus=(VISIO, E3))
    skus = [a_sku(free=0), a_sku(E3, free=5)]

    unknown = planned([a_line(product=product)], seen(a_user(), skus=skus))
    dearer = planned([a_line(product=product)], seen(a_user(), skus=skus), Bounds(sku_prices={E3: Decimal(9)}))
    cheaper = planned([a_line(product=product)], seen(a_user(), skus=skus), Bounds(sku_prices={E3: Decimal(4)}))

    assert (unknown.actions, dearer.actions) == ((), ())
    assert cheaper.actions[0].add[0].sku == E3


class Told(str):
    """An id that counts how often it was compared with another one."""

    compared = 0
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        Told.compared += 1
        return str.__eq__(self, other)


def test_a_change_is_planned_without_looking_at_everybody_who_came_before():
    people = [UserId(Told(f"{n:08x}-0000-4000-8000-000000000000")) for n in range(300)]
    lines = [a_line(f"RITM{n:07d}", user=user) for n, user in enumerate(people)]
    observed = seen(*map(a_user, people), skus=[a_sku(enabled=500, consumed=0)])
    findings = diff(lines, observed, at=MONDAY, windows=Windows())
    Told.compared = 0

    assert len(plan(findings, observed, Bounds()).actions) == 300

    assert Told.compared < 20 * 300
