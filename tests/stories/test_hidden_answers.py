"""Rows of a form that an access rule hides, by the shipped cycle: what is not shown gives and takes nothing.

Whether an instance counts rows that it hides, and whether it has rows for questions that nobody answered, the documents
leave open (servicenow.md section 19): what must hold under each is tried under each.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from reconciler.sandbox import hosts
from reconciler.sandbox.stories.forms import LICENCE, TEAM
from tests.simulation.make_day import Day
from tests.simulation.make_pilot import a_pilot, holders, pilot
from tests.simulation.make_products import QUEUE

MTOM, OPTION, QUESTION = "sc_item_option_mtom", "sc_item_option", "item_option_new"
CELL = "sc_multi_row_question_answer"
NEW = "RITM0090001"

COUNTED = {"counts_hidden_rows": True}
UNCOUNTED = {"counts_hidden_rows": False}
NO_BLANKS = {"unanswered_has_row": False}


@contextmanager
def a_site(folder: Path, people: int = 3, **switches: bool) -> Iterator[Day]:
    """A pilot that enforces, on an instance with these switches. Nobody's ticket but the first ones is in the queue."""
    world = pilot(0)
    for name, value in switches.items():
        setattr(world.instance.switches, name, value)
    with a_pilot(folder, "enforce", "full", world=world) as day:
        for n in range(people):
            add_person(day, n)
        yield day


def add_person(day: Day, n: int) -> None:
    upn = f"p{n}@contoso.example"
    day.world.instance.add_person(f"p{n}", email=upn, name=f"Person {n}", employee_number=f"{100 + n}", country="DE")
    day.world.directory.add_user(
        upn, display_name=f"Person {n}", usage_location="DE", country="DE", employee_id=f"{100 + n}",
        employee_type="Employee",
    )  # fmt: skip


def orders(day: Day, number: str, person: int, *, by: int | None = None, **answers: str) -> str:
    """An approved order in our queue, for somebody, placed for oneself or by another; returns its sys_id."""
    desk = day.world.instance
    who, requester = (user(day, n) for n in (person, person if by is None else by))
    return desk.order(
        number,
        item=item(day, LICENCE),
        requested_for=requester,
        variables={"user": who, "product": "Visio Plan 2", "justification": "For drawings.", **answers},
        opened_at=day.world.clock.now(),
        state="2",
        stage="fulfillment",
        task={"state": "1", "assignment_group": queue(day)},
        price="14.10",
    )


def user(day: Day, n: int) -> str:
    (row,) = day.world.instance.records("sys_user", user_name=f"p{n}")
    return row["sys_id"]


def item(day: Day, name: str) -> str:
    (row,) = day.world.instance.records("sc_cat_item", name=name)
    return row["sys_id"]


def queue(day: Day) -> str:
    (row,) = day.world.instance.records("sys_user_group", name=QUEUE)
    return row["sys_id"]


def rows_of(day: Day, ritm: str, question: str) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """The rows of one answer: the tie to the ticket, the answer, the question."""
    desk = day.world.instance
    for tie in desk.records(MTOM, request_item=ritm):
        (answer,) = desk.records(OPTION, sys_id=tie["sc_item_option"])
        (asked,) = desk.records(QUESTION, sys_id=answer["item_option_new"])
        if asked["name"] == question:
            return tie, answer, asked
    raise AssertionError(f"no row for {question}")


def hide(day: Day, table: str, sys_id: str) -> None:
    day.world.instance.hide(table, sys_id, hosts.SERVICENOW_USER)


def hide_answer(day: Day, ritm: str, question: str) -> str:
    tie, _, _ = rows_of(day, ritm, question)
    hide(day, MTOM, tie["sys_id"])
    return tie["sys_id"]


def show(day: Day, sys_id: str, table: str = MTOM) -> None:
    day.world.instance.show(table, sys_id, hosts.SERVICENOW_USER)


def asks_for(day: Day, question: str) -> None:
    """The form lets nobody leave a question out."""
    (row,) = day.world.instance.records(QUESTION, name=question, cat_item=item(day, LICENCE))
    day.world.instance.change(QUESTION, row["sys_id"], mandatory="true")


