"""What can be asked for: the built-in products against the published ids, and answers on forms -> products."""

from __future__ import annotations

import csv
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from desired_state.catalogue import Catalogue, Unclear, UnknownName, load_builtin
from desired_state.items import Item
from desired_state.model import Path as By
from desired_state.model import ProductKey, Tier, Why
from desired_state.overlays import ProductOverlay
from tests.make_tickets import an_item

DATA = Path(__file__).parents[3] / "shared" / "data"
E3 = "05e9a617-0261-4cee-bb44-138d3ef5d965"


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_builtin()


@pytest.fixture(scope="module")
def published() -> list[dict[str, str]]:
    file = DATA / "sku-catalog.csv"
    if not file.is_file():
        pytest.skip("the published table of SKUs is not beside this checkout")
    with file.open(encoding="utf-8", newline="") as rows:
        return list(csv.DictReader(rows))


def a_project_item() -> Item:
    products = {"true": "project-plan-3", "false": "project-plan-1"}
    return an_item(name="Microsoft Project", variables={"product": "desktop_client"}, products=products)


def test_every_id_is_a_published_one_and_carries_its_published_names(catalogue, published):
    skus = {row["sku_id"]: (row["sku_part_number"], row["product_display_name"]) for row in published}
    plans = {row["service_plan_id"]: row["service_plan_name"] for row in published}

    for product in catalogue.products.values():
        for sku in (*product.candidate_skus, *product.covering_skus):
            assert catalogue.skus[sku] == skus[sku], product.key
        for plan in (*product.proof_plans, *product.prerequisite_plans, *product.decoy_plans):
            assert catalogue.plans[plan][0] == plans[plan], product.key


def test_every_sku_that_is_assigned_or_covers_brings_what_proves_the_product(catalogue, published):
    brings: dict[str, set[str]] = {}
    for row in published:
        brings.setdefault(row["sku_id"], set()).add(row["service_plan_id"])

    for product in catalogue.products.values():
        for sku in (*product.candidate_skus, *product.covering_skus):
            proofs = set(product.proof_plans)
            found = proofs & brings[sku]
            assert found == proofs if product.proof_mode.startswith("all") else found, (product.key, sku)


def test_every_requested_name_of_the_reference_list_leads_to_its_product(catalogue):
    file = DATA / "products.csv"
    if not file.is_file():
        pytest.skip("the reference list of products is not beside this checkout")
    with file.open(encoding="utf-8", newline="") as rows:
        for row in csv.DictReader(rows):
            for name in (row["request_name"], *row["aliases"].split("|")):
                assert not name or catalogue.named(name) == row["product_key"]


def test_there_are_forty_products_and_no_two_share_a_name(catalogue):
    names = [n for p in catalogue.products.values() for n in {s.casefold() for s in (p.key, p.name, *p.aliases)}]

    assert len(catalogue.products) == 40
    assert len(names) == len(set(names))


def test_a_look_alike_is_never_also_a_proof(catalogue):
    for product in catalogue.products.values():
        assert not set(product.decoy_plans) & set(product.proof_plans), product.key
        assert not set(product.covering_skus) & set(product.candidate_skus), product.key


def test_no_suite_covers_a_request_for_project(catalogue):
    assert E3 not in catalogue.product("project-plan-3").covering_skus


def test_a_phone_needs_a_stronger_proof_than_a_licence(catalogue):
    assert catalogue.product("teams-phone").tier is Tier.V3
    assert catalogue.product("visio-plan-2").tier is Tier.V2


def test_an_unknown_sku_is_shown_by_its_id_and_never_hidden(catalogue):
    assert catalogue.sku_name(E3) == "Microsoft 365 E3"
    assert catalogue.sku_part_number(E3) == "SPE_E3"
    assert catalogue.sku_name("not-a-known-one") == "not-a-known-one"


