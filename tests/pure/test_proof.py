"""What proves a product, and how far."""

from __future__ import annotations

from datetime import timedelta

import pytest

from desired_state.model import ProductKey, Says, Tier
from reconciler.causes import Cause
from reconciler.clients.graph import Voice
from reconciler.errors import NotFound, Unavailable
from reconciler.line import Access, Finding, Observed, Rest, Unread
from reconciler.loop.diff import Windows, diff
from reconciler.loop.proof import prove
from reconciler.model import Assignment, PlanState, Probed, Verdict
from reconciler.probes.teams_voice import judged
from tests.make import ADA, DAY, HOUR, MCOEV, MONDAY, PHONE, TEAMS1, a_line, a_product, a_sku, a_user, details_of, seen

KEY = ProductKey("teams-phone")
PHONE_PRODUCT = a_product(
    "teams-phone", name="Teams Phone", candidate_skus=(PHONE,), proof_plans=(MCOEV,), tier=Tier.V3, probe="teams-voice"
)
HELD = details_of({PHONE: {MCOEV: PlanState.SUCCESS}})


def observed(probed: Probed | Unread | None, *, arrived: timedelta = 30 * DAY) -> Observed:
    rows = (Assignment(PHONE, None, frozenset(), "Active", updated_at=MONDAY - arrived),)
    found = seen(a_user(holds={PHONE: ()}, assignments=rows), details={ADA: HELD})
    probes = {} if probed is None else {(ADA, KEY): probed}
    return Observed(found.at, found.users, found.details, found.skus, probed=probes)


def one(product=PHONE_PRODUCT, *, says=Says.FULFILLED, **what) -> Finding:
    (finding,) = diff([a_line(product=product, says=says)], observed(**what), at=MONDAY, windows=Windows())
    return finding


def test_a_working_phone_is_proven_at_v3():
    finding = one(probed=Probed(True))

    assert (finding.rest, finding.verdict, finding.tier) == (Rest.PROVEN, Verdict.TRUE, Tier.V3)


def test_a_licensed_phone_that_does_not_ring_is_handed_back_and_nothing_is_bought():
    finding = one(probed=Probed(False, "No number is assigned."))

    assert (finding.rest, finding.verdict, finding.cause) == (Rest.HAND_BACK, Verdict.FALSE, Cause.WORKLOAD_UNPROVEN)
    assert (finding.sentence, finding.drift) == ("No number is assigned.", None)


def test_a_phone_licensed_an_hour_ago_may_still_get_its_number():
    finding = one(probed=Probed(False, "No number is assigned."), arrived=HOUR)

    assert (finding.rest, finding.verdict) == (Rest.WAIT, Verdict.PENDING)


@pytest.mark.parametrize("probed", [Probed(None, "not shown"), Unread("503"), None])
def test_what_the_probe_cannot_tell_is_unknown_and_goes_nowhere(probed):
    finding = one(probed=probed)

    assert (finding.rest, finding.verdict, finding.cause) == (Rest.HOLD, Verdict.UNKNOWN, Cause.WORKLOAD_UNPROVEN)


def test_an_open_ticket_has_no_verdict_while_its_phone_does_not_ring():
    assert one(probed=Probed(False, "No number."), says=Says.APPROVED).verdict is None


def test_at_v2_the_plan_is_enough_and_no_probe_is_needed():
    finding = one(a_product("teams-phone", candidate_skus=(PHONE,), proof_plans=(MCOEV,)), probed=None)

    assert (finding.rest, finding.tier) == (Rest.PROVEN, Tier.V2)


def test_at_v1_an_assignment_without_error_is_enough_though_the_plan_is_pending():
    product = a_product("teams-phone", candidate_skus=(PHONE,), proof_plans=(MCOEV,), tier=Tier.V1)
    pending = details_of({PHONE: {MCOEV: PlanState.PENDING_ACTIVATION}})
    found = seen(a_user(holds={PHONE: ()}), details={ADA: pending})

    (finding,) = diff([a_line(product=product)], found, at=MONDAY, windows=Windows())

    assert (finding.rest, finding.tier) == (Rest.PROVEN, Tier.V1)


def test_at_v4_what_works_waits_for_the_persons_own_word():
    product = a_product("teams-phone", candidate_skus=(PHONE,), proof_plans=(MCOEV,), tier=Tier.V4, probe="x")

    assert one(product, probed=Probed(True)).rest is Rest.HOLD


def test_a_waived_plan_that_stays_pending_does_not_hold_up_the_others():
    both = details_of({PHONE: {MCOEV: PlanState.SUCCESS, TEAMS1: PlanState.PENDING_ACTIVATION}})
    strict = a_product(candidate_skus=(PHONE,), proof_plans=(MCOEV, TEAMS1), proof_mode="all")
    lenient = a_product(candidate_skus=(PHONE,), proof_plans=(MCOEV, TEAMS1), proof_mode="all", waived_plans=(TEAMS1,))

    assert prove(strict, both).access is Access.PENDING
    assert prove(lenient, both).access is Access.PROVEN