def cycles(day: Day, count: int = 2) -> None:
    for _ in range(count):
        day.cycle()
        day.wait(10)


def why(day: Day, number: str = NEW) -> str:
    return next(e.state.note for e in day.reports[-1].endings if e.state.key.ticket == number)


def touched(day: Day, ritm: str) -> None:
    day.world.instance.change("sc_req_item", ritm, by="tom.weber", short_description="Please")


def test_a_hidden_person_is_not_whoever_the_ticket_is_for(tmp_path):
    with a_site(tmp_path) as day:
        ritm = orders(day, NEW, 0, by=1)
        row = hide_answer(day, ritm, "user")
        cycles(day)

        assert holders(day) == set()
        assert day.phase(NEW) == "held"
        assert "'user'" in why(day)
        assert "1 row of the form is there and not shown" in why(day)

        show(day, row)
        cycles(day)
        assert (holders(day), day.phase(NEW)) == ({0}, "granted")


@pytest.mark.parametrize("how", ["its answer", "its question"])
def test_a_row_that_points_to_what_is_hidden_is_not_nothing(tmp_path, how):
    with a_site(tmp_path, counts_hidden_rows=False) as day:
        ritm = orders(day, NEW, 0, by=1)
        _, answer, question = rows_of(day, ritm, "user")
        hide(day, *((OPTION, answer["sys_id"]) if how == "its answer" else (QUESTION, question["sys_id"])))
        cycles(day)

        assert holders(day) == set()
        assert day.phase(NEW) == "held"
        assert "'user'" in why(day)


@pytest.mark.parametrize("switches", [COUNTED, UNCOUNTED], ids=["counted", "uncounted"])
def test_a_hidden_end_is_not_no_end(tmp_path, switches):
    """Where nothing is counted, another ticket of the item shows that this form has rows for what nobody answered."""
    with a_site(tmp_path, **switches) as day:
        orders(day, "RITM0080001", 1)
        cycles(day)
        day.wait(60)
        end = f"{day.world.clock.now() + timedelta(days=40):%Y-%m-%d}"
        ritm = orders(day, NEW, 0, end_date=end)
        row = hide_answer(day, ritm, "end_date")
        cycles(day)

        assert holders(day) == {1}
        assert day.phase(NEW) == "held"
        assert "'end_date'" in why(day)

        show(day, row)
        cycles(day)
        assert holders(day) == {0, 1}
        day.wait(60 * 24 * 90)
        cycles(day, 4)
        assert holders(day) == {1}


@pytest.mark.parametrize("switches", [{**UNCOUNTED, **NO_BLANKS}, UNCOUNTED], ids=["no blanks", "blanks"])
def test_an_answer_that_nobody_may_leave_out_is_hidden_where_it_has_no_row(tmp_path, switches):
    with a_site(tmp_path, **switches) as day:
        asks_for(day, "user")
        ritm = orders(day, NEW, 0, by=1)
        row = hide_answer(day, ritm, "user")
        cycles(day)

        assert holders(day) == set()
        assert "'user'" in why(day)

        show(day, row)
        cycles(day)
        assert holders(day) == {0}


@pytest.mark.parametrize("counts", [True, False])
def test_an_optional_question_without_a_row_is_not_unknown_for_ever(tmp_path, counts):
    with a_site(tmp_path, counts_hidden_rows=counts, unanswered_has_row=False) as day:
        orders(day, "RITM0080001", 1, end_date=f"{day.world.clock.now() + timedelta(days=40):%Y-%m-%d}")
        orders(day, NEW, 0)
        cycles(day)

        assert holders(day) == {0, 1}


def test_a_question_that_the_form_does_not_ask_any_more_is_not_hidden(tmp_path):
    with a_site(tmp_path, counts_hidden_rows=False) as day:
        orders(day, "RITM0080001", 1)
        cycles(day)
        (row,) = day.world.instance.records(QUESTION, name="end_date", cat_item=item(day, LICENCE))
        day.world.instance.truth.delete(QUESTION, row["sys_id"])
        day.wait(60 * 25)
        orders(day, NEW, 0)
        cycles(day)

        assert holders(day) == {0, 1}