@pytest.mark.parametrize("answer", ["visio-plan-2", "Visio Plan 2", "  visio   PLAN 2 ", "Microsoft Visio"])
def test_an_answer_means_a_product_by_key_name_or_alias(catalogue, answer):
    assert catalogue.item_product(an_item(), {"product": answer}) == "visio-plan-2"


@pytest.mark.parametrize("answer", ["true", "Yes", "1", "TRUE"])
def test_a_ticked_box_is_read_in_every_spelling(catalogue, answer):
    assert catalogue.item_product(a_project_item(), {"desktop_client": answer}) == "project-plan-3"
    assert catalogue.item_product(a_project_item(), {"desktop_client": "No"}) == "project-plan-1"


def test_a_box_that_was_not_answered_is_asked_back_with_the_choices(catalogue):
    result = catalogue.item_product(a_project_item(), {"desktop_client": ""})

    assert isinstance(result, Unclear)
    assert result.why is Why.PRODUCT_AMBIGUOUS
    assert "Project Plan 3 or Planner Plan 1" in result.sentence


def test_free_text_that_names_two_products_is_a_question_and_not_a_guess(catalogue):
    result = catalogue.item_product(an_item(), {"product": "Visio or Power BI Pro, please"})

    assert isinstance(result, Unclear)
    assert result.why is Why.PRODUCT_AMBIGUOUS
    assert "Visio Plan 2" in result.sentence
    assert "Power BI Pro" in result.sentence


def test_a_misspelt_product_is_unmapped_and_the_nearest_one_is_offered(catalogue):
    result = catalogue.item_product(an_item(), {"product": "Viso Plan 1"})

    assert isinstance(result, Unclear)
    assert result.why is Why.PRODUCT_UNMAPPED
    assert "did you mean Visio Plan 1" in result.sentence


def test_an_answer_that_is_not_there_is_not_read_as_empty(catalogue):
    result = catalogue.item_product(an_item(), {"other": "x"})

    assert isinstance(result, Unclear)
    assert result.why is Why.PRODUCT_UNMAPPED
    assert "could not be read" in result.sentence


def test_a_site_may_declare_that_an_answer_can_mean_several_products(catalogue):
    item = an_item(products={"Visio": ["visio-plan-1", "visio-plan-2"]})

    result = catalogue.item_product(item, {"product": "visio"})

    assert isinstance(result, Unclear)
    assert "Visio Plan 1 or Visio Plan 2" in result.sentence


def test_an_overlay_changes_what_it_says_and_nothing_else(catalogue):
    over = ProductOverlay(path=By.GROUP, group="Lic-Visio", price=Decimal("14.1"), replaces=("visio-plan-1",))

    changed = catalogue.overlay({"visio-plan-2": over})

    before, after = catalogue.product("visio-plan-2"), changed.product("visio-plan-2")
    assert (after.path, after.group, after.price) == (By.GROUP, "Lic-Visio", Decimal("14.1"))
    assert after.replaces == (ProductKey("visio-plan-1"),)
    assert after.candidate_skus == before.candidate_skus
    assert before.path is By.DIRECT


def test_a_sku_that_a_site_no_longer_assigns_still_proves_the_product(catalogue):
    first, second = catalogue.product("visio-plan-2").candidate_skus

    changed = catalogue.overlay({"visio-plan-2": ProductOverlay(skus=("VISIO_PLAN2_DEPT",))}).product("visio-plan-2")

    assert changed.candidate_skus == (second,)
    assert first in changed.covering_skus


def test_a_product_like_another_one_has_its_proofs_but_not_its_names(catalogue):
    over = ProductOverlay(like="visio-plan-2", name="Visio for plants", path=By.GROUP, group="AD-Visio")

    changed = catalogue.overlay({"visio-plant": over})

    assert changed.product("visio-plant").proof_plans == catalogue.product("visio-plan-2").proof_plans
    assert changed.named("Visio for plants") == "visio-plant"
    assert changed.named("Visio") == "visio-plan-2"


