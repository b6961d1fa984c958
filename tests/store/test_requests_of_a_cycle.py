"""What a cycle asks of both systems, request by request: nothing twice, and nothing less than it decides by."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable

import httpx

from reconciler.sandbox import hosts
from tests.simulation.make_day import Day
from tests.simulation.make_pilot import a_pilot

PEOPLE = 6
KINDS = {
    "%40": "name",
    "/licenseDetails": "plans",
    "/mailboxSettings": "mailbox",
    "/subscribedSkus": "seats",
    "/roleManagement": "roles",
    "/assignLicense": "write",
    "/users/delta": "moved",
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
        if request.url.host == hosts.GRAPH_HOST:
            asked.append(kinds(request))

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
