"""Counts and trends of the board: what was so at the end of each day follows from now and from what changed since."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from reconciler.lifecycle import Phase
from reconciler.tallies import DAY, Ages, Count, Kind, Move, Trend, board, crossed, shown_days
from reconciler.web.board.drawing import age, change, drawn, told

NOW = datetime(2026, 11, 30, 15, tzinfo=UTC)
TODAY = NOW.date()
NO_SEAT = Kind("visio", "waiting_for_seat", "no_seat", "false")
GONE = Kind("visio", "cancelled", "subject_left", "unknown")
WELL = Kind("visio", "granted", "", "true")


def a_board(counts, moves=(), *, known_since=TODAY - 400 * DAY, **more):
    return board(counts, list(moves), at=NOW, known_since=known_since, by_phase={}, by_cause={}, **more)


def test_a_line_drifts_while_it_has_a_cause_and_is_not_over():
    found = a_board([Count(NO_SEAT, 3), Count(GONE, 5), Count(WELL, 90)])

    assert [(row.cause, row.lines, row.closed) for row in found.causes] == [("no_seat", 3, 3)]
    assert (found.drift.now, found.false.now, found.lines) == (3, 3, 98)
    assert found.verdicts == {"true": 90, "false": 3, "pending": 0, "unknown": 0}


def test_a_product_names_its_causes_the_most_frequent_first():
    conflict = Kind("visio", "review", "plan_conflict", "")
    found = a_board([Count(NO_SEAT, 1), Count(conflict, 4), Count(Kind("project", "review", "no_seat", ""), 2)])

    assert [(row.product, row.lines, row.causes) for row in found.products] == [
        ("visio", 5, (("plan_conflict", 4), ("no_seat", 1))),
        ("project", 2, (("no_seat", 2),)),
    ]


def test_phases_come_in_the_order_of_a_lines_life_with_their_ages():
    ages = {"held": Ages(NOW - 3 * DAY, 2, 0)}
    found = board(
        [Count(WELL, 9), Count(Kind("visio", "held", "policy_refused", ""), 2)],
        [],
        at=NOW,
        known_since=TODAY,
        by_phase=ages,
        by_cause={},
    )

    assert [(row.phase, row.lines, row.ages) for row in found.phases] == [
        ("held", 2, ages["held"]),
        ("granted", 9, Ages()),
    ]


def test_before_the_first_record_nothing_is_known():
    found = a_board([Count(NO_SEAT, 2)], [Move(TODAY - DAY, NO_SEAT, 2)], known_since=TODAY - DAY)

    assert found.drift.days == (*[None] * 28, 2, 2)
    assert found.drift.week is None
    assert a_board([Count(NO_SEAT, 2)], known_since=None).drift.days == (None,) * 30


def test_what_is_dated_ahead_by_a_clock_that_was_counts_as_todays():
    found = a_board([Count(NO_SEAT, 2)], [Move(TODAY + 3 * DAY, NO_SEAT, 2)])

    assert found.drift.days[-2:] == (0, 2)


kinds = st.builds(
    Kind,
    st.sampled_from(["visio", "project", ""]),
    st.sampled_from([p.value for p in Phase]),
    st.sampled_from(["no_seat", "plan_conflict", ""]),
    st.sampled_from(["true", "false", ""]),
)


@given(st.lists(st.tuples(st.integers(0, 60), kinds, st.integers(0, 3)), max_size=60))
def test_every_day_of_a_trend_is_what_a_count_on_that_day_would_have_been(births):
    """Lines are born on a day and may move once, later; each day is counted by going through them all."""
    moves, standing = [], Counter()
    lives = []
    for ago, kind, later in births:
        born = TODAY - ago * DAY
        other = Kind(kind.product, "granted", "", "true")
        moved = born + later * DAY if later and born + later * DAY <= TODAY else None
        lives.append((born, kind, moved, other))
        moves.append(Move(born, kind, 1))
        if moved is not None:
            moves += [Move(moved, kind, -1), Move(moved, other, 1)]
        standing[other if moved is not None else kind] += 1

    found = a_board([Count(kind, n) for kind, n in standing.items()], moves, known_since=TODAY - 61 * DAY)

    for n, day in enumerate(shown_days(NOW)):
        then = [
            other if moved is not None and moved <= day else kind for born, kind, moved, other in lives if born <= day
        ]
        assert found.drift.days[n] == sum(k.drifts for k in then)
        assert found.false.days[n] == sum(k.is_false for k in then)
    cross = crossed([Count(k, n) for k, n in standing.items()], moves, at=NOW, known_since=TODAY - 61 * DAY)
    for row in cross:
        mine = [(k if moved is None or moved > TODAY else other) for _, k, moved, other in lives]
        assert row.lines == sum(k.drifts and (k.product, k.cause) == (row.product, row.cause) for k in mine)
    assert sum(row.lines for row in cross) == found.drift.now == sum(row.lines for row in found.causes)


def test_a_drawing_stays_in_its_box_and_says_in_words_what_it_shows():
    trend = Trend((None, 0, 5, 3))

    shown = drawn(trend)

    spots = [tuple(map(float, spot.split(","))) for spot in shown.points.split()]
    assert len(spots) == 3
    assert all(0 <= x <= shown.width and 0 <= y <= shown.height for x, y in spots)
    assert spots[1][1] == min(y for _, y in spots)
    assert shown.words == "3 days: from 0 to 3, highest 5, lowest 0"
    assert told(Trend((None, None))) == "no history yet"
    assert drawn(Trend((None,))).points == ""


def test_a_change_in_a_week_is_said_in_words():
    days = (4, *[4] * 21, 9, 9, 9, 9, 9, 9, 9, 4)

    assert change(Trend(days)) == "5 fewer"
    assert change(Trend((1,) * 30)) == "the same"
    assert change(Trend((None,) * 29 + (1,))) == "not known"


def test_an_age_is_told_in_the_largest_unit_that_fits():
    spans = [timedelta(days=3, hours=5), timedelta(hours=23), timedelta(minutes=5), timedelta(seconds=3), -DAY]

    assert [age(NOW - span, NOW).replace("\u00a0", " ") for span in spans] == ["3 d", "23 h", "5 min", "now", "now"]
    assert age(None, NOW) == ""
