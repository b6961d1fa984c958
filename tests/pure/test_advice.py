"""Which step the evidence carries, what a person who accepts one is told, and the lines that make it."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from desired_state.model import LineKey
from reconciler.promotion.advice import ALL, LEVELS, MODES, Position, advise, lines, moves, positions, step_after
from reconciler.promotion.values import WATCHING, Axis, Outcome, Shadow
from tests.make import MONDAY

TENTH = Decimal("0.1")
OBSERVE, SUGGEST, ENFORCE = (Position(mode) for mode in MODES)
CANARY = Position("enforce", TENTH)


def seen(
    agreed: int,
    differed: int = 0,
    *,
    step: str = "observe",
    axis: Axis = Axis.MODE,
    removal: bool = False,
    other: int = 0,
) -> list[Shadow]:
    made = [Outcome.AGREED] * agreed + [Outcome.DIFFERED] * differed + [Outcome.CANNOT_TELL] * other
    return [
        Shadow(LineKey(f"RITM{n:07}", 1), axis, f"{n}", "visio", step, (), MONDAY, outcome=o, is_removal=removal)
        for n, o in enumerate(made)
    ]


def on_mode(now: Position, shadows: list[Shadow]):
    return advise("visio", Axis.MODE, now, shadows, WATCHING)


@pytest.mark.parametrize(
    ("now", "after"),
    [
        (OBSERVE, SUGGEST),
        (SUGGEST, CANARY),
        (CANARY, replace(CANARY, share=Decimal("0.5"))),
        (replace(CANARY, share=Decimal("0.3")), replace(CANARY, share=Decimal("0.5"))),
        (replace(CANARY, share=Decimal("0.5")), ENFORCE),
        (ENFORCE, None),
    ],
)
def test_a_step_is_one_step(now, after):
    assert step_after(now, Axis.MODE, TENTH) == after


def test_answers_go_one_level_at_a_time():
    levels = [Position(answers=level) for level in LEVELS]

    assert [step_after(p, Axis.ANSWERS, TENTH) for p in levels] == [*levels[1:], None]


@pytest.mark.parametrize(
    ("shadows", "missing"),
    [
        (seen(30), ""),
        (seen(29), "1 more account"),
        (seen(29, 1), "agreement of at least 90%"),
        (seen(70, 1), ""),
        (seen(0, other=200), "30 more accounts"),
        (seen(200, step="suggest"), "30 more accounts"),
        (seen(200, 1, removal=True), "removal"),
    ],
)
def test_a_step_needs_enough_lines_that_people_decided_the_same_way(shadows, missing):
    found = on_mode(OBSERVE, shadows)

    assert found.is_ready == (not missing)
    assert any(missing in m for m in found.missing) or not missing


@pytest.mark.parametrize(
    ("shadows", "advised"),
    [
        (seen(30, step="enforce"), ""),
        (seen(3, 1, step="enforce"), ""),
        (seen(8, 2, step="enforce"), "2 of 10"),
        (seen(98, 2, step="enforce"), ""),
        (seen(8, 2, step="suggest"), ""),
        (seen(50, 1, step="enforce", removal=True), "turned back"),
    ],
)
def test_a_step_back_is_advised_where_what_was_done_is_turned_back(shadows, advised):
    found = on_mode(CANARY, shadows)

    assert bool(found.back) == bool(advised)
    assert advised in found.back
    assert not (found.back and found.is_ready)


def test_many_lines_of_one_account_are_one_case():
    mine = [replace(s, user="ada") for s in seen(200)]

    found = on_mode(OBSERVE, mine)

    assert (found.agreement.decided, found.agreement.accounts) == (200, 1)
    assert found.missing == ("29 more accounts with a line that people decided",)
    assert "200 of 200 decided lines agree, all of them for 1 of 1 accounts" in found.agreement.sentence()


def test_an_account_agrees_when_all_of_its_lines_do():
    mine = [replace(s, user=f"u{n // 2}") for n, s in enumerate(seen(59, 1))]

    found = on_mode(OBSERVE, mine).agreement

    assert (found.accounts, found.accounts_agreed, found.ratio) == (30, 29, pytest.approx(29 / 30))


@pytest.mark.parametrize(
    ("worse", "missing"),
    [
        (seen(0, 3, step="enforce"), "agreement of at least 90%"),
        (seen(0, 1, step="enforce", removal=True), "removal"),
        (seen(40, step="enforce"), ""),
        (seen(0, 3), ""),  # before the step that is looked at
    ],
)
def test_stepping_back_forgets_nothing_of_what_went_wrong_further_on(worse, missing):
    further = [replace(s, line=LineKey(f"RITM9{n:06}", 1)) for n, s in enumerate(worse)]

    found = on_mode(SUGGEST, [*seen(40, step="suggest"), *further])

    assert found.is_ready == (not missing)
    assert any(missing in m for m in found.missing) or not missing


@pytest.mark.parametrize(("differed", "is_ready"), [(0, True), (4, True), (5, False), (30, False)])
def test_nobody_is_let_in_where_people_reject_what_they_are_asked_about(differed, is_ready):
    """What was done for the first ones stands, and the others are the ones that come in next."""
    others = [replace(s, line=LineKey(f"RITM9{n:06}", 1)) for n, s in enumerate(seen(40, differed, step="suggest"))]

    found = on_mode(CANARY, [*seen(40, step="enforce"), *others])

    assert found.is_ready == is_ready
    assert is_ready or "where people are asked" in found.missing[0]
    assert found.back == ""


def test_one_removal_that_people_reject_where_they_are_asked_keeps_the_share_where_it_is():
    (no,) = seen(0, 1, step="suggest", removal=True)

    found = on_mode(CANARY, [*seen(40, step="enforce"), *seen(99, step="suggest")[1:], no])

    assert found.missing == ("a look at 1 removal that people did not want, until it is out of the window",)


@given(st.integers(0, 120), st.integers(0, 20), st.integers(0, 50))
def test_what_cannot_be_told_never_makes_a_step_easier(agreed, differed, other):
    without = on_mode(OBSERVE, seen(agreed, differed))
    with_ = on_mode(OBSERVE, seen(agreed, differed, other=other))

    assert with_.is_ready == without.is_ready
    assert with_.agreement.bound == without.agreement.bound


# --- a configuration that goes further ----------------------------------------------------------------------------


def told(before: Position, after: Position, shadows: list[Shadow] | None = None) -> list[tuple[str, bool]]:
    found = moves({"visio": before}, {"visio": after}, shadows or [], WATCHING)
    return [(m.sentence, m.is_carried) for m in found]


def test_a_step_with_its_evidence_says_the_figure():
    ((sentence, is_carried),) = told(OBSERVE, SUGGEST, seen(60, 1))

    assert is_carried
    assert sentence.startswith("visio: mode goes from observe to suggest, 60 of 61 decided lines agree (98%, at least")


def test_a_step_without_evidence_says_what_is_missing():
    ((sentence, is_carried),) = told(OBSERVE, SUGGEST, seen(2))

    assert not is_carried
    assert "without the evidence for it" in sentence
    assert "28 more accounts with a line that people decided" in sentence


def test_a_jump_over_a_step_is_told_even_where_the_first_step_is_carried():
    ((sentence, is_carried),) = told(OBSERVE, ENFORCE, seen(60))

    assert not is_carried
    assert "from observe to enforce, over suggest, 60 of 60" in sentence


def test_both_axes_are_told_and_what_goes_less_far_is_not():
    found = told(replace(OBSERVE, answers="full"), replace(SUGGEST, answers="note"))
    assert len(found) == 1

    assert len(told(OBSERVE, replace(SUGGEST, answers="task"))) == 2
    assert told(ENFORCE, CANARY) == []
    ((sentence, _),) = told(CANARY, ENFORCE)
    assert sentence.startswith("visio: mode goes from enforce for 10 % to enforce, over enforce for 50 %")


def test_positions_of_a_kept_configuration_are_the_narrower_of_product_and_tenant():
    document = {
        "tenant": {"mode": "enforce", "answers": "task", "enforce_share": "0.5"},
        "products": {
            "a": {"mode": "suggest", "answers": None, "enforce_share": None},
            "b": {"mode": None, "answers": "full", "enforce_share": "0.1"},
        },
    }

    found = positions(document, ["a", "b", "c"])

    assert found["a"] == Position("suggest", Decimal("0.5"), "task")
    assert found["b"] == Position("enforce", TENTH, "task")
    assert found["c"] == Position("enforce", Decimal("0.5"), "task")
    assert positions({}, ["a"])["a"] == Position()


@pytest.mark.parametrize("nobody", ["0", "0.0", 0, 0.0])
def test_a_share_of_nobody_is_no_share_that_is_left_out(nobody):
    document = {"tenant": {"mode": "enforce", "enforce_share": nobody}}

    assert positions(document, ["a"])["a"].share == 0


# --- the lines ----------------------------------------------------------------------------------------------------

SHARES = st.sampled_from([Decimal(0), Decimal("0.05"), TENTH, Decimal("0.5"), ALL])
POSITIONS = st.builds(Position, st.sampled_from(MODES), SHARES, st.sampled_from(LEVELS))


@given(POSITIONS, st.lists(POSITIONS, min_size=1, max_size=4), st.sampled_from(Axis))
def test_the_lines_move_this_product_by_its_step_and_no_other(own, wanted, axis):
    """Written into a file that says what holds now, they change exactly one position."""
    now = {f"p{n}": p.within(own) for n, p in enumerate(wanted)}
    to = step_after(now["p0"], axis, TENTH)
    if to is None:
        return

    said = tomllib.loads("\n".join(lines("acme", own, now, "p0", to)), parse_float=Decimal)

    tenant = {"mode": own.mode, "enforce_share": own.share, "answers": own.answers}
    tenant |= said.get("tenants", {}).get("acme", {})
    before = {k: {"mode": p.mode, "enforce_share": p.share, "answers": p.answers} for k, p in now.items()}
    tables = {key: table | said["products"].get(key, {}) for key, table in before.items()}
    after = positions({"tenant": tenant, "products": tables}, now)
    assert (after["p0"].on(axis), after["p0"].reach) == (to.on(axis), to.reach)
    assert {k: (p.reach, p.answers) for k, p in after.items() if k != "p0"} == {
        k: (p.reach, p.answers) for k, p in now.items() if k != "p0"
    }


@given(POSITIONS, st.lists(POSITIONS, min_size=1, max_size=4), st.sampled_from(Axis))
def test_the_lines_are_whole_where_the_products_had_no_table_of_their_own(own, wanted, axis):
    """The products that only inherit are held where they are."""
    now = {f"p{n}": own for n in range(len(wanted))}
    to = step_after(own, axis, TENTH)
    if to is None:
        return

    said = tomllib.loads("\n".join(lines("acme", own, now, "p0", to)), parse_float=Decimal)

    tenant = {"mode": own.mode, "enforce_share": own.share, "answers": own.answers}
    tenant |= said.get("tenants", {}).get("acme", {})
    after = positions({"tenant": tenant, "products": said["products"]}, now)
    assert after["p0"].on(axis) == to.on(axis)
    assert {(p.reach, p.answers) for k, p in after.items() if k != "p0"} <= {(own.reach, own.answers)}
