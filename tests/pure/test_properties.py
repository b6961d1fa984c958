"""What holds for any tenant and any tickets, whatever they look like."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from desired_state.model import GivenKind
from reconciler.answers import owner_of
from reconciler.causes import Owner
from reconciler.lifecycle import FINAL, Phase
from reconciler.line import Decision
from tests.make import DAY, MONDAY
from tests.pure.make_tenants import CONTENT, Cycle, a_cycle, a_plan, observed, worlds

HOUR = timedelta(hours=1)
ANY = settings(max_examples=50, deadline=None)


def cycles(tenant, lines) -> list[Cycle]:
    """Cycles over some days: every window closes, and what fails has been looked at twice and undone."""
    made = [a_cycle(tenant, lines, MONDAY)]
    at = MONDAY
    for wait in (HOUR, DAY, DAY, DAY, HOUR, HOUR):
        at += wait
        made.append(a_cycle(made[-1].tenant, made[-1].lines, at))
    return made


@ANY
@given(worlds())
def test_after_a_plan_was_applied_nothing_of_it_is_left_to_be_planned(world):
    made = cycles(*world)

    for before, after in pairwise(made):
        sent = {(a.kind, a.user, a.add, a.remove, a.group, a.country) for a in before.sent}
        again = {(a.kind, a.user, a.add, a.remove, a.group, a.country) for a in after.sent}
        assert sent & again == set()
    assert [a for g in made[-1].gates.gated if g.decision is Decision.CLEARED for a in g.proposal.actions] == []


@ANY
@given(worlds())
def test_nothing_is_taken_away_that_was_not_given_by_us(world):
    tenant, lines = world
    gifts = [(line.binding.user, g) for line in lines if line.skipped for g in line.given]
    ours = {(user, g.sku) for user, g in gifts if g.kind is GivenKind.LICENSE}
    our_plans = {(user, g.sku, p) for user, g in gifts if g.kind is GivenKind.PLANS for p in g.plans}
    our_members = {user for user, g in gifts if g.kind is GivenKind.MEMBER}

    last = cycles(tenant, lines)[-1].tenant

    lost = tenant.direct() - last.direct()
    assert lost <= ours
    assert {t for t in tenant.on() - last.on() if t[:2] not in lost} <= our_plans
    assert tenant.members - last.members <= our_members


@ANY
@given(worlds())
def test_no_seat_is_given_that_was_not_free(world):
    tenant, lines = world

    for cycle in cycles(tenant, lines):
        assert {sku: cycle.tenant.used(sku) for sku in CONTENT if cycle.tenant.used(sku) > tenant.owned[sku]} == {}


@ANY
@given(worlds(), st.randoms(use_true_random=False))
def test_the_same_input_gives_the_same_plan_and_digest_in_any_order(world, chance):
    tenant, lines = world
    look, shuffled = observed(tenant, MONDAY), list(lines)
    chance.shuffle(shuffled)

    straight, _ = a_plan(lines, look, MONDAY)
    mixed, _ = a_plan(shuffled, look, MONDAY)

    assert mixed.digest == straight.digest
    assert mixed.proposals == straight.proposals


@ANY
@given(worlds())
def test_every_line_ends_in_a_phase_with_an_owner(world):
    tenant, lines = world

    for cycle in cycles(tenant, lines):
        assert sorted(e.state.key for e in cycle.endings) == sorted(line.key for line in lines)
        for ending in cycle.endings:
            is_settled = ending.state.phase in (Phase.GRANTED, *FINAL)
            assert is_settled or owner_of(ending) in [owner.value for owner in Owner]
            assert ending.state.note or ending.state.phase is Phase.GRANTED


@ANY
@given(worlds())
def test_what_is_not_shown_changes_nothing(world):
    tenant, lines = world
    unseen = {user for user, what in tenant.hidden.items() if what}

    last = cycles(tenant, lines)[-1].tenant

    assert {u: last.people[u].assignments for u in unseen} == {u: tenant.people[u].assignments for u in unseen}
