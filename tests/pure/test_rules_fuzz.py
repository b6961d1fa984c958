"""Any rules and any facts: no exception, deny wins, what is not known allows nothing, and no order decides."""

from __future__ import annotations

from dataclasses import fields, replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from desired_state.model import ProductKey, Says
from desired_state.rules import RuleFacts, Rules, Spent, facts_as_json, facts_from_json, judge, replay
from reconciler.digest import digest

STRICTEST_FIRST = ["denied", "held", "asked", "staged", "approved", "clear"]
PRODUCTS = ["teams", "visio-plan-2", "m365-e3", "m365-e5"]
WORDS = ["Engineering", "Sales", "Contractor", "DE", " de ", "*", "Shop *", "ada@contoso.example", "Ωμέγα", "x" * 70]
GROUPS = ["Leavers", "Staff", "0f0f0f0f-0f0f-4f0f-8f0f-0f0f0f0f0f0f"]
STAGES = ["manager", "cost_center_owner", "telecom"]

words = st.lists(st.sampled_from(WORDS), min_size=1, max_size=3)
groups = st.lists(st.sampled_from(GROUPS), min_size=1, max_size=2)
products = st.lists(st.sampled_from(PRODUCTS), max_size=2)
some_products = st.lists(st.sampled_from(PRODUCTS), min_size=1, max_size=2)
prices = st.decimals(min_value=0, max_value=90, places=2)


def one_of_each(kind: str, required: dict, optional: dict) -> st.SearchStrategy[dict]:
    more = {key: value for key, value in optional.items() if key not in required}
    return st.fixed_dictionaries({"kind": st.just(kind), **required}, optional=more)


def stage_name(stage: str | dict) -> str:
    return stage if isinstance(stage, str) else stage["stage"]


PEOPLE = {"departments": words, "cost_centers": words, "employee_types": words, "countries": words, "groups": groups}
STAGE = st.one_of(
    st.sampled_from(STAGES),
    st.fixed_dictionaries(
        {"stage": st.sampled_from(STAGES)},
        optional={"quorum": st.integers(1, 3), "ticket_approval_suffices": st.booleans()},
    ),
)
DENY = one_of_each(
    "deny", {"products": some_products}, {"users": words, "domains": words, "departments": words, "groups": groups}
)
RULE = st.one_of(
    one_of_each("eligibility", {"departments": words}, {"products": products, **PEOPLE}),
    one_of_each("eligibility", {"groups": groups}, {"products": products}),
    one_of_each(
        "role_product", {"titles": words, "product": st.sampled_from(PRODUCTS), "instead_of": some_products}, {}
    ),
    one_of_each("conflict", {"products": st.permutations(PRODUCTS).map(lambda p: p[:2])}, {}),
    one_of_each(
        "end_date_required", {"products": some_products}, {"employee_types": words, "max_days": st.integers(1, 99)}
    ),
    one_of_each(
        "auto_approve",
        {"price_max": prices, "products": some_products},
        {**PEOPLE, "titles": words, "per_day": st.integers(1, 5), "cost_per_day": prices},
    ),
    one_of_each(
        "stage_required",
        {"stages": st.lists(STAGE, min_size=1, max_size=2, unique_by=stage_name)},
        {"price_above": prices, "assurance": st.sampled_from(["low", "medium", "strong"])},
    ).map(lambda r: {"price_above": Decimal(10)} | r),
    one_of_each("opener_approves", {"openers": words}, {"price_max": prices}),
    DENY,
    one_of_each("deny", {"users": words}, {"products": products}),
    one_of_each("deny", {"groups": groups}, {}),
)
rule_sets = st.lists(RULE, max_size=6).map(
    lambda rules: Rules.model_validate({"rules": [rule | {"id": f"r{n}"} for n, rule in enumerate(rules)]})
)
maybe = st.one_of(st.none(), st.sampled_from([*WORDS, "", " "]))
all_facts = st.builds(
    RuleFacts,
    product=st.sampled_from(PRODUCTS).map(ProductKey),
    product_name=st.sampled_from(["", "Visio"]),
    price=st.none() | prices,
    department=maybe,
    cost_center=maybe,
    employee_type=maybe,
    country=maybe,
    title=maybe,
    has_end=st.booleans(),
    period_days=st.none() | st.integers(0, 200),
    says=st.sampled_from([Says.APPROVED, Says.WAITING]),
    change=st.none() | st.sampled_from(["none", "enable_plan", "assign", "join_group"]),
    names=st.none() | st.frozensets(st.sampled_from(WORDS), max_size=2),
    groups=st.dictionaries(st.sampled_from([g.casefold() for g in GROUPS]), st.none() | st.booleans()),
    holds=st.none() | st.frozensets(st.sampled_from(PRODUCTS).map(ProductKey), max_size=2),
    opener=maybe,
    spent=st.none() | st.dictionaries(st.sampled_from(["r0", "r1", "r2"]), st.builds(Spent, st.integers(0, 6), prices)),
)
UNKNOWN = {f.name: None for f in fields(RuleFacts) if "None" in str(f.type)} | {"groups": {}}


