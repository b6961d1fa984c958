"""What a cycle asks of both systems, request by request: nothing twice, and nothing less than it decides by."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest

from reconciler.daemon import Service
from reconciler.daemon.timetable import Duty
from reconciler.sandbox import hosts
from reconciler.sandbox.stories.forms import FORMS, LICENCE
from reconciler.store import tickets
from tests.make_logs import into
from tests.simulation.make_day import TENANT, Day
from tests.simulation.make_pilot import QUEUE, a_pilot, holders, takes, ticket, tom

PEOPLE, A_REQUEST = 6, timedelta(seconds=0.1)
KINDS = {
    "%40": "name",
    "/licenseDetails": "plans",
    "/mailboxSettings": "mailbox",
    "/subscribedSkus": "seats",
    "/roleManagement": "roles",
    "/assignLicense": "write",
    "/users/delta": "moved",
    "/auditLogs": "log",
    "/users?": "filter",
    "/users/": "account",
}


def kinds(request: httpx.Request) -> list[str]:
    """What a request to Graph is about, part by part."""
    if request.url.path.endswith("/$batch"):
        urls = [part["url"] for part in json.loads(request.content)["requests"]]
    else:
        urls = [request.url.raw_path.decode()]
    return [next(kind for sign, kind in KINDS.items() if sign in url) for url in urls]


def graph(day: Day) -> list[list[str]]:
    """The requests to Graph from now on, each by its parts."""
    asked: list[list[str]] = []

    def meddle(request: httpx.Request) -> None:
        day.world.clock.advance(A_REQUEST)
        if request.url.host == hosts.GRAPH_HOST:
            asked.append(kinds(request))

    day.watch.meddle = meddle
    return asked


def desk(day: Day) -> list[str]:
    """The tables that ServiceNow is asked for from now on."""
    asked: list[str] = []

    def meddle(request: httpx.Request) -> None:
        if request.method == "GET" and "/api/now/table/" in request.url.path:
            asked.append(request.url.path.split("/")[4])

    day.watch.meddle = meddle
    return asked


def alike(requests: Iterable[list[str]]) -> list[dict[str, int]]:
    return [dict(Counter(parts)) for parts in requests]


def test_before_a_write_people_are_read_by_name_and_once_more_by_id_and_seats_come_with_their_plans(tmp_path):
    with a_pilot(tmp_path, "enforce", "full", people=PEOPLE) as day:
        asked = graph(day)
        day.cycle()

    first = next(n for n, parts in enumerate(asked) if "write" in parts)
    assert alike(asked[:first]) == [
        {"name": PEOPLE},
        {"seats": 1, "roles": 2, "plans": PEOPLE},
        {"mailbox": PEOPLE},
        {"account": PEOPLE},
    ]


def test_after_a_write_an_account_is_read_once_for_whoever_comes_next_and_for_the_proof(tmp_path):
    with a_pilot(tmp_path, "enforce", "full", people=PEOPLE) as day:
        day.world.switches.provisioning_s = 0.0
        asked = graph(day)
        day.cycle()
        assert holders(day) == set(range(PEOPLE))
        assert set(day.phases().values()) == {"granted"}

    first = next(n for n, parts in enumerate(asked) if "write" in parts)
    assert Counter(kind for parts in asked[first:] for kind in parts) == {
        "write": PEOPLE,
        "account": PEOPLE,
        "plans": PEOPLE,
    }
    assert asked[-1] == ["plans"] * PEOPLE


@pytest.mark.parametrize("provisioning_s", [0.0, 20.0], ids=["at once", "later"])
def test_what_somebody_takes_back_before_the_proof_is_not_granted(tmp_path, provisioning_s: float):
    with a_pilot(tmp_path, "enforce", "full", people=PEOPLE) as day:
        day.world.switches.provisioning_s = provisioning_s
        asked: list[list[str]] = []

        def meddle(request: httpx.Request) -> None:
            if request.url.host == hosts.GRAPH_HOST:
                asked.append(kinds(request))
                written = [parts for parts in asked if "write" in parts]
                if len(written) == PEOPLE and "plans" in asked[-1] and 3 in holders(day):
                    takes(day, 3)

        day.watch.meddle = meddle
        day.cycle()

        assert {n for n in range(PEOPLE) if day.phase(ticket(n)) == "granted"} == set(range(PEOPLE)) - {3}
        assert [task["state"] for task in day.tasks(ticket(3))] == ["1"]


# --- between cycles


def a_service(day: Day) -> tuple[Service, list[str]]:
    """A service that does nothing but polls from now on, and what they call for."""
    day.world.switches.delta_duplicates = day.world.switches.delta_replays = 0.0
    said: list[str] = []
    service = Service(day.app, into(said))
    service.turn()
    poll(service)
    return service, said


def poll(service: Service) -> None:
    """Only a poll is due, and what it calls for."""
    later = dict.fromkeys(service.table.next_s, 1e12)
    service.table = replace(service.table, next_s=later, alarm_at=None).wanted(Duty.PULL, 0.0)
    service.turn()


def cycles(said: list[str]) -> int:
    return sum(line.startswith("cycle ended ") for line in said)


def test_whom_a_cycle_wrote_to_is_no_news_and_whoever_moves_afterwards_is(tmp_path):
    with a_pilot(tmp_path, "enforce", "full", people=PEOPLE) as day:
        service, said = a_service(day)
        before = cycles(said)
        asked = graph(day)
        day.wait(2)
        poll(service)
        assert (alike(asked), cycles(said)) == ([{"moved": 1}], before)

        takes(day, 3)
        day.wait(2)
        poll(service)

        assert cycles(said) == before + 1
        assert {"account", "plans"} <= {kind for parts in asked for kind in parts}


def test_a_change_that_is_turned_back_before_anybody_asks_is_none_and_one_beside_ours_is(tmp_path):
    with a_pilot(tmp_path, "enforce", "full", people=PEOPLE) as day:
        service, said = a_service(day)
        before, directory = cycles(said), day.world.directory
        user = directory.user("p2@contoso.example")
        for country in ("FR", "DE"):
            directory.changes.set_usage_location(user.user_id, country, actor=tom(day))
        day.wait(2)
        poll(service)
        assert cycles(said) == before

        directory.grant(user.user_id, "SPE_E3", actor=tom(day))
        day.wait(2)
        poll(service)
        assert cycles(said) == before + 1


def test_what_a_cycle_of_somebody_else_saw_in_between_is_not_taken_for_what_ours_left(tmp_path):
    with a_pilot(tmp_path, "enforce", "full", people=PEOPLE) as day:
        service, said = a_service(day)
        before, directory = cycles(said), day.world.directory
        user = directory.user("p2@contoso.example")
        directory.changes.set_usage_location(user.user_id, "FR", actor=tom(day))
        day.cycle()
        directory.changes.set_usage_location(user.user_id, "DE", actor=tom(day))
        day.wait(2)
        poll(service)

        assert cycles(said) == before + 1


# --- tickets


def order(day: Day, number: int, item: str) -> None:
    """Somebody orders again."""
    instance = day.world.instance
    person = instance.truth.user_id(f"p{number}")
    (queue,) = instance.records("sys_user_group", name=QUEUE)
    instance.order(
        ticket(number + 100),
        item=item,
        requested_for=person,
        variables={"user": person, "product": "Visio Plan 2", "justification": "For drawings."},
        opened_at=day.world.clock.now(),
        state="2",
        stage="fulfillment",
        task={"state": "1", "assignment_group": queue["sys_id"]},
        price="14.10",
    )


def item_of(day: Day, number: int) -> str:
    return day.ticket(ticket(number))["cat_item"]


def test_names_that_are_known_are_not_asked_for_again(tmp_path):
    with a_pilot(tmp_path, "enforce", "full", people=PEOPLE) as day:
        service, said = a_service(day)
        before, asked = cycles(said), desk(day)
        day.wait(10)
        order(day, 1, item_of(day, 0))
        poll(service)

        assert cycles(said) == before + 1
        assert not {"sc_cat_item", "sys_user_group"} & set(asked)


def test_a_new_ticket_is_read_once_and_its_task_is_not_looked_at_again_after_it_was_seen_closed(tmp_path):
    with a_pilot(tmp_path, "enforce", "full", people=PEOPLE) as day:
        service, said = a_service(day)
        before, asked = cycles(said), desk(day)
        order(day, 1, item_of(day, 0))
        day.wait(11)
        poll(service)

        assert cycles(said) == before + 1
        found = Counter(asked)
        assert found["sc_req_item"] == 3  # whether it is of ours, what it says, and how our answers left it
        assert found["sc_task"] == 4  # those that moved, the ticket's, and around the closing


def test_an_item_that_was_made_anew_under_its_name_is_found_within_the_hour_of_its_first_order(tmp_path):
    with a_pilot(tmp_path, "enforce", "full", people=PEOPLE) as day:
        service, said = a_service(day)
        before, instance = cycles(said), day.world.instance
        day.wait(61)
        instance.change("sc_cat_item", item_of(day, 0), active="false")
        order(day, 1, instance.add_item(LICENCE, **FORMS[LICENCE]))
        poll(service)

        assert cycles(said) == before + 1
        with day.app.database.read() as session:
            assert ticket(101) in tickets.load(session, TENANT)


def test_a_ticket_whose_task_alone_moved_a_moment_ago_is_read(tmp_path):
    with a_pilot(tmp_path, "enforce", "silent", people=PEOPLE) as day:
        day.cycle()
        record = day.ticket(ticket(2))["sys_id"]
        day.world.instance.change("sc_req_item", record, by="tom.weber", description="soon")
        day.cycle()
        day.wait(1)
        (task,) = day.tasks(ticket(2))
        person = day.world.instance.user("tom.weber")["sys_id"]
        day.world.instance.change("sc_task", task["sys_id"], by="tom.weber", assigned_to=person)
        day.cycle()

        with day.app.database.read() as session:
            copies = tickets.load(session, TENANT)
        assert [t.assigned_to for t in copies[ticket(2)].tasks] == [person]
