"""A long plan in slices: in order, whole, and of as many requests each."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from reconciler.line import Decision, Gated
from reconciler.loop.diff import Windows, diff
from reconciler.loop.execute import SLICE, TOGETHER, slices
from reconciler.loop.plan import Bounds, plan
from reconciler.model import ActionKind
from tests.make import MONDAY, a_line, a_user, seen

(BOUGHT,) = plan(diff([a_line()], seen(a_user()), at=MONDAY, windows=Windows()), seen(a_user()), Bounds()).proposals
KINDS = st.lists(st.sampled_from((ActionKind.ASSIGN_LICENSE, ActionKind.ADD_GROUP_MEMBER)), max_size=40)


def a_change(*kinds: ActionKind) -> Gated:
    actions = tuple(replace(BOUGHT.actions[0], kind=kind) for kind in kinds)
    return Gated(replace(BOUGHT, actions=actions), Decision.CLEARED)


def requests(gated: list[Gated]) -> float:
    actions = [action for g in gated for action in g.proposal.actions]
    return sum(1 / TOGETHER if action.kind is ActionKind.ADD_GROUP_MEMBER else 1 for action in actions)


@given(KINDS)
def test_nothing_is_left_out_and_the_order_stays(kinds: list[ActionKind]):
    cleared = [a_change(kind) for kind in kinds] * 40

    assert [g for piece in slices(cleared) for g in piece] == cleared


@given(KINDS)
def test_no_slice_is_longer_than_what_people_are_read_for(kinds: list[ActionKind]):
    found = slices([a_change(kind) for kind in kinds] * 40)

    assert all(requests(piece) <= SLICE + 1 for piece in found)
    assert all(requests(piece) >= SLICE - 1e-6 for piece in found[:-1])


def test_members_of_a_group_share_requests_so_more_of_them_fit():
    direct = slices([a_change(ActionKind.ASSIGN_LICENSE)] * 1200)
    by_group = slices([a_change(ActionKind.ADD_GROUP_MEMBER)] * 1200)

    assert ([len(piece) for piece in direct], len(by_group)) == ([250, 250, 250, 250, 200], 1)
