"""When a larger licence is exchanged for the smaller one that was asked for, and when a person is asked instead."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from desired_state.model import Given, GivenKind, LineKey
from reconciler.causes import Cause
from reconciler.line import Finding, Line, Other, Proposal, Rest
from reconciler.loop.diff import Windows, diff
from reconciler.loop.plan import Bounds, plan
from reconciler.model import ActionKind, Assignment, PlanState, Verdict
from reconciler.question import Decided, Word
from tests.make import ADA, E5, MONDAY, VISIO, VISIO_WEB, a_line, a_product, a_sku, a_user, details_of, seen

S = PlanState
SUITE = a_product("suite", name="Suite", candidate_skus=(E5,), proof_plans=(VISIO_WEB,))
SMALL = a_product(replaces=("suite",))
OURS = (Given(GivenKind.LICENSE, MONDAY, sku=E5),)
BEFORE, AFTER = MONDAY - timedelta(days=90), MONDAY + timedelta(days=1)


def larger(asked_at=BEFORE, given=OURS, product=SUITE) -> Other:
    return Other(LineKey("RITM0009001", 1), product, asked_at, given)


def a_downgrade(*others: Other, **changes) -> Line:
    return replace(a_line(), product=SMALL, replaced=(SUITE,), others=others, **changes)


def found(line: Line, user=None) -> Finding:
    who = user or a_user(holds={E5: ()})
    there = seen(who, details={ADA: details_of({E5: {VISIO_WEB: S.SUCCESS}})}, skus=[a_sku(), a_sku(E5)])
    (finding,) = diff([line], there, at=MONDAY, windows=Windows())
    return finding


def test_what_we_gave_is_exchanged_and_the_ticket_was_not_true():
    finding = found(a_downgrade(larger()))

    assert (finding.rest, finding.verdict, finding.cause) == (Rest.ACT, Verdict.FALSE, Cause.WRONG_PRODUCT)
    assert finding.drift is not None and finding.drift.replace == (E5,)


def both(line: Line) -> tuple[Finding, Proposal]:
    """The person has what was asked for and the larger one as well."""
    who = a_user(holds={E5: (), VISIO: ()})
    details = details_of({E5: {VISIO_WEB: S.SUCCESS}, VISIO: {VISIO_WEB: S.SUCCESS}})
    there = seen(who, details={ADA: details}, skus=[a_sku(), a_sku(E5)])
    (finding,) = diff([line], there, at=MONDAY, windows=Windows())
    (proposal,) = plan([finding], there, Bounds()).proposals
    return finding, proposal


def test_a_larger_licence_beside_what_was_asked_for_is_taken_away_alone():
    finding, proposal = both(a_downgrade(larger()))

    assert (finding.rest, finding.verdict, finding.cause) == (Rest.ACT, Verdict.FALSE, Cause.WRONG_PRODUCT)
    (action,) = proposal.actions
    assert (action.kind, action.add, action.remove) == (ActionKind.REMOVE_LICENSE, (), (E5,))
    assert [(g.kind, g.sku) for g in action.given] == [(GivenKind.REPLACED, E5)]


def test_a_larger_licence_beside_what_was_asked_for_that_we_did_not_give_is_asked_about():
    finding, proposal = both(a_downgrade(larger(given=())))

    assert (finding.rest, proposal.actions) == (Rest.HOLD, ())
    assert finding.question is not None and set(finding.question.choices) == {Word.ADOPT, Word.LEAVE}


STRICT = replace(SMALL, proof_mode="all+sku")


def test_a_larger_licence_goes_although_only_its_own_sku_proves_the_smaller_product():
    line = replace(a_downgrade(larger()), product=STRICT)
    who = a_user(holds={E5: ()})
    there = seen(who, details={ADA: details_of({E5: {VISIO_WEB: S.SUCCESS}})}, skus=[a_sku(), a_sku(E5)])
    (proposal,) = plan([found(line)], there, Bounds()).proposals

    (action,) = proposal.actions
    assert ([g.sku for g in action.add], action.remove) == ([VISIO], (E5,))


def test_where_only_its_own_sku_proves_the_smaller_product_a_larger_one_that_is_left_stands_beside_it():
    line = replace(a_downgrade(larger(given=())), product=STRICT)
    asked = found(line)
    assert asked.rest is Rest.HOLD and asked.question is not None
    assert asked.question.choices[Word.LEAVE].endswith("is assigned beside it")

    said = Decided(Word.LEAVE, "Nina Schulz", MONDAY, asked.question.digest, asked.question.about)
    left = found(replace(line, decided=said))

    assert (left.rest, left.cause) == (Rest.ACT, Cause.NEVER_ASSIGNED)
    assert left.drift is not None and left.drift.replace == ()


def test_what_we_did_not_give_is_asked_about():
    finding = found(a_downgrade(larger(given=())))

    assert (finding.rest, finding.verdict) == (Rest.HOLD, Verdict.FALSE)
    assert finding.question is not None and set(finding.question.choices) == {Word.ADOPT, Word.LEAVE}
    assert "not given by us" in finding.sentence


def test_a_later_request_for_the_larger_one_wins():
    finding = found(a_downgrade(larger(asked_at=AFTER)))

    assert (finding.rest, finding.verdict, finding.covered_by) == (Rest.PROVEN, Verdict.TRUE, E5)


def test_a_product_that_declares_no_replacement_is_covered_as_ever():
    finding = found(replace(a_line(), others=(larger(),)))

    assert (finding.rest, finding.covered_by) == (Rest.PROVEN, E5)


def test_what_another_request_needs_of_the_larger_one_is_left_to_a_person():
    other = a_product("teams", candidate_skus=("x",), proof_plans=("only-in-e5",))
    who = a_user(holds={E5: ()})
    details = details_of({E5: {VISIO_WEB: S.SUCCESS, "only-in-e5": S.SUCCESS}})
    there = seen(who, details={ADA: details}, skus=[a_sku(), a_sku(E5)])
    line = a_downgrade(larger(), Other(LineKey("RITM0009002", 1), other, BEFORE))

    (finding,) = diff([line], there, at=MONDAY, windows=Windows())

    assert finding.rest is Rest.HOLD and "RITM0009002/1 needs what only" in finding.sentence
    assert finding.question is not None and set(finding.question.choices) == {Word.LEAVE}


def test_a_larger_licence_by_a_group_is_left_to_a_person():
    row = Assignment(E5, "g-1", frozenset(), "Active", "", MONDAY)
    finding = found(a_downgrade(larger()), replace(a_user(holds={E5: ()}), assignments=(row,)))

    assert finding.rest is Rest.HOLD and "comes by a group" in finding.sentence


@pytest.mark.parametrize("keeps", [True, False])
def test_mail_and_files_are_not_lost_by_an_exchange(keeps):
    suite = replace(SUITE, bears_data=True)
    small = replace(SMALL, bears_data=keeps)

    finding = found(replace(a_downgrade(larger(product=suite)), product=small, replaced=(suite,)))

    assert finding.rest is (Rest.ACT if keeps else Rest.HOLD)