@given(rules=rule_sets, facts=all_facts)
def test_any_rules_say_something_of_any_facts_and_each_of_them_is_accounted_for(rules, facts):
    ruling = judge(rules, facts)

    assert [hit.rule for hit in ruling.hits] == [rule.id for rule in rules.rules]
    assert ruling.says in STRICTEST_FIRST
    assert bool(ruling.sentence) is (ruling.says != "clear")
    assert bool(ruling.approved_by) is (ruling.says == "approved")
    assert all("\n" not in hit.sentence and hit.sentence for hit in ruling.hits)


@given(rules=rule_sets, facts=all_facts)
def test_a_rule_that_denies_wins_over_all_others(rules, facts):
    ruling = judge(rules, facts)

    denies = any(hit.effect == "deny" and hit.outcome == "hit" for hit in ruling.hits)
    assert (ruling.says == "denied") is denies


@given(rules=rule_sets, facts=all_facts, hidden=st.sets(st.sampled_from(sorted(UNKNOWN)), min_size=1, max_size=4))
def test_hiding_what_is_known_never_allows_more(rules, facts, hidden):
    shown, less = judge(rules, facts), judge(rules, replace(facts, **{name: UNKNOWN[name] for name in hidden}))

    if shown.says not in ("approved", "clear"):
        assert less.says not in ("approved", "clear")
    assert not less.trusts_opener or shown.trusts_opener
    for before, after in zip(shown.hits, less.hits, strict=True):
        assert after.effect != "auto_approve" or after.outcome != "hit" or before.outcome == "hit"


@given(rules=rule_sets, facts=all_facts, deny=DENY)
def test_one_more_rule_that_denies_never_allows_more(rules, facts, deny):
    more = Rules.model_validate({"rules": [*rules.model_dump()["rules"], deny | {"id": "more"}]})

    before, after = judge(rules, facts), judge(more, facts)

    assert STRICTEST_FIRST.index(after.says) <= STRICTEST_FIRST.index(before.says)
    assert not after.approved_by or after.approved_by == before.approved_by


@given(rules=rule_sets, facts=all_facts, data=st.data())
def test_the_order_of_the_rules_decides_nothing(rules, facts, data):
    turned = Rules(rules=tuple(data.draw(st.permutations(rules.rules))))

    a, b = judge(rules, facts), judge(turned, facts)

    assert (a.says, a.sentence, a.stages, a.approved_by, a.trusts_opener, a.sample_percent) == (
        (b.says, b.sentence, b.stages, b.approved_by, b.trusts_opener, b.sample_percent)
    )
    assert sorted(a.hits, key=lambda h: h.rule) == sorted(b.hits, key=lambda h: h.rule)


@given(rules=rule_sets, facts=all_facts)
def test_a_decision_judged_again_from_its_text_and_facts_is_the_same_one(rules, facts):
    ruling = judge(rules, facts)
    digest(ruling.as_json())  # what is kept is JSON

    again = replay(rules.text(), ruling.as_json())

    assert again == ruling
    assert facts_from_json(facts_as_json(facts)) == facts
