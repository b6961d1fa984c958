"""What is hidden from us is not done twice: a lost reply is settled by a look that can be believed, or by a person.

ServiceNow counts rows before it hides them, and shows a row late whose transaction was long (servicenow.md sections 4,
6 and 13): "not shown" is "not there" only where nothing was counted, and once a row could show no later.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from desired_state.model import OUR_MARK
from reconciler.loop.observe import Scope
from reconciler.model import AnswerKind
from reconciler.once import once
from reconciler.sandbox import hosts
from reconciler.sandbox.faults import FaultRule
from reconciler.store import journal, outbox
from tests.simulation.make_day import TENANT, Day, a_day
from tests.simulation.play import play
from tests.simulation.test_handback import LOST, a_site
from tests.simulation.test_hostile import commands as commands  # a fixture

pytestmark = pytest.mark.long


@contextmanager
def a_day_that_loses(folder: Path, route: str, **more: Path) -> Iterator[Day]:
    """A day whose first cycle gets no reply to one request, although it was done."""
    with a_day(folder, **more) as day:
        day.world.faults.add(FaultRule("reply_lost", route=route, times=1))
        day.cycle()
        day.world.faults.clear()
        yield day


def hide(day: Day, table: str, sys_id: str) -> None:
    day.world.instance.hide(table, sys_id, hosts.SERVICENOW_USER)


def lost_task(day: Day) -> dict[str, str]:
    """The one task that was made and of which we were not told so."""
    with day.app.database.read() as session:
        (key,) = (o.answer.key for o in outbox.unsent(session, TENANT) if o.answer.kind is AnswerKind.TASK and o.tries)
    (task,) = day.world.instance.records("sc_task", correlation_id=f"{OUR_MARK}{key}")
    return task


def given_up(day: Day) -> list[outbox.Owed]:
    with day.app.database.read() as session:
        return list(outbox.failed(session, TENANT))


def test_a_task_that_was_made_and_is_hidden_is_not_made_again_and_is_found_when_it_is_shown(tmp_path):
    """Seed 1029."""
    with a_day_that_loses(tmp_path, "POST /api/now/table/sc_task") as day:
        task = lost_task(day)
        hide(day, "sc_task", task["sys_id"])
        for _ in range(4):
            day.wait(5)
            day.cycle()
        assert len(day.world.instance.records("sc_task", correlation_id=task["correlation_id"])) == 1
        day.world.instance.show("sc_task", task["sys_id"], hosts.SERVICENOW_USER)
        day.wait(60)
        day.cycle()

        with day.app.database.read() as session:
            assert outbox.unsent(session, TENANT) == outbox.failed(session, TENANT) == ()


def test_a_task_that_stays_hidden_is_a_persons_to_look_for_and_the_log_says_so(tmp_path, capsys, commands):
    with a_day_that_loses(tmp_path, "POST /api/now/table/sc_task") as day:
        task = lost_task(day)
        hide(day, "sc_task", task["sys_id"])
        for _ in range(6):
            day.wait(30)
            day.cycle()

        (owed,) = given_up(day)
        assert "may be there, hidden from us" in owed.remote_id
        with day.app.database.read() as session:
            (row,) = journal.rows_since(session, TENANT, owed.intended_at, "answer.given_up")
        assert (row.subject, "hidden from us" in str(row.body)) == (owed.answer.ticket, True)
        assert len(day.world.instance.records("sc_task", correlation_id=task["correlation_id"])) == 1
    assert commands("explain", owed.answer.ticket) == 0
    assert "the task is not sent again, because it may be there, hidden from us" in capsys.readouterr().out
    assert commands("status") == 0
    assert f"given up: the task of {owed.answer.ticket}, to be looked at by a person" in capsys.readouterr().out


def test_a_task_that_shows_minutes_late_is_not_made_again(tmp_path):
    with a_day_that_loses(tmp_path, "POST /api/now/table/sc_task") as day:
        day.world.instance.switches.late_visible_s = 250.0
        day.world.faults.add(FaultRule("late_visible_row", route="GET /api/now/table/sc_task"))
        day.cycle()
        day.world.faults.clear()
        for _ in range(3):
            day.wait(5)
            day.cycle()

        made = [t["correlation_id"] for t in day.world.instance.records("sc_task") if t["correlation_id"]]
        assert sorted(made) == sorted(set(made))


def test_what_was_not_done_is_done_once_it_could_show_no_later(tmp_path):
    with a_day(tmp_path) as day:
        day.world.faults.add(FaultRule("bad_gateway", route="POST /api/now/table/sc_task", times=1))
        day.cycle()
        made = len([t for t in day.world.instance.records("sc_task") if t["correlation_id"]])
        day.cycle()
        assert len([t for t in day.world.instance.records("sc_task") if t["correlation_id"]]) == made
        day.wait(5)
        day.cycle()

        assert len([t for t in day.world.instance.records("sc_task") if t["correlation_id"]]) == made + 1


def test_a_note_that_was_written_although_it_was_said_to_be_forbidden_is_given(tmp_path):
    with a_day(tmp_path) as day:
        day.world.faults.add(FaultRule("403_but_done", route="PATCH /api/now/table/sc_req_item", times=1))
        day.cycle()

        assert given_up(day) == []
        assert {len(day.notes(t)) for t in ("RITM0010001", "RITM0010004", "RITM0010011")} == {1}


def a_site_that_orders(folder: Path) -> Path:
    """What cannot be opened again is ordered anew, as an item for manual review."""

    def change(text: str) -> str:
        queues = text.replace('"identity team" = "Identity"', "")
        return queues.replace(
            'follow_up_group = "M365 Licence Desk"\n',
            'review_item = "Software for a team"\nreview_variable = "justification"\n',
            1,
        )

    return a_site(folder, change)


@pytest.mark.parametrize(("fault", "is_known"), [("reply_lost", False), ("429_rule", True)])
def test_an_order_is_placed_once_also_when_nobody_can_tell_whether_it_was(tmp_path, fault, is_known):
    """An order carries no key that could be looked for."""
    with a_day(tmp_path, config=a_site_that_orders(tmp_path)) as day:
        day.world.instance.switches.reopen = "acl_403"
        day.world.faults.add(FaultRule(fault, route="POST /api/sn_sc", times=1))
        before = len(day.world.instance.records("sc_request"))
        for _ in range(4):
            once(day.app, Scope(tickets=frozenset({LOST})))
            day.wait(70)

        assert len(day.world.instance.records("sc_request")) == before + 1
        told = [o.remote_id for o in given_up(day) if o.answer.ticket == LOST]
        assert [why.startswith("it was ordered and no reply came") for why in told] == ([] if is_known else [True])


def test_the_seed_that_showed_it():
    assert play(1029).wrong == []


@pytest.mark.parametrize(
    ("change", "phase"),
    [
        ({"stage": "Request Cancelled", "state": "4"}, "cancelled"),
        ({"approval": "rejected"}, "review"),
        ({"stage": "Request Cancelled"}, "review"),
        ({"approval": "requested", "approver": "requested"}, "awaiting_approval"),
        ({"task": "tom.weber"}, "held"),
    ],
)
def test_a_ticket_that_was_called_off_is_called_off_however_much_of_its_form_is_hidden(tmp_path, change, phase):
    """Seed 1448: a seat freed after the cancellation, and was given to who had been approved before."""
    ticket, henrik = "RITM0010008", "henrik.olsen@contoso.example"
    with a_day(tmp_path) as day:
        day.cycle()
        assert day.phase(ticket) == "waiting_for_seat"
        instance = day.world.instance
        hide(day, "sys_user", instance.truth.user_id("henrik.olsen"))
        (row,) = (r for r in instance.records("sc_req_item") if r["number"] == ticket)
        open_again = {"state": "2", "stage": "fulfillment", "active": "true"} if "state" not in change else {}
        fields = {name: value for name, value in change.items() if name not in ("approver", "task")}
        instance.change("sc_req_item", row["sys_id"], by="tom.weber", **open_again | fields)
        if "approver" in change:
            for asked in instance.records("sysapproval_approver", sysapproval=row["sys_id"]):
                instance.change("sysapproval_approver", asked["sys_id"], by="tom.weber", state=change["approver"])
        if "task" in change:
            task = {"request_item": row["sys_id"], "parent": row["sys_id"], "request": row["request"], "state": "2"}
            holder = {"assigned_to": instance.truth.user_id(change["task"]), "active": "true"}
            instance.truth.insert("sc_task", task | holder, by="tom.weber")
        day.world.at(day.world.clock.now(), {"kind": "buy_seats", "part_number": "VISIOONLINE_PLAN1", "seats": 5})
        for _ in range(3):
            day.wait(30)
            day.cycle()

        held = day.world.directory.assign_states(day.world.directory.user(henrik).user_id)
        assert day.world.directory.sku("VISIOONLINE_PLAN1") not in {s.sku_id for s in held}
        assert day.phase(ticket) == phase


def test_the_seed_in_which_a_called_off_ticket_was_served():
    assert play(1448).wrong == []
