"""Tickets are answered side by side: looked at in lists, and each is told what is true of it."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from desired_state import ledger
from reconciler.loop.moved import News
from reconciler.loop.observe import Pace, Scope
from reconciler.model import AnswerKind
from reconciler.once import once
from reconciler.sandbox.faults import FaultRule
from reconciler.store import journal, outbox, tickets
from tests.simulation.make_day import SIGN_IN, TENANT, Day, a_day
from tests.simulation.make_pilot import a_pilot, ticket
from tests.simulation.make_writes import parts

_RECORD = re.compile(r"[0-9a-f]{32}")
PEOPLE = 6


def tasks(day: Day) -> list[dict[str, str]]:
    return [task for n in range(PEOPLE) for task in day.tasks(ticket(n))]


def closed(day: Day) -> list[bool]:
    return [task["state"] == "3" for task in tasks(day)]


def before(method: str, path: str, act: Callable[[], None]) -> Callable[[httpx.Request], None]:
    """Something that happens once, just before the first such request is served."""
    done: list[str] = []

    def meddle(request: httpx.Request) -> None:
        if not done and request.method == method and path in request.url.path:
            done.append(path)
            act()

    return meddle


def take(day: Day, number: int) -> None:
    """A colleague takes the task of somebody's ticket."""
    (task,) = day.tasks(ticket(number))
    tom = day.world.instance.user("tom.weber")["sys_id"]
    day.world.instance.change("sc_task", task["sys_id"], by="tom.weber", assigned_to=tom)


def looks(folder: Path, people: int) -> Counter[str]:
    """What a cycle that answers so many tickets asks of the records that it writes to."""
    asked: Counter[str] = Counter()

    def meddle(request: httpx.Request) -> None:
        if request.method == "GET" and ("sys_journal" in request.url.path or "sc_task" in request.url.path):
            asked[_RECORD.sub("ID", request.url.path)] += 1

    with a_pilot(folder, "enforce", "full", people=people) as day:
        day.watch.meddle = meddle
        day.cycle()
        assert sum(task["state"] == "3" for n in range(people) for task in day.tasks(ticket(n))) == people
    return asked


def test_nothing_is_asked_between_the_announcement_of_a_write_and_the_write(tmp_path):
    left: list[int] = [0]  # how many announcements there were when a write last left
    wrong: list[str] = []

    with a_day(tmp_path) as day:

        def meddle(request: httpx.Request) -> None:
            if any(part in request.url.path for part in SIGN_IN):
                return
            with day.app.database.read() as session:
                rows = {kind: journal.count(session, TENANT, kind) for kind in ("intent", "result")}
            if request.method != "GET" and parts(request):
                left[0] = rows["intent"]
            elif rows["intent"] > rows["result"] and rows["intent"] > left[0]:
                wrong.append(f"{request.method} {request.url.path}")

        day.watch.meddle = meddle
        day.cycle()

    assert left[0] > 50
    assert wrong == []


def test_looking_at_what_was_answered_costs_the_same_for_two_tickets_and_for_six(tmp_path):
    assert looks(tmp_path / "two", 2) == looks(tmp_path / "six", PEOPLE)


def test_a_task_that_a_colleague_took_while_notes_were_written_is_theirs(tmp_path):
    with a_pilot(tmp_path, "enforce", "full", people=PEOPLE) as day:
        day.watch.meddle = before("GET", "sys_journal_field", lambda: take(day, 3))
        day.cycle()

        assert [n for n, is_closed in enumerate(closed(day)) if not is_closed] == [3]
        assert {len(day.notes(ticket(n))) for n in range(PEOPLE)} == {1}


def test_a_look_at_tasks_is_too_old_after_half_a_minute(tmp_path):
    with a_pilot(tmp_path, "enforce", "full", people=PEOPLE) as day:

        def late() -> None:
            day.world.clock.advance(timedelta(seconds=31))
            take(day, 4)

        day.watch.meddle = before("PATCH", "sc_task", late)
        day.cycle()

        assert [n for n, is_closed in enumerate(closed(day)) if not is_closed] == [4]