@pytest.mark.parametrize("mode", ["any", "all"])
def test_a_waived_plan_is_waited_for_by_nobody_even_where_it_is_the_only_proof(mode):
    held = details_of({PHONE: {MCOEV: PlanState.PENDING_ACTIVATION}})
    either = (MCOEV, TEAMS1) if mode == "any" else (MCOEV,)  # of alternatives a licence has one
    product = a_product(candidate_skus=(PHONE,), proof_plans=either, proof_mode=mode, waived_plans=(MCOEV,))

    assert prove(product, held).access is Access.PROVEN


def test_a_waiver_is_for_words_that_are_known():
    held = details_of({PHONE: {MCOEV: PlanState.WAITING}})

    assert prove(a_product(proof_plans=(MCOEV,), waived_plans=(MCOEV,)), held).access is Access.PENDING


def test_a_plan_that_is_set_up_and_not_enabled_is_no_proof():
    assert prove(PHONE_PRODUCT, HELD, frozenset({MCOEV})).access is Access.PROVEN
    assert prove(PHONE_PRODUCT, HELD, frozenset()).access is Access.OUT_OF_SERVICE
    assert prove(PHONE_PRODUCT, HELD, None).access is Access.PROVEN  # not shown


@pytest.mark.parametrize(
    ("capability", "rest", "verdict", "cause"),
    [
        ("Suspended", Rest.HAND_BACK, Verdict.FALSE, Cause.PROVISIONING_ERROR),
        ("LockedOut", Rest.HAND_BACK, Verdict.FALSE, Cause.PROVISIONING_ERROR),
        ("Enabled", Rest.HOLD, Verdict.UNKNOWN, Cause.UNKNOWN),  # the lists disagree: nothing is known
    ],
)
def test_a_licence_whose_subscription_is_suspended_makes_no_ticket_true(capability, rest, verdict, cause):
    product = a_product("teams-phone", candidate_skus=(PHONE,), proof_plans=(MCOEV,))
    user = a_user(holds={PHONE: ()}, enabled_plans=frozenset())
    found = seen(user, details={ADA: HELD}, skus=[a_sku(PHONE, plans=[MCOEV], capability=capability)])

    (finding,) = diff([a_line(product=product)], found, at=MONDAY, windows=Windows())

    assert (finding.rest, finding.verdict, finding.cause, finding.drift) == (rest, verdict, cause, None)


def test_a_waived_plan_that_is_switched_off_still_counts():
    off = details_of({PHONE: {MCOEV: PlanState.SUCCESS, TEAMS1: PlanState.DISABLED}})
    lenient = a_product(candidate_skus=(PHONE,), proof_plans=(MCOEV, TEAMS1), proof_mode="all", waived_plans=(TEAMS1,))

    assert prove(lenient, off).access is Access.DISABLED


def test_a_retired_plan_is_no_proof_and_no_failure():
    failed = details_of({PHONE: {MCOEV: PlanState.SUCCESS, TEAMS1: PlanState.ERROR}})
    both = a_product(candidate_skus=(PHONE,), proof_plans=(MCOEV, TEAMS1), proof_mode="all", retired=(TEAMS1,))
    alone = a_product(candidate_skus=(PHONE,), proof_plans=(MCOEV,), retired=(MCOEV,))

    assert prove(both, failed).access is Access.PROVEN
    assert prove(alone, HELD).access is Access.ABSENT


@pytest.mark.parametrize(
    ("shown", "works"),
    [
        (Voice(True, ("+49 30 5550100",)), True),
        (Voice(True, ()), False),
        (Voice(False, ("+49 30 5550100",)), False),
        (Voice(None, ("+49 30 5550100",)), None),
        (Voice(True, None), None),
        (NotFound("graph", "no such user"), False),
    ],
)
def test_voice_works_with_a_number_and_enterprise_voice(shown, works):
    answer = judged(shown)

    assert isinstance(answer, Probed)
    assert answer.works is works


def test_teams_that_does_not_answer_says_nothing_about_the_phone():
    assert isinstance(judged(Unavailable("graph", "503")), Unread)


def test_of_two_licences_that_bring_the_plan_the_products_own_is_named():
    own, other = PHONE, "another-sku"
    for lesser in (other, "0" + other, "zz" + other):
        held = details_of({lesser: {MCOEV: PlanState.SUCCESS}, own: {MCOEV: PlanState.SUCCESS}})

        assert prove(PHONE_PRODUCT, held).sku == own
