"""Service plans that exclude or need each other: what is broken, and what a change would newly break."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from desired_state.model import PlanId
from desired_state.plan_rules import Enforcement, Exclusion, Need, Place, PlanRules, exclusion, load_plan_rules
from tests.make import MONDAY

A, B, C, D = (PlanId(name) for name in "abcd")
RULES = PlanRules(
    (exclusion(B, A), exclusion(C, D, Enforcement.CONTESTED)),
    (Need(C, (A, B)), Need(D, (A,), Enforcement.ADVISORY)),
    (Place(A, frozenset({"US"})),),
)
DOMESTIC, INTERNATIONAL = (
    PlanId("4ed3ff63-69d7-4fb7-b984-5aec7f605ca8"),
    PlanId("5a10155d-f5c1-411a-a8ec-e99aae125390"),
)
VOICE, TEAMS = PlanId("4828c8ec-dc2e-4779-b502-87ac9ce28ab7"), PlanId("57ff2da0-773e-42df-b2af-ffb7a2317929")
KIOSK, PLAN_2 = PlanId("4a82b400-a79f-41a4-b4e2-e94f5787b113"), PlanId("efb87545-963c-4e0d-99df-69c6916d9eb0")
SHAREPOINT_1, SHAREPOINT_2 = (
    PlanId("c7699d2e-19aa-44de-8edf-1736da088ca1"),
    PlanId("5dbe027f-2339-4123-9542-606e4d348a72"),
)


BUILTIN = load_plan_rules()


def test_a_pair_is_one_rule_whichever_way_round_it_is_named():
    assert exclusion(A, B) == exclusion(B, A) == Exclusion(A, B)


def test_two_plans_that_exclude_each_other_are_a_violation_together_and_not_alone():
    assert RULES.violations({A, B}) == (Exclusion(A, B),)
    assert RULES.violations({A}) == RULES.violations(()) == ()


def test_one_of_the_plans_that_are_needed_is_enough():
    assert RULES.violations({C}) == (Need(C, (A, B)),)
    assert RULES.violations({C, B}) == ()


def test_the_stricter_rules_come_first():
    broken = RULES.violations({C, D})

    assert [rule.enforcement for rule in broken] == [Enforcement.HARD, Enforcement.ADVISORY, Enforcement.CONTESTED]


def test_what_was_broken_before_is_not_caused_by_the_change():
    assert RULES.newly_broken({A, B}, {A, B, D}) == ()
    assert RULES.newly_broken({A}, {A, B}) == (Exclusion(A, B),)


def test_taking_away_what_another_plan_needs_is_caused_by_the_change():
    assert RULES.newly_broken({A, C}, {C}) == (Need(C, (A, B)),)


def test_a_swap_of_two_plans_that_exclude_each_other_breaks_nothing():
    assert RULES.newly_broken({A}, {B}) == ()


def test_exclusions_between_two_licences_are_found_from_either_side():
    assert RULES.between({A}, {B, D}) == RULES.between({B, D}, {A}) == (Exclusion(A, B),)
    assert RULES.between({A}, {D}) == ()


def test_a_plan_is_out_of_place_only_where_it_is_not_sold():
    assert RULES.out_of_place({A}, "us") == (Place(A, frozenset({"US"})),)
    assert RULES.out_of_place({A}, "DE") == RULES.out_of_place({B}, "US") == ()


def test_what_a_refusal_taught_outranks_what_the_sources_contest():
    learnt = RULES.with_learnt([Exclusion(C, D, learnt_at=MONDAY), Need(B, (D,), learnt_at=MONDAY)])

    assert Exclusion(C, D, Enforcement.HARD, MONDAY) in learnt.violations({A, C, D})
    assert learnt.violations({B}) == (Need(B, (D,), learnt_at=MONDAY),)
    assert len(learnt.exclusions) == len(RULES.exclusions)


def test_the_two_calling_plans_exclude_each_other_and_only_want_a_phone_system():
    broken = BUILTIN.violations({DOMESTIC, INTERNATIONAL})

    hard = [r for r in broken if r.enforcement is Enforcement.HARD]
    assert hard == [exclusion(DOMESTIC, INTERNATIONAL)]
    assert {r.plan for r in broken if isinstance(r, Need)} == {DOMESTIC, INTERNATIONAL}


def test_a_phone_needs_teams_and_exchange_plans_go_together_today():
    assert [r.enforcement for r in BUILTIN.violations({VOICE})] == [Enforcement.HARD]
    assert BUILTIN.violations({VOICE, TEAMS}) == ()
    assert BUILTIN.violations({KIOSK, PLAN_2}) == ()


def test_what_the_sources_contradict_each_other_about_is_contested():
    assert [r.enforcement for r in BUILTIN.violations({SHAREPOINT_1, SHAREPOINT_2})] == [Enforcement.CONTESTED]


def test_every_plan_that_a_rule_names_has_a_name_for_people():
    named = {p for x in BUILTIN.exclusions for p in (x.a, x.b)} | {
        p for n in BUILTIN.needs for p in (n.plan, *n.any_of)
    }

    assert named <= set(BUILTIN.names)
    assert len(BUILTIN.exclusions) == 104
    assert len({(x.a, x.b) for x in BUILTIN.exclusions}) == 104


@given(st.data())
def test_a_change_is_blamed_for_exactly_what_was_not_broken_before(data):
    rules = BUILTIN
    plans = st.frozensets(st.sampled_from(sorted(rules.names)), max_size=12)
    before, after = data.draw(plans), data.draw(plans)

    new = rules.newly_broken(before, after)

    assert set(new) == set(rules.violations(after)) - set(rules.violations(before))
    assert rules.newly_broken(after, after) == ()
