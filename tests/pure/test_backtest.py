"""The backtest's judgement over values: what is proven, what is likely, what cannot be told, and that sums add up."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from desired_state.model import PlanId, SkuId
from desired_state.resolve import OVER
from reconciler.backtest import sums
from reconciler.backtest.judge import asks_the_log, instead, judge
from reconciler.backtest.page import page
from reconciler.backtest.shapes import COLUMNS, as_csv, as_json
from reconciler.backtest.trail import Turn, turns
from reconciler.backtest.values import APART, Case, Cost, Judged, Replayed, Standing, Step, Waste, Would
from reconciler.causes import Cause
from reconciler.line import Access, Finding, Proof, Rest, Unread
from reconciler.model import Assignment, AuditEvent, AuditTrail, PlanState, Verdict
from tests.make import DAY, MONDAY, VISIO, VISIO_WEB, a_line, a_product, a_user, details_of

CLOSED = MONDAY - 10 * DAY
S = Standing


def a_change(at: datetime, old: str, new: str, **more: Any) -> AuditEvent:
    changes = (("AssignedLicense", json.dumps([old] if old else []), json.dumps([new] if new else [])),)
    base = AuditEvent(f"e-{at.isoformat()}", at, "Change user license", result="success", changes=changes)
    return replace(base, **more)


def held(sku: SkuId = VISIO, off: str = "") -> str:
    return f"[SkuName=VISIO, SkuId={sku}, DisabledPlans=[{off}]]"


def a_finding(verdict: Verdict = Verdict.FALSE, cause: Cause | None = Cause.NEVER_ASSIGNED, **more: Any) -> Finding:
    line = a_line(due_since=CLOSED)
    proof = Proof(Access.ABSENT if verdict is Verdict.FALSE else Access.PROVEN, VISIO_WEB, None)
    return replace(Finding(line, Rest.ACT, verdict, cause, "It is not there.", a_user(), proof), **more)


def there(updated_at: datetime | None) -> Finding:
    user = a_user(
        skus=frozenset({VISIO}), assignments=(Assignment(VISIO, None, frozenset(), "Active", "", updated_at),)
    )
    return a_finding(Verdict.TRUE, None, user=user, proof=Proof(Access.PROVEN, VISIO_WEB, VISIO), rest=Rest.PROVEN)


def a_case(finding: Finding, *events: AuditEvent, closed_at: datetime | None = CLOSED, **more: Any) -> Case:
    base = Case(finding, closed_at, MONDAY, MONDAY - 30 * DAY, AuditTrail(events), services=frozenset({VISIO_WEB}))
    return replace(base, **more)


def standing(finding: Finding, *events: AuditEvent, **more: Any) -> Standing:
    return judge(a_case(finding, *events, **more)).standing


LONG_AGO = MONDAY - 60 * DAY


def test_what_is_not_there_is_proven_false_where_the_log_reaches_the_closing_and_shows_nothing_taken_away():
    assert standing(a_finding()) is S.FALSE_PROVEN


@pytest.mark.parametrize("trail", [None, Unread("no permission"), AuditTrail((), is_whole=False)])
def test_without_a_whole_log_a_licence_that_is_merely_absent_cannot_be_told(trail):
    assert standing(a_finding(), trail=trail) is S.UNKNOWN
    assert standing(a_finding(cause=Cause.USAGE_LOCATION_MISSING), trail=trail) is S.FALSE_LIKELY


def test_beyond_the_log_only_a_reason_that_stands_is_likely():
    assert standing(a_finding(), closed_at=LONG_AGO) is S.UNKNOWN
    assert standing(a_finding(cause=Cause.WRONG_PRODUCT), closed_at=LONG_AGO) is S.FALSE_LIKELY


def test_what_was_taken_away_after_the_closing_was_true_and_its_owner_is_asked():
    found = judge(a_case(a_finding(), a_change(MONDAY - DAY, held(), "")))

    assert found.standing is S.REMOVED
    assert found.cause is Cause.REMOVED_LATER
    assert (found.would.step, found.would.owner) == (Step.ASK, "licence admin")


def test_what_was_taken_away_says_nothing_about_a_closing_that_the_log_does_not_reach():
    assert standing(a_finding(), a_change(MONDAY - DAY, held(), ""), closed_at=LONG_AGO) is S.UNKNOWN


def test_what_came_after_the_closing_and_went_again_was_false_at_the_closing():
    events = (a_change(MONDAY - 3 * DAY, "", held()), a_change(MONDAY - DAY, held(), ""))

    assert standing(a_finding(), *events) is S.FALSE_PROVEN


def test_a_change_that_the_log_does_not_describe_proves_nothing():
    blank = a_change(MONDAY - DAY, "", "", changes=())
    cut = a_change(MONDAY - DAY, "", "", changes=(("AssignedLicense", '["[SkuName=VI', "[]"),))

    assert standing(a_finding(), blank) is S.UNKNOWN
    assert standing(a_finding(), cut) is S.UNKNOWN


def test_a_change_of_another_licence_is_no_trace_of_this_one():
    other = a_change(MONDAY - DAY, held(SkuId("other")), "")

    assert standing(a_finding(), other) is S.FALSE_PROVEN


def test_an_account_that_is_younger_than_the_closing_proves_it_whatever_the_log_says():
    young = a_user(created_at=CLOSED + DAY)

    assert standing(a_finding(user=young), trail=None) is S.FALSE_PROVEN
    found = judge(a_case(replace(there(MONDAY - DAY), user=young), trail=None))
    assert (found.standing, found.late_s) == (S.LATE_PROVEN, DAY.total_seconds())


def test_an_assignment_that_is_older_than_the_closing_is_true_and_the_log_is_not_asked():
    assert standing(there(CLOSED - DAY), trail=None) is S.TRUE
    assert not asks_the_log(there(CLOSED - DAY), CLOSED)
    assert asks_the_log(there(CLOSED + DAY), CLOSED)


def test_a_licence_given_within_minutes_of_the_closing_is_not_late():
    assert standing(there(CLOSED + timedelta(minutes=4)), trail=None) is S.TRUE


def test_access_that_the_log_shows_given_after_the_closing_is_a_late_truth():
    found = judge(a_case(there(CLOSED + 3 * DAY), a_change(CLOSED + 3 * DAY, "", held())))

    assert found.standing is S.LATE_PROVEN
    assert found.late_s == 3 * DAY.total_seconds()
    assert found.cause is None


def test_beyond_the_log_a_late_truth_is_only_likely():
    given_late = a_change(MONDAY - DAY, "", held())

    assert standing(there(MONDAY - DAY), given_late, closed_at=LONG_AGO) is S.LATE_LIKELY
    assert standing(there(MONDAY - DAY), trail=None) is S.LATE_LIKELY


def test_a_service_switched_on_after_the_closing_came_late_and_another_change_proves_nothing():
    on = a_change(CLOSED + DAY, held(off=VISIO_WEB), held())
    other = a_change(CLOSED + DAY, held(off="plan-sway"), held())

    assert standing(there(CLOSED + DAY), on) is S.LATE_PROVEN
    assert standing(there(CLOSED + DAY), other) is S.UNDATED


def test_without_any_date_access_that_is_there_is_true_only_where_the_log_shows_no_change():
    assert standing(there(None)) is S.TRUE
    assert standing(there(None), trail=None) is S.UNDATED


def test_a_service_that_was_off_since_before_the_closing_is_proven_false_by_the_assignment_alone():
    rows = (Assignment(VISIO, None, frozenset({VISIO_WEB}), "Active", "", CLOSED - DAY),)
    off = a_finding(
        cause=Cause.PLAN_DISABLED, user=a_user(assignments=rows), proof=Proof(Access.DISABLED, VISIO_WEB, VISIO)
    )
    newer = (*rows, Assignment(VISIO, None, frozenset({VISIO_WEB}), "Active", "", CLOSED + DAY))

    assert standing(off, trail=None, closed_at=CLOSED) is S.FALSE_PROVEN
    assert standing(replace(off, user=a_user(assignments=newer)), trail=None) is S.FALSE_LIKELY


def test_leavers_and_periods_that_are_over_are_apart_and_cost_what_is_still_assigned():
    product = a_product(price=Decimal("30.00"))
    user = a_user(is_enabled=False, assignments=(Assignment(VISIO, None, frozenset(), "Active"),))
    left = a_finding(Verdict.UNKNOWN, Cause.SUBJECT_LEFT, user=user, line=a_line(product=product))
    over = a_finding(Verdict.TRUE, None, user=user, line=replace(a_line(product=product), skipped=f"{OVER} it ended"))

    assert judge(a_case(left)).standing is S.LEAVER
    assert judge(a_case(left)).cost == Cost(Waste.LEAVER, product.key, Decimal("30.00"), None, None)
    assert judge(a_case(over)).standing is S.ENDED
    assert judge(a_case(over)).cost.kind is Waste.PERIOD_OVER
    assert judge(a_case(replace(left, user=a_user(is_enabled=False)))).cost is None


def test_a_wrong_product_costs_its_own_price_from_when_it_was_given():
    sibling = a_product("visio-plan-2", candidate_skus=(SkuId("two"),), proof_plans=(PlanId("p2"),), price=Decimal(12))
    user = a_user(assignments=(Assignment(SkuId("two"), None, frozenset(), "Active", "", MONDAY - timedelta(365.25)),))
    finding = a_finding(cause=Cause.WRONG_PRODUCT, user=user, line=replace(a_line(), siblings=(sibling,)))
    given_ = instead(finding, details_of({SkuId("two"): {PlanId("p2"): PlanState.SUCCESS}}))

    found = judge(a_case(finding, instead=given_))

    assert found.cost.so_far == Decimal("144.00")
    assert found.cost.product == "visio-plan-2"


def test_leaving_the_group_that_carries_the_licence_is_losing_it():
    left = AuditEvent(
        "1", MONDAY, "Remove member from group", result="success", changes=(("Group.ObjectID", '"g-1"', ""),)
    )

    (told,) = turns(AuditTrail((left,)), {VISIO}, group="g-1", since=MONDAY - DAY, until=MONDAY + DAY)

    assert told.turn is Turn.LOST
    assert turns(AuditTrail((left,)), {VISIO}, group="g-2", since=MONDAY - DAY, until=MONDAY + DAY) == ()


# --- sums: what always holds ---------------------------------------------------------------------------------------

HOSTILE = '=cmd|"/c calc"!A1<script>alert(1)</script>\u202e"\'>'
_TEXTS = st.sampled_from(["visio", "teams", "", HOSTILE, "a b"])
_COSTS = st.none() | st.builds(
    Cost, st.sampled_from(Waste), st.just("visio"), st.none() | st.just(Decimal("9.40")), st.none(), st.none()
)
_LINES = st.builds(
    Judged,
    number=st.integers(1, 40).map("RITM{:07}".format),
    line=st.integers(1, 3),
    person=_TEXTS,
    product=_TEXTS,
    group=_TEXTS,
    closed_at=st.none() | st.just(CLOSED),
    standing=st.sampled_from(Standing),
    why=_TEXTS,
    verdict=st.none() | st.sampled_from(Verdict),
    cause=st.none() | st.sampled_from(Cause),
    would=st.builds(Would, st.sampled_from(Step)),
    late_s=st.none() | st.floats(1, 1e7),
    cost=_COSTS,
)


def a_report(*lines: Judged, source: str = "ServiceNow") -> Replayed:
    return Replayed("contoso", source, CLOSED, MONDAY, CLOSED, lines, len(lines), {}, ())


@given(st.lists(_LINES, max_size=30))
@settings(max_examples=60, deadline=None, phases=(Phase.explicit, Phase.generate))
def test_every_line_is_counted_once_in_each_kind_of_group_and_the_bounds_hold(lines):
    report = a_report(*lines)
    whole = sums.total(report)

    assert whole.lines == len(lines)
    assert whole.judged == sum(1 for j in lines if j.standing not in APART)
    for groups in (sums.by_product(report), sums.by_cause(report), sums.by_group(report)):
        for s in Standing:
            assert sum(g.counts[s] for g in groups) == whole.counts[s]
        for bound in ("low", "likely", "high", "of"):
            for kind in ("at_closing", "late", "without_access"):
                assert sum(getattr(getattr(g, kind), bound) for g in groups) == getattr(getattr(whole, kind), bound)
    for found in (whole.at_closing, whole.late, whole.without_access):
        assert 0 <= found.low <= found.likely <= found.high <= found.of == whole.judged
    assert whole.at_closing.low == whole.late.low + whole.without_access.low
    assert sum(sums.steps(report).values()) == len(lines)


def test_every_shape_holds_every_line_and_no_text_steers_it():
    asks = Would(Step.ASK, (), "", HOSTILE)
    one = Judged("R1", 1, HOSTILE, HOSTILE, HOSTILE, CLOSED, S.UNKNOWN, HOSTILE, None, None, asks)
    lines = tuple(replace(one, number=f"R{n}", standing=s, group=f"+{HOSTILE}{n}") for n, s in enumerate(Standing))
    report = a_report(*lines, source=HOSTILE)

    rows = list(csv.reader(io.StringIO("".join(as_csv(report)))))
    html = page(report)

    assert json.loads(json.dumps(as_json(report)))["total"]["lines"] == len(lines)
    assert rows[0] == list(COLUMNS)
    assert len(rows) == len(lines) + 1
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@"))]
    assert "<script" not in html
    assert "\u202e" not in html
    assert html.count("&lt;script&gt;") > len(lines)


def test_one_licence_of_one_person_is_paid_once_however_many_tickets_ask_for_it():
    cost = Cost(Waste.PERIOD_OVER, "visio", Decimal("9.40"), CLOSED, Decimal("3.00"))
    one = Judged("R1", 1, "ada", "visio", "", CLOSED, S.ENDED, "", None, None, Would(Step.NOTHING), cost=cost)

    _, over, _ = sums.spent(a_report(one, replace(one, number="R2"), replace(one, number="R3", person="bob")))

    assert (over.lines, over.monthly, over.so_far) == (2, Decimal("18.80"), Decimal("6.00"))


def test_the_page_loads_nothing_and_runs_nothing_and_every_chart_is_told_in_words():
    one = Judged(
        "R1", 1, "ada", "visio", "Desk", CLOSED, S.LATE_PROVEN, "", None, None, Would(Step.NOTHING), late_s=7200
    )
    html = page(a_report(one))

    assert "default-src 'none'" in html
    for forbidden in ("http://", "https://", "src=", "<link", "onload", "url("):
        assert forbidden not in html.replace("default-src", "")
    assert html.count("<svg") == html.count('role="img"') == 6
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html
    assert "waited 2.0 hours" in html
