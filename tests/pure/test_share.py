"""Who is among the first, and that nobody leaves them when more people come in."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from desired_state.model import ProductKey, Says, UserId
from desired_state.rules import Rules
from reconciler.causes import Cause
from reconciler.lifecycle import Phase
from reconciler.line import Decision, Gated, Line, LineState, Observed
from reconciler.loop.diff import Windows, diff
from reconciler.loop.gate import Policy, gate
from reconciler.loop.guards.watch import Watch
from reconciler.loop.plan import Bounds, plan
from reconciler.model import PlanState
from reconciler.share import side
from tests.make import ADA, HOUR, MONDAY, VISIO, VISIO_WEB, a_line, a_product, a_user, seen
from tests.make_endings import an_ended_line, licence, location, there

DIRECTORY = "72f988bf-86f1-41af-91ab-2d7cd011db47"
SHARES = st.decimals(0, 1, places=4)
PEOPLE = st.uuids().map(str)
PRODUCT = a_product().key


def is_in(share: str | Decimal, person: str, directory: str = DIRECTORY) -> bool:
    return side(Decimal(share), directory=directory, subject=person).is_in


@given(PEOPLE, SHARES, SHARES)
def test_whoever_is_in_stays_in_while_the_share_grows(person, one, other):
    less, more = sorted((one, other))

    assert is_in(more, person) or not is_in(less, person)


@given(PEOPLE, SHARES)
def test_a_place_is_the_same_whoever_else_is_there_and_however_it_is_spelled(person, share):
    assert is_in(share, person) == is_in(share, person.upper(), DIRECTORY.upper())


@given(PEOPLE)
def test_nobody_is_in_at_nothing_and_everybody_at_one(person):
    assert not is_in(0, person)
    assert is_in(1, person)


@pytest.mark.parametrize("share", ["0.05", "0.1", "0.5", "0.9"])
def test_about_as_many_people_are_in_as_the_share_says(share):
    people = [f"00000000-0000-4000-8000-{number:012d}" for number in range(4000)]

    found = sum(is_in(share, person) for person in people) / len(people)

    assert abs(found - float(share)) < 0.03


def test_another_directory_has_other_people_first():
    people = [f"person-{number}" for number in range(200)]

    assert [is_in("0.5", p) for p in people] != [is_in("0.5", p, "another") for p in people]


def test_a_place_never_moves_between_versions():
    found = side(Decimal("0.5"), directory=DIRECTORY, subject="00000000-0000-4000-8000-000000000001")

    assert (found.is_in, found.place) == (True, Decimal("0.4043"))


@pytest.mark.parametrize(
    ("own", "whole", "expected"),
    [(None, "0.2", "0.2"), ("0.1", "0.2", "0.1"), ("0.5", "0.2", "0.2"), (None, "1", "1")],
)
def test_the_narrower_share_counts(own, whole, expected):
    shares = {PRODUCT: Decimal(own)} if own else {}

    assert Policy(mode="enforce", share=Decimal(whole), shares=shares).share_of(PRODUCT) == Decimal(expected)


@pytest.mark.parametrize("mode", ["observe", "suggest"])
def test_below_enforce_there_is_no_share(mode):
    policy = Policy(mode=mode, share=Decimal("0.5"))

    assert policy.canary(PRODUCT, ADA) is None
    assert policy.mode_for(PRODUCT, ADA) == mode


@given(PEOPLE, SHARES)
def test_who_is_in_is_enforced_for_and_everybody_else_asks(person, share):
    policy = Policy(mode="enforce", share=share, directory=DIRECTORY)

    assert policy.mode_for(PRODUCT, UserId(person)) == ("enforce" if is_in(share, person) else "suggest")


def judged(line: Line, observed: Observed, policy: Policy) -> Gated:
    plans = plan(diff([line], observed, at=MONDAY, windows=Windows()), observed, Bounds())
    (result,) = gate(plans, Rules(), policy=policy, watch=Watch(MONDAY), at=MONDAY).gated
    return result


def one(policy: Policy, says: Says = Says.APPROVED) -> Gated:
    return judged(a_line(says=says), seen(a_user()), policy)


@pytest.mark.parametrize(("share", "decision"), [("0", Decision.AWAITING), ("1", Decision.CLEARED)])
def test_a_decision_says_on_which_side_the_person_is(share, decision):
    policy = Policy(mode="enforce", share=Decimal(share))

    result = one(policy)

    assert result.decision is decision
    if share == "0":
        assert result.canary is not None and not result.canary.is_in
        assert "(enforce_share)" in result.sentence
    else:
        assert result.canary is None  # everybody: there are no sides


def test_inside_the_share_the_decision_says_so_too():
    place = side(Decimal(0), directory="", subject=ADA).place
    result = one(Policy(mode="enforce", share=min(Decimal("0.9999"), place + Decimal("0.0001"))))

    assert result.decision is Decision.CLEARED
    assert result.canary is not None and result.canary.is_in
    assert "among the first" in result.canary.sentence()


def test_a_product_that_only_suggests_is_not_enforced_for_anybody():
    policy = replace(Policy(mode="enforce", share=Decimal("1")), modes={ProductKey(str(PRODUCT)): "suggest"})

    assert one(policy).decision is Decision.AWAITING


# --- what was begun or given before the share was narrowed -----------------------------------------------------------

NOBODY = Policy(mode="enforce", share=Decimal(0))  # everybody is outside


def begun(*given, cause: Cause | None = None, **more) -> Line:
    """A line whose attempt is under way."""
    line = a_line(says=Says.APPROVED, **more)
    state = LineState(
        line.key, Phase.CONVERGING, cause=cause and cause.value, attempts=1, since=MONDAY - 9 * HOUR, given=given
    )
    return replace(line, state=state, given=given)


def test_what_we_gave_is_taken_back_at_its_end_outside_the_share_too():
    result = judged(an_ended_line(licence()), there(), NOBODY)

    assert result.decision is Decision.CLEARED
    assert [a.remove for a in result.proposal.actions] == [(VISIO,)]
    assert result.canary is None  # the share does not count here


def test_what_does_not_work_is_undone_outside_the_share_too():
    failed = there(holds={VISIO: {VISIO_WEB: PlanState.ERROR}})

    result = judged(begun(licence(), cause=Cause.PROVISIONING_ERROR), failed, NOBODY)

    assert [a.remove for a in result.proposal.actions] == [(VISIO,)]
    assert result.decision is Decision.CLEARED


HALF = a_user(holds={VISIO: (VISIO_WEB,)})  # the licence is there, and its service has to be switched on


def half_there() -> Observed:
    return there(HALF, {VISIO: {VISIO_WEB: PlanState.DISABLED}})


def test_a_change_that_is_half_done_goes_on_outside_the_share():
    result = judged(begun(licence()), half_there(), NOBODY)

    assert result.decision is Decision.CLEARED
    assert result.proposal.actions


@pytest.mark.parametrize("given", [(), (location(),), (licence(),)])
def test_an_attempt_of_which_nothing_is_there_needs_a_person_outside_the_share(given):
    assert judged(begun(*given), seen(a_user()), NOBODY).decision is Decision.AWAITING


def test_a_change_that_people_approved_goes_on_by_their_approval_and_not_by_the_share():
    approved = replace(begun(licence()), is_approved=True)

    assert judged(approved, half_there(), NOBODY).decision is Decision.AWAITING


@pytest.mark.parametrize(("mode", "decision"), [("observe", Decision.PLANNED), ("suggest", Decision.AWAITING)])
def test_below_enforce_taking_back_needs_what_the_mode_says(mode, decision):
    assert judged(an_ended_line(licence()), there(), replace(NOBODY, mode=mode)).decision is decision
