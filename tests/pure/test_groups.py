"""Licences by group: which groups are used, why one gives nothing to a person, and what the plan does about it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from desired_state.model import Given, GivenKind, GroupId, LineKey, Path, Person, PlanId, Product, SkuId
from desired_state.plan_rules import PlanRules, exclusion
from reconciler.causes import Cause
from reconciler.lifecycle import Phase
from reconciler.line import Drift, DriftKind, Finding, Gone, Line, LineState, Observed, Rest, Unread
from reconciler.loop.diff import Windows, diff
from reconciler.loop.groups import not_writable, unusable
from reconciler.loop.plan import Bounds, plan
from reconciler.model import ActionKind, Assignment, Grant, ObservedGroup, ObservedUser, PlanState, Verdict
from tests.make import (
    ADA,
    BOB,
    DAY,
    E3,
    HOUR,
    MONDAY,
    PHONE,
    VISIO,
    VISIO_WEB,
    a_line,
    a_product,
    a_sku,
    a_user,
    details_of,
    seen,
    teams,
)

G, STAFF, KIOSK = GroupId("g-visio"), GroupId("g-staff"), GroupId("g-kiosk")
OTHER, OLD = SkuId("sku-other"), SkuId("sku-old")
BY_GROUP = a_product("visio-plan-2", name="Visio Plan 2", path=Path.GROUP, group=G)


def a_group(id: GroupId = G, *licenses: Grant, **changes: Any) -> ObservedGroup:
    base = ObservedGroup(
        id=id,
        name="Visio people",
        is_dynamic=False,
        is_security=True,
        is_mail=False,
        is_unified=False,
        is_synced=False,
        is_role_assignable=False,
        licenses=licenses or (Grant(VISIO),),
        processing="ProcessingComplete",
        app_roles=0,
        parents=(),
    )
    return replace(base, **changes)


def a_row(
    error: str = "", *, sku: SkuId = VISIO, group: GroupId | None = G, state: str = "", **more: Any
) -> Assignment:
    return Assignment(sku, group, frozenset(), state or ("Error" if error else "Active"), error, **more)


def world(
    *users: ObservedUser,
    group: ObservedGroup | Gone | Unread | None = None,
    member: bool | Unread = False,
    free: int = 5,
    others_free: int = 5,
    **more: Any,
) -> Observed:
    shown = users or (a_user(),)
    known = a_group() if group is None else group
    skus = [a_sku(free=free), a_sku(OTHER, free=others_free, plans=()), a_sku(OLD, plans=())]
    observed = seen(*shown, skus=skus, **more)
    groups = {G: known} | ({known.id: known} if isinstance(known, ObservedGroup) else {})
    return replace(observed, groups=groups, members={(G, u.id): member for u in shown})


def found(
    observed: Observed, line: Line | None = None, *, product: Product = BY_GROUP, at: datetime = MONDAY, **line_of: Any
) -> Finding:
    (finding,) = diff([line or a_line(product=product, **line_of)], observed, at=at, windows=Windows())
    return finding


def planned(observed: Observed, *lines: Line, bounds: Bounds | None = None):
    every = lines or (a_line(product=BY_GROUP),)
    return plan(diff(every, observed, at=MONDAY, windows=Windows()), observed, bounds or Bounds()).proposals


def tried(times: int) -> LineState:
    return LineState(LineKey("RITM0000001", 1), Phase.HELD, attempts=times)


# --- which groups are for licences -------------------------------------------------------------------------------


def test_a_cloud_group_that_gives_the_licence_and_nothing_else_is_used():
    assert unusable(a_group(), BY_GROUP, world().skus) == ""


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"is_synced": True}, "on-premises Active Directory"),
        ({"is_dynamic": True}, "membership rule"),
        ({"is_mail": True}, "Exchange"),
        ({"is_security": False}, "security-enabled"),
        ({"is_role_assignable": True}, "roles"),
        ({"app_roles": 1}, "applications"),
        ({"parents": (STAFF,)}, "other groups"),
        ({"licenses": ()}, "no licence"),
        ({"licenses": (Grant(OTHER),)}, "no licence"),
        ({"licenses": (Grant(VISIO, frozenset({VISIO_WEB})),)}, "no licence"),
    ],
)
def test_a_group_that_may_give_more_or_less_than_the_licence_is_not_used(change, word):
    assert word in unusable(a_group(**change), BY_GROUP, world().skus)


@pytest.mark.parametrize(
    "field",
    [
        "is_dynamic",
        "is_unified",
        "is_synced",
        "is_security",
        "is_mail",
        "is_role_assignable",
        "licenses",
        "app_roles",
        "parents",
    ],
)
def test_what_is_not_shown_of_a_group_keeps_it_from_being_used(field):
    group = a_group(**{field: None})

    assert "does not show" in unusable(group, BY_GROUP, world().skus)
    finding = found(world(group=group))
    assert (finding.rest, finding.cause, finding.drift) == (Rest.HOLD, Cause.PERMISSION_MISSING, None)


def test_a_microsoft_365_group_with_security_is_used():
    assert unusable(a_group(is_unified=True, is_mail=True), BY_GROUP, world().skus) == ""


def test_a_group_that_is_not_ours_is_named_with_its_master():
    sentence = not_writable(a_group(is_synced=True))

    assert sentence == "The members of Visio people are managed by on-premises Active Directory, not here."
    assert not_writable(a_group()) == ""


# --- not a member ------------------------------------------------------------------------------------------------


def test_who_is_not_in_the_group_is_to_be_put_into_it():
    finding = found(world())

    assert (finding.rest, finding.cause, finding.verdict) == (Rest.ACT, Cause.NOT_IN_GROUP, Verdict.FALSE)
    assert finding.drift == Drift(DriftKind.NOT_MEMBER, needs_location=False, group=G)


def test_a_group_that_is_configured_by_name_is_joined_by_its_id():
    named = GroupId("Visio people")
    product = replace(BY_GROUP, group=named)
    observed = world()

    finding = found(replace(observed, groups={named: a_group(), G: a_group()}), product=product)

    assert finding.drift is not None
    assert finding.drift.group == G


def test_a_group_of_another_master_is_handed_back_and_never_joined():
    finding = found(world(group=a_group(is_synced=True)))

    assert (finding.rest, finding.cause, finding.drift) == (Rest.HAND_BACK, Cause.GROUP_NOT_WRITABLE, None)
    assert "on-premises Active Directory" in finding.sentence


def test_a_group_that_gives_more_than_a_licence_is_handed_back_with_the_reason():
    finding = found(world(group=a_group(app_roles=2)))

    assert (finding.rest, finding.cause, finding.drift) == (Rest.HAND_BACK, Cause.GROUP_ERROR, None)
    assert "applications" in finding.sentence


@pytest.mark.parametrize(
    ("observed", "cause"),
    [
        (world(group=Unread("the directory is away")), Cause.REMOTE_FAILING),
        (world(group=Gone()), Cause.PRODUCT_UNMAPPED),
        (world(member=Unread("the directory is away")), Cause.REMOTE_FAILING),
        (replace(world(), members={}), Cause.REMOTE_FAILING),
        (replace(world(), groups={}), Cause.REMOTE_FAILING),
    ],
)
def test_what_could_not_be_read_about_a_group_is_unknown_and_changes_nothing(observed, cause):
    finding = found(observed)

    assert (finding.rest, finding.verdict, finding.cause, finding.drift) == (Rest.HOLD, Verdict.UNKNOWN, cause, None)


# --- a member, and nothing came ----------------------------------------------------------------------------------


def test_a_member_whose_ticket_is_fresh_is_pending():
    finding = found(world(member=True), due_since=MONDAY - timedelta(minutes=1))

    assert (finding.rest, finding.cause, finding.verdict) == (Rest.WAIT, Cause.GROUP_PENDING, Verdict.PENDING)


def test_the_window_counts_from_when_we_put_the_person_into_the_group():
    joined = Given(GivenKind.MEMBER, MONDAY - HOUR, group=G)
    line = replace(a_line(product=BY_GROUP, due_since=MONDAY - 9 * DAY), given=(joined,))

    assert found(world(member=True), line).rest is Rest.WAIT
    assert found(world(member=True), line, at=MONDAY + DAY).rest is Rest.ACT


def test_the_window_belongs_to_the_product():
    patient = replace(BY_GROUP, group_window_s=10 * DAY.total_seconds())

    assert found(world(member=True), product=patient, due_since=MONDAY - 9 * DAY).rest is Rest.WAIT


def test_a_group_at_work_may_have_got_its_member_a_moment_ago():
    busy = a_group(processing="ProcessingInProgress")

    assert found(world(group=busy, member=True), due_since=MONDAY - 9 * DAY).rest is Rest.WAIT


def test_a_member_who_got_nothing_in_time_is_processed_again_but_not_for_ever():
    late = {"due_since": MONDAY - 9 * DAY}

    first = found(world(member=True), **late)
    last = found(world(member=True), state=tried(3), **late)

    assert first.drift == Drift(DriftKind.UNPROCESSED, needs_location=False, group=G)
    assert (last.rest, last.cause, last.drift) == (Rest.HAND_BACK, Cause.GROUP_ERROR, None)


# --- a member, and the group says why not --------------------------------------------------------------------------


def in_error(*rows: Assignment, direct: tuple[SkuId, ...] = (), **more: Any) -> Observed:
    base = a_user(holds=dict.fromkeys(direct, ()))
    user = replace(base, assignments=(*(base.assignments or ()), *rows))
    return world(user, member=True, **more)


def test_the_licence_without_a_seat_is_named_although_another_one_was_asked_for():
    both = a_group(G, Grant(VISIO), Grant(OTHER))
    observed = in_error(a_row("Other"), a_row("CountViolation", sku=OTHER), group=both, others_free=0)

    finding = found(observed)
    (proposal,) = planned(observed)

    assert (finding.rest, finding.cause) == (Rest.ACT, Cause.GROUP_ERROR)
    assert OTHER in finding.sentence
    assert (proposal.actions, proposal.blocked, proposal.short_of) == ((), Cause.GROUP_ERROR, (OTHER,))
    assert "A group for each licence" in proposal.sentence


def test_a_group_with_one_licence_and_no_seat_waits_for_the_seat_itself():
    observed = in_error(a_row("CountViolation"), free=0)
    (proposal,) = planned(observed)

    assert found(observed).cause is Cause.NO_SEAT
    assert (proposal.blocked, proposal.short_of) == (Cause.NO_SEAT, (VISIO,))


def test_when_every_seat_is_there_the_group_is_processed_again():
    (proposal,) = planned(in_error(a_row("CountViolation")))

    (action,) = proposal.actions
    assert (action.kind, action.group, action.given) == (ActionKind.REPROCESS, G, ())


def test_a_declared_predecessor_that_excludes_the_licence_goes_first():
    product = replace(BY_GROUP, replaced_skus=(OLD,))
    observed = in_error(a_row("MutuallyExclusiveViolation"), direct=(OLD,))

    finding = found(observed, product=product)
    (proposal,) = planned(observed, a_line(product=product))

    assert (finding.rest, finding.cause) == (Rest.ACT, Cause.PLAN_CONFLICT)
    assert [(a.kind, a.remove) for a in proposal.actions] == [
        (ActionKind.REMOVE_LICENSE, (OLD,)),
        (ActionKind.REPROCESS, ()),
    ]
    assert proposal.actions[0].inverse == {"add": [{"sku_id": OLD, "disabled_plans": []}], "remove": []}


def test_a_licence_that_no_product_declares_to_replace_is_never_taken_away():
    (proposal,) = planned(in_error(a_row("MutuallyExclusiveViolation"), direct=(OLD,)))

    assert [a.kind for a in proposal.actions] == [ActionKind.REPROCESS]  # its refusal names both plans


def test_a_conflict_that_stays_is_handed_back_with_what_is_known():
    finding = found(in_error(a_row("MutuallyExclusiveViolation"), direct=(OLD,)), state=tried(3))

    assert (finding.rest, finding.cause) == (Rest.HAND_BACK, Cause.PLAN_CONFLICT)
    assert OLD in finding.sentence


def test_a_dependency_is_tried_again_and_then_handed_back():
    observed = in_error(a_row("DependencyViolation"))

    assert (found(observed).rest, found(observed).cause) == (Rest.ACT, Cause.DEPENDENCY_MISSING)
    assert found(observed, state=tried(3)).rest is Rest.HAND_BACK


@pytest.mark.parametrize(
    ("word", "said"), [("ProhibitedInUsageLocationViolation", "DE"), ("UniquenessViolation", "Exchange")]
)
def test_what_no_reprocessing_can_mend_is_handed_back_with_its_reason(word, said):
    finding = found(in_error(a_row(word)))

    assert (finding.rest, finding.cause, finding.drift) == (Rest.HAND_BACK, Cause.GROUP_ERROR, None)
    assert said in finding.sentence


def test_an_unknown_word_is_waited_for_within_the_window_and_then_goes_to_a_person():
    observed = in_error(a_row("Unknown"), a_row("Other", sku=OTHER))

    early, late = found(observed, due_since=MONDAY - HOUR), found(observed, due_since=MONDAY - 2 * DAY)

    assert (early.rest, early.verdict, early.drift) == (Rest.WAIT, Verdict.PENDING, None)
    assert (late.rest, late.verdict, late.cause) == (Rest.HAND_BACK, Verdict.FALSE, Cause.GROUP_ERROR)
    assert late.drift is None
    assert "Unknown" in late.sentence


@pytest.mark.parametrize(
    "word",
    ["DependencyViolation", "ProhibitedInUsageLocationViolation", "UniquenessViolation", "MutuallyExclusiveViolation"],
)
def test_the_licence_that_blocks_a_group_is_named_and_what_waits_with_it(word):
    both = a_group(G, Grant(VISIO), Grant(OTHER))
    user = a_user(assignments=(a_row("Other"), a_row(word, sku=OTHER)))

    finding = found(world(user, group=both, member=True))

    assert str(OTHER) in finding.sentence.partition("A group gives")[0]
    assert f"so {VISIO} waits with it" in finding.sentence


def test_a_group_whose_two_licences_prove_the_product_together_is_used():
    whole = a_product(proof_plans=(VISIO_WEB, PlanId("plan-more")), proof_mode="all", path=Path.GROUP, group=G)
    skus = {s.sku: s for s in (a_sku(VISIO), a_sku(OTHER, plans=("plan-more",)))}

    assert unusable(a_group(G, Grant(VISIO), Grant(OTHER)), whole, skus) == ""
    assert "no licence" in unusable(a_group(G, Grant(VISIO)), whole, skus)


def test_a_bundle_that_no_list_of_ours_knows_is_judged_by_what_the_tenant_says_is_in_it():
    bundle = SkuId("sku-of-next-year")

    assert unusable(a_group(G, Grant(bundle)), BY_GROUP, {bundle: a_sku(bundle, plans=(VISIO_WEB, "plan-more"))}) == ""


def test_a_retired_plan_is_not_looked_for_in_a_group():
    gone = a_product(proof_plans=(VISIO_WEB, PlanId("plan-gone")), proof_mode="all", retired=(PlanId("plan-gone"),))

    assert unusable(a_group(), gone, world().skus) == ""


def test_an_error_whose_sibling_is_silent_is_asked_about_once_more():
    assert found(in_error(a_row("Other"))).drift == Drift(DriftKind.UNPROCESSED, needs_location=False, group=G)


def test_a_grant_that_was_lost_is_mended_from_the_first_try_on():
    product = replace(BY_GROUP, on_drift="revert")
    lost = LineState(LineKey("RITM0000001", 1), Phase.DRIFTED, attempts=3, granted_at=MONDAY - DAY, since=MONDAY - DAY)

    finding = found(world(member=True), a_line(product=product, state=lost, due_since=MONDAY - 9 * DAY))

    assert finding.drift == Drift(DriftKind.UNPROCESSED, needs_location=False, group=G)


def test_rows_of_another_group_say_nothing_about_this_one():
    observed = in_error(a_row("CountViolation", group=STAFF))

    assert found(observed, due_since=MONDAY - HOUR).cause is Cause.GROUP_PENDING


# --- a service that a group switches off -------------------------------------------------------------------------

ENABLING = teams(candidate_skus=(OTHER,), covering_skus=(E3,), enabling_group=STAFF)
PLAN = ENABLING.proof_plans[0]


def switched_off(
    product: Product = ENABLING, *, staff: tuple[Grant, ...] = (Grant(E3),), member: bool = False
) -> Finding:
    off = Assignment(E3, KIOSK, frozenset({PLAN}), "Active")
    user = a_user(skus=frozenset({E3}), assignments=(off,))
    observed = seen(
        user, details={ADA: details_of({E3: {PLAN: PlanState.DISABLED}})}, skus=[a_sku(E3, plans=(PLAN,)), a_sku(PHONE)]
    )
    groups = {STAFF: a_group(STAFF, *staff, name="Staff"), KIOSK: a_group(KIOSK, name="Kiosk")}
    return found(replace(observed, groups=groups, members={(STAFF, ADA): member}), product=product)


def test_joining_the_group_that_switches_a_service_on_is_proposed_to_a_person():
    finding = switched_off()

    assert (finding.rest, finding.cause) == (Rest.ACT, Cause.PLAN_DISABLED)
    assert finding.drift == Drift(DriftKind.NOT_MEMBER, needs_location=False, group=STAFF, needs_person=True)
    assert "Kiosk" in finding.sentence
    assert "Staff" in finding.sentence


def test_without_such_a_group_the_sentence_says_what_would_help():
    finding = switched_off(replace(ENABLING, enabling_group=None))

    assert (finding.rest, finding.cause, finding.drift) == (Rest.HAND_BACK, Cause.PLAN_DISABLED, None)
    assert "none is configured" in finding.sentence


def test_a_group_that_would_give_another_licence_on_top_is_not_proposed():
    finding = switched_off(staff=(Grant(E3), Grant(PHONE)))

    assert (finding.rest, finding.drift) == (Rest.HAND_BACK, None)
    assert PHONE in finding.sentence


def test_who_is_in_the_switching_group_already_waits_for_it():
    assert switched_off(member=True).drift == Drift(DriftKind.UNPROCESSED, needs_location=False, group=STAFF)


def test_a_suite_that_switches_the_plan_off_does_not_keep_anybody_from_the_products_own_group():
    suite = Assignment(E3, KIOSK, frozenset({VISIO_WEB}), "Active")
    user = a_user(skus=frozenset({E3}), assignments=(suite,))
    observed = world(user, details={ADA: details_of({E3: {VISIO_WEB: PlanState.DISABLED}})})

    assert found(observed).cause is Cause.NOT_IN_GROUP


# --- the plan ----------------------------------------------------------------------------------------------------


def test_joining_can_be_undone_by_leaving_and_says_what_it_gives():
    (proposal,) = planned(world())

    (action,) = proposal.actions
    assert (action.kind, action.group) == (ActionKind.ADD_GROUP_MEMBER, G)
    assert action.given == (Given(GivenKind.MEMBER, MONDAY, group=G),)
    assert action.inverse == {"remove_group_member": G}
    assert action.after["gives"] == [VISIO]


def test_the_usage_location_is_set_before_the_person_joins():
    nowhere = a_user(usage_location="", country="DE")
    line = a_line(product=BY_GROUP, person=Person("p", country="DE"))

    (proposal,) = planned(world(nowhere), line)

    assert [a.kind for a in proposal.actions] == [ActionKind.SET_USAGE_LOCATION, ActionKind.ADD_GROUP_MEMBER]


def test_nobody_joins_while_any_licence_of_the_group_has_no_seat():
    both = a_group(G, Grant(VISIO), Grant(OTHER))

    (proposal,) = planned(world(group=both, others_free=0))

    assert (proposal.actions, proposal.blocked, proposal.short_of) == ((), Cause.GROUP_ERROR, (OTHER,))


def test_a_licence_that_the_person_holds_already_needs_no_seat():
    both = a_group(G, Grant(VISIO), Grant(OTHER))

    (proposal,) = planned(world(a_user(holds={OTHER: ()}), group=both, others_free=0))

    assert [a.kind for a in proposal.actions] == [ActionKind.ADD_GROUP_MEMBER]


def test_the_last_seat_of_a_group_goes_to_who_asked_first():
    observed = world(a_user(), a_user(BOB), free=1)
    first = a_line("RITM0000001", product=BY_GROUP, requested_at=MONDAY - 5 * DAY)
    second = a_line("RITM0000002", product=BY_GROUP, user=BOB)

    early, late = planned(observed, second, first)

    assert [a.user for a in early.actions] == [ADA]
    assert (late.actions, late.blocked) == ((), Cause.NO_SEAT)


def test_a_member_who_is_not_processed_yet_has_spent_the_seat():  # I13
    observed = world(a_user(), a_user(BOB), free=1)
    observed = replace(observed, members={(G, ADA): True, (G, BOB): False})
    waiting = a_line("RITM0000001", product=BY_GROUP, due_since=MONDAY - HOUR)
    later = a_line("RITM0000002", product=BY_GROUP, user=BOB, due_since=MONDAY)

    waits, blocked = planned(observed, waiting, later)

    assert waits.finding.cause is Cause.GROUP_PENDING
    assert (blocked.actions, blocked.blocked) == ((), Cause.NO_SEAT)


OLD_PLAN = PlanId("plan-old")
EXCLUDED = Bounds(rules=PlanRules((exclusion(OLD_PLAN, VISIO_WEB),)))


def with_old(*users: ObservedUser) -> Observed:
    observed = world(*users)
    return replace(observed, skus={**observed.skus, OLD: a_sku(OLD, plans=(OLD_PLAN,))})


def test_a_predecessor_goes_after_joining_so_that_a_refusal_costs_nothing():
    product = replace(BY_GROUP, replaced_skus=(OLD,))

    (proposal,) = planned(with_old(a_user(holds={OLD: ()})), a_line(product=product), bounds=EXCLUDED)

    assert [a.kind for a in proposal.actions] == [ActionKind.ADD_GROUP_MEMBER, ActionKind.REMOVE_LICENSE]


def test_a_declared_predecessor_that_is_not_in_the_way_stays():
    product = replace(BY_GROUP, replaced_skus=(OLD,))

    (proposal,) = planned(with_old(a_user(holds={OLD: ()})), a_line(product=product))

    assert [a.kind for a in proposal.actions] == [ActionKind.ADD_GROUP_MEMBER]


def test_a_licence_that_would_clash_with_one_that_is_held_is_named_before_anybody_joins():
    (proposal,) = planned(with_old(a_user(holds={OLD: ()})), bounds=EXCLUDED)

    assert (proposal.actions, proposal.blocked) == ((), Cause.PLAN_CONFLICT)
    assert OLD_PLAN in proposal.sentence


def test_a_known_conflict_of_a_member_is_named_without_asking_microsoft_again():
    base = a_user(holds={OLD: ()})
    member = replace(base, assignments=(*(base.assignments or ()), a_row("MutuallyExclusiveViolation")))
    observed = replace(with_old(member), members={(G, ADA): True})

    (proposal,) = planned(observed, bounds=EXCLUDED)

    assert (proposal.actions, proposal.blocked) == ((), Cause.PLAN_CONFLICT)


def test_nobody_joins_a_group_whose_licence_builds_on_what_the_person_lacks():
    product = replace(BY_GROUP, prerequisite_plans=(OLD_PLAN,))

    (lacks,) = planned(with_old(a_user()), a_line(product=product))
    (has,) = planned(with_old(a_user(holds={OLD: ()})), a_line(product=product))

    assert (lacks.actions, lacks.blocked) == ((), Cause.DEPENDENCY_MISSING)
    assert [a.kind for a in has.actions] == [ActionKind.ADD_GROUP_MEMBER]


def test_a_predecessor_that_comes_from_a_group_is_not_taken_away():
    product = replace(BY_GROUP, replaced_skus=(OLD,))
    inherited = a_user(skus=frozenset({OLD}), assignments=(a_row(sku=OLD, group=STAFF),))

    (proposal,) = planned(world(inherited), a_line(product=product))

    assert [a.kind for a in proposal.actions] == [ActionKind.ADD_GROUP_MEMBER]
