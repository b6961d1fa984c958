"""The products of a site against what its tenant owns."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from desired_state.catalogue import Catalogue
from desired_state.model import PlanId, Product, SkuId
from reconciler.lint import Flaw, LintFinding, lint
from reconciler.model import SubscribedSku
from tests.make import E3, SWAY, TEAMS1, VISIO, VISIO_WEB, a_product, a_sku

TWIN = SkuId("twin")
NAMES = {VISIO: ("VISIOONLINE_PLAN1", "Visio Plan 1"), E3: ("SPE_E3", "Microsoft 365 E3")}
PLANS = {VISIO_WEB: ("VISIOONLINE", "Visio web app"), SWAY: ("SWAY", "Sway"), TEAMS1: ("TEAMS1", "Microsoft Teams")}


def owned(**changes: Any) -> SubscribedSku:
    return replace(a_sku(VISIO), **{"part_number": "VISIOONLINE_PLAN1", **changes})


def found(product: Product, *skus: SubscribedSku, listed: bool = False, **names: Any) -> tuple[LintFinding, ...]:
    catalogue = Catalogue({product.key: product}, {**NAMES, **names}, PLANS)
    return lint(catalogue, [product.key], {s.sku: s for s in skus}, listed=[product.key] if listed else [])


def flaws(*args: Any, **more: Any) -> list[Flaw]:
    return [f.flaw for f in found(*args, **more)]


def test_a_product_whose_sku_the_tenant_owns_and_that_it_proves_has_no_flaw():
    assert found(a_product(), owned()) == ()


def test_a_product_of_which_the_tenant_owns_nothing_names_what_it_would_need():
    (only,) = found(a_product())

    assert only.flaw is Flaw.NOT_OWNED
    assert "VISIOONLINE_PLAN1" in only.sentence


def test_a_sku_that_is_suspended_or_deleted_is_dead():
    assert flaws(a_product(), owned(capability="Suspended")) == [Flaw.DEAD]
    assert flaws(a_product(), owned(capability="Warning")) == []


def test_a_sku_that_the_site_lists_and_the_tenant_lacks_is_dead():
    product = a_product(candidate_skus=(VISIO, E3))

    assert flaws(product, owned(), listed=True) == [Flaw.DEAD]
    assert flaws(product, owned()) == []


def test_a_part_number_that_the_tenant_spells_in_another_case_is_the_same():
    assert flaws(a_product(), owned(part_number="VISIO_NEW")) == [Flaw.RENAMED]
    assert flaws(a_product(), owned(part_number="visioonline_plan1")) == []


def test_a_sku_for_the_company_cannot_be_given_to_people():
    assert flaws(a_product(), owned(applies_to="Company")) == [Flaw.NOT_ASSIGNABLE]


def test_a_part_number_that_several_skus_have_is_ambiguous():
    (only,) = found(a_product(), owned(), **{TWIN: ("VISIOONLINE_PLAN1", "Another Visio")})

    assert only.flaw is Flaw.AMBIGUOUS
    assert VISIO in only.sentence


def test_a_sku_without_the_proof_plan_proves_nothing_and_one_with_look_alikes_only_is_a_decoy():
    product = a_product(decoy_plans=(SWAY,))

    assert flaws(product, owned(plans={TEAMS1: "TEAMS1"})) == [Flaw.PROOF_MISSING]
    assert flaws(product, owned(plans={SWAY: "SWAY"})) == [Flaw.DECOY]
    assert flaws(product, owned(plans={SWAY: "SWAY", VISIO_WEB: "VISIOONLINE"})) == []


def test_a_product_that_needs_all_its_plans_names_those_that_are_missing():
    product = a_product(proof_plans=(VISIO_WEB, TEAMS1), proof_mode="all")

    (only,) = found(product, owned())

    assert "Microsoft Teams" in only.sentence
    assert "Visio web app" not in only.sentence


def test_a_product_of_which_everything_that_proves_it_is_retired_is_reported():
    retired = a_product(retired=(VISIO_WEB,))

    assert Flaw.RETIRED in flaws(retired, owned())
    assert flaws(a_product(retired=(SWAY,)), owned()) == []


def test_only_products_in_use_are_checked():
    catalogue = Catalogue({"visio-plan-1": a_product()}, NAMES, PLANS)

    assert lint(catalogue, [], {}) == ()


def test_an_unknown_plan_is_shown_by_its_id():
    (only,) = found(a_product(proof_plans=(PlanId("new-plan"),)), owned())

    assert "new-plan" in only.sentence
