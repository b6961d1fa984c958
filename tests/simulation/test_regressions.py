"""What bad days and hostile texts once broke, each by its name."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from reconciler.sandbox.faults import FaultRule
from reconciler.store import journal, requests, switches
from tests.make_world import contoso
from tests.simulation.make_day import TENANT, a_day, a_played_day
from tests.simulation.test_endings import has, log, until
from tests.simulation.test_hostile import TEXTS, screen, steering, type_everywhere
from tests.simulation.test_hostile import commands as commands  # a fixture

pytestmark = pytest.mark.long

AGENT = "RITM0010033"


def test_a_licence_that_somebody_removed_stays_removed_when_the_account_cannot_be_read_for_a_while(tmp_path):
    with a_played_day(tmp_path) as day:
        assert day.phase("RITM0010017") == "drifted"
        before = day.licences("quentin.moreau@contoso.example")
        day.world.faults.add(FaultRule("server_error", route="GET /users"))
        day.cycle()
        day.world.faults.clear()
        day.wait(5)
        day.cycle()
        assert day.licences("quentin.moreau@contoso.example") == before
        assert day.phase("RITM0010017") == "drifted"


def test_an_agents_order_stays_a_proposal_when_who_opened_it_cannot_be_read(tmp_path):
    with a_day(tmp_path) as day:
        agent = day.world.instance.user("svc.procurement")["sys_id"]
        day.world.instance.hide("sys_user", agent, "svc_m365_reconciler")
        from reconciler.sandbox import hosts

        day.world.instance.hide("sys_user", agent, hosts.SERVICENOW_USER)
        before = day.licences("gavin.reid@contoso.example")
        day.cycle()
        assert day.licences("gavin.reid@contoso.example") == before


def test_a_ticket_whose_person_was_unreadable_once_is_taken_up_when_it_can_be_read(tmp_path):
    from reconciler.sandbox import hosts

    with a_day(tmp_path) as day:
        anna = day.world.instance.user("anna.berger")["sys_id"]
        day.world.instance.hide("sys_user", anna, hosts.SERVICENOW_USER)
        day.cycle()
        assert day.phase("RITM0010001") == "held"
        day.world.instance.show("sys_user", anna, hosts.SERVICENOW_USER)
        for _ in range(3):
            day.wait(60)
            day.cycle()
        assert day.phase("RITM0010001") == "granted"


def test_a_ticket_that_could_not_be_read_for_a_while_is_not_told_again(tmp_path):
    from reconciler.sandbox import hosts

    with a_played_day(tmp_path) as day:
        who = day.world.instance.user("stefan.wolf")["sys_id"]
        t = day.ticket("RITM0010019")
        day.world.instance.hide("sys_user", who, hosts.SERVICENOW_USER)
        day.wait(5)
        day.world.instance.change("sc_req_item", t["sys_id"], short_description="x")
        day.cycle()
        day.world.instance.show("sys_user", who, hosts.SERVICENOW_USER)
        day.wait(5)
        day.world.instance.change("sc_req_item", t["sys_id"], short_description="y")
        day.cycle()
        assert len(day.notes("RITM0010019")) == 1


def test_a_past_grant_is_not_forgotten_because_its_ticket_was_not_shown_on_the_first_day(tmp_path):
    from reconciler.sandbox import hosts

    with a_day(tmp_path) as day:
        t = day.ticket("RITM0010017")["sys_id"]
        before = day.licences("quentin.moreau@contoso.example")
        day.world.instance.hide("sc_req_item", t, hosts.SERVICENOW_USER)
        day.cycle()
        day.world.instance.show("sc_req_item", t, hosts.SERVICENOW_USER)
        day.wait(5)
        day.world.instance.change("sc_req_item", t, short_description="y")
        day.cycle()
        assert day.licences("quentin.moreau@contoso.example") == before


def test_answers_wait_while_a_freeze_stops_them_and_are_given_afterwards(tmp_path):
    """A freeze of hours must not use up the tries of what is owed."""
    with a_day(tmp_path) as day:
        now = day.world.clock.now()
        with day.app.database.write() as session:
            switches.freeze(session, TENANT, "quiet", reason="r", by="me", at=now, scope="answers")
        for _ in range(8):
            day.cycle()
            day.wait(10)
        with day.app.database.write() as session:
            switches.lift(session, TENANT, "quiet", reason="r", by="me", at=day.world.clock.now())
        for _ in range(3):
            day.cycle()
            day.wait(10)
        assert len(day.notes("RITM0010001")) == 1


def test_an_outage_of_writes_does_not_lose_what_a_ticket_is_owed(tmp_path):
    with a_day(tmp_path) as day:
        for method in ("PATCH", "POST"):
            day.world.faults.add(FaultRule("unavailable", route=f"{method} /api/now/table"))
        for _ in range(8):
            day.cycle()
            day.wait(5)
        day.world.faults.clear()
        for _ in range(3):
            day.cycle()
            day.wait(5)
        assert len(day.notes("RITM0010001")) == 1


def test_throttling_does_not_lose_what_a_ticket_is_owed(tmp_path):
    with a_day(tmp_path) as day:
        for method in ("PATCH", "POST"):
            day.world.faults.add(FaultRule("429_rule", route=f"{method} /api/now/table"))
        for _ in range(8):
            day.cycle()
            day.wait(5)
        day.world.faults.clear()
        day.wait(60)  # it asked to be left alone for up to an hour, and is
        for _ in range(3):
            day.cycle()
            day.wait(5)
        assert len(day.notes("RITM0010001")) == 1


def test_an_hour_that_is_spent_between_two_answers_is_said_once_and_nothing_is_announced_for_the_others(tmp_path):
    config = tmp_path / "config.toml"
    shipped = (Path(__file__).parents[2] / "config.toml").read_text("utf-8")
    config.write_text(shipped.replace("requests_per_hour = 0 ", "requests_per_hour = 2000 "), "utf-8")
    with a_day(tmp_path, config=config) as day:
        host = urlsplit(day.app.systems.servicenow_base).netloc

        def spend(request: httpx.Request) -> None:
            if request.method == "PATCH" and b"work_notes" in request.content:
                day.watch.meddle = lambda _: None
                with day.app.database.write() as session:
                    while requests.take(session, host, 2000, at=day.world.clock.now(), can_wait=False)[1]:
                        pass

        day.watch.meddle = spend
        report = day.cycle()

        assert report is not None
        assert sum("requests_per_hour" in p and "answered yet" in p for p in report.problems) == 1
        with day.app.database.read() as session:
            words = [row["body"].get("words", "") for row in journal.export(session, TENANT) if row["kind"] == "result"]
        assert sum("requests_per_hour" in said for said in words) == 1
        day.wait(61)
        for _ in range(3):
            day.cycle()
            day.wait(5)
        assert [len(day.notes(n)) for n in ("RITM0010001", "RITM0010011")] == [1, 1]


def test_a_kill_switch_that_is_thrown_while_a_refused_write_is_waited_with_keeps_it_from_leaving(tmp_path):
    with a_day(tmp_path) as day:
        sent: list[str] = []

        def throw(request: httpx.Request) -> None:
            if request.url.path.endswith("/assignLicense"):
                sent.append(request.url.path)
                with day.app.database.write() as session:
                    switches.throw(session, TENANT, reason="strange", by="ada", at=day.world.clock.now())

        day.world.faults.add(FaultRule("throttled", route="POST /users", times=1))
        day.watch.meddle = throw
        day.cycle()

        assert len(sent) == 1
        with day.app.database.read() as session:
            told = [row["body"]["result"] for row in journal.export(session, TENANT) if row["kind"] == "result"]
        assert told[-1] == "stopped"


def test_a_ticket_that_is_not_shown_for_a_minute_still_gets_its_task(tmp_path):
    from reconciler.sandbox import hosts

    with a_day(tmp_path) as day:
        t = day.ticket("RITM0010011")["sys_id"]

        def meddle(request):
            if request.method == "PATCH" and request.url.path.endswith(t) and b"work_notes" in request.content:
                day.watch.meddle = lambda _: day.world.instance.hide("sc_req_item", t, hosts.SERVICENOW_USER)

        day.watch.meddle = meddle
        day.cycle()
        day.watch.meddle = lambda _: None
        day.world.instance.show("sc_req_item", t, hosts.SERVICENOW_USER)
        for _ in range(3):
            day.wait(5)
            day.cycle()
        assert len(day.tasks("RITM0010011")) == 1


def test_a_short_page_is_no_error_in_the_configuration(tmp_path):

    with a_day(tmp_path) as day:
        day.world.faults.add(FaultRule("empty_page_acl", route="GET /api/now/table/sys_user_group"))
        day.cycle()


def test_two_tickets_of_one_person_for_one_product_are_one_assignment(tmp_path):
    world = contoso()
    anna = world.instance.user("anna.berger")["sys_id"]
    first = world.instance.records("sc_req_item", number="RITM0010001")[0]
    world.instance.order(
        "RITM0019001", item=first["cat_item"], requested_for=anna, opened_at=world.clock.now() - timedelta(days=1),
        variables={"user": anna, "product": "project-plan-3", "justification": "again"},
    )  # fmt: skip
    with a_day(tmp_path, world) as day:
        day.cycle()

        assert (day.phase("RITM0010001"), day.phase("RITM0019001")) == ("granted", "granted")
        assert len(day.licences("anna.berger@contoso.example")) == 1
        (her,) = (u for u in world.directory.store.users.values() if u.upn == "anna.berger@contoso.example")
        assert len([w for w in day.watch.writes if w.endswith(f"{her.user_id}/assignLicense")]) == 1


@pytest.mark.parametrize("name", ["escape", "lines", "null", "backwards"])
def test_a_sign_in_name_is_no_way_in(name, tmp_path, capsys):
    world = contoso()
    text = TEXTS[name].replace(" ", "") + "@contoso.example"
    anna = world.instance.user("anna.berger")["sys_id"]
    world.instance.change("sys_user", anna, email=text, user_name=text)
    with a_day(tmp_path, world) as day:
        day.cycle()
        assert day.phase("RITM0010004") == "granted"
        assert steering(screen(capsys, day)) == []


@pytest.mark.parametrize("name", ["escape", "null", "backwards"])
def test_an_explanation_is_not_steered(name, tmp_path, capsys, commands):
    world = contoso()
    type_everywhere(world, TEXTS[name])
    with a_day(tmp_path, world) as day:
        day.cycle()
    assert commands("explain", "RITM0010001") == 0
    assert steering(capsys.readouterr().out) == []


def test_a_change_whose_reply_was_lost_is_told_once_it_is_proven(tmp_path):
    with a_day(tmp_path) as day:
        day.world.faults.add(FaultRule("reply_lost", route="POST /users"))
        for _ in range(4):
            day.cycle()
            day.wait(10)
        assert day.phase("RITM0010013") == "granted"
        assert len(day.notes("RITM0010013")) == 1


def test_a_grant_stays_watched_while_a_person_keeps_the_tickets_task(tmp_path):
    with a_played_day(tmp_path) as day:
        assert day.phase("RITM0010004") == "granted"
        (task,) = day.tasks("RITM0010004")
        colleague = day.world.instance.user("oliver.grant")["sys_id"]
        day.world.instance.change("sc_req_item", day.ticket("RITM0010004")["sys_id"], state="2", active="true")
        day.world.instance.change("sc_task", task["sys_id"], state="2", active="true", assigned_to=colleague)
        day.wait(10)
        day.cycle()
        assert day.phase("RITM0010004") == "granted"

        daniel = day.world.directory.user("daniel.hughes@contoso.example").user_id
        day.world.directory.withdraw(daniel, "MCOEV")
        written = len(day.watch.writes)
        for _ in range(3):
            day.wait(30)
            day.cycle()

        assert day.phase("RITM0010004") == "drifted"
        assert not [w for w in day.watch.writes[written:] if daniel in w]


def test_a_person_in_a_row_of_a_ticket_who_was_unreadable_once_is_served_although_the_ticket_never_changed(tmp_path):
    from reconciler.sandbox import hosts

    with a_day(tmp_path) as day:
        dora = day.world.instance.user("dora.meier")["sys_id"]
        day.world.instance.hide("sys_user", dora, hosts.SERVICENOW_USER)
        day.cycle()
        assert day.phases()["RITM0010032/1"] == "held"
        day.world.instance.show("sys_user", dora, hosts.SERVICENOW_USER)
        day.wait(60)
        day.cycle()
        assert day.phases()["RITM0010032/1"] in ("granted", "waiting_for_seat")


def test_a_name_that_is_corrected_in_servicenow_is_looked_up_although_the_ticket_never_changed(tmp_path):
    with a_day(tmp_path) as day:
        who = day.ticket("RITM0010004")["requested_for"]
        right = day.world.instance.record("sys_user", who)
        day.world.instance.change("sys_user", who, email="nobody@contoso.example", user_name="nobody")
        day.cycle()
        assert day.phase("RITM0010004") == "approved"
        day.world.instance.change("sys_user", who, email=right["email"], user_name=right["user_name"])
        day.wait(5)
        day.cycle()
        assert day.phase("RITM0010004") == "granted"


def test_a_person_who_left_a_group_that_is_slow_is_not_taken_out_again_and_again(tmp_path):
    """Seed 5060: the licence stays until the group is processed, and is no sign that the person is still a member."""
    with a_day(tmp_path) as day:
        until(day, "RITM0010002", "2026-11-20", on_day=0.001)
        day.wait(2)
        day.cycle()
        day.wait(30)
        day.cycle()
        day.world.switches.group_delay_s = 5400.0
        day.wait(19 * 24 * 60)
        day.cycle()
        taken = log(day, "RITM0010002")
        assert taken[-1] == ("remove_group_member", "removals")
        for _ in range(4):
            day.wait(15)
            day.cycle()
            assert (day.phase("RITM0010002"), has(day, "bram.devries", "VISIOCLIENT")) == ("revoking", True)
        day.wait(40)
        day.cycle()

        assert (day.phase("RITM0010002"), has(day, "bram.devries", "VISIOCLIENT")) == ("revoked", False)
        assert log(day, "RITM0010002") == taken
        assert len(day.notes("RITM0010002")) == len(set(day.notes("RITM0010002")))


def test_what_somebody_took_away_and_gave_again_is_not_ours_to_take_back(tmp_path):
    """Seed 2024: at the end of the period, what an administrator had assigned was removed as if it were ours."""
    ivan = "ivan.petrov@contoso.example"
    with a_day(tmp_path) as day:
        day.cycle()
        assert day.phase("RITM0010009") == "granted"
        who = day.world.directory.user(ivan).user_id
        day.world.directory.withdraw(who, "PROJECTPROFESSIONAL")
        for _ in range(3):
            day.wait(30)
            day.cycle()
        assert day.phase("RITM0010009") == "drifted"
        day.world.directory.grant(who, "PROJECTPROFESSIONAL")
        for _ in range(2):
            day.wait(30)
            day.cycle()
        assert day.phase("RITM0010009") == "granted"
        day.wait(31 * 24 * 60)
        day.cycle()

        assert has(day, "ivan.petrov", "PROJECTPROFESSIONAL")
        assert day.phase("RITM0010009") == "held"


def test_a_location_that_was_accepted_after_a_long_pause_is_looked_for_before_a_person_is_asked(tmp_path):
    """Seed 93: the first write failed, the service rested for a day, and the second had no time to become readable."""
    with a_day(tmp_path) as day:
        anna = day.world.directory.user("anna.berger@contoso.example")
        day.world.faults.add(FaultRule("unavailable", route="PATCH /users"))
        day.cycle()
        assert (anna.usage_location or "", day.phase("RITM0010001")) == ("", "converging")
        day.world.faults.clear()
        day.world.switches.replica_lag_s = 90.0
        day.wait(25 * 60)
        day.cycle()
        assert (anna.usage_location, day.phase("RITM0010001")) == ("DE", "converging")
        for _ in range(2):
            day.wait(5)
            day.cycle()

        assert day.phase("RITM0010001") == "granted"
        assert len([w for w in day.watch.writes if w == f"PATCH /v1.0/users/{anna.user_id}"]) == 2
        assert len(day.notes("RITM0010001")) == 1


def test_a_grant_that_cannot_be_looked_at_for_a_while_is_not_told_again(tmp_path):
    with a_played_day(tmp_path) as day:
        day.wait(5)
        day.world.faults.add(FaultRule("throttled", route="GET /users"))
        for _ in range(3):
            day.cycle()
            day.wait(70)
        day.world.faults.clear()
        for _ in range(2):
            day.cycle()
            day.wait(70)
        assert len(day.notes("RITM0010004")) == 1
