"""Licences of one person: what is checked before a write, what is exchanged, what stays off, who builds on whom."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from desired_state.model import Given, GivenKind, GroupId, LineKey, Path, PlanId, Product, SkuId
from desired_state.plan_rules import Enforcement, Need, Place, PlanRules, exclusion
from desired_state.rules import Rules
from reconciler.causes import Cause
from reconciler.lifecycle import Phase
from reconciler.line import Drift, DriftKind, Line, LineState, Observed, Plan, Proposal, Rest
from reconciler.loop.diff import Windows, diff
from reconciler.loop.ending import end
from reconciler.loop.gate import Policy, gate
from reconciler.loop.guards.watch import Watch
from reconciler.loop.plan import Bounds, plan
from reconciler.loop.undo import take_back
from reconciler.loop.verify import overtaken
from reconciler.model import Assignment, Grant, ObservedGroup, Outcome, PlanState, Result
from tests.make import (
    ADA,
    BOB,
    DAY,
    E3,
    E5,
    HOUR,
    MCOEV,
    MONDAY,
    PHONE,
    SWAY,
    TEAMS1,
    VISIO,
    VISIO_WEB,
    YAMMER,
    a_line,
    a_product,
    a_sku,
    a_user,
    details_of,
    seen,
)

HOME, ABROAD = SkuId("sku-home"), SkuId("sku-abroad")
CALL_1, CALL_2 = PlanId("plan-call-1"), PlanId("plan-call-2")
STAFF = GroupId("staff")
SKUS = (
    a_sku(HOME, plans=(CALL_1,)),
    a_sku(ABROAD, plans=(CALL_2,)),
    a_sku(E3, plans=(TEAMS1, SWAY)),
    a_sku(E5, plans=(TEAMS1, SWAY, MCOEV)),
    a_sku(PHONE, plans=(MCOEV,)),
    a_sku(VISIO),
)
NAMES = {CALL_1: "Domestic Calling", CALL_2: "International Calling", TEAMS1: "Microsoft Teams", MCOEV: "Phone System"}
SOLD_AS = {HOME: "Calling at home", ABROAD: "Calling abroad", E3: "Suite E3", E5: "Suite E5", PHONE: "Teams Phone"}
RULES = PlanRules((exclusion(CALL_1, CALL_2),), (Need(MCOEV, (TEAMS1,)),))

DOMESTIC = a_product("domestic", name="Domestic Calling Plan", candidate_skus=(HOME,), proof_plans=(CALL_1,))
INTERNATIONAL = a_product("abroad", name="International Plan", candidate_skus=(ABROAD,), proof_plans=(CALL_2,))
SUITE_3 = a_product("e3", name="E3", kind="suite", candidate_skus=(E3,), proof_plans=(TEAMS1,))
SUITE_5 = a_product("e5", name="E5", kind="suite", candidate_skus=(E5,), proof_plans=(TEAMS1, MCOEV), proof_mode="all")
TEAMS_PHONE = a_product("phone", name="Teams Phone", candidate_skus=(PHONE,), proof_plans=(MCOEV,))


def bounds(*products: Product, rules: PlanRules = RULES, **more: Any) -> Bounds:
    return Bounds(sku_names=SOLD_AS, service_names=NAMES, rules=rules, products={p.key: p for p in products}, **more)


def someone(holds: dict[SkuId, tuple[PlanId, ...]] | None = None, *, by_group: tuple[SkuId, ...] = ()) -> Observed:
    """Ada with direct licences (and the plans that are off in them) and licences by a group."""
    user = a_user(holds=holds)
    inherited = tuple(Assignment(sku, STAFF, frozenset(), "Active") for sku in by_group)
    user = replace(
        user, skus=(user.skus or frozenset()) | set(by_group), assignments=(*(user.assignments or ()), *inherited)
    )
    contents = {s.sku: s.plans for s in SKUS}
    shown = {sku: dict.fromkeys(contents[sku], PlanState.SUCCESS) for sku in (*(holds or {}), *by_group)}
    for sku, off in (holds or {}).items():
        shown[sku] |= dict.fromkeys(off, PlanState.DISABLED)
    return seen(user, details={ADA: details_of(shown)}, skus=SKUS)


def planned(observed: Observed, *lines: Line, within: Bounds | None = None) -> Plan:
    return plan(diff(lines, observed, at=MONDAY, windows=Windows()), observed, within or bounds())


def alone(observed: Observed, product: Product, within: Bounds | None = None) -> Proposal:
    return planned(observed, a_line(product=product), within=within).proposals[0]


# --- exclusions and needs -----------------------------------------------------------------------------------


def test_a_licence_that_excludes_one_that_is_held_is_not_bought_and_both_are_named():
    found = alone(someone({ABROAD: ()}), DOMESTIC)

    assert (found.actions, found.blocked) == ((), Cause.PLAN_CONFLICT)
    assert found.sentence == (
        "Domestic Calling (in Calling at home) and International Calling (in Calling abroad) exclude each other."
    )


def test_a_licence_by_a_group_excludes_as_well_and_is_named_as_the_groups():
    found = alone(someone(by_group=(ABROAD,)), DOMESTIC)

    assert found.blocked is Cause.PLAN_CONFLICT
    assert "Calling abroad by a group" in found.sentence


def test_a_plan_that_is_off_excludes_nothing():
    assert alone(someone({ABROAD: (CALL_2,)}), DOMESTIC).actions


def test_a_hard_need_that_nobody_meets_stops_the_write_and_names_both_plans():
    found = alone(someone(), TEAMS_PHONE)

    assert (found.actions, found.blocked, found.after) == ((), Cause.DEPENDENCY_MISSING, None)
    assert found.sentence == ("Phone System (in Teams Phone) needs Microsoft Teams, which the account does not have.")


def test_a_need_that_is_there_and_switched_off_is_said_to_be_switched_off():
    found = alone(someone({E3: (TEAMS1,)}), TEAMS_PHONE)

    assert found.blocked is Cause.DEPENDENCY_MISSING
    assert "which is switched off in Suite E3" in found.sentence


def test_what_was_broken_before_is_not_held_against_a_new_request():
    assert alone(someone({HOME: (), ABROAD: ()}), a_product()).actions


def test_two_plans_that_one_licence_brings_together_do_not_exclude_each_other():
    both = SkuId("sku-both")
    observed = seen(a_user(), skus=[a_sku(both, plans=(CALL_1, CALL_2))])

    assert alone(observed, replace(DOMESTIC, candidate_skus=(both,))).actions


def test_a_contested_rule_is_tried_and_an_advised_one_is_a_warning():
    contested = PlanRules((exclusion(CALL_1, CALL_2, Enforcement.CONTESTED),))
    advised = PlanRules((), (Need(CALL_1, (MCOEV,), Enforcement.ADVISORY),), (Place(CALL_1, frozenset({"DE"})),))

    tried = alone(someone({ABROAD: ()}), DOMESTIC, bounds(rules=contested))
    warned = alone(someone(), DOMESTIC, bounds(rules=advised))

    assert "warnings" not in tried.actions[0].after
    assert warned.actions[0].after["warnings"] == [
        "Domestic Calling (in Calling at home) needs Phone System, which the account does not have. "
        "Microsoft may not insist on it.",
        "Domestic Calling is not sold for DE.",
    ]


def test_a_rule_that_a_refusal_taught_stops_the_write_and_says_when_it_was_learnt():
    learnt = PlanRules().with_learnt([exclusion(CALL_1, CALL_2, learnt_at=MONDAY)])

    found = alone(someone({ABROAD: ()}), DOMESTIC, bounds(rules=learnt))

    assert found.blocked is Cause.PLAN_CONFLICT
    assert found.sentence.endswith("Microsoft Graph said so on 2026-11-02.")


def test_switching_a_plan_on_is_checked_like_buying_it():
    found = alone(someone({HOME: (CALL_1,), ABROAD: ()}), DOMESTIC)

    assert (found.actions, found.blocked) == ((), Cause.PLAN_CONFLICT)


def test_another_sku_that_breaks_no_rule_is_taken_when_it_costs_no_more():
    spare = SkuId("sku-spare")
    observed = someone({ABROAD: ()})
    observed = replace(observed, skus={**observed.skus, spare: a_sku(spare, plans=(SWAY,))})
    product = replace(DOMESTIC, candidate_skus=(HOME, spare), proof_plans=(CALL_1, SWAY))

    cheap = alone(observed, product, bounds(sku_prices={spare: DOMESTIC.price}))
    unpriced = alone(observed, product)

    assert [a.add for a in cheap.actions] == [(Grant(spare),)]
    assert unpriced.blocked is Cause.PLAN_CONFLICT


def ended(observed: Observed, product: Product, *more: Line) -> LineState:
    """Where the first line stands after a cycle in which nothing could be sent for it."""
    lines = (a_line("RITM0000001", product=product), *more)
    proposed = plan(diff(lines, observed, at=MONDAY, windows=Windows()), observed, bounds())
    gates = gate(proposed, Rules(), policy=Policy(mode="enforce"), watch=Watch(MONDAY), at=MONDAY)
    gated = next(g for g in gates.gated if g.proposal.finding.key == lines[0].key)
    return end(gated, gated.proposal.finding, (), at=MONDAY, retry_window=DAY, chance=0.5).state


def test_what_no_retry_can_help_goes_to_a_person_at_once():
    assert (ended(someone({ABROAD: ()}), DOMESTIC).phase, ended(someone(), TEAMS_PHONE).phase) == (
        Phase.REVIEW,
        Phase.REVIEW,
    )


def test_a_new_account_is_given_a_day_to_get_what_its_licences_build_on():
    observed = someone()
    (ada,) = observed.users.values()
    joined = replace(observed, users={ADA: replace(ada, created_at=MONDAY - HOUR)})

    assert ended(joined, TEAMS_PHONE).phase is Phase.HELD
    assert (
        ended(replace(observed, users={ADA: replace(ada, created_at=MONDAY - DAY)}), TEAMS_PHONE).phase is Phase.REVIEW
    )


# --- exchanges ----------------------------------------------------------------------------------------------


def test_a_declared_replacement_is_one_call_that_adds_and_removes():
    product = replace(DOMESTIC, replaces=(INTERNATIONAL.key,))

    (action,) = alone(someone({ABROAD: ()}), product, bounds(INTERNATIONAL)).actions

    assert (action.add, action.remove) == ((Grant(HOME),), (ABROAD,))
    assert [was["sku"] for was in action.before["licences"]] == ["Calling abroad"]
    assert [now["sku"] for now in action.after["licences"]] == ["Calling at home"]
    assert action.inverse == {"add": [{"sku_id": ABROAD, "disabled_plans": []}], "remove": [HOME]}
    assert action.given == (Given(GivenKind.LICENSE, MONDAY, sku=HOME, instead_of=((ABROAD, ()),)),)


def test_what_was_off_stays_off_in_the_successor_unless_the_product_needs_it():
    product = replace(SUITE_5, replaces=(SUITE_3.key,))

    (action,) = alone(someone({E3: (SWAY, TEAMS1)}), product, bounds(SUITE_3)).actions

    assert (action.add, action.remove) == ((Grant(E5, frozenset({SWAY})),), (E3,))


def test_what_no_product_declares_to_replace_is_never_removed():
    (action,) = alone(someone({E3: ()}), SUITE_5, bounds(SUITE_3)).actions

    assert action.remove == ()


def test_a_licence_by_a_group_is_not_exchanged():
    product = replace(DOMESTIC, replaces=(INTERNATIONAL.key,))

    found = alone(someone(by_group=(ABROAD,)), product, bounds(INTERNATIONAL))

    assert (found.actions, found.blocked) == ((), Cause.PLAN_CONFLICT)


def test_a_declared_predecessor_that_neither_conflicts_nor_is_covered_stays():
    product = replace(DOMESTIC, replaces=(a_product().key,))

    (action,) = alone(someone({VISIO: ()}), product, bounds(a_product())).actions

    assert action.remove == ()


def test_an_exchange_that_takes_away_what_another_licence_needs_is_not_made():
    teams_only = a_product("teams", candidate_skus=(E3,), proof_plans=(SWAY,))
    lean = a_product("lean", name="Lean", candidate_skus=(VISIO,), proof_plans=(VISIO_WEB,), replaces=("teams",))
    rules = PlanRules((exclusion(SWAY, VISIO_WEB),), (Need(MCOEV, (TEAMS1,)),))

    found = alone(someone({E3: (), PHONE: ()}), lean, bounds(teams_only, rules=rules))

    assert (found.actions, found.blocked) == ((), Cause.DEPENDENCY_MISSING)
    assert "which goes away with Suite E3" in found.sentence


# --- direct and inherited, new and retired plans ------------------------------------------------------------


def test_a_licence_that_comes_from_a_group_gets_no_direct_copy():
    observed = someone(by_group=(VISIO,))
    observed = replace(observed, details={ADA: details_of({VISIO: {}})})  # the service is not shown yet

    found = alone(observed, a_product())

    assert (found.actions, found.blocked) == ((), Cause.PROVISIONING_PENDING)
    assert "no second, direct copy" in found.sentence


def test_plans_that_are_new_from_microsoft_stay_off_where_the_product_says_so():
    observed = seen(a_user(), skus=[a_sku(plans=(VISIO_WEB, SWAY, YAMMER))])
    known = bounds(known_plans=frozenset({SWAY}))

    off = alone(observed, a_product(new_plans="off"), known)
    on = alone(observed, a_product(), known)

    assert off.actions[0].add == (Grant(VISIO, frozenset({YAMMER})),)  # what proves the product is on all the same
    assert on.actions[0].add == (Grant(VISIO),)


def test_a_retired_sku_is_not_bought_any_more():
    product = a_product(candidate_skus=(VISIO, E3), proof_plans=(VISIO_WEB, TEAMS1), retired=(VISIO,))

    (action,) = alone(someone(), product).actions

    assert action.add == (Grant(E3),)


# --- several lines of one person ----------------------------------------------------------------------------


def test_an_older_add_on_waits_for_the_base_that_another_line_brings():
    phone = a_line("RITM0000001", product=TEAMS_PHONE, requested_at=MONDAY - 9 * DAY)
    suite = a_line("RITM0000002", product=SUITE_3)

    result = planned(someone(), phone, suite)

    assert [a.add[0].sku for a in result.actions] == [E3, PHONE]
    assert [p.after for p in result.proposals] == [None, suite.key]


def test_an_add_on_whose_base_is_still_being_provisioned_waits_and_is_no_dead_end():
    phone, base = a_line("RITM0000001", product=TEAMS_PHONE), a_line("RITM0000002", product=SUITE_3)
    observed = someone()
    findings = diff([phone, base], observed, at=MONDAY, windows=Windows())
    arriving = [replace(f, rest=Rest.WAIT) if f.key == base.key else f for f in findings]

    found = next(p for p in plan(arriving, observed, bounds()).proposals if p.finding.key == phone.key)

    assert (found.actions, found.blocked, found.after) == ((), Cause.DEPENDENCY_MISSING, base.key)


def test_a_conflict_that_ends_in_this_cycle_is_waited_for_and_is_no_dead_end():
    over, wanted = a_line("RITM0000001", product=INTERNATIONAL), a_line("RITM0000002", product=DOMESTIC)
    observed = someone({ABROAD: ()})
    findings = diff([over, wanted], observed, at=MONDAY, windows=Windows())
    given = Given(GivenKind.LICENSE, MONDAY, sku=ABROAD)
    surplus = Drift(DriftKind.SURPLUS, needs_location=False, take_back=(given,))
    revoking = replace(over, state=replace(LineState(over.key, Phase.REVOKING), given=(given,)))

    def of_wanted(**ending: Any) -> Proposal:
        every = [replace(f, **ending) if f.key == over.key else f for f in findings]
        return next(p for p in plan(every, observed, bounds()).proposals if p.finding.key == wanted.key)

    stays, ends, goes = (
        of_wanted(),
        of_wanted(rest=Rest.ACT, drift=surplus),
        of_wanted(rest=Rest.WAIT, line=revoking),
    )

    assert [p.blocked for p in (stays, ends, goes)] == [Cause.PLAN_CONFLICT] * 3
    assert [p.after for p in (stays, ends, goes)] == [None, over.key, over.key]
    assert ends.sentence.endswith("It waits for RITM0000001/1, which ends that.")


def test_the_weaker_of_two_wanted_products_is_not_bought_when_the_stronger_one_brings_it():
    weak = a_line("RITM0000001", product=SUITE_3, requested_at=MONDAY - 9 * DAY)
    strong = a_line("RITM0000002", product=SUITE_5)

    result = planned(someone(), weak, strong)

    assert [a.add[0].sku for a in result.actions] == [E5]
    assert {p.finding.key: p.with_ for p in result.proposals} == {strong.key: None, weak.key: strong.key}


def test_the_weaker_one_is_bought_when_the_stronger_one_cannot_be():
    weak = a_line("RITM0000001", product=SUITE_3, requested_at=MONDAY - 9 * DAY)
    strong = a_line("RITM0000002", product=SUITE_5)
    observed = someone()
    observed = replace(observed, skus={**observed.skus, E5: a_sku(E5, plans=(TEAMS1, SWAY, MCOEV), free=0)})

    result = planned(observed, weak, strong)

    assert [a.add[0].sku for a in result.actions] == [E3]


def test_two_wanted_products_that_exclude_each_other_are_not_both_bought():
    first = a_line("RITM0000001", product=DOMESTIC, requested_at=MONDAY - 9 * DAY)
    second = a_line("RITM0000002", product=INTERNATIONAL)

    result = planned(someone(), first, second)

    assert [(p.finding.key, p.blocked) for p in result.proposals] == [
        (first.key, None),
        (second.key, Cause.PLAN_CONFLICT),
    ]


def test_what_was_there_before_the_account_lost_a_licence_to_another_line_grants_nothing():
    kept, upgraded = a_line("RITM0000001", product=DOMESTIC), a_line("RITM0000002", product=INTERNATIONAL)
    granted = replace(
        a_line("RITM0000003", product=DOMESTIC), state=LineState(LineKey("RITM0000003", 1), Phase.GRANTED)
    )
    observed = someone({HOME: ()})
    findings = diff([kept, upgraded, granted], observed, at=MONDAY, windows=Windows())
    (swap,) = alone(observed, replace(INTERNATIONAL, replaces=(DOMESTIC.key,)), bounds(DOMESTIC)).actions
    give = replace(swap, remove=())

    swapped = overtaken(findings, {upgraded.key: (Outcome(swap, Result.APPLIED),)})

    assert [f.rest for f in findings] == [Rest.PROVEN, Rest.ACT, Rest.PROVEN]
    assert {key: (f.rest, f.sentence) for key, f in swapped.items()} == {
        kept.key: (Rest.WAIT, "The account's licences were just changed for RITM0000002/1; they are looked at again.")
    }
    assert overtaken(findings, {upgraded.key: (Outcome(give, Result.APPLIED),)}) == {}
    assert overtaken(findings, {upgraded.key: (Outcome(swap, Result.FAILED),)}) == {}
    assert kept.key in overtaken(findings, {upgraded.key: (Outcome(swap, Result.FAILED, is_unsure=True),)})


def test_what_only_waits_for_a_person_stands_in_nobodys_way():
    """A wish that is not approved yet would replace this licence, and comes first; nothing of it is there."""
    asked = a_line("RITM0000001", product=replace(INTERNATIONAL, replaces=(DOMESTIC.key,)))
    due = a_line("RITM0000002", product=DOMESTIC, requested_at=MONDAY - 9 * DAY)
    observed = someone()
    findings = diff([asked, due], observed, at=MONDAY, windows=Windows())
    wish = plan(findings, observed, bounds(), as_if_seats=True)
    assert [p.blocked for p in wish.proposals if p.finding.key == due.key] == [Cause.PLAN_CONFLICT]

    result = plan(findings, observed, bounds(), aside={asked.key, due.key}, wished=wish)

    assert [(p.finding.key, [a.add for a in p.actions]) for p in result.proposals if p.actions] == [
        (due.key, [(Grant(HOME),)])
    ]


def test_a_plan_that_another_line_switches_on_in_the_same_licence_is_switched_on_once():
    teams = a_product("teams", candidate_skus=(E3,), proof_plans=(TEAMS1,))
    again = replace(teams, key="teams-again", name="Teams again")
    first = a_line("RITM0000001", product=teams, requested_at=MONDAY - 9 * DAY)
    second = a_line("RITM0000002", product=again)

    result = planned(someone({E3: (TEAMS1, SWAY)}), first, second)

    assert [a.add for a in result.actions] == [(Grant(E3, frozenset({SWAY})),)]
    assert result.proposals[1].with_ == first.key


def test_what_a_plan_that_was_switched_on_allows_waits_for_exactly_that():
    teams = a_product("teams", candidate_skus=(E3,), proof_plans=(TEAMS1,))
    phone = a_line("RITM0000001", product=TEAMS_PHONE, requested_at=MONDAY - 9 * DAY)
    switched = a_line("RITM0000002", product=teams)
    unrelated = a_line("RITM0000003", product=a_product())

    result = planned(someone({E3: (TEAMS1,)}), phone, switched, unrelated)

    after = {p.finding.key: p.after for p in result.proposals}
    assert after[switched.key] is None
    assert after[phone.key] == switched.key
    assert after[unrelated.key] is None


def test_other_people_keep_their_place_at_the_last_seat():
    phone = a_line("RITM0000001", product=TEAMS_PHONE, requested_at=MONDAY - 9 * DAY)
    bob = a_line("RITM0000002", product=SUITE_3, user=BOB, requested_at=MONDAY - 8 * DAY)
    suite = a_line("RITM0000003", product=SUITE_3, requested_at=MONDAY - 7 * DAY)
    last = {s.sku: s for s in SKUS} | {E3: a_sku(E3, plans=(TEAMS1, SWAY), free=1)}
    observed = seen(a_user(), a_user(BOB), skus=last.values())

    result = planned(observed, phone, bob, suite)

    assert [(a.user, a.add[0].sku) for a in result.actions] == [(BOB, E3)]
    assert {p.finding.key: p.blocked for p in result.proposals} == {
        bob.key: None,
        suite.key: Cause.NO_SEAT,
        phone.key: Cause.DEPENDENCY_MISSING,
    }


def test_the_digest_of_a_plan_does_not_depend_on_when_it_is_carried_out():
    later = replace(someone(), at=MONDAY + DAY)

    assert planned(someone(), a_line()).digest == planned(later, a_line()).digest


def test_switching_on_says_exactly_what_was_switched_on():
    teams = a_product("teams", candidate_skus=(E3,), proof_plans=(TEAMS1,))

    found = alone(someone({E3: (TEAMS1, SWAY)}), teams)

    assert found.finding.drift is not None
    assert found.finding.drift.kind is DriftKind.PLAN_OFF
    assert found.actions[0].given == (Given(GivenKind.PLANS, MONDAY, sku=E3, plans=(TEAMS1,)),)


# --- groups, and what a failed exchange took away -----------------------------------------------------------


def test_a_group_whose_licence_excludes_one_that_is_held_is_not_joined():
    product = replace(DOMESTIC, path=Path.GROUP, group=STAFF)
    carrier = ObservedGroup(STAFF, "Callers", False, True, False, False, False, False, (Grant(HOME),), "", 0, ())
    observed = someone({ABROAD: ()})
    observed = replace(observed, groups={STAFF: carrier}, members={(STAFF, ADA): False})

    found = alone(observed, product)

    assert (found.actions, found.blocked) == ((), Cause.PLAN_CONFLICT)


def test_a_failed_exchange_gives_back_what_it_took_away_in_one_call():
    given = Given(GivenKind.LICENSE, MONDAY, sku=E5, instead_of=((E3, (SWAY,)),))
    line = a_line(product=SUITE_5)
    observed = someone({E5: (SWAY,)})
    finding = replace(diff([line], observed, at=MONDAY, windows=Windows())[0], drift=_undoing(given))

    (action,) = take_back(finding, observed, bounds())

    assert (action.add, action.remove) == ((Grant(E3, frozenset({SWAY})),), (E5,))
    assert action.inverse == {"add": [{"sku_id": E5, "disabled_plans": [SWAY]}], "remove": [E3]}
    assert [now["sku"] for now in action.after["licences"]] == ["Suite E3"]


def test_what_is_there_again_after_a_failed_exchange_is_left_alone():
    given = Given(GivenKind.LICENSE, MONDAY, sku=E5, instead_of=((E3, ()),))
    observed = someone({E5: (), E3: (SWAY,)})
    finding = diff([a_line(product=SUITE_5)], observed, at=MONDAY, windows=Windows())[0]

    (action,) = take_back(replace(finding, drift=_undoing(given)), observed, bounds())

    assert (action.add, action.remove) == ((), (E5,))


def test_at_the_end_of_its_period_an_exchanged_licence_is_merely_taken_back():
    given = Given(GivenKind.LICENSE, MONDAY, sku=E5, instead_of=((E3, ()),))
    observed = someone({E5: ()})
    finding = diff([a_line(product=SUITE_5)], observed, at=MONDAY, windows=Windows())[0]
    over = replace(_undoing(given), kind=DriftKind.SURPLUS)

    (action,) = take_back(replace(finding, drift=over), observed, bounds())

    assert (action.add, action.remove) == ((), (E5,))


def _undoing(given: Given) -> Drift:
    return Drift(DriftKind.HALF_DONE, needs_location=False, take_back=(given,))
