"""Every story of Contoso through the shipped loop: the tenant, the ticket and the audit log, three times each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from reconciler.sandbox.server import serve
from reconciler.store import journal
from tests.make_database import ENGINES, a_place, for_the_application
from tests.make_world import contoso
from tests.simulation.make_day import a_day
from tests.stories.make_stories import STORIES, TO_DAY_FORTY, TWO_DAYS, Seen, seen

pytestmark = pytest.mark.timeout(600)  # the first story on each engine waits for all forty days

TIMES = ("first", "two_days", "forty_days")


@pytest.fixture(scope="module", params=ENGINES)
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Seen]]:
    """One Contoso on each engine, looked at three times; shared by every story below.

    On PostgreSQL by an account that does not own the tables, as `reconciler db grants` sets one up.
    """
    folder = tmp_path_factory.mktemp("stories")
    with a_place(request.param, folder) as place, a_day(folder, place=for_the_application(place)) as day:
        found = {}
        for when, waits in zip(TIMES, ((0,), TWO_DAYS, TO_DAY_FORTY), strict=True):
            for minutes in waits:
                day.wait(minutes)
                day.cycle()
            found[when] = seen(day)
        assert day.troubles == []
        yield found


@pytest.mark.parametrize("when", TIMES)
@pytest.mark.parametrize("key", STORIES)
def test_a_story_goes_as_the_table_says(told: dict[str, Seen], key: str, when: str) -> None:
    assert told[when].stands[key] == STORIES[key].at(when)


@pytest.mark.parametrize("key", [k for k, story in STORIES.items() if story.says])
def test_a_ticket_is_told_what_it_is_about(told: dict[str, Seen], key: str) -> None:
    note = told["two_days"].notes[key.partition("/")[0]][0]

    assert [part for part in STORIES[key].says if part not in note] == []


@pytest.mark.parametrize("key", [k for k, story in STORIES.items() if story.never])
def test_a_ticket_is_never_told_what_is_not_so(told: dict[str, Seen], key: str) -> None:
    notes = "\n".join(told["forty_days"].notes[key.partition("/")[0]])

    assert [part for part in STORIES[key].never if part in notes] == []


def test_there_is_no_line_without_a_story(told: dict[str, Seen]) -> None:
    assert set(told["forty_days"].stands) == set(STORIES)
    assert {key.partition("/")[0] for key in STORIES} == {f"RITM00100{n:02}" for n in range(1, 35)}


@pytest.mark.parametrize("key", STORIES)
def test_the_log_tells_every_write_of_a_story_with_its_result(told: dict[str, Seen], key: str) -> None:
    log = told["forty_days"].log
    intents = [r for r in log if r["kind"] == "intent" and key in r["body"]["lines"]]
    results = {r["body"]["intent"] for r in log if r["kind"] == "result"}

    assert [r["seq"] for r in intents if r["seq"] not in results] == []
    assert all(r["body"]["digest"] for r in intents if r["body"]["system"] == "graph")
    assert journal.verify(log).ok


@pytest.mark.tls
def test_all_stories_go_the_same_way_over_tls(tmp_path_factory: pytest.TempPathFactory) -> None:
    world = contoso()
    with serve(world) as served, a_day(tmp_path_factory.mktemp("tls"), world, served=served) as day:
        day.cycle()
        first = seen(day)
        for minutes in (2 * 1440, 60):
            day.wait(minutes)
            day.cycle()
        later = seen(day)
        assert day.troubles == []

    assert first.stands == {key: story.at("first") for key, story in STORIES.items()}
    went = {key: (stand.phase, stand.cause, stand.holds) for key, stand in later.stands.items()}
    wanted = {key: story.at("two_days") for key, story in STORIES.items()}
    assert went == {key: (stand.phase, stand.cause, stand.holds) for key, stand in wanted.items()}
    assert journal.verify(later.log).ok