@pytest.mark.parametrize(
    ("table", "kind"), [("sc_task", AnswerKind.CLOSED), ("sc_req_item", AnswerKind.NOTE)], ids=["task", "note"]
)
def test_what_was_accepted_and_is_not_there_is_said_and_done_once_it_could_show_no_later(tmp_path, table, kind):
    with a_pilot(tmp_path, "enforce", "full", people=PEOPLE) as day:
        day.world.faults.add(FaultRule("200_not_applied", route=f"PATCH /api/now/table/{table}", times=1))
        day.cycle()

        assert closed(day).count(False) == 1
        with day.app.database.read() as session:
            owed = {o.answer.ticket for o in outbox.unsent(session, TENANT)}
            (row,) = (r for r in journal.export(session, TENANT) if r["kind"] == "answer.unseen")
        assert (owed, row["body"]["kind"]) == ({row["subject"]}, kind.value)
        for _ in range(3):
            day.wait(6)
            day.cycle()

        assert all(closed(day))
        assert {len(day.notes(ticket(n))) for n in range(PEOPLE)} == {1}


def reads(day: Day) -> list[str]:
    """What is read of ServiceNow and of people's accounts from now on."""
    asked: list[str] = []

    def meddle(request: httpx.Request) -> None:
        path = _RECORD.sub("ID", request.url.path)
        if request.method == "GET" and "/table/" in path:
            asked.append(path.rpartition("/")[2])
        elif path.endswith("$batch"):
            asked.extend("account" for one in json.loads(request.content)["requests"] if "/users/" in one["url"])

    day.watch.meddle = meddle
    return asked


def test_our_own_answers_are_no_news_and_nobody_is_looked_at_for_them(tmp_path):
    with a_pilot(tmp_path, "enforce", "full", people=PEOPLE) as day:
        day.cycle()
        news, reader = News(), day.app.deps().reader
        day.wait(30)
        asked = reads(day)

        assert not news.ask(reader)
        assert not {"sc_item_option_mtom", "sysapproval_approver", "sys_user"} & set(asked)
        asked.clear()
        assert not news.ask(reader)
        assert asked == ["task"]
        asked.clear()
        once(day.app, Scope(pace=Pace.QUICK))
        assert not {"sc_item_option_mtom", "sysapproval_approver", "account"} & set(asked)


@pytest.mark.parametrize("when", ["GET sys_journal_field", "PATCH sc_task"])
def test_what_somebody_else_does_to_a_ticket_while_it_is_answered_is_seen(tmp_path, when):
    method, table = when.split()
    with a_pilot(tmp_path, "enforce", "full", people=PEOPLE) as day:
        number = ticket(2)

        def cancel() -> None:
            record = day.ticket(number)["sys_id"]
            day.world.instance.change("sc_req_item", record, by="tom.weber", state="4", active="false")

        day.watch.meddle = before(method, table, cancel)
        day.cycle()
        day.wait(6)
        day.cycle()

        with day.app.database.read() as session:
            copies = tickets.load(session, TENANT)
            said = {k.ticket: s.request.says for k, s in ledger.standings(session, TENANT).items() if s.request}
        assert {n for n, copy in copies.items() if copy.state == "4"} == {number}
        assert said[number] is not said[ticket(1)]


def test_a_colleague_who_takes_up_a_closed_task_again_is_news(tmp_path):
    with a_pilot(tmp_path, "enforce", "full", people=PEOPLE) as day:
        day.cycle()
        news, reader = News(), day.app.deps().reader
        assert not news.ask(reader)
        day.wait(1)
        take(day, 5)

        assert news.ask(reader)


def test_a_poll_costs_what_moved_lately_and_not_what_the_last_busy_hour_left(tmp_path):
    with a_pilot(tmp_path, "enforce", "full", people=PEOPLE) as day:
        day.cycle()
        news, reader = News(), day.app.deps().reader
        since: list[str] = []

        def note(request: httpx.Request) -> None:
            if request.url.path.endswith("/table/task"):
                since.append(request.url.params["sysparm_query"].partition("sys_updated_on>=")[2][:19])

        day.watch.meddle = note
        for _ in range(2):
            day.wait(30)
            assert not news.ask(reader)
        written = [
            row["sys_updated_on"] for n in range(PEOPLE) for row in (day.ticket(ticket(n)), *day.tasks(ticket(n)))
        ]
        assert len(written) == 2 * PEOPLE
        assert since[0] < min(written) <= max(written) < since[1]

        day.wait(30)
        take(day, 5)
        assert news.ask(reader)
