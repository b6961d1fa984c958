"""A scan in slices finds what a whole one finds, and gives way to one whenever it cannot say so."""

from __future__ import annotations

import httpx
import pytest

from desired_state.model import UserId
from reconciler.clients.graph import Graph
from reconciler.clients.wire import Patience
from reconciler.errors import Unavailable
from reconciler.loop.rolling import Rolling
from reconciler.loop.sweep import Desired, Hint, sweep_again
from reconciler.observed import Memory
from tests.make import E3, SWAY
from tests.pure.test_observed import GUIDS, everyone
from tests.pure.test_sweep import SKU_PLANS, a_want, held, shown
from tests.wire.make_replies import GRAPH, Remote, Reply, a_graph, query, reply

PAGE = 20


class Directory:
    """Sixty people in pages of twenty. `lost` pages are not answered."""

    def __init__(self) -> None:
        self.people = [shown(user, held()) for user in GUIDS]
        self.lost: set[int] = set()
        self.remote = Remote(self._answer)
        self.graph: Graph = a_graph(self.remote, patience=Patience(attempts=1))

    def _answer(self, request: httpx.Request) -> Reply:
        at = int(query(request).get("$skiptoken", "0"))
        if at in self.lost:
            return reply(503)
        more = at + PAGE < len(self.people)
        link = {"@odata.nextLink": f"{GRAPH}/users?$skiptoken={at + PAGE}"} if more else {}
        return reply(200, {**link, "value": self.people[at : at + PAGE]})

    @property
    def asked(self) -> int:
        return len(self.remote.seen)


def scanned(directory: Directory, users: list[UserId] = GUIDS) -> tuple[Rolling, Desired]:
    """After one whole scan."""
    rolling, desired = Rolling(Memory()), Desired.compile(everyone(users), SKU_PLANS)
    sweep_again(lambda begin: directory.graph.scan(begin=begin), desired, rolling.memory)
    return rolling, desired


def test_nothing_is_read_in_slices_before_a_whole_scan():
    directory, rolling = Directory(), Rolling(Memory())

    assert rolling.every_s(3600.0) is None
    assert rolling.slice(directory.graph) is None
    assert directory.asked == 0


def test_each_slice_is_a_page_and_the_last_one_says_who_differs():
    directory = Directory()
    rolling, _ = scanned(directory)
    directory.people[30] = shown(GUIDS[30])
    asked = directory.asked

    first, second = (rolling.slice(directory.graph) for _ in range(2))
    assert rolling.every_s(1000.0) == 800.0  # sixty people would be one page of a real directory
    third = rolling.slice(directory.graph)

    assert directory.asked == asked + 3
    assert (first, second) == (None, None)
    assert third is not None
    assert third.looks == {GUIDS[30]: Hint.MISSING}
    assert third.changed == {GUIDS[30]}


def test_a_pass_that_ended_stands_for_a_whole_scan_once_with_those_for_whom_something_else_is_desired():
    directory = Directory()
    rolling, desired = scanned(directory, GUIDS[1:])
    for _ in range(4):  # one into the next pass
        rolling.slice(directory.graph)
    now = Desired.compile(everyone(), SKU_PLANS, like=desired)

    taken = rolling.take(now)

    assert taken is not None
    assert (taken.looks, taken.is_complete) == ({GUIDS[0]: Hint.UNKNOWN}, True)
    assert rolling.take(now) is None
    directory.people[0] = shown(GUIDS[0])
    results = [rolling.slice(directory.graph) for _ in range(5)]  # the rest of that pass, and the next one
    assert results[1] is not None
    assert results[1].looks == {}  # it was compared with what had been desired when it began
    assert results[4] is not None
    assert results[4].looks == {GUIDS[0]: Hint.MISSING}


def test_too_much_that_is_new_or_of_another_kind_needs_a_whole_scan():
    directory = Directory()
    for asked in (everyone(GUIDS), [*everyone(GUIDS[5:]), a_want(GUIDS[9], E3, SWAY)]):
        rolling, desired = scanned(directory, GUIDS[5:])
        for _ in range(3):
            rolling.slice(directory.graph)

        assert rolling.take(Desired.compile(asked, SKU_PLANS, like=desired)) is None


def test_a_page_that_is_lost_gives_the_pass_up_and_the_next_slice_begins_anew():
    directory = Directory()
    rolling, _ = scanned(directory)
    rolling.slice(directory.graph)
    directory.lost = {PAGE}
    with pytest.raises(Unavailable):
        rolling.slice(directory.graph)
    directory.lost = set()
    directory.people[50] = shown(GUIDS[50])

    results = [rolling.slice(directory.graph) for _ in range(3)]

    assert results[2] is not None
    assert results[2].looks == {GUIDS[50]: Hint.MISSING}


def test_a_whole_scan_in_between_ends_a_pass_and_the_next_begins_with_what_it_saw():
    directory = Directory()
    rolling, desired = scanned(directory)
    rolling.slice(directory.graph)
    sweep_again(lambda begin: directory.graph.scan(begin=begin), desired, rolling.memory)
    directory.people[3] = shown(GUIDS[3])

    results = [rolling.slice(directory.graph) for _ in range(3)]

    assert results[2] is not None
    assert (results[2].looks, results[2].changed) == ({GUIDS[3]: Hint.MISSING}, {GUIDS[3]})


def test_what_a_full_scan_wanted_next_is_forgotten_when_a_whole_one_knows_more():
    directory = Directory()
    rolling, desired = scanned(directory, GUIDS[1:])
    for _ in range(3):
        rolling.slice(directory.graph)
    assert rolling.take(Desired.compile(everyone(GUIDS[1:]), SKU_PLANS, like=desired)) is not None
    newest = Desired.compile(everyone(), SKU_PLANS, like=desired)
    sweep_again(lambda begin: directory.graph.scan(begin=begin), newest, rolling.memory)
    directory.people[0] = shown(GUIDS[0])

    results = [rolling.slice(directory.graph) for _ in range(3)]

    assert results[2] is not None
    assert (results[2].looks, results[2].changed) == ({GUIDS[0]: Hint.MISSING}, {GUIDS[0]})
