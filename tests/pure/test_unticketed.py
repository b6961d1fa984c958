"""Licences that nobody asked for in a ticket: counted with their cost, and nobody is called empty who was not shown."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from desired_state.catalogue import Catalogue
from desired_state.ledger import Bound, Ended, Granted, Standing, fold
from desired_state.model import Given, GivenKind, GroupId, Says
from reconciler.loop.unticketed import as_json, promised, unticketed
from reconciler.model import Assignment
from tests.make import ADA, BOB, E3, E5, MCOEV, MONDAY, PHONE, SWAY, TEAMS1, VISIO, VISIO_WEB, a_product, a_sku, a_user
from tests.make_store import KEY, a_binding

VISIO_1 = a_product(covering_skus=(E5,))
CATALOGUE = Catalogue({VISIO_1.key: VISIO_1}, {}, {})
OWNED = [a_sku(), a_sku(E3, plans=(TEAMS1, SWAY)), a_sku(PHONE, plans=(MCOEV,))]
BOTH = tuple(Assignment(VISIO, group, frozenset(), "Active") for group in (None, GroupId("g")))


def standing(*changes, **request) -> Standing:
    found = fold(Standing(KEY), Bound(a_binding(**request)))
    for change in changes:
        found = fold(found, change)
    return found


def stands(*standings: Standing):
    return promised(standings, CATALOGUE, OWNED)


def test_a_licence_is_asked_for_when_a_line_could_be_met_by_it():
    behind = stands(standing())

    found = unticketed([a_user(holds={VISIO: (), E5: (), PHONE: ()}), a_user(BOB, holds={VISIO: ()})], behind)

    assert [(one.user, one.sku) for one in found.held] == [(ADA, PHONE), (BOB, VISIO)]


def test_any_owned_sku_that_holds_the_proof_plan_stands_for_the_product_but_not_where_only_its_own_count():
    bundle = a_sku(E3, plans=(VISIO_WEB, SWAY))
    strict = replace(VISIO_1, proof_mode="all+sku")

    assert E3 in promised([standing()], CATALOGUE, [*OWNED, bundle])[ADA]
    assert E3 not in promised([standing()], Catalogue({strict.key: strict}, {}, {}), [*OWNED, bundle])[ADA]


@pytest.mark.parametrize("says", [Says.WAITING, Says.REJECTED, Says.CANCELLED, Says.INCONSISTENT])
def test_a_line_that_nobody_approved_stands_for_nothing(says):
    assert stands(standing(says=says)) == {}


def test_an_entitlement_that_has_ended_stands_for_nothing_and_one_that_is_merely_over_still_does():
    ended = standing(Granted(KEY, MONDAY), Ended(KEY, MONDAY, "adopted removal"))

    assert stands(ended) == {}
    assert VISIO in stands(standing(Granted(KEY, MONDAY, until=MONDAY)))[ADA]


def test_what_we_gave_for_a_line_stands_for_it_whatever_the_catalogue_says_now():
    given = Given(GivenKind.LICENSE, MONDAY, sku=PHONE)

    assert PHONE in stands(standing(Granted(KEY, MONDAY, given=(given,))))[ADA]


def test_who_does_not_show_their_licences_is_unknown_and_not_empty():
    found = unticketed([a_user(assignments=None), a_user(BOB)], {})

    assert (found.users, found.unknown, found.held) == (2, 1, ())


def test_an_assignment_that_is_not_in_force_costs_nothing():
    broken = Assignment(VISIO, None, frozenset(), "Error", "CountViolation")

    assert unticketed([a_user(assignments=(broken,))], {}).held == ()


def test_the_same_sku_directly_and_by_a_group_is_one_licence_and_a_duplicate():
    user = a_user(skus=frozenset({VISIO}), assignments=BOTH)

    asked, not_asked = unticketed([user], {ADA: frozenset({VISIO})}), unticketed([user], {})

    assert (len(asked.held), len(asked.duplicates)) == (0, 1)
    assert (len(not_asked.held), len(not_asked.duplicates)) == (1, 1)
    assert (not_asked.held[0].is_direct, not_asked.held[0].is_inherited) == (True, True)


def test_the_cost_is_counted_by_seat_and_unknown_where_no_price_is_configured():
    users = [a_user(holds={VISIO: (), E3: ()}), a_user(BOB, holds={VISIO: ()}, is_enabled=False)]

    told = as_json(unticketed(users, {}), {VISIO: "VISIO"}, {VISIO: Decimal("4.70")})

    assert (told["licences"], told["cost_monthly"], told["without_price"]) == (3, "9.40", 1)
    assert [(row["sku"], row["users"], row["disabled_accounts"], row["cost_monthly"]) for row in told["skus"]] == [
        ("VISIO", 2, 1, "9.40"),
        (E3, 1, 0, None),
    ]
    assert len(told["people"]) == 3


def test_nothing_found_has_no_cost_rather_than_a_cost_of_nothing_known():
    told = as_json(unticketed([], {}), {}, {})

    assert (told["licences"], told["cost_monthly"], told["skus"]) == (0, None, [])
