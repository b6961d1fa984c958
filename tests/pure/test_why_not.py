"""What is in the way of a line, whose move it is, and with which value a rule would let it through."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from desired_state import ledger
from desired_state.catalogue import load_builtin
from desired_state.model import LineKey, ProductKey, Refusal, Says, Why
from desired_state.rules import RuleFacts, Rules, judge
from reconciler.approvals.machine import move
from reconciler.approvals.values import State
from reconciler.causes import CAUSES, Cause
from reconciler.explain import Chain, Event, LineChain, obstacles
from reconciler.explain.passing import passing
from reconciler.lifecycle import Phase
from reconciler.line import LineState
from reconciler.seats.book import Book
from reconciler.seats.queue import Place, Turn
from reconciler.store.switches import Switch, SwitchKind
from reconciler.suggested import Selection, Suggestion, fate, measured
from tests.make import DAY, MONDAY, a_ticket
from tests.make_approvals import LAURA, TOM, a_request, a_stage, an_answer
from tests.make_store import a_wish

KEY = LineKey("RITM0000001", 1)
CATALOGUE = load_builtin()
SALES = RuleFacts(
    product=ProductKey("visio-plan-1"),
    product_name="Visio Plan 1",
    price=Decimal("4.70"),
    department="Sales",
    cost_center="CC-1",
    employee_type="Contractor",
    country="DE",
    title="Clerk",
    names=frozenset({"ada@contoso.example"}),
    holds=frozenset({ProductKey("visio-plan-2")}),
    spent={},
)


ROLE = {"titles": ["Cl*"], "product": "visio-plan-2", "instead_of": ["visio-plan-1"]}


def rule(**keys) -> Rules:
    return Rules.model_validate({"rules": [{"id": "r", **keys}]})


def a_chain(state: LineState | None = None, *, wish=None, **changes) -> Chain:
    standing = ledger.Standing(KEY, wish or a_wish())
    line = LineChain(
        KEY, standing, state, (), **{k: changes.pop(k) for k in ("approvals", "ruling", "rules_text") if k in changes}
    )
    return Chain(a_ticket(number=KEY.ticket), (line,), (), **changes)


def in_the_way(chain: Chain, **more) -> list[tuple[str, str]]:
    return [(o.kind, o.whose) for o in obstacles(chain, chain.lines[0], CATALOGUE, MONDAY, **more)]


# --- rules ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "fact", "passes"),
    [
        ({"kind": "eligibility", "departments": ["Finance", "Legal"]}, "department", ("Finance", "Legal")),
        ({"kind": "eligibility", "countries": ["FR"]}, "country", ("FR",)),
        ({"kind": "eligibility", "groups": ["Designers"]}, "group", ("Designers",)),
        ({"kind": "end_date_required", "employee_types": ["Contractor"], "max_days": 90}, "end", ("<= 90 days",)),
        ({"kind": "conflict", "products": ["visio-plan-1", "visio-plan-2"]}, "holds", ("none of them",)),
        ({"kind": "role_product", **ROLE}, "product", ("visio-plan-2",)),
        ({"kind": "deny", "departments": ["Sales"]}, "department", ("not 'Sales'",)),
        ({"kind": "stage_required", "stages": ["manager"], "price_above": "3.00"}, "price", ("<= 3.00",)),
        ({"kind": "auto_approve", "price_max": "1.00", "departments": ["Legal"]}, "department", ("Legal",)),
    ],
)  # fmt: skip
def test_the_failed_condition_is_named_with_a_value_that_was_tried_and_passes(keys, fact, passes):
    rules = rule(**keys)
    (hit,) = judge(rules, SALES).hits

    way = passing(rules, hit, SALES, {})

    assert way is not None
    assert (way.needs[0].fact, way.needs[0].passes) == (fact, passes)
    assert way.sentence


@pytest.mark.parametrize(
    "keys",
    [
        {"kind": "deny", "users": ["ada@contoso.example"]},
        {"kind": "deny", "domains": ["contoso.example"]},
        {"kind": "deny", "products": ["visio-plan-1"]},
        {"kind": "deny", "departments": ["Sales"], "users": ["ada@contoso.example"]},
        {"kind": "stage_required", "stages": ["manager"], "products": ["visio-plan-1"]},
    ],
)
def test_where_no_value_of_the_request_helps_that_is_said(keys):
    rules = rule(**keys)
    (hit,) = judge(rules, SALES).hits

    way = passing(rules, hit, SALES, {})

    assert way is not None
    assert way.needs == ()


def test_a_rule_that_lets_a_line_through_is_not_in_its_way():
    rules = rule(kind="eligibility", departments=["Sales"])
    (hit,) = judge(rules, SALES).hits

    assert passing(rules, hit, SALES, {}) is None


@given(department=st.none() | st.sampled_from(["Sales", "Legal", ""]), price=st.none() | st.decimals(0, 100, places=2))
def test_whatever_is_told_to_pass_passes_in_the_whole_set_of_rules(department, price):
    rules = Rules.model_validate(
        {
            "rules": [
                {"id": "a", "kind": "eligibility", "departments": ["Legal"]},
                {"id": "b", "kind": "stage_required", "stages": ["manager"], "price_above": "20"},
            ]
        }
    )
    facts = replace(SALES, department=department, price=price)
    changed = facts
    for hit in judge(rules, facts).hits:
        way = passing(rules, hit, facts, {})
        for need in way.needs if way is not None else ():
            value = Decimal(need.passes[0].removeprefix("<= ")) if need.fact == "price" else need.passes[0]
            changed = replace(changed, **{need.fact: value})

    assert judge(rules, changed).says == "clear"


# --- people, seats, causes, stops -----------------------------------------------------------------------------------


def test_a_line_that_has_its_access_has_nothing_in_its_way():
    assert in_the_way(a_chain(LineState(KEY, Phase.GRANTED))) == []


def test_whoever_is_asked_is_named_and_told_where():
    chain = a_chain(LineState(KEY, Phase.AWAITING_APPROVAL), approvals=(a_request(a_stage("manager", LAURA, TOM)),))

    (found,) = obstacles(chain, chain.lines[0], CATALOGUE, MONDAY)

    assert (found.kind, found.whose) == ("approval", "Laura, Tom")
    assert found.do.startswith("Open /approvals/LR-")
    assert "until 2026-" in found.what


def test_a_no_an_expiry_and_a_void_request_say_who_moves_next():
    asked = a_request()
    said_no = replace(move(asked, State.REJECTED, reason="Not this year."), decisions=(an_answer(),))
    expired = move(asked, State.EXPIRED, reason="Nobody answered.")
    void = move(asked, State.VOID, reason="The plan has changed: price.")
    state = LineState(KEY, Phase.REVIEW, cause="policy_refused")

    assert in_the_way(a_chain(state, approvals=(said_no,))) == [("rejected", "requester")]
    assert in_the_way(a_chain(state, approvals=(expired,))) == [("expired", "service desk")]
    assert in_the_way(a_chain(state, approvals=(void,))) == [("void", "reconciler")]


def test_the_place_in_the_queue_is_said_once():
    product = CATALOGUE.product(ProductKey("visio-plan-1"))
    sku = product.candidate_skus[0]
    turns = [
        Place(Turn(True, MONDAY, MONDAY, LineKey("RITM0000000", 1)), sku),
        Place(Turn(True, MONDAY, MONDAY, KEY), sku),
    ]
    book = Book(sku, "VISIO", "Enabled", 3, 0, 3, 0, queue=tuple(turns))
    chain = a_chain(LineState(KEY, Phase.WAITING_FOR_SEAT, cause="no_seat"), books={sku: book})

    (found,) = obstacles(chain, chain.lines[0], CATALOGUE, MONDAY)

    assert "(3 of 3 used); place 2 of 2" in found.what


@pytest.mark.parametrize("cause", list(Cause))
def test_every_cause_says_what_whose_and_what_to_do(cause):
    chain = a_chain(LineState(KEY, Phase.REVIEW, cause=cause.value))

    (found,) = obstacles(chain, chain.lines[0], CATALOGUE, MONDAY)

    assert CAUSES[cause].sentence in found.what
    assert found.whose
    assert found.do


def test_a_line_that_was_not_taken_in_says_what_its_ticket_lacks():
    refusal = Refusal(KEY, Why.PRODUCT_AMBIGUOUS, "Which Visio is meant?", Says.APPROVED)

    assert in_the_way(a_chain(None, wish=refusal)) == [("not_taken_in", "requester")]


def test_stops_backoff_and_mode_stand_beside_the_rest():
    stop = Switch("contoso", "kill switch", SwitchKind.KILL, "*", True, "incident", "ada@host", MONDAY)
    state = LineState(KEY, Phase.CONVERGING, cause="remote_failing", next_at=MONDAY + timedelta(hours=1))

    found = in_the_way(a_chain(state, stops=(stop,)), mode="observe")

    assert [kind for kind, _ in found] == ["remote_failing", "backoff", "stop", "mode"]


def test_a_line_that_no_cycle_has_looked_at_says_so():
    assert in_the_way(a_chain(None)) == [("new", "reconciler")]


def test_a_line_of_a_stopped_lane_is_the_operators_to_release():
    stopped = Event(7, MONDAY, "line_moved", "received → approved", {"decision": "stopped"})
    chain = a_chain(LineState(KEY, Phase.APPROVED, note="60 grants were wanted, 50 are allowed."))
    chain = replace(chain, lines=(replace(chain.lines[0], events=(stopped,)),))

    (found,) = obstacles(chain, chain.lines[0], CATALOGUE, MONDAY)

    assert (found.kind, found.whose, found.what) == (
        "guard", "operator of the reconciler", "60 grants were wanted, 50 are allowed.",
    )  # fmt: skip
    assert in_the_way(a_chain(LineState(KEY, Phase.APPROVED))) == [("on_its_way", "reconciler")]


# --- suggested against selected -------------------------------------------------------------------------------------


def a_suggestion(**changes) -> Suggestion:
    base = Suggestion("PROP0000001", "copilot", "m365-e5", MONDAY, "u1", Phase.REFUSED, State.REJECTED)
    return replace(base, **changes)


def test_what_people_chose_instead_makes_a_rejected_proposal_a_changed_one():
    instead = Selection("RITM1", "u1", "m365-e3", MONDAY + DAY)
    others = [
        replace(instead, user="u2"),
        replace(instead, product="m365-e5"),
        replace(instead, at=MONDAY - DAY),
        replace(instead, at=MONDAY + 15 * DAY),
    ]

    assert measured([a_suggestion()], others)[0]["rejected"] == 1
    (row,) = measured([a_suggestion(), a_suggestion(approval=State.DONE)], [*others, instead])
    assert (row["changed"], row["rejected"], row["approved"], row["taken_percent"]) == (1, 0, 1, 50)


def test_every_state_of_a_request_is_a_fate():
    assert {fate(a_suggestion(approval=state)) for state in State} == {
        "waiting", "approved", "rejected", "expired", "void", "cancelled",
    }  # fmt: skip
    assert fate(a_suggestion(approval=None, phase=None)) == "filed"
    assert fate(a_suggestion(approval=None, phase=Phase.REVIEW)) == "held"
    assert measured([a_suggestion(approval=None, phase=None)], [])[0]["taken_percent"] is None
