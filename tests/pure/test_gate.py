"""What may be sent, and what the gate says when it may not."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from desired_state.model import Approval, LineKey, Period, Person, Says, UserId
from desired_state.rules import Rules, StageNeed, replay
from reconciler.allowance import Allowance
from reconciler.causes import Cause
from reconciler.lifecycle import Phase
from reconciler.line import (
    Decision,
    Lane,
    Line,
    LineState,
    Observed,
)
from reconciler.loop.diff import Windows, diff
from reconciler.loop.gate import Gates, Policy, gate
from reconciler.loop.guards import Limits, Used
from reconciler.loop.guards.scope import EVERYBODY, Scope
from reconciler.loop.guards.watch import Watch
from reconciler.loop.judging import Evidence
from reconciler.loop.plan import Bounds, plan
from reconciler.model import PlanState, Verdict
from tests.make import (
    ADA,
    BOB,
    DAY,
    E3,
    MONDAY,
    SWAY,
    VISIO,
    VISIO_WEB,
    a_line,
    a_product,
    a_sku,
    a_user,
    details_of,
    seen,
)

ENFORCE = Policy(mode="enforce")
CONTRACTORS = Rules.model_validate(
    {
        "rules": [
            {"id": "contractors-end", "kind": "end_date_required", "employee_types": ["Contractor"], "max_days": 90},
            {"id": "dear", "kind": "stage_required", "price_above": "30", "stages": ["manager"]},
            {"id": "sales-only", "kind": "eligibility", "products": ["copilot"], "departments": ["Sales"]},
        ]
    }
)


def gated(
    lines: list[Line], observed: Observed, policy: Policy = ENFORCE, rules: Rules | None = None, watch=None
) -> Gates:
    findings = diff(lines, observed, at=MONDAY, windows=Windows())
    plans = plan(findings, observed, Bounds())
    return gate(plans, rules or Rules(), policy=policy, watch=watch or Watch(MONDAY), at=MONDAY)


def one(line: Line, observed: Observed, policy: Policy = ENFORCE, rules: Rules | None = None, watch=None):
    (result,) = gated([line], observed, policy, rules, watch).gated
    return result


def test_drift_of_an_approved_request_is_cleared_in_enforce():
    assert one(a_line(says=Says.APPROVED), seen(a_user())).decision is Decision.CLEARED


@pytest.mark.parametrize(("mode", "decision"), [("observe", Decision.PLANNED), ("suggest", Decision.AWAITING)])
def test_modes_below_enforce_write_nothing(mode, decision):
    assert one(a_line(), seen(a_user()), Policy(mode=mode)).decision is decision


def test_a_products_own_mode_is_what_counts():
    policy = Policy(mode="enforce", modes={a_product().key: "observe"})

    assert one(a_line(), seen(a_user()), policy).decision is Decision.PLANNED


def test_a_ticket_that_is_kept_our_hands_off_is_held_and_its_access_not_vouched_for():
    policy = replace(ENFORCE, held_tickets={"RITM0000001": "A colleague works on it."})
    proven = seen(a_user(holds={VISIO: ()}), details={ADA: details_of({VISIO: {VISIO_WEB: PlanState.SUCCESS}})})

    result = one(a_line(), proven, policy)

    assert (result.decision, result.sentence) == (Decision.HELD, "A colleague works on it.")
    assert result.proposal.finding.verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    "policy",
    [replace(ENFORCE, act_max_age=timedelta(hours=3)), replace(ENFORCE, act_on_tickets_since=MONDAY)],
)
def test_a_ticket_older_than_the_horizon_is_reported_only(policy):
    result = one(a_line(), seen(a_user()), policy)

    assert result.decision is Decision.HELD
    assert "reported only" in result.sentence


@pytest.mark.parametrize(
    "scope",
    [
        replace(EVERYBODY, deny_users=frozenset({"ada@contoso.example"})),
        replace(EVERYBODY, deny_users=frozenset({ADA})),
        Scope(allow_domains=frozenset({"fabrikam.example"})),
    ],
)
def test_an_account_out_of_scope_is_never_changed(scope):
    result = one(a_line(), seen(a_user()), watch=Watch(MONDAY, scope))

    assert (result.decision, result.cause) == (Decision.HELD, Cause.USER_OUT_OF_SCOPE)


def test_a_contractor_without_an_end_date_is_held_by_the_rule():
    result = one(a_line(says=Says.APPROVED), seen(a_user(employee_type="Contractor")), rules=CONTRACTORS)

    assert (result.decision, result.cause) == (Decision.HELD, Cause.POLICY_REFUSED)
    assert [j["rule"] for j in result.judged] == ["contractors-end", "dear", "sales-only"]


def test_data_that_a_rule_needs_and_nobody_knows_is_asked_and_never_allowed():
    result = one(a_line(says=Says.APPROVED), seen(a_user(employee_type=None)), rules=CONTRACTORS)

    assert result.decision is Decision.AWAITING


@pytest.mark.parametrize(
    ("own", "decision"), [("CC-1", Decision.CLEARED), ("CC-2", Decision.HELD), (None, Decision.AWAITING)]
)
def test_a_rule_looks_at_the_persons_cost_center_and_never_at_one_that_was_typed(own, decision):
    rules = rules_of({"id": "own", "kind": "eligibility", "cost_centers": ["CC-1"]})
    line = a_line(says=Says.APPROVED, cost_center="CC-1", person=Person("p", cost_center=own))

    assert one(line, seen(a_user()), rules=rules).decision is decision


def test_a_ticket_closed_under_older_rules_is_not_judged_again():
    result = one(a_line(says=Says.FULFILLED), seen(a_user(employee_type="Contractor")), rules=CONTRACTORS)

    assert result.decision is Decision.CLEARED


@pytest.mark.parametrize("written", ["svc.chatbot", "Svc.ChatBot", " svc.chatbot "])
def test_an_order_by_an_agents_account_only_proposes(written):
    policy = replace(ENFORCE, agents=frozenset({"SVC.chatbot"}))

    result = one(a_line(says=Says.APPROVED, opened_by=written), seen(a_user()), policy)

    assert result.decision is Decision.AWAITING


def test_a_grant_that_ends_is_given_like_any_other():
    result = one(a_line(period=Period(duration_days=30)), seen(a_user()))

    assert result.decision is Decision.CLEARED


def test_a_line_that_a_person_has_is_left_to_that_person():
    state = LineState(LineKey("RITM0000001", 1), Phase.REVIEW, note="Handed back.")

    assert one(a_line(state=state), seen(a_user())).decision is Decision.HELD


def test_a_failed_attempt_is_not_repeated_before_its_time():
    state = LineState(LineKey("RITM0000001", 1), Phase.CONVERGING, attempts=1, next_at=MONDAY + timedelta(minutes=5))

    assert one(a_line(state=state), seen(a_user())).decision is Decision.HELD
    due = replace(state, next_at=MONDAY - timedelta(seconds=1))
    assert one(a_line(state=due), seen(a_user())).decision is Decision.CLEARED


@given(count=st.integers(1, 12), limit=st.integers(0, 12), used=st.integers(0, 12))
def test_a_lane_is_all_or_nothing(count, limit, used):
    people = [UserId(f"{n:08d}-0000-4000-8000-000000000000") for n in range(count)]
    lines = [a_line(f"RITM{n:07d}", user=p, requested_at=MONDAY - n * DAY) for n, p in enumerate(people)]
    budget = dict.fromkeys(Lane, Allowance(limit))
    others = frozenset(f"other-{n}" for n in range(used))
    watch = Watch(MONDAY, limits=Limits(budget, budget), used=Used({Lane.GRANTS: others}))

    result = gated(lines, seen(*(a_user(p) for p in people), skus=[a_sku(free=99)]), watch=watch)

    fits = used + count <= limit
    assert {g.decision for g in result.gated} == {Decision.CLEARED if fits else Decision.STOPPED}
    assert bool(result.trips) is not fits


def test_a_line_that_shares_a_change_is_stopped_with_it_and_says_why():
    lines = [a_line("RITM0000001", requested_at=MONDAY - DAY), a_line("RITM0000002")]
    none = dict.fromkeys(Lane, Allowance(0))

    carrier, sharer = gated(lines, seen(a_user()), watch=Watch(MONDAY, limits=Limits(none, none))).gated

    assert sharer.proposal.with_ == carrier.proposal.finding.key
    assert carrier.decision is Decision.STOPPED
    assert (sharer.decision, sharer.cause, sharer.sentence) == (Decision.STOPPED, carrier.cause, carrier.sentence)


@pytest.mark.parametrize("observed", [seen(), seen(a_user(is_enabled=False)), seen(a_user())])
def test_scope_holds_every_line_whatever_would_become_of_it(observed):
    scope = Scope(allow_users=frozenset({"grace@contoso.example"}))
    line = a_line() if observed.users else a_line(user=None)

    result = one(line, observed, watch=Watch(MONDAY, scope))

    assert (result.decision, result.cause) == (Decision.HELD, Cause.USER_OUT_OF_SCOPE)
    assert result.proposal.actions == ()


def test_a_ticket_outside_the_horizon_whose_access_is_there_is_not_answered():
    proven = seen(a_user(holds={VISIO: ()}), details={ADA: details_of({VISIO: {VISIO_WEB: PlanState.SUCCESS}})})
    old = a_line(says=Says.APPROVED, due_since=MONDAY - 90 * DAY)

    assert one(old, proven).may_answer is False
    assert one(a_line(says=Says.APPROVED), proven).may_answer is True


def test_rules_are_recorded_for_a_closed_ticket_that_is_changed():
    result = one(a_line(says=Says.FULFILLED), seen(a_user(employee_type="Contractor")), rules=CONTRACTORS)

    assert [j["rule"] for j in result.judged] == ["contractors-end", "dear", "sales-only"]


# --- what rules decide together -------------------------------------------------------------------------------------

CHEAP = {"id": "cheap", "kind": "auto_approve", "products": ["visio-plan-1"], "price_max": 5, "per_day": 2}
APPROVED_HERE = a_line(says=Says.APPROVED)


def unapproved(number: str = "RITM0000001", **changes) -> Line:
    return replace(a_line(number, says=Says.APPROVED, **changes), is_unapproved=True)


def rules_of(*rules: dict) -> Rules:
    return Rules.model_validate({"rules": rules})


def judged(lines: list[Line], observed: Observed, rules: Rules, **evidence):
    findings = diff(lines, observed, at=MONDAY, windows=Windows())
    known = Evidence(**{"products": {p.key: p for p in PRODUCTS}, **evidence})
    planned = plan(findings, observed, Bounds())
    return gate(planned, rules, policy=ENFORCE, watch=Watch(MONDAY), at=MONDAY, evidence=known).gated


PRODUCTS = (a_product(), a_product("project", candidate_skus=(E3,), proof_plans=(SWAY,), name="Project"))


def test_a_form_without_approval_is_served_only_where_a_rule_approves_it_positively():
    (plain,) = judged([unapproved()], seen(a_user()), rules_of())
    (ruled,) = judged([unapproved()], seen(a_user()), rules_of(CHEAP))
    (dear,) = judged([unapproved(product=a_product(price=Decimal("5.01")))], seen(a_user()), rules_of(CHEAP))

    assert [plain.decision, ruled.decision, dear.decision] == [Decision.AWAITING, Decision.CLEARED, Decision.AWAITING]
    assert (ruled.approved_by, plain.approved_by) == ("cheap", "")


def test_an_approved_ticket_needs_no_rule_that_approves_it():
    (result,) = judged([APPROVED_HERE], seen(a_user()), rules_of(CHEAP))

    assert (result.decision, result.approved_by) == (Decision.CLEARED, "")


def test_a_rule_approves_no_more_a_day_than_it_may_and_a_retry_is_no_second_one():
    people = [UserId(f"{n:08d}-0000-4000-8000-000000000000") for n in range(3)]
    lines = [unapproved(f"RITM000000{n}", user=p, requested_at=MONDAY - (9 - n) * DAY) for n, p in enumerate(people)]
    observed = seen(*(a_user(p) for p in people))
    first = {"cheap": {lines[0].key: Decimal(5)}}

    fresh = judged(lines, observed, rules_of(CHEAP))
    again = judged(lines, observed, rules_of(CHEAP), approved=first)
    unread = judged(lines, observed, rules_of(CHEAP), approved=None)

    assert [g.decision for g in fresh] == [Decision.CLEARED, Decision.CLEARED, Decision.AWAITING]
    assert [g.decision for g in again] == [Decision.CLEARED, Decision.CLEARED, Decision.AWAITING]
    assert {g.decision for g in unread} == {Decision.AWAITING}


def test_a_daily_cost_stops_a_rule_too():
    lines = [unapproved("RITM0000001"), unapproved("RITM0000002", user=BOB, requested_at=MONDAY - DAY)]

    result = judged(lines, seen(a_user(), a_user(BOB)), rules_of(CHEAP | {"cost_per_day": "9.99"}))

    assert [g.decision for g in result] == [Decision.CLEARED, Decision.AWAITING]


def test_who_is_denied_is_denied_whatever_approves_and_whoever_ordered():
    deny = {"id": "no", "kind": "deny", "users": ["ADA@contoso.example"]}
    policy = replace(ENFORCE, agents=frozenset({"svc.chatbot"}))
    line = a_line(says=Says.APPROVED, opened_by="svc.chatbot")

    (result,) = judged([unapproved()], seen(a_user()), rules_of(CHEAP, deny))
    by_agent = one(line, seen(a_user()), policy, rules_of(deny))

    assert (result.decision, result.cause) == (Decision.HELD, Cause.POLICY_REFUSED)
    assert by_agent.decision is Decision.HELD


def test_what_a_registered_agent_proposes_is_approved_by_no_rule_and_by_no_ticket():
    line = unapproved()
    proposed = replace(line, declared=replace(line.declared, opened_by="agent:copilot"))

    (free,) = judged([line], seen(a_user()), rules_of(CHEAP))
    (waits,) = judged([proposed], seen(a_user()), rules_of(CHEAP))
    by_ticket = one(a_line(says=Says.APPROVED, opened_by="agent:copilot"), seen(a_user()))

    assert free.decision is Decision.CLEARED
    assert (waits.decision, by_ticket.decision) == (Decision.AWAITING, Decision.AWAITING)


@pytest.mark.parametrize(
    ("groups", "decision"),
    [
        ({ADA: {"leavers": True}}, Decision.HELD),
        ({ADA: {"leavers": False}}, Decision.CLEARED),
        ({ADA: {"leavers": None}}, Decision.AWAITING),
        ({}, Decision.AWAITING),
    ],
)
def test_a_group_that_is_denied_counts_and_one_that_cannot_be_read_is_asked_about(groups, decision):
    (result,) = judged(
        [APPROVED_HERE], seen(a_user()), rules_of({"id": "no", "kind": "deny", "groups": ["Leavers"]}), groups=groups
    )

    assert result.decision is decision


EITHER = {"id": "either", "kind": "conflict", "products": ["visio-plan-1", "project"], "sentence": "One drawing tool."}


@pytest.mark.parametrize(
    ("user", "product", "decision"),
    [
        (a_user(holds={E3: ()}), a_product(), Decision.HELD),
        (a_user(holds={}), a_product(), Decision.CLEARED),
        (a_user(holds={E3: ()}), a_product(replaces=("project",)), Decision.CLEARED),
    ],
)
def test_products_that_may_not_be_held_together_are_not(user, product, decision):
    skus = [a_sku(), a_sku(E3, plans=(SWAY,))]
    line = a_line(says=Says.APPROVED, product=product)

    (result,) = judged([line], seen(user, skus=skus), rules_of(EITHER))

    assert result.decision is decision
    assert result.sentence in ("", "One drawing tool.")


def test_of_two_requests_that_exclude_each_other_the_older_one_is_served():
    skus = [a_sku(), a_sku(E3, plans=(SWAY,))]
    older = a_line("RITM0000002", says=Says.APPROVED, product=PRODUCTS[1], due_since=MONDAY - 2 * DAY)

    result = judged([APPROVED_HERE, older], seen(a_user(), skus=skus), rules_of(EITHER))

    assert {str(g.proposal.finding.key): g.decision for g in result} == {
        "RITM0000002/1": Decision.CLEARED,
        "RITM0000001/1": Decision.HELD,
    }


def by(approver: str, *, opener: str = "opener", subject: str = "subject") -> Line:
    line = a_line(says=Says.APPROVED, opened_by="petra.opener", person=Person(subject))
    ticket = replace(
        line.ticket,
        opened_by=Person(opener, user_name="petra.opener"),
        approvals=(Approval("row", approver, "Somebody", "approved"),),
    )
    return replace(line, ticket=ticket)


TRUST = {"id": "assistants", "kind": "opener_approves", "openers": ["Petra.Opener"]}


@pytest.mark.parametrize(
    ("line", "rules", "decision"),
    [
        (by("manager"), [], Decision.CLEARED),
        (by("opener"), [], Decision.AWAITING),
        (by("opener"), [TRUST], Decision.CLEARED),
        (by("opener"), [TRUST | {"price_max": 1}], Decision.AWAITING),
        (by("subject"), [TRUST], Decision.AWAITING),
        (by("opener", subject="opener"), [TRUST], Decision.AWAITING),
    ],
)
def test_an_opener_s_own_approval_counts_only_where_a_rule_says_so_and_never_for_themselves(line, rules, decision):
    (result,) = judged([line], seen(a_user()), rules_of(*rules))

    assert result.decision is decision


def test_the_stages_of_several_rules_are_one_list_as_strict_as_the_strictest():
    rules = rules_of(
        {
            "id": "a",
            "kind": "stage_required",
            "price_above": 1,
            "stages": ["manager"],
            "ticket_approval_suffices": True,
        },
        {
            "id": "b",
            "kind": "stage_required",
            "products": ["visio-plan-1"],
            "stages": [{"stage": "telecom", "quorum": 2}, {"stage": "manager", "assurance": "strong"}],
        },
    )

    (result,) = judged([APPROVED_HERE], seen(a_user()), rules)

    assert result.decision is Decision.AWAITING
    assert result.ruling.stages == (StageNeed("manager", assurance="strong"), StageNeed("telecom", quorum=2))


def test_a_decision_is_kept_with_its_rules_and_facts_and_judged_again_says_the_same():
    rules = rules_of(CHEAP, EITHER, TRUST)

    (result,) = judged([unapproved()], seen(a_user()), rules)

    again = replay(rules.text(), result.ruling.as_json())
    assert again == result.ruling
    assert [j["rule"] for j in result.judged] == ["cheap", "either", "assistants"]


def test_a_ticket_that_waits_for_its_approval_is_judged_and_not_cleared():
    waiting = replace(APPROVED_HERE, declared=replace(APPROVED_HERE.declared, says=Says.WAITING))
    (finding,) = diff([APPROVED_HERE], seen(a_user()), at=MONDAY, windows=Windows())
    planned = plan([replace(finding, line=waiting)], seen(a_user()), Bounds())

    (result,) = gate(planned, rules_of(TRUST), policy=ENFORCE, watch=Watch(MONDAY), at=MONDAY).gated

    assert result.decision is Decision.AWAITING
    assert [hit.rule for hit in result.ruling.hits] == ["assistants"]
