"""Rules as data: what each of them says about one request, and that what is not known allows nothing."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from desired_state.model import ProductKey
from desired_state.rules import RuleFacts, RuleHit, Rules, evaluate

CONTRACTOR_END = {
    "id": "contractor-end",
    "kind": "end_date_required",
    "employee_types": ["Contractor"],
    "max_days": 90,
}
HIGH_COST = {"id": "high-cost", "kind": "stage_required", "stages": ["manager", "cost_center_owner"]}
SWITCH_ON = {"id": "switch-on", "kind": "auto_approve", "changes": ["enable_plan"], "price_max": 0}
DEPARTMENTS = {"id": "dept", "kind": "eligibility", "products": ["visio-plan-2"], "departments": ["Engineering"]}
FRONTLINE = {
    "id": "frontline",
    "kind": "role_product",
    "titles": ["Shop *", "Driver"],
    "product": "m365-f3",
    "instead_of": ["m365-e3"],
}
ALL = [CONTRACTOR_END, HIGH_COST | {"price_above": 40}, SWITCH_ON, DEPARTMENTS, FRONTLINE]


def facts(**changes) -> RuleFacts:
    known = RuleFacts(
        product=ProductKey("visio-plan-2"),
        product_name="Visio Plan 2",
        price=Decimal("14.10"),
        department="Engineering",
        cost_center="CC-1",
        employee_type="Employee",
        country="DE",
        title="Engineer",
        change="assign",
        spent={},
    )
    return replace(known, **changes)


def the_hit(rule: dict, given_facts: RuleFacts) -> RuleHit:
    (hit,) = evaluate(Rules.model_validate({"rules": [rule]}), given_facts)
    return hit


def test_a_contractor_without_an_end_date_is_asked_for_one():
    hit = the_hit(CONTRACTOR_END, facts(employee_type="contractor"))

    assert (hit.outcome, hit.effect) == ("hit", "hold")
    assert "at most 90 days" in hit.sentence
    assert hit.inputs["employee_type"] == "contractor"


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"employee_type": "Contractor", "has_end": True, "period_days": 30}, "missed"),
        ({"employee_type": "Contractor", "has_end": True, "period_days": 90}, "missed"),
        ({"employee_type": "Contractor", "has_end": True, "period_days": 91}, "hit"),
        ({"employee_type": "Contractor", "has_end": True, "period_days": None}, "cannot_tell"),
        ({"employee_type": "Employee"}, "not_applicable"),
        ({"employee_type": None}, "cannot_tell"),
        ({"employee_type": ""}, "cannot_tell"),
        ({"employee_type": None, "has_end": True, "period_days": 10}, "missed"),
    ],
)
def test_the_end_of_a_contractor_s_period_is_checked(changes, outcome):
    assert the_hit(CONTRACTOR_END, facts(**changes)).outcome == outcome


@pytest.mark.parametrize(
    ("department", "outcome"),
    [
        ("Engineering", "missed"),
        (" engineering ", "missed"),
        ("Sales", "hit"),
        (None, "cannot_tell"),
        ("", "cannot_tell"),
    ],
)
def test_a_product_for_one_department_is_denied_to_others(department, outcome):
    hit = the_hit(DEPARTMENTS, facts(department=department))

    assert (hit.outcome, hit.effect) == (outcome, "deny")


def test_a_value_that_is_out_outranks_one_that_is_not_known():
    rule = DEPARTMENTS | {"countries": ["DE"]}

    assert the_hit(rule, facts(department=None, country="FR")).outcome == "hit"
    assert the_hit(rule, facts(department=None, country="DE")).outcome == "cannot_tell"


def test_a_rule_about_other_products_does_not_apply():
    assert the_hit(DEPARTMENTS, facts(product=ProductKey("teams"), department=None)).outcome == "not_applicable"


@pytest.mark.parametrize(
    ("title", "outcome"),
    [("shop assistant", "hit"), ("Driver", "hit"), ("Screwdriver", "missed"), (None, "cannot_tell")],
)
def test_a_role_gets_its_own_product_instead(title, outcome):
    assert the_hit(FRONTLINE, facts(product=ProductKey("m365-e3"), title=title)).outcome == outcome


@pytest.mark.parametrize(
    ("price", "outcome"), [("57", "hit"), ("40", "missed"), ("40.01", "hit"), (None, "cannot_tell")]
)
def test_what_is_dear_needs_more_approvals(price, outcome):
    hit = the_hit(HIGH_COST | {"price_above": 40}, facts(price=None if price is None else Decimal(price)))

    assert hit.outcome == outcome
    assert hit.effect == "require_stage"
    assert [stage.stage for stage in hit.stages] in ([], ["manager", "cost_center_owner"])
    assert bool(hit.stages) is (outcome in ("hit", "cannot_tell"))


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"change": "enable_plan", "price": Decimal(0)}, "hit"),
        ({"change": "enable_plan", "price": Decimal("0.01")}, "missed"),
        ({"change": "assign", "price": Decimal(0)}, "missed"),
        ({"change": None, "price": Decimal(0)}, "cannot_tell"),
        ({"change": "enable_plan", "price": None}, "cannot_tell"),
    ],
)
def test_only_what_is_known_to_be_free_is_approved_by_itself(changes, outcome):
    assert the_hit(SWITCH_ON, facts(**changes)).outcome == outcome


@given(
    blank=st.sets(st.sampled_from(["price", "department", "employee_type", "country", "title", "change"]), min_size=1),
    change=st.sampled_from(["none", "enable_plan", "assign", "join_group"]),
    price=st.decimals(min_value=0, max_value=100, places=2),
)
def test_hiding_a_fact_never_allows_more(blank, change, price):
    rules = Rules.model_validate({"rules": ALL})
    shown = facts(change=change, price=price)
    hidden = replace(shown, **dict.fromkeys(blank))

    for before, after in zip(evaluate(rules, shown), evaluate(rules, hidden), strict=True):
        if before.effect == "auto_approve":
            assert after.outcome != "hit" or before.outcome == "hit"
        elif before.outcome == "hit":
            assert after.outcome in ("hit", "cannot_tell")


def test_every_rule_is_accounted_for_in_the_order_of_the_file():
    rules = Rules.model_validate({"rules": ALL})

    assert [hit.rule for hit in evaluate(rules, facts())] == [rule["id"] for rule in ALL]


def test_a_rule_for_one_tenant_is_not_for_another():
    rules = Rules.model_validate({"rules": [DEPARTMENTS | {"tenants": ["contoso"]}, CONTRACTOR_END]})

    assert [rule.id for rule in rules.for_tenant("contoso").rules] == ["dept", "contractor-end"]
    assert [rule.id for rule in rules.for_tenant("fabrikam").rules] == ["contractor-end"]


@pytest.mark.parametrize(
    "rule",
    [
        {"id": "a", "kind": "eligibility"},
        {"id": "a", "kind": "eligibility", "departmnts": ["x"]},
        {"id": "a", "kind": "eligibility", "departments": []},
        {"id": "a", "kind": "auto_approve", "price_max": 10},
        {"id": "a", "kind": "auto_approve", "changes": ["enable_plan"]},
        {"id": "a", "kind": "stage_required", "stages": ["manager"]},
        {"id": "a", "kind": "stage_required", "stages": [], "products": ["m365-e5"]},
        {"id": "a", "kind": "end_date_required"},
        {"id": "A rule", "kind": "eligibility", "departments": ["x"]},
        {"id": "a", "kind": "allow_all"},
    ],
)
def test_a_rule_that_could_not_mean_what_it_says_is_refused_at_load(rule):
    with pytest.raises(ValidationError):
        Rules.model_validate({"rules": [rule]})


def test_two_rules_may_not_share_an_id():
    with pytest.raises(ValidationError, match="two rules have the id 'dept'"):
        Rules.model_validate({"rules": [DEPARTMENTS, DEPARTMENTS]})