def test_a_question_is_not_hidden_on_a_ticket_from_before_it_was_asked(tmp_path):
    with a_site(tmp_path, counts_hidden_rows=False, unanswered_has_row=False) as day:
        orders(day, NEW, 0)
        day.wait(60)
        day.world.instance.switches.unanswered_has_row = True
        orders(day, "RITM0080001", 1)
        cycles(day)

        assert holders(day) == {0, 1}


def test_what_we_do_not_ask_may_be_hidden(tmp_path):
    with a_site(tmp_path) as day:
        desk = day.world.instance
        ritm = orders(day, NEW, 0)
        extra = desk.truth.insert(QUESTION, {"name": "remarks", "type": "2"}, by="tom.weber")
        answer = desk.truth.insert(OPTION, {"item_option_new": extra, "value": "private"}, by="tom.weber")
        hide(day, MTOM, desk.truth.insert(MTOM, {"request_item": ritm, "sc_item_option": answer}, by="tom.weber"))
        cycles(day)

        assert (holders(day), day.phase(NEW)) == ({0}, "granted")


@pytest.mark.parametrize("switches", [COUNTED, UNCOUNTED], ids=["counted", "uncounted"])
@pytest.mark.parametrize("question", ["user", "end_date", "product"])
def test_what_was_granted_stays_as_it_is_when_its_row_is_hidden_later(tmp_path, switches, question):
    with a_site(tmp_path, **switches) as day:
        end = f"{day.world.clock.now() + timedelta(days=40):%Y-%m-%d}"
        ritm = orders(day, NEW, 0, by=1, end_date=end)
        cycles(day)
        assert holders(day) == {0}

        hide_answer(day, ritm, question)
        touched(day, ritm)
        cycles(day, 4)
        assert (holders(day), day.phase(NEW)) == ({0}, "granted")
        assert day.watch.removals == []

        day.wait(60 * 24 * 90)
        cycles(day, 4)
        assert holders(day) == set()  # by the end that was read


def orders_for_a_team(day: Day, people: list[int]) -> str:
    return day.world.instance.order(
        NEW,
        item=item(day, TEAM),
        requested_for=user(day, 2),
        variables={"justification": "For drawings."},
        rows=[{"user": user(day, n), "product": "Visio Plan 2"} for n in people],
        opened_at=day.world.clock.now(),
        state="2",
        stage="fulfillment",
        task={"state": "1", "assignment_group": queue(day)},
        price="14.10",
    )


def test_a_hidden_cell_leaves_the_whole_table_unread(tmp_path):
    with a_site(tmp_path) as day:
        ritm = orders_for_a_team(day, [0, 1])
        cells = [c for c in day.world.instance.records(CELL, parent_id=ritm) if c["row_index"] == "0"]
        for cell in cells:
            hide(day, CELL, cell["sys_id"])
        cycles(day)

        assert holders(day) == set()
        assert "2 cells are there and not shown" in why(day)

        for cell in cells:
            show(day, cell["sys_id"], CELL)
        cycles(day)
        assert holders(day) == {0, 1}


def test_a_row_of_a_table_that_is_hidden_later_moves_nobody_into_another_line(tmp_path):
    with a_site(tmp_path) as day:
        ritm = orders_for_a_team(day, [0, 1])
        cycles(day)
        assert holders(day) == {0, 1}

        for cell in day.world.instance.records(CELL, parent_id=ritm):
            if cell["row_index"] == "0":
                hide(day, CELL, cell["sys_id"])
        touched(day, ritm)
        cycles(day, 4)
        assert holders(day) == {0, 1}
        assert day.watch.removals == []


def test_what_is_known_of_forms_costs_a_request_a_day_where_a_question_has_no_row(tmp_path):
    asked: list[str] = []
    with a_site(tmp_path, people=4, unanswered_has_row=False) as day:
        day.watch.meddle = lambda request: asked.extend(
            [request.url.path] if "/servicecatalog/" in request.url.path else []
        )
        for n in range(4):
            orders(day, f"RITM008000{n}", n)
            cycles(day, 1)

        assert len(asked) == 1
        assert holders(day) == {0, 1, 2, 3}
