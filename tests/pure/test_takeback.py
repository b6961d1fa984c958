"""The end of a period: what is taken back, what stays for others, and what only a person may decide."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from desired_state.model import Given, GivenKind, Path, Period, Says
from desired_state.rules import Rules
from reconciler.causes import Cause
from reconciler.lifecycle import Phase
from reconciler.line import Closing, DriftKind, Rest, Unread
from reconciler.loop.ending import end
from reconciler.loop.gate import Policy, gate
from reconciler.loop.guards.watch import Watch
from reconciler.loop.plan import Bounds, plan
from reconciler.model import Grant, PlanState, Verdict
from tests.make import (
    ADA,
    DAY,
    E3,
    HOUR,
    MONDAY,
    PHONE,
    SWAY,
    TEAMS1,
    VISIO,
    VISIO_WEB,
    YAMMER,
    a_product,
    a_user,
    teams,
)
from tests.make_endings import (
    GRANTED,
    ON,
    G,
    a_group,
    a_holder,
    a_member,
    actions,
    an_ended_line,
    find,
    kinds,
    licence,
    location,
    member,
    others,
    plans,
    there,
)

BY_GROUP = a_product("visio-plan-2", path=Path.GROUP, group=G)
SUCCESS = PlanState.SUCCESS


def test_what_we_gave_is_taken_back_when_its_period_is_over():
    line, observed = an_ended_line(location(), licence()), there()

    found = find(line, observed)
    (action,) = actions(line, observed)

    assert (found.rest, found.closing, found.cause) == (Rest.ACT, Closing.DUE, Cause.EXPIRED_NOT_REMOVED)
    assert found.drift is not None
    assert (found.drift.kind, found.drift.take_back) == (DriftKind.SURPLUS, (licence(),))
    assert (action.kind.value, action.remove, action.takes_back) == ("remove_license", (VISIO,), (licence(),))
    assert action.inverse == {"add": [{"sku_id": VISIO, "disabled_plans": []}], "remove": []}
    assert found.verdict is Verdict.TRUE


def test_a_licence_that_somebody_else_gave_is_proposed_to_its_owner_and_never_written():
    line, observed = an_ended_line(), there()

    found = find(line, observed)

    assert (found.rest, found.closing, found.cause) == (Rest.HOLD, Closing.PROPOSED, Cause.EXPIRED_NOT_REMOVED)
    assert "not given by us" in found.sentence
    assert actions(line, observed) == ()


def test_a_past_that_does_not_say_what_we_gave_is_proposed_too():
    line = an_ended_line(is_by_us=True)

    found = find(line, there())

    assert found.closing is Closing.PROPOSED
    assert "not recorded" in found.sentence


def test_what_we_gave_and_somebody_gave_again_through_a_group_is_no_more_ours():
    observed = there(a_member(VISIO))

    assert find(an_ended_line(licence()), observed).closing is Closing.PROPOSED
    assert actions(an_ended_line(licence()), observed) == ()


def test_a_line_of_which_nothing_is_left_is_over():
    found = find(an_ended_line(licence()), there(a_user(), {}))

    assert (found.rest, found.closing, found.drift) == (Rest.OVER, Closing.GONE, None)


def test_a_promise_that_was_kept_to_its_end_was_true_also_when_nothing_is_left():
    left = find(an_ended_line(licence()), there(a_user(), {}))
    never = find(an_ended_line(granted_at=None, state=None), there(a_user(), {}))

    assert (left.verdict, left.rest) == (Verdict.TRUE, Rest.OVER)
    assert never.verdict is Verdict.UNKNOWN


def test_a_request_that_ended_before_anything_was_given_waits_for_a_new_end():
    line = an_ended_line(granted_at=None, state=None)
    line = replace(line, declared=replace(line.declared, says=Says.APPROVED))

    found = find(line, there(a_user(), {}))

    assert (found.rest, found.closing) == (Rest.HOLD, None)


@pytest.mark.parametrize("says", [Says.APPROVED, Says.FULFILLED])
def test_a_period_that_was_over_is_not_begun_again_by_the_same_request(says):
    line = an_ended_line(granted_at=None, was_granted_at=GRANTED)
    line = replace(line, declared=replace(line.declared, says=says, period=Period(duration_days=14)))

    found = find(line, there(a_user(), {}))

    assert (found.rest, found.closing, found.drift) == (Rest.OVER, Closing.GONE, None)
    assert "ended on" in found.sentence


@pytest.mark.parametrize("is_enabled", [True, False])
def test_the_end_comes_to_people_who_left_as_well(is_enabled):
    assert find(an_ended_line(licence()), there(a_holder(is_enabled=is_enabled))).closing is Closing.DUE


# --- for others


def test_another_line_of_the_same_product_keeps_the_licence():
    line = an_ended_line(licence(), others=others(a_product()))

    found = find(line, there())

    assert (found.rest, found.closing, found.drift) == (Rest.OVER, Closing.KEPT, None)
    assert found.heir == line.others[0].key
    assert str(found.heir) in found.sentence


def test_a_product_that_is_proven_only_by_this_licence_keeps_it():
    teams_too = {E3: {TEAMS1: SUCCESS, VISIO_WEB: SUCCESS}}
    line = an_ended_line(licence(E3), product=a_product(candidate_skus=(E3,)), others=others(teams()))

    assert find(line, there(a_holder(E3), teams_too)).closing is Closing.KEPT
    elsewhere = teams_too | {PHONE: {TEAMS1: SUCCESS}}
    assert find(line, there(a_holder(E3, PHONE), elsewhere)).closing is Closing.DUE


def test_a_product_that_builds_on_this_licence_keeps_it():
    add_on = teams(prerequisite_plans=(VISIO_WEB,))
    held = ON | {PHONE: {TEAMS1: SUCCESS}}
    line = an_ended_line(licence(), others=others(add_on))

    assert find(line, there(a_holder(VISIO, PHONE), held)).closing is Closing.KEPT


def test_an_unrelated_product_keeps_nothing():
    held = ON | {PHONE: {TEAMS1: SUCCESS}}

    line = an_ended_line(licence(), others=others(teams()))

    assert find(line, there(a_holder(VISIO, PHONE), held)).closing is Closing.DUE


def test_of_two_things_we_gave_only_what_nobody_needs_is_taken_back():
    held = ON | {PHONE: {TEAMS1: SUCCESS}}
    line = an_ended_line(licence(), licence(PHONE), others=others(teams()))

    found = find(line, there(a_holder(VISIO, PHONE), held))

    assert found.drift is not None
    assert found.drift.take_back == (licence(),)


# --- before the end, and just after it


def test_a_grant_is_reminded_of_a_week_before_its_end_and_stays_proven():
    line = an_ended_line(licence(), skipped="")
    line = replace(line, declared=replace(line.declared, period=Period(ends_on=(MONDAY + 4 * DAY).date())))

    assert find(line, there(), at=MONDAY - 4 * DAY).closing is None
    found = find(line, there())
    assert (found.rest, found.closing) == (Rest.PROVEN, Closing.NEAR)
    assert "2026-11-06" in found.sentence


def test_the_reminder_says_when_another_line_keeps_the_licence():
    line = an_ended_line(licence(), skipped="", others=others(a_product()))
    line = replace(line, declared=replace(line.declared, period=Period(ends_on=(MONDAY + 4 * DAY).date())))

    assert "keeps the licence" in find(line, there()).sentence


def test_a_line_without_an_end_is_never_near_it():
    line = an_ended_line(licence(), skipped="")

    assert find(replace(line, declared=replace(line.declared, period=Period())), there()).closing is None


def test_in_its_grace_the_licence_stays_and_the_day_is_named():
    line = an_ended_line(licence(), product=a_product(grace_s=5 * 86400.0))

    found = find(line, there())

    assert (found.rest, found.closing) == (Rest.WAIT, Closing.GRACE)
    assert "2026-11-04" in found.sentence
    assert find(line, there(), at=MONDAY + 3 * DAY).closing is Closing.DUE


# --- what only a person may decide


def test_a_suite_that_keeps_a_mailbox_is_only_proposed():
    suite = a_product("m365-e3", kind="suite")

    found = find(an_ended_line(licence(), product=suite), there())

    assert (found.rest, found.closing) == (Rest.HOLD, Closing.PROPOSED)
    assert actions(an_ended_line(licence(), product=suite), there()) == ()


def test_a_mailbox_or_files_without_a_suite_are_only_proposed_too():
    line = an_ended_line(licence(), product=a_product(bears_data=True))

    found = find(line, there())

    assert (found.rest, found.closing, actions(line, there())) == (Rest.HOLD, Closing.PROPOSED, ())


def test_an_inherited_licence_is_taken_back_by_leaving_the_group():
    observed = there(a_member(), group=a_group(), is_member=True)

    (action,) = actions(an_ended_line(member(), product=BY_GROUP), observed)

    assert (action.kind.value, action.group, action.remove) == ("remove_group_member", G, ())
    assert action.inverse == {"add_group_member": G}


@pytest.mark.parametrize(
    "changes", [{"licenses": (Grant(VISIO), Grant(E3))}, {"app_roles": 2}, {"parents": ("g-all",)}], ids=str
)
def test_a_group_that_gives_more_is_left_by_a_persons_decision_only(changes):
    user = a_member(VISIO, E3)
    observed = there(user, ON | {E3: {TEAMS1: SUCCESS}}, group=a_group(**changes), is_member=True)

    found = find(an_ended_line(member(), product=BY_GROUP), observed)

    assert (found.rest, found.closing) == (Rest.HOLD, Closing.PROPOSED)


def test_what_the_group_gives_and_the_person_has_from_elsewhere_does_not_hold_them_in_it():
    user = a_member(VISIO, E3)
    direct = a_holder(E3).assignments or ()
    user = replace(user, assignments=(*(user.assignments or ()), *direct))
    observed = there(user, ON | {E3: {TEAMS1: SUCCESS}}, group=a_group(VISIO, E3), is_member=True)

    assert find(an_ended_line(member(), product=BY_GROUP), observed).closing is Closing.DUE


@pytest.mark.parametrize("changes", [{"licenses": None}, {"app_roles": None}, {"parents": None}], ids=str)
def test_a_group_of_which_something_is_hidden_is_not_left(changes):
    observed = there(a_member(), group=a_group(**changes), is_member=True)

    found = find(an_ended_line(member(), product=BY_GROUP), observed)

    assert (found.rest, found.cause) == (Rest.HOLD, Cause.REMOTE_FAILING)


def test_a_group_that_is_managed_elsewhere_goes_to_its_master():
    observed = there(a_member(), group=a_group(is_synced=True), is_member=True)

    found = find(an_ended_line(member(), product=BY_GROUP), observed)

    assert (found.rest, found.cause) == (Rest.HAND_BACK, Cause.GROUP_NOT_WRITABLE)


@pytest.mark.parametrize("is_member", [None, Unread("no answer")])
def test_whoever_cannot_be_seen_in_the_group_is_not_taken_out_of_it(is_member):
    found = find(an_ended_line(member(), product=BY_GROUP), there(a_member(), group=a_group(), is_member=is_member))

    assert (found.rest, found.closing, found.there) == (Rest.HOLD, None, None)


def test_after_leaving_the_group_its_processing_is_awaited():
    observed = there(a_member(), group=a_group(), is_member=False)
    line = an_ended_line(member(), product=BY_GROUP, phase=Phase.REVOKING)
    assert line.state is not None
    just_left = replace(line, state=replace(line.state, since=MONDAY - HOUR))

    found = find(just_left, observed)

    assert (found.rest, found.closing) == (Rest.WAIT, Closing.DUE)
    assert find(line, observed).rest is Rest.HAND_BACK  # it takes longer than it may


def test_whoever_is_put_into_the_group_again_after_they_had_left_it_is_not_taken_out_by_us():
    line = an_ended_line(member(), product=BY_GROUP, phase=Phase.REVOKING)
    assert line.state is not None
    just_left = replace(line, state=replace(line.state, since=MONDAY - HOUR))
    left = there(a_member(), group=a_group(), is_member=False)
    first = find(just_left, left)
    (gated,) = gate(plan([first], left, Bounds()), Rules(), policy=Policy(), watch=Watch(MONDAY), at=MONDAY).gated
    state = end(gated, first, (), at=MONDAY, retry_window=DAY, chance=0.5).state
    back = there(a_member(), group=a_group(), is_member=True)

    found = find(replace(line, state=state), back)

    assert state.phase is Phase.REVOKING
    assert find(line, back).rest is Rest.ACT  # what was never seen to be gone may be taken away again
    assert (found.rest, found.closing) == (Rest.HOLD, Closing.PROPOSED)
    assert "somebody else put the person into the group again" in found.sentence
    assert actions(replace(line, state=state), back) == ()


def test_a_licence_that_sticks_after_the_group_was_left_goes_to_a_person():
    line = an_ended_line(member(), product=BY_GROUP, phase=Phase.REVOKING)
    user = a_member()
    stuck = tuple(replace(a, state="ActiveWithError", error="DependencyViolation") for a in user.assignments or ())

    found = find(line, there(replace(user, assignments=stuck), group=a_group(), is_member=False))

    assert (found.rest, found.cause) == (Rest.HAND_BACK, Cause.GROUP_ERROR)
    assert "DependencyViolation" in found.sentence


# --- the actions


def test_exactly_the_plans_that_we_switched_on_are_switched_off_again():
    user = a_user(holds={E3: (SWAY,)})
    held = {E3: {TEAMS1: SUCCESS, SWAY: PlanState.DISABLED, YAMMER: SUCCESS}}
    line = an_ended_line(plans(E3, TEAMS1), product=teams(candidate_skus=(PHONE,)))

    (action,) = actions(line, there(user, held))

    assert (action.kind.value, action.remove) == ("assign_license", ())
    assert action.add == (Grant(E3, frozenset({SWAY, TEAMS1})),)
    assert action.inverse == {"add": [{"sku_id": E3, "disabled_plans": [SWAY]}], "remove": []}


def test_plans_of_a_licence_that_goes_as_a_whole_are_not_switched_off_one_by_one():
    line = an_ended_line(licence(), plans(VISIO, VISIO_WEB))

    assert kinds(actions(line, there())) == ["remove_license"]


def test_the_newest_is_taken_back_first():
    held = ON | {PHONE: {TEAMS1: SUCCESS}}
    line = an_ended_line(licence(), licence(PHONE, GRANTED + DAY))

    made = actions(line, there(a_holder(VISIO, PHONE), held))

    assert [a.remove for a in made] == [(PHONE,), (VISIO,)]


KINDS = st.sampled_from(list(GivenKind))
SKUS, PLANS = [VISIO, E3, PHONE], [VISIO_WEB, TEAMS1, SWAY]


@given(
    gifts=st.lists(st.tuples(KINDS, st.sampled_from(SKUS), st.sampled_from(PLANS), st.integers(0, 9)), max_size=5),
    held=st.frozensets(st.sampled_from(SKUS)),
    off=st.frozensets(st.sampled_from(PLANS)),
    is_member=st.sampled_from([True, False, None]),
    sharing=st.lists(st.sampled_from([a_product(), teams()]), max_size=2),
)
def test_nothing_is_in_a_removal_that_is_not_to_be_taken_back_and_there(gifts, held, off, is_member, sharing):
    given_ = tuple(_gift(kind, sku, plan, GRANTED + timedelta(days=days)) for kind, sku, plan, days in gifts)
    user = a_user(holds={sku: tuple(off) for sku in held})
    states = {sku: {p: PlanState.DISABLED if p in off else SUCCESS for p in PLANS} for sku in held}
    line = an_ended_line(*given_, others=others(*sharing))
    observed = there(user, states, group=a_group(), is_member=is_member)

    made = actions(line, observed)

    licences = {g.sku for g in given_ if g.kind is GivenKind.LICENSE}
    switched = {(g.sku, p) for g in given_ if g.kind is GivenKind.PLANS for p in g.plans}
    for action in made:
        assert action.user == ADA
        assert set(action.remove) <= licences & held
        assert {(grant.sku, p) for grant in action.add for p in grant.disabled_plans - off} <= switched
        assert all(off <= grant.disabled_plans for grant in action.add)
        assert action.group is None or (is_member is True and any(g.group == G for g in given_))
        assert action.country is None


def _gift(kind, sku, plan, at) -> Given:
    return {
        GivenKind.LOCATION: location(at=at),
        GivenKind.LICENSE: licence(sku, at),
        GivenKind.PLANS: plans(sku, plan, at=at),
        GivenKind.MEMBER: member(at=at),
        GivenKind.REPLACED: Given(GivenKind.REPLACED, at, sku=sku, plans=(plan,)),
        GivenKind.WITHHELD: Given(GivenKind.WITHHELD, at, sku=sku, plans=(plan,)),
    }[kind]
