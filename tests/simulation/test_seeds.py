"""Customers of all kinds, weeks of bad weather and other people's changes: always safe, and in the end nothing is left
that could be done. Of 200, `make test` plays the first 16 and `make endure` the others; CI plays all with each commit.
`make simulate SEED=N` plays one alone, `make simulate SEEDS=N` as many as you like.
"""

from __future__ import annotations

import pytest

from tests.simulation.play import play

FEW, SEEDS = 16, 200
MORE = (pytest.param(seed, marks=pytest.mark.long) for seed in range(FEW, SEEDS))


@pytest.mark.parametrize("seed", [*range(FEW), *MORE])
def test_a_customer_is_never_harmed_and_in_the_end_only_peoples_work_is_left(seed: int) -> None:
    played = play(seed)

    assert played.wrong == [], "\n".join([*played.wrong, *played.told[-30:]])
    assert played.cycles <= 40


# What each of them showed. `make test` plays the short ones, of a second or two; `make endure` the long ones, too.
_LONG = {
    7085: "a ticket was handed back for a conflict with a licence whose end was due in the same cycle",
    9034: "a line whose change was stopped with another's waited for it for ever and said nothing of it",
    10034: "a country that a killed cycle may never have sent counted as sent and never seen",
    11054: "a request that was closed again after its period was over ended the cycle",
}
_SHORT = {
    5415: "a ticket was handed back for a conflict with what another one only asked for",
    6231: "while a form was hidden, its person was looked for by the name from before",
    6865: "a line was granted by a licence that the same cycle exchanged for another line",
    8538: "a seat was given that a group had promised to somebody with a request for something else",
    10174: "a person was hidden when their ticket was approved, and it was not read again when they were shown",
    11373: "whoever was put back into a group by others while their period ended was taken out again",
    12073: "the seat of somebody whom a group was about to serve and who could not be read was given to others",
}


@pytest.mark.parametrize(
    ("seed", "showed"),
    [*(pytest.param(*one, marks=pytest.mark.long) for one in _LONG.items()), *_SHORT.items()],
)
def test_a_seed_that_showed_a_defect_is_played_again(seed: int, showed: str) -> None:
    assert play(seed).wrong == [], showed
