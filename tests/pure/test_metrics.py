"""What a line's cycle counts as, and what a registry lets grow."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.causes import Cause
from reconciler.inventory.lines import LineFact, backlog, sums
from reconciler.lifecycle import Phase
from reconciler.line import Decision, Ending, Finding, Gated, LineState, Proposal, Rest
from reconciler.metrics import Offered, Registry, counting, facts
from reconciler.metrics import labels as lab
from reconciler.metrics import series as s
from reconciler.metrics.facts import Move
from reconciler.metrics.series import SERIES, Kind
from reconciler.metrics.zeros import zeros
from reconciler.model import Verdict
from tests.make import DAY, HOUR, MONDAY, a_line, a_product, a_ticket, a_user
from tests.make_metrics import OFFERED, a_meter, a_registry, samples, series_of, total


def no_grace(product: str) -> timedelta:
    return timedelta(0)


def a_finding(verdict: Verdict | None = Verdict.FALSE, cause: Cause | None = None, **changes) -> Finding:
    return replace(Finding(a_line(), Rest.ACT, verdict, cause, user=a_user()), **changes)


def an_ending(first: Finding, after: LineState, **changes) -> Ending:
    gated = Gated(Proposal(first), Decision.HELD)
    return replace(Ending(gated, after, first), **changes)


def a_state(phase: Phase = Phase.REVIEW, **changes) -> LineState:
    return replace(LineState(a_line().key, phase, since=MONDAY), **changes)


# --- verdicts


def test_a_false_line_counts_once_and_not_again_in_the_next_cycle():
    registry = a_registry()
    meter, first = a_meter(registry), a_finding(cause=Cause.NEVER_ASSIGNED)
    after = a_state(first_verdict=Verdict.FALSE, cause="never_assigned")
    again = replace(first, line=replace(first.line, state=after))

    counting.ended(meter, an_ending(first, after), (), MONDAY, is_begun=False)
    counting.ended(meter, an_ending(again, replace(after, note="still")), (), MONDAY, is_begun=False)

    found = samples(registry)
    assert total(found, s.VERDICTS.name, verdict="false", cause="never_assigned", when="at_close") == 1
    assert total(found, s.VERDICTS.name) == 1
    assert total(found, s.DRIFT_DETECTED.name) == 1


def test_what_pends_is_neither_true_nor_false_nor_drift():
    registry = a_registry()
    first = a_finding(Verdict.PENDING, Cause.GROUP_PENDING)

    counting.ended(
        a_meter(registry), an_ending(first, a_state(Phase.VERIFYING, cause="group_pending")), (), MONDAY, is_begun=False
    )

    assert total(samples(registry), s.VERDICTS.name) == 0
    assert total(samples(registry), s.DRIFT_DETECTED.name) == 0


def test_a_verdict_that_could_not_be_told_counts_once_and_a_definite_one_after_it():
    registry = a_registry()
    meter, unknown = a_meter(registry), a_finding(Verdict.UNKNOWN, Cause.REMOTE_FAILING)
    after = a_state(Phase.HELD, verdict=Verdict.UNKNOWN, cause="remote_failing")
    same = replace(unknown, line=replace(unknown.line, state=after))
    known = a_finding(Verdict.TRUE, rest=Rest.PROVEN, line=same.line)

    for first, state in (
        (unknown, after),
        (same, replace(after, attempts=1)),
        (known, a_state(Phase.GRANTED, first_verdict=Verdict.TRUE)),
    ):
        counting.ended(meter, an_ending(first, state), (), MONDAY, is_begun=False)

    found = samples(registry)
    assert total(found, s.VERDICTS.name, verdict="unknown") == 1
    assert total(found, s.VERDICTS.name, verdict="true", cause="none") == 1


@pytest.mark.parametrize(
    ("name", "who"),
    [
        ("petra.nowak", "human"),
        ("", "flow"),
        ("system", "flow"),
        ("SVC.Flow", "flow"),
        ("svc.reconciler", "reconciler"),
    ],
)
def test_who_closed_a_ticket_is_told_apart(name: str, who: str):
    ticket = replace(a_ticket(), closed_by=name, updated_by="")

    assert facts.closed_by(ticket, ours={"svc.reconciler"}, flows={"svc.flow"}) == who


def test_what_was_proven_before_or_came_after_the_closing_is_no_verdict_on_the_closing():
    proven = a_finding(cause=Cause.NEVER_ASSIGNED, line=replace(a_line(), granted_at=MONDAY - DAY))

    assert facts.when(a_finding(cause=Cause.NEVER_ASSIGNED)) == "at_close"
    assert facts.when(proven) == "later"
    assert facts.when(a_finding(cause=Cause.EXPIRED_NOT_REMOVED)) == "later"


def test_a_change_that_was_begun_is_not_counted_twice():
    registry = a_registry()
    meter, first = a_meter(registry), a_finding(cause=Cause.NEVER_ASSIGNED)

    counting.begun(meter, first, a_state(Phase.CONVERGING, first_verdict=Verdict.FALSE, cause="never_assigned"))
    counting.ended(
        meter, an_ending(first, a_state(Phase.GRANTED, first_verdict=Verdict.FALSE)), (), MONDAY, is_begun=True
    )

    assert total(samples(registry), s.VERDICTS.name) == 1
    assert total(samples(registry), s.DRIFT_DETECTED.name) == 1


# --- times


def test_the_waits_for_people_and_for_a_seat_are_parts_of_their_own():
    moves = [
        Move(MONDAY, Phase.AWAITING_APPROVAL),
        Move(MONDAY + 2 * HOUR, Phase.WAITING_FOR_SEAT),
        Move(MONDAY + 5 * HOUR, Phase.CONVERGING),
        Move(MONDAY + 6 * HOUR, Phase.VERIFYING),
        Move(MONDAY + 7 * HOUR, Phase.GRANTED),
    ]

    took = facts.times(moves, approved_at=MONDAY - HOUR, until=MONDAY + 7 * HOUR)

    assert took.approval == 2 * 3600
    assert took.seat == 3 * 3600
    assert took.technical == 3 * 3600  # one before it was first seen, two at work
    assert took.verification == 2 * 3600


@given(st.lists(st.tuples(st.integers(0, 10**6), st.sampled_from(list(Phase))), min_size=1, max_size=8))
def test_no_part_is_negative_and_together_they_are_no_longer_than_it_took(steps: list[tuple[int, Phase]]):
    moves = [Move(MONDAY + timedelta(seconds=at), phase) for at, phase in sorted(steps, key=lambda step: step[0])]
    until = moves[-1].at + timedelta(minutes=1)

    took = facts.times(moves, approved_at=MONDAY, until=until)

    parts = [took.technical, took.seat or 0.0, took.approval or 0.0]
    assert all(part >= 0 for part in parts)
    assert sum(parts) <= (until - MONDAY).total_seconds() + 1e-6


def test_access_that_was_found_there_has_no_time_because_nobody_knows_since_when():
    first = a_finding(Verdict.TRUE, rest=Rest.PROVEN)

    assert not counting.is_first_grant(an_ending(first, a_state(Phase.GRANTED)))


# --- money


def test_a_bundle_avoids_a_seat_once_a_person_and_only_where_one_would_have_been_bought():
    first = a_finding(Verdict.TRUE, rest=Rest.PROVEN, covered_by=a_product().candidate_skus[0])
    every = [an_ending(first, a_state(Phase.GRANTED)), an_ending(first, a_state(Phase.GRANTED))]

    assert facts.costs(every, {}, {})["avoided"] == Decimal("5.00")


# --- the registry


def test_every_name_is_told_once_and_follows_the_conventions():
    for series in SERIES.values():
        assert series.name.startswith("reconciler_")
        assert (series.kind is Kind.COUNTER) == series.name.endswith("_total")
        assert (series.kind is Kind.HISTOGRAM) == bool(series.buckets)
        assert series.help.endswith(".")
    assert len(SERIES) == len({id(series) for series in SERIES.values()})


def test_counters_exist_at_zero_for_each_cause_that_a_product_can_have_and_for_no_other():
    found = samples(a_registry())

    assert total(found, s.VERDICTS.name, product="visio-plan-2", cause="not_in_group") == 0
    assert total(found, s.VERDICTS.name, product="teams-phone", cause="workload_unproven") == 0
    with pytest.raises(AssertionError):
        total(found, s.VERDICTS.name, product="visio-plan-1", cause="not_in_group")
    assert {dict(labels)["cause"] for name, labels in found if name == s.VERDICTS.name} >= {c.value for c in Cause} - {
        "held_by_person"
    }


def test_no_gauge_is_there_before_it_was_observed():
    gauges = {name for name, series in SERIES.items() if series.kind is Kind.GAUGE}

    assert not gauges & {name for name, _ in samples(a_registry())}


@given(st.lists(st.text(max_size=12), min_size=6, max_size=6))
def test_whatever_comes_in_no_label_leaves_its_set(texts: list[str]):
    registry, before = _served()  # one for all examples: what got in once would stay
    meter = a_meter(registry)

    meter.verdict(*texts[:5])
    meter.drifted(*texts[:2])
    meter.exchanged(texts[0], texts[1], 200, 0.1)
    meter.answered(*texts[:2])
    meter.acted(*texts[:2])
    meter.tripped(texts[5])
    meter.proposed(*texts[:2])
    meter.cycle_ended(texts[0], 1.0)

    shown = {value for _, labels in series_of(registry) - before for _, value in labels}
    assert not shown & {text for text in texts if text not in _known()}


@cache
def _served() -> tuple[Registry, frozenset[tuple[str, frozenset[tuple[str, str]]]]]:
    registry = a_registry()
    return registry, series_of(registry)


def _known() -> set[str]:
    closed = {v for series in SERIES.values() for label in series.labels for v in label.values or ()}
    return closed | {"visio-plan-1", "visio-plan-2", "teams-phone", "project-plan-3", lab.NONE, lab.OTHER, "contoso"}


def test_more_than_twenty_tenants_share_their_counters_and_keep_their_health_apart():
    tenants = [f"tenant-{n}" for n in range(21)]
    registry, few = a_registry(*tenants), a_registry(*tenants[:20])
    for tenant in tenants:
        a_meter(registry, tenant).verdict("visio-plan-1", "false", "no_seat", "human", "at_close")
        a_meter(registry, tenant).cycle_ended("converged", 1.0)

    found = samples(registry)

    assert total(found, s.VERDICTS.name, cause="no_seat") == 21
    assert not any(dict(labels).get("tenant") for name, labels in found if name == s.VERDICTS.name)
    assert total(found, s.CYCLES_TOTAL.name, tenant="tenant-20") == 1
    assert total(found, s.LAST_SUCCESS.name, tenant="tenant-20") > 0
    assert total(samples(few), s.VERDICTS.name, tenant="tenant-19") == 0
    assert len(found) < len(samples(few))


def test_at_most_twenty_operations_are_told_apart():
    assert len(lab.OPERATION.values or ()) <= 20
    assert {op for ops in lab.BY_API.values() for op in ops} == lab.OPERATION.values


def test_zeros_have_a_value_for_each_label():
    known = a_registry().known
    for series in SERIES.values():
        for values in zeros(series, known):
            assert len(values) == len(series.labels), series.name


def test_a_request_counts_by_the_class_of_its_reply_and_one_that_never_left_apart():
    registry = a_registry()
    meter = a_meter(registry)

    meter.exchanged("graph", "users", 200, 0.2)
    meter.exchanged("graph", "users_by_upn", 429, 0.1, attempt=2)
    meter.exchanged("graph", "assign_license", 0, 30.0)
    meter.exchanged("login", "token", 0, 0.0, is_sent=False)

    found = samples(registry)
    assert total(found, s.API_REQUESTS.name, api="graph", operation="users", code="2xx") == 1
    assert total(found, s.API_REQUESTS.name, api="graph", operation="users", code="4xx") == 1
    assert total(found, s.API_REQUESTS.name, operation="assign_license", code="lost") == 1
    assert total(found, s.API_REQUESTS.name, api="login", code="unsent") == 1
    assert total(found, s.API_THROTTLED.name) == total(found, s.API_RETRIES.name, api="graph") == 1
    assert total(found, f"{s.API_SECONDS.name}_count", api="login") == 0  # nothing was waited for


# --- the inventory


def test_lines_are_added_up_by_product_phase_and_cause():
    lines = [
        LineFact("visio-plan-1", Phase.GRANTED, MONDAY, user="ada", ends_at=MONDAY + 3 * DAY),
        LineFact("visio-plan-1", Phase.GRANTED, MONDAY, user="ada", ends_at=MONDAY - DAY),  # shares the assignment
        LineFact("visio-plan-1", Phase.REVIEW, MONDAY - HOUR, "no_seat", Verdict.FALSE),
        LineFact("visio-plan-1", Phase.REVIEW, MONDAY - DAY, "no_seat", Verdict.FALSE),
        LineFact("visio-plan-2", Phase.VERIFYING, MONDAY, "group_pending", Verdict.PENDING),
        LineFact("visio-plan-2", Phase.CANCELLED, MONDAY - 9 * DAY, "subject_left"),
    ]

    found = sums(lines, {"visio-plan-1": Decimal(5)}.get, no_grace)

    assert found.tickets["visio-plan-1", "review"] == 2
    assert found.oldest == {"review": MONDAY - DAY, "verifying": MONDAY}
    assert found.drift == {("visio-plan-1", "none"): 0, ("visio-plan-1", "no_seat"): 2, ("visio-plan-2", "none"): 0}
    assert found.drift_oldest == {"no_seat": MONDAY - DAY}
    assert (found.expiring(MONDAY, 1), found.expiring(MONDAY, 7)) == (0, 1)
    assert found.expired(MONDAY) == {"visio-plan-1": 1}
    assert found.granted == Decimal(5)


def test_without_a_price_there_is_no_cost():
    found = sums([LineFact("visio-plan-1", Phase.GRANTED, MONDAY, user="ada")], {}.get, no_grace)

    assert found.granted is None


@pytest.mark.parametrize(("phase", "cause"), [(Phase.GRANTED, None), (Phase.REVOKING, "expired_not_removed")])
def test_a_licence_in_its_grace_is_not_expired_yet(phase: Phase, cause: str | None):
    line = LineFact("visio-plan-1", phase, MONDAY + HOUR, cause, user="ada", ends_at=MONDAY)

    found = sums([line], {}.get, {"visio-plan-1": 2 * DAY}.__getitem__)

    assert found.expired(MONDAY + 2 * DAY - HOUR) == {}
    assert found.expired(MONDAY + 2 * DAY) == {"visio-plan-1": 1}


def test_what_is_known_to_be_left_over_counts_from_when_it_was_found():
    line = LineFact("visio-plan-1", Phase.REVIEW, MONDAY, "expired_not_removed", ends_at=MONDAY - 9 * DAY)

    found = sums([line], {}.get, no_grace)

    assert (found.expired(MONDAY - HOUR), found.expired(MONDAY)) == ({}, {"visio-plan-1": 1})


def test_what_waits_for_people_is_added_up_and_is_overdue_from_the_first_end_of_a_term():
    found = backlog(
        [
            (MONDAY, MONDAY + 2 * DAY, Decimal("13.10")),
            (MONDAY + HOUR, MONDAY + DAY, None),
            (MONDAY + DAY, None, Decimal(5)),
        ]
    )

    assert (found.since, found.cost) == (MONDAY, Decimal("18.10"))
    assert (found.overdue(MONDAY + DAY), found.overdue(MONDAY + DAY + HOUR)) == (0 * HOUR, HOUR)
    assert (backlog([]).since, backlog([]).overdue(MONDAY)) == (None, 0 * HOUR)


def test_a_product_that_is_added_begins_at_zero_and_one_that_is_dropped_has_no_mode_any_more():
    registry = a_registry()
    meter = a_meter(registry)
    meter.modes({"visio-plan-1": "enforce", "visio-plan-2": "observe"})
    meter.drifted("visio-plan-1", "no_seat")
    offered = {"visio-plan-2": OFFERED["visio-plan-2"], "project-plan-3": Offered()}

    registry.renew(replace(registry.known, configured=offered))

    found = samples(registry)
    assert total(found, s.DRIFT_DETECTED.name, product="project-plan-3") == 0
    assert total(found, s.DRIFT_DETECTED.name, product="visio-plan-1") == 1
    modes = {dict(labels)["product"] for name, labels in found if name == s.MODE_LEVEL.name}
    assert modes == {"visio-plan-2"}


def test_the_page_about_metrics_lists_every_series_and_no_other():
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text("utf-8")

    rows = [row for row in page.splitlines() if row.startswith("| `")]

    assert rows == [
        f"| `{known.name}` | {known.kind.value}{', store' if known.is_stored else ''} "
        f"| {', '.join(label.name for label in known.labels) or '–'} | {known.help} |"
        for known in SERIES.values()
    ]


def test_the_series_of_a_registry_are_those_of_its_text():
    registry = a_registry()
    a_meter(registry).cycle_ended("converged", 1.0)

    assert series_of(registry) == set(samples(registry))
