"""Stops that people throw hold at once, end when they say, and are told in the audit log."""

from __future__ import annotations

import pytest

from reconciler.store import journal, switches
from reconciler.store.database import Database
from reconciler.store.switches import KILL
from reconciler.store.tables import EVERYONE
from tests.make import DAY, HOUR, MONDAY
from tests.make_store import TENANT


def throw(database: Database, tenant: str = TENANT, reason: str = "strange grants") -> bool:
    with database.write() as session:
        return switches.throw(session, tenant, reason=reason, by="ada", at=MONDAY)


def freeze(database: Database, name: str = "year-end", **changes) -> bool:
    given = {"reason": "audit", "by": "ada", "at": MONDAY} | changes
    with database.write() as session:
        return switches.freeze(session, TENANT, name, **given)


def stopping(database: Database, lane: str = "grants", at=MONDAY) -> str | None:
    with database.read() as session:
        found = switches.stopping(session, TENANT, lane, at)
    return found.name if found is not None else None


def test_the_kill_switch_stops_every_lane_until_it_is_lifted(database):
    assert stopping(database) is None

    assert throw(database)
    assert [stopping(database, lane, MONDAY + 99 * DAY) for lane in ("grants", "answers")] == [KILL, KILL]

    with database.write() as session:
        assert switches.lift(session, TENANT, KILL, reason="found it", by="bob", at=MONDAY + HOUR)
    assert stopping(database) is None


def test_a_switch_thrown_for_everyone_stops_each_tenant(database):
    throw(database, EVERYONE)

    assert stopping(database) == KILL


def test_stopping_needs_no_reason_and_lifting_does(database):
    throw(database, reason="")

    with pytest.raises(ValueError, match="reason"), database.write() as session:
        switches.lift(session, TENANT, KILL, reason=" ", by="bob", at=MONDAY)

    assert stopping(database) == KILL


def test_a_freeze_stops_its_lane_within_its_window(database):
    freeze(database, scope="removals", from_at=MONDAY + HOUR, until_at=MONDAY + DAY)

    assert stopping(database, "removals", MONDAY) is None
    assert stopping(database, "removals", MONDAY + HOUR) == "year-end"
    assert stopping(database, "grants", MONDAY + HOUR) is None
    assert stopping(database, "removals", MONDAY + DAY) is None


def test_the_kill_switch_is_named_before_a_freeze(database):
    freeze(database, "a-freeze")
    throw(database)

    assert stopping(database) == KILL


@pytest.mark.parametrize("changes", [{"until_at": MONDAY}, {"from_at": MONDAY + DAY, "until_at": MONDAY + HOUR}])
def test_a_freeze_that_never_holds_is_refused(database, changes):
    with pytest.raises(ValueError, match="ends after it begins"):
        freeze(database, **changes)


def test_a_freeze_cannot_pass_for_the_kill_switch(database):
    with pytest.raises(ValueError, match="not the name"):
        freeze(database, KILL, scope="nothing")


def test_who_threw_and_who_lifted_and_why_is_told_once_each(database):
    assert throw(database)
    assert not throw(database, reason="again")
    with database.write() as session:
        assert switches.lift(session, TENANT, KILL, reason="found it", by="bob", at=MONDAY + HOUR)
        assert not switches.lift(session, TENANT, KILL, reason="found it", by="bob", at=MONDAY + HOUR)
        assert not switches.lift(session, TENANT, "no-such", reason="x", by="bob", at=MONDAY)

    with database.read() as session:
        told = [(row.actor, row.body["on"], row.body["reason"]) for row in journal.rows_for(session, TENANT, KILL)]
    assert told == [("ada", True, "strange grants"), ("bob", False, "found it")]
