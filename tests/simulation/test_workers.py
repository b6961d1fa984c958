"""The simulated customers served by workers of a fleet over PostgreSQL: they die, are cut off from the store, stand
still past their lease and meet each other, and the judge is the one of a single process.

`make simulate STORE=postgresql WORKERS=3 SEED=N` plays one of them alone.
"""

from __future__ import annotations

import pytest

from tests.make_postgres import NoServer, the_server
from tests.simulation.play import play
from tests.simulation.play_fleet import one_process, workers

pytestmark = pytest.mark.timeout(600)
FEW, MANY = (4,), range(20, 32)  # 1 is judged where it is played twice


@pytest.fixture(autouse=True)
def server() -> None:
    try:
        the_server()
    except NoServer as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("seed", [*FEW, *(pytest.param(seed, marks=pytest.mark.long) for seed in MANY)])
def test_whatever_happens_to_workers_a_customer_is_never_harmed_and_only_peoples_work_is_left(seed):
    found = play(seed, begin=workers(3))

    assert found.wrong == [], "\n".join([*found.wrong, *found.told[-30:]])


@pytest.mark.long
def test_one_process_over_a_server_leaves_the_log_that_it_leaves_in_a_file():
    on_a_server, in_a_file = play(6, begin=one_process), play(6)

    assert on_a_server.told == in_a_file.told
    assert on_a_server.head == in_a_file.head


@pytest.mark.long
def test_a_seed_is_played_by_workers_the_same_way_each_time():
    first, second = play(1, begin=workers(3)), play(1, begin=workers(3))

    assert first.wrong == [], "\n".join([*first.wrong, *first.told[-30:]])
    assert first.told == second.told
    assert (first.writes, first.phases, first.killed, first.cuts) == (
        second.writes, second.phases, second.killed, second.cuts,
    )  # fmt: skip
