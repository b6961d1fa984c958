"""A read of all tickets that is cut short: the next one goes on behind it, and misses and doubles nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from desired_state import ledger
from desired_state.catalogue import load_builtin
from desired_state.says import TicketWords
from reconciler.clients.servicenow import Watermark
from reconciler.loop.pull import pull
from reconciler.loop.reader import SOURCE, Reader
from reconciler.loop.whole import MEANING, READING, TASKS, TICKETS, WHOLE
from reconciler.store import guards, journal, tickets, watermarks
from reconciler.store.database import Database
from tests.make_database import an_empty_database
from tests.make_desk_client import Line, a_client
from tests.make_instance import MONDAY, Desk
from tests.make_tickets import an_item

TENANT, COUNT, PAGE = "contoso", 40, 7
ASKED = "sc_req_item"


class Killed(BaseException):
    """The process is gone."""


def a_desk(count: int = COUNT) -> Desk:
    desk = Desk()
    for n in range(1, count + 1):
        desk.ticket(
            f"RITM{n:07d}",
            variables={"user": desk.ana, "product": "visio-plan-2"},
            closed_at=MONDAY - timedelta(hours=1) + timedelta(seconds=20 * n),
            task={"short_description": "grant it"} if n % 3 == 0 else None,
        )
    return desk


def a_reader(
    desk: Desk, database: Database, *, few: int = 0, after: Callable[[str], object] = lambda _: None
) -> tuple[Reader, Line]:
    client, line = a_client(desk, page=25, few=few, after=after)
    reader = Reader(
        tenant=TENANT,
        servicenow=client,
        database=database,
        clock=desk.world.clock,
        catalogue=load_builtin(),
        items={desk.item: an_item()},
        words=TicketWords(),
        zone=ZoneInfo("UTC"),
        page_size=PAGE,
        meaning="m1",
    )
    return reader, line


class Cut:
    """Kills the process after so many requests for tickets."""

    def __init__(self, at: int) -> None:
        self.left = at

    def __call__(self, table: str) -> None:
        self.left -= table == ASKED
        if not self.left:
            raise Killed


def kept(database: Database) -> dict[str, Any]:
    with database.read() as session:
        marks = watermarks.load_all(session, TENANT)
        fact = guards.fact(session, TENANT, TICKETS)
        return {
            "standings": ledger.standings(session, TENANT),
            "copies": tickets.load(session, TENANT),
            "mark": marks.get(SOURCE),
            "meaning": marks[MEANING].sys_id if MEANING in marks else None,
            "whole": WHOLE in marks,
            "tickets": fact[0] if fact is not None else None,
            "reading": guards.fact(session, TENANT, READING) is not None,
        }


def seen(database: Database) -> Counter[str]:
    with database.read() as session:
        return Counter(row["subject"] for row in journal.export(session, TENANT) if row["kind"] == "ticket.seen")


@pytest.mark.parametrize("few", [0, 1000], ids=["in bulk", "by lists"])
@pytest.mark.parametrize("at", range(1, 7))
def test_a_first_load_that_is_killed_goes_on_behind_its_last_page(at, few, engine):
    desk = a_desk()
    with an_empty_database(engine) as undisturbed, an_empty_database(engine) as database:
        pull(a_reader(desk, undisturbed, few=few)[0], cycle="c0", at=MONDAY)
        with pytest.raises(Killed):
            pull(a_reader(desk, database, few=few, after=Cut(at))[0], cycle="c1", at=MONDAY)
        between = kept(database)
        reader, _ = a_reader(desk, database, few=few)
        again = pull(reader, cycle="c2", at=MONDAY)

        assert kept(database) == kept(undisturbed)
        assert kept(database)["tickets"] == {"usual": COUNT, "last": COUNT}
        assert seen(database) == Counter({f"RITM{n:07d}": 1 for n in range(1, COUNT + 1)})
    overlap = 7  # of 120 s before the watermark
    assert again <= COUNT - len(between["copies"]) + overlap
    assert not between["whole"]


def test_a_load_that_is_killed_again_and_again_ends(engine):
    desk = a_desk()
    with an_empty_database(engine) as database:
        for n in range(30):
            try:
                pull(a_reader(desk, database, after=Cut(4))[0], cycle=f"c{n}", at=MONDAY)
            except Killed:
                continue
            break

        assert kept(database)["whole"]
        assert set(seen(database).values()) == {1}
        assert len(seen(database)) == COUNT


def test_another_configuration_begins_again(engine):
    desk = a_desk()
    with an_empty_database(engine) as database:
        with pytest.raises(Killed):
            pull(a_reader(desk, database, after=Cut(5))[0], cycle="c1", at=MONDAY)
        reader, _ = a_reader(desk, database)
        assert pull(replace(reader, meaning="m2"), cycle="c2", at=MONDAY) == COUNT

        assert kept(database)["meaning"] == "m2"


def test_a_configuration_that_is_taken_back_half_way_is_read_as_new(engine):
    """Some tickets were declared by the second one: the first does not hold for all of them any more."""
    desk = a_desk()
    with an_empty_database(engine) as database:
        reader, _ = a_reader(desk, database)
        pull(reader, cycle="c1", at=MONDAY)
        cut, _ = a_reader(desk, database, after=Cut(5))
        with pytest.raises(Killed):
            pull(replace(cut, meaning="m2"), cycle="c2", at=MONDAY)

        assert pull(reader, cycle="c3", at=MONDAY) == COUNT
        assert kept(database)["meaning"] == "m1"
        assert not kept(database)["reading"]


def test_tasks_that_change_while_all_tickets_are_read_are_asked_for_from_its_beginning(engine):
    """Their tickets were read long before the last one: its instant would be too late."""
    desk = a_desk()
    task = desk.instance.records("sc_task")[0]

    def later(table: str) -> None:
        desk.world.clock.advance(timedelta(minutes=5))

    with an_empty_database(engine) as database:
        reader, _ = a_reader(desk, database, after=later)
        at = desk.world.clock.now()
        pull(reader, cycle="c1", at=MONDAY)
        with database.read() as session:
            mark = watermarks.load(session, TENANT, TASKS)
        assert mark is not None
        assert Watermark(mark.at, mark.sys_id) < Watermark(at)

        desk.instance.truth.update("sc_task", task["sys_id"], {"assigned_to": desk.ben}, by="ben", at=at)
        pull(reader, cycle="c2", at=MONDAY)
        with database.read() as session:
            copies = tickets.load(session, TENANT)
    changed = next(c for c in copies.values() if c.sys_id == task["request_item"])
    assert [t.assigned_to for t in changed.tasks] == [desk.ben]


def test_what_moves_while_all_are_read_is_read_by_the_end_of_the_next(engine):
    desk = a_desk()
    ids = iter([row["sys_id"] for row in desk.instance.records(ASKED)][::5])

    def move(table: str) -> None:
        desk.world.clock.advance(timedelta(seconds=2))
        if sys_id := next(ids, None):
            desk.instance.truth.touch(ASKED, sys_id)

    with an_empty_database(engine) as database:
        pull(a_reader(desk, database, after=move)[0], cycle="c1", at=MONDAY)
        desk.world.clock.advance(timedelta(minutes=1))
        pull(a_reader(desk, database)[0], cycle="c2", at=MONDAY)

        copies = kept(database)["copies"]
    truth = {row["number"]: row for row in desk.instance.records(ASKED)}
    assert {number: str(copy.mod_count) for number, copy in copies.items()} == {
        number: row["sys_mod_count"] for number, row in truth.items()
    }
