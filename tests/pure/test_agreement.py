"""Three lists of one person's licences: what they disagree on is unknown, and nothing is done because of it."""

from __future__ import annotations

from dataclasses import replace
from itertools import product as every

import pytest

from desired_state.model import GroupId, LineKey, SkuId
from reconciler.causes import Cause
from reconciler.lifecycle import Phase
from reconciler.line import LineState, Rest
from reconciler.loop.agreement import disagreement
from reconciler.loop.diff import Windows, diff
from reconciler.model import Assignment, PlanState, Verdict
from tests.make import (
    ADA,
    DAY,
    E3,
    E5,
    MONDAY,
    SWAY,
    TEAMS1,
    VISIO,
    VISIO_WEB,
    a_line,
    a_product,
    a_sku,
    a_user,
    details_of,
    seen,
)

S = PlanState
GROUP = GroupId("g")
VISIO_1 = a_product(covering_skus=(E5,))


def by_direct(*off) -> Assignment:
    return Assignment(VISIO, None, frozenset(off), "Active")


def by_group(*off) -> Assignment:
    return Assignment(VISIO, GROUP, frozenset(off), "Active")


def differ(user, details, skus=()) -> str:
    return disagreement(VISIO_1, user, details_of(details), seen(user, skus=[a_sku(), *skus]))


WORKS = {VISIO: {VISIO_WEB: S.SUCCESS, SWAY: S.SUCCESS}}
IS_OFF = {VISIO: {VISIO_WEB: S.DISABLED, SWAY: S.SUCCESS}}
HOLDS = a_user(holds={VISIO: ()})
NONE = a_user()


@pytest.mark.parametrize(
    ("user", "details"),
    [
        (replace(HOLDS, skus=frozenset()), WORKS),  # how it came, and not in force
        (replace(HOLDS, assignments=()), WORKS),  # in force, and not how it came
        (replace(HOLDS, skus=frozenset({VISIO, E5})), WORKS),
        (replace(HOLDS, assignments=(replace(by_direct(), state="Error"),)), WORKS),
        (HOLDS, {}),  # in force, and none of its plans
        (NONE, WORKS),  # plans of what is not in force
        (NONE, {E5: {VISIO_WEB: S.SUCCESS}}),
        (NONE, {E3: {VISIO_WEB: S.SUCCESS}}),  # any SKU with the plan matters
        (a_user(holds={E5: ()}), {}),  # what covers it matters
        (HOLDS, IS_OFF),  # switched on, and told to be off
        (a_user(holds={VISIO: [VISIO_WEB]}), WORKS),  # switched off, and told to work
        (a_user(holds={VISIO: [VISIO_WEB]}), {VISIO: {VISIO_WEB: S.PENDING_INPUT}}),
        (a_user(skus=frozenset({VISIO}), assignments=(by_direct(VISIO_WEB), by_group(VISIO_WEB))), WORKS),
        (a_user(skus=frozenset({VISIO}), assignments=(by_direct(VISIO_WEB), by_group())), IS_OFF),
    ],
)
@pytest.mark.parametrize("phase", [None, Phase.GRANTED])
def test_a_disagreement_is_unknown_proves_nothing_and_disproves_nothing(user, details, phase):
    state = LineState(LineKey("RITM0000001", 1), phase, granted_at=MONDAY - DAY) if phase is not None else None
    line = a_line(product=VISIO_1, state=state)

    (finding,) = diff([line], seen(user, details={ADA: details_of(details)}), at=MONDAY, windows=Windows())

    assert differ(user, details) != ""
    assert (finding.rest, finding.verdict, finding.cause) == (Rest.HOLD, Verdict.UNKNOWN, Cause.UNKNOWN)
    assert (finding.drift, finding.aftermath) == (None, None)


@pytest.mark.parametrize(
    ("user", "details"),
    [
        (NONE, {}),
        (HOLDS, WORKS),
        (HOLDS, {VISIO: {VISIO_WEB: S.ERROR}}),
        (HOLDS, {VISIO: {VISIO_WEB: S.PENDING_PROVISIONING}}),
        (HOLDS, {VISIO: {}}),  # the plan is not listed: absent, not told otherwise
        (a_user(holds={VISIO: [VISIO_WEB]}), IS_OFF),
        (a_user(holds={VISIO: [SWAY]}), WORKS),  # SWAY proves nothing here, and is not compared
        (a_user(skus=frozenset({VISIO}), assignments=(by_direct(VISIO_WEB), by_group())), WORKS),  # one leaves it on
        (
            a_user(skus=frozenset({VISIO}), assignments=(by_direct(), replace(by_group(VISIO_WEB), state="Error"))),
            WORKS,
        ),
        (a_user(holds={VISIO: (), E3: ()}), WORKS),  # E3 has nothing to do with the product
        (HOLDS, {**WORKS, E3: {SWAY: S.SUCCESS}}),
        (a_user(assignments=None), WORKS),  # not shown: unknown already
        (a_user(skus=None), WORKS),
    ],
)
def test_lists_that_agree_on_what_matters_for_the_product_agree(user, details):
    assert differ(user, details) == ""


@pytest.mark.parametrize("as_read", [S.SUCCESS, S.DISABLED])
def test_a_plan_that_is_off_in_one_licence_and_on_in_another_agrees_however_the_first_one_reads(as_read):
    user = a_user(holds={E5: [VISIO_WEB], VISIO: ()})

    assert differ(user, {**WORKS, E5: {VISIO_WEB: as_read}}) == ""


def test_a_sku_that_the_tenant_says_holds_the_plan_matters_though_no_catalogue_names_it():
    unnamed = SkuId("unnamed")

    assert differ(a_user(holds={unnamed: ()}), {}, [a_sku(unnamed, plans=(VISIO_WEB,))]) != ""
    assert differ(a_user(holds={unnamed: ()}), {}, [a_sku(unnamed, plans=(TEAMS1,))]) == ""


def test_every_combination_of_the_three_lists_is_either_agreed_or_named():
    for assigned, in_force, told, off, is_off in every((False, True), repeat=5):
        user = a_user(
            skus=frozenset({VISIO}) if in_force else frozenset(),
            assignments=(by_direct(*([VISIO_WEB] if off else [])),) if assigned else (),
        )
        details = {VISIO: {VISIO_WEB: S.DISABLED if is_off else S.SUCCESS}} if told else {}

        agree = assigned == in_force == told and (not told or off == is_off)

        assert (differ(user, details) == "") is agree, (assigned, in_force, told, off, is_off)


@pytest.mark.parametrize("skus", [{VISIO, E3}, {VISIO}])
def test_a_licence_that_could_not_prove_the_product_may_lag_in_any_list(skus):
    rows = (by_direct(), *(() if E3 in skus else (Assignment(E3, None, frozenset(), "Active"),)))
    user = replace(HOLDS, skus=frozenset(skus), assignments=rows)

    assert differ(user, WORKS) == ""
    (finding,) = diff([a_line()], seen(user, details={ADA: details_of(WORKS)}), at=MONDAY, windows=Windows())
    assert (finding.rest, finding.verdict) == (Rest.PROVEN, Verdict.TRUE)


def test_a_licence_whose_services_nobody_tells_could_be_the_one_that_is_missing():
    lags = replace(NONE, skus=frozenset({E3}))
    said = "two lists"

    assert said in disagreement(a_product(), lags, (), seen(lags))
    assert disagreement(a_product(), lags, (), seen(lags, skus=[a_sku(), a_sku(E3, plans=(SWAY,))])) == ""
    assert said in disagreement(a_product(), lags, (), seen(lags, skus=[a_sku(), a_sku(E3)]))
