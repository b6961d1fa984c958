"""Which tickets go first, and what the rest of a plan gives up for them."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from desired_state.model import SkuId, UserId
from desired_state.rules import Rules
from reconciler.line import Gated, Observed
from reconciler.loop.diff import Windows, diff
from reconciler.loop.gate import Policy, gate
from reconciler.loop.guards.watch import Watch
from reconciler.loop.overtaking import NO_SEAT, SERVED, left_out
from reconciler.loop.plan import Bounds, plan
from reconciler.seats.urgency import Urgency
from tests.make import E3, MONDAY, TEAMS1, VISIO, a_line, a_product, a_sku, a_user, seen

PEOPLE = [UserId(f"{n:08d}-0000-4000-8000-000000000000") for n in range(8)]
OTHER = a_product("e3", name="Office 365 E3", candidate_skus=(E3,), proof_plans=(TEAMS1,))


@pytest.mark.parametrize(
    ("number", "priority", "why"),
    [
        ("RITM0000001", "4", "the board, Friday"),
        ("RITM0000001", "1", "the board, Friday"),
        ("RITM0000002", "1", "its priority in ServiceNow is 1"),
        ("RITM0000002", "2", ""),
        ("RITM0000002", "", ""),
    ],
)
def test_a_ticket_is_urgent_by_name_or_by_a_priority_that_is_shown(number, priority, why):
    urgency = Urgency({"RITM0000001": "the board, Friday"}, frozenset({"1", ""}))

    assert urgency.why(number, priority) == why
    assert urgency
    assert not Urgency()


def a_rest(products: list[int]) -> tuple[tuple[Gated, ...], Observed]:
    """One line each, of the one product or the other; as many seats as lines."""
    made = [(a_product(), OTHER)[kind] for kind in products]
    lines = [a_line(f"RITM{n:07}", user=PEOPLE[n], product=product) for n, product in enumerate(made)]
    skus = [a_sku(free=9), a_sku(E3, free=9, plans=(TEAMS1,))]
    observed = seen(*(a_user(u) for u in PEOPLE), skus=skus)
    proposed = plan(diff(lines, observed, at=MONDAY, windows=Windows()), observed, Bounds())
    told = gate(proposed, Rules(), policy=Policy(mode="enforce"), watch=Watch(MONDAY), at=MONDAY).gated
    return told, observed


def numbers(left: dict[object, str], why: str) -> list[int]:
    return sorted(int(key.ticket[4:]) for key, said in left.items() if said == why)  # type: ignore[attr-defined]


def test_everything_of_tickets_and_people_that_were_served_is_left_out():
    rest, observed = a_rest([0, 0, 0, 0])

    left = left_out(rest, {"RITM0000001"}, {PEOPLE[3], None}, Counter({VISIO: 0}), observed)

    assert numbers(left, SERVED) == [1, 3]
    assert numbers(left, NO_SEAT) == []


def test_the_last_ones_give_up_the_seats_that_are_missing_and_no_others():
    rest, observed = a_rest([0, 0, 1, 0, 1])

    left = left_out(rest, (), (), Counter({VISIO: -2, E3: 1}), observed)

    assert numbers(left, NO_SEAT) == [1, 3]


def test_who_is_left_out_anyway_gives_a_seat_back_first():
    rest, observed = a_rest([0, 0, 0])

    left = left_out(rest, {"RITM0000000"}, (), Counter({VISIO: -1}), observed)

    assert (numbers(left, SERVED), numbers(left, NO_SEAT)) == ([0], [])


@given(
    products=st.lists(st.integers(0, 1), max_size=8),
    missing=st.tuples(st.integers(-4, 4), st.integers(-4, 4)),
    served=st.sets(st.integers(0, 7)),
)
def test_what_is_carried_out_never_needs_a_seat_that_is_gone_and_nobody_is_left_out_for_nothing(
    products: list[int], missing: tuple[int, int], served: set[int]
):
    rest, observed = a_rest(products)
    skus: tuple[SkuId, SkuId] = (VISIO, E3)
    spare = dict(zip(skus, missing, strict=True))

    left = left_out(rest, {f"RITM{n:07}" for n in served}, (), Counter(spare), observed)

    stays = {int(key.ticket[4:]) for key in left}
    for kind, sku in enumerate(skus):
        goes = [n for n, product in enumerate(products) if product == kind and n not in stays]
        planned = products.count(kind)
        assert spare[sku] >= 0 or len(goes) <= max(0, planned + spare[sku])
        dropped = [n for n in numbers(left, NO_SEAT) if products[n] == kind]
        if dropped:  # every seat that is not missing is used, by those who come first
            assert len(goes) == max(0, planned + spare[sku])
            assert max([*goes, -1]) < min(dropped)
    assert numbers(left, SERVED) == sorted(n for n in served if n < len(products))