@pytest.mark.parametrize(
    ("key", "over", "sentence"),
    [
        ("visio-plan-3", {}, "did you mean 'visio-plan-2'?"),
        ("visio-plan-2", {"skus": ("VISIOCLINT",)}, "did you mean 'VISIOCLIENT'?"),
        ("visio-plan-2", {"skus": ("00000000-0000-0000-0000-000000000001",)}, "sku_names"),
        ("visio-plan-2", {"replaces": ("visio-plan-9",)}, "did you mean 'visio-plan-2'?"),
        ("x", {"like": "visio-plan-9"}, "did you mean 'visio-plan-2'?"),
    ],
)
def test_an_overlay_that_names_nothing_offers_the_nearest_word(catalogue, key, over, sentence):
    with pytest.raises(UnknownName, match=r".") as caught:
        catalogue.overlay({key: ProductOverlay(**over)})

    assert sentence in str(caught.value)
    assert str(caught.value).startswith(f"products.{key}")


def test_an_overlay_may_not_take_the_name_of_another_product(catalogue):
    with pytest.raises(ValueError, match="belongs to the product project-plan-3"):
        catalogue.overlay({"visio-plan-2": ProductOverlay(aliases=("Project",))})


def test_a_group_path_needs_a_group(catalogue):
    with pytest.raises(ValueError, match="needs group"):
        catalogue.overlay({"visio-plan-2": ProductOverlay(path=By.GROUP)})


def test_what_is_retired_by_a_day_is_known_to_every_product_from_that_day_on():
    plan, sku = "2bdbaf8f-738f-4ac7-9234-3c3ee2ce7d0f", "4b244418-9658-4451-a2b8-b5e2b364e9bd"
    overlay = ProductOverlay(retired={"VISIOONLINE": date(2027, 3, 31), sku.upper(): date(2028, 1, 1)})
    catalogue = load_builtin().overlay({"visio-plan-1": overlay})

    def retired(day: date) -> set[str]:
        return set(catalogue.as_of(day).products["visio-plan-2"].retired)

    assert plan not in retired(date(2027, 3, 30))
    assert plan in retired(date(2027, 3, 31))
    assert sku in retired(date(2028, 1, 1)) - retired(date(2027, 12, 31))


def test_what_microsoft_named_retired_is_retired_without_any_configuration():
    gone = load_builtin().as_of(date(2026, 11, 2)).products["visio-plan-1"].retired

    assert "41fcdd7d-4733-4863-9cf4-c65b83ce2df4" in gone
    assert load_builtin().as_of(date(2026, 1, 1)).products["visio-plan-1"].retired == ()


@pytest.mark.parametrize("word", ["VISIOLINE", "PROJECT_ESSENTIALS"])
def test_a_retired_plan_that_names_nothing_or_several_is_an_error(word):
    with pytest.raises(UnknownName, match=r"products\.visio-plan-1\.retired"):
        load_builtin().overlay({"visio-plan-1": ProductOverlay(retired={word: date(2027, 1, 1)})})


def test_every_plan_that_a_product_names_has_a_display_name():
    builtin = load_builtin()
    named = {p for x in builtin.products.values() for p in (*x.proof_plans, *x.prerequisite_plans, *x.decoy_plans)}

    assert named <= set(builtin.plans)
    assert len(builtin.plans) == 796


def test_every_product_that_a_mailbox_or_files_hang_on_is_known_to_keep_data(catalogue):
    bearing = {"EXCHANGE_S_STANDARD", "EXCHANGE_S_ENTERPRISE", "EXCHANGE_S_DESKLESS", "SHAREPOINTSTANDARD"}
    bearing |= {"SHAREPOINTENTERPRISE", "SHAREPOINTDESKLESS"}
    named = {p: {catalogue.plans[plan][0] for plan in p.proof_plans} for p in catalogue.products.values()}

    assert [p.key for p, plans in named.items() if plans & bearing and not p.keeps_data] == []
    assert not catalogue.products["project-plan-3"].keeps_data
