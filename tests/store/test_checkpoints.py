"""Checkpoints, retention, sinks and pseudonyms: what is signed stays true, whatever is removed or erased."""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from datetime import timedelta

import pytest
from sqlalchemy import text

from reconciler.audit import verify as audit
from reconciler.audit.checkpoints import checked
from reconciler.audit.veil import Veil
from reconciler.store import checkpoints, journal, persons, retention, sinks
from reconciler.store.checkpoints import Inconsistent
from reconciler.store.database import Database, row_counts
from reconciler.store.fit import TEXT_MAX
from reconciler.store.persons import VEIL, Veils
from tests.make import DAY, HOUR, MONDAY
from tests.make_audit import KEY, TENANT
from tests.make_database import without_triggers


def tell(database: Database, *subjects: str, **changes) -> None:
    given = {"kind": "config", "body": {"n": 1}, "at": MONDAY} | changes
    with database.write() as session:
        for subject in subjects:
            journal.append(session, TENANT, subject=subject, **given)


def take(database: Database, at=MONDAY, **more):
    with database.write() as session:
        return checkpoints.take(session, TENANT, KEY, at, **more)


def verified(database: Database, **more) -> audit.Report:
    with database.read() as session:
        rows, beside = journal.export(session), checkpoints.marks(session)
        return audit.verify(rows, beside, verifiers=[KEY.verifier], **more)


@contextmanager
def tampering(database: Database):
    with database.write() as session:
        without_triggers(session)
        yield session.connection()


# --- signing ------------------------------------------------------------------------------------------------


def test_a_log_is_current_until_a_row_follows_its_newest_checkpoint(database):
    def is_current() -> bool:
        with database.read() as session:
            return checkpoints.is_current(session, TENANT)

    assert is_current()  # there is nothing to sign
    tell(database, "a")
    assert not is_current()
    take(database)
    assert is_current()
    tell(database, "b")
    assert not is_current()


def test_checkpoints_follow_the_log_and_where_nothing_is_new_nothing_is_signed(database):
    assert take(database) is None
    tell(database, "a", "b", "c")
    first = take(database)
    tell(database, "d")
    second = take(database, MONDAY + HOUR)
    with database.read() as session:
        before = row_counts(session)

    assert take(database) is None

    assert (first.size, second.size) == (3, 4)
    assert checked(second.note, [KEY.verifier]).at == MONDAY + HOUR
    with database.read() as session:
        assert row_counts(session) == before
        assert checkpoints.tree(session, TENANT).root() == second.root
    report = verified(database)
    assert (report.ok, report.unsigned, report.checkpoints_checked) == (True, {TENANT: 0}, 2)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE audit SET actor = 'x' WHERE seq = 4", "does not hold"),
        ("DELETE FROM audit WHERE seq = 4", "does not hold"),
        ("DELETE FROM audit WHERE seq > 2", "its end is gone"),
        ("UPDATE audit SET hash = '" + "0" * 64 + "' WHERE seq = 3", "rewritten"),
    ],
)
def test_a_log_that_does_not_continue_what_was_signed_is_never_signed(database, change, said):
    tell(database, "a", "b", "c")
    take(database)
    tell(database, "d", "e")
    with tampering(database) as connection:
        connection.exec_driver_sql(change)

    with pytest.raises(Inconsistent, match=said):
        take(database)

    assert not verified(database).ok or "2" in change


def test_an_older_copy_of_the_store_is_not_signed_when_its_head_was_kept_elsewhere(database):
    tell(database, "a", "b", "c")
    taken = take(database)
    with tampering(database) as connection:
        connection.exec_driver_sql("DELETE FROM audit WHERE seq = 3")
        connection.exec_driver_sql("DELETE FROM audit_checkpoint")

    with pytest.raises(Inconsistent, match="older copy"):
        take(database, elsewhere=taken.as_head)
    assert verified(database).ok
    assert not verified(database, since=[taken.note]).ok


def test_checkpoints_and_segments_refuse_to_be_changed(database):
    tell(database, "a")
    take(database)
    for change in ("UPDATE audit_checkpoint SET note = ''", "DELETE FROM audit_checkpoint"):
        with pytest.raises(Exception, match="append-only"), database.write() as session:
            session.execute(text(change))


def test_an_export_holds_all_that_an_auditor_needs_beside_the_public_key(database):
    tell(database, "a", "b")
    take(database)
    tell(database, "c")
    with database.read() as session:
        lines = [json.dumps(line, separators=(",", ":")) for line in checkpoints.export(session)]

    report = audit.verify(journal.read_export(lines), audit.read_marks(lines), verifiers=[KEY.verifier])

    assert len(lines) == 4
    assert (report.ok, report.unsigned) == (True, {TENANT: 1})


# --- retention ------------------------------------------------------------------------------------------------


def test_only_whole_sealed_segments_go_and_the_rest_verifies_as_before(database):
    tell(database, "a", "b", at=MONDAY - 3000 * DAY)
    old = take(database, MONDAY - 3000 * DAY)
    tell(database, "c", at=MONDAY - 2900 * DAY)
    take(database, MONDAY - 2900 * DAY)
    tell(database, "d", at=MONDAY - DAY)
    newest = take(database, MONDAY)

    with database.write() as session:
        last = retention.due(session, TENANT, retention.Keep(), MONDAY)
        segment = retention.remove(session, TENANT, last, by="ada", at=MONDAY)

    assert (segment.first, segment.last) == (1, 3)
    take(database, MONDAY + HOUR)
    report = verified(database, since=[old.note, newest.note])
    assert (report.ok, report.removed, report.unsigned) == (True, {TENANT: 3}, {TENANT: 0})
    with database.read() as session:
        assert [row["subject"] for row in journal.export(session)] == ["d", "audit"]
        assert retention.due(session, TENANT, retention.Keep(), MONDAY) == 0
        assert checkpoints.tree(session, TENANT).consistency(4)
    with pytest.raises(Exception, match="append-only"), database.write() as session:
        session.execute(text("DELETE FROM audit"))


def test_a_view_is_kept_shorter_and_a_decision_keeps_what_is_behind_it(database):
    keep = retention.Keep()
    tell(database, "a", kind="approval.viewed", at=MONDAY - 500 * DAY)
    take(database)
    with database.read() as session:
        assert retention.due(session, TENANT, keep, MONDAY) == 1
        assert retention.due(session, TENANT, keep, MONDAY - 200 * DAY) == 0
    tell(database, "b", at=MONDAY - 499 * DAY)
    tell(database, "c", kind="approval.viewed", at=MONDAY - 498 * DAY)
    take(database)
    with database.read() as session:
        assert retention.due(session, TENANT, keep, MONDAY) == 1


def test_segments_removed_one_after_the_other_hold_together(database):
    for number in range(4):
        tell(database, f"a{number}", f"b{number}", at=MONDAY - 3000 * DAY)
        take(database)
    notes = checkpoints_of(database)
    for last in (2, 4):
        with database.write() as session:
            retention.remove(session, TENANT, last, by="ada", at=MONDAY)

    report = verified(database, since=notes)

    assert (report.ok, report.removed) == (True, {TENANT: 4})


def checkpoints_of(database: Database) -> list[str]:
    with database.read() as session:
        return list(checkpoints.marks(session).notes)


# --- the clock and long text ------------------------------------------------------------------------------------


def test_a_clock_that_stepped_back_is_noted_and_the_order_stays(database):
    tell(database, "a", at=MONDAY)
    tell(database, "b", at=MONDAY - timedelta(seconds=90))
    tell(database, "c", at=MONDAY - HOUR)

    with database.read() as session:
        warnings = [row["body"].get("clock_warning") for row in journal.export(session)]
    assert warnings == [None, None, (MONDAY - timedelta(seconds=90)).isoformat(timespec="microseconds")]
    report = verified(database)
    assert (report.ok, [n.why for n in report.notices]) == (True, ["clock"])


def test_very_long_text_is_cut_with_its_length_and_hash(database):
    said = "x" * (TEXT_MAX + 1)
    tell(database, "a", body={"comment": said})

    with database.read() as session:
        kept = next(journal.export(session))["body"]["comment"]
    assert len(kept) < TEXT_MAX + 150
    assert hashlib.sha256(said.encode()).hexdigest() in kept


# --- sinks ----------------------------------------------------------------------------------------------------


def test_what_a_second_place_lacks_is_counted_and_since_when(database):
    tell(database, "a", "b", "c")
    with database.write() as session:
        sinks.delivered(session, TENANT, "file:/x", seq=2, checkpoint=0)
        sinks.failed(session, TENANT, "file:/x", "full", MONDAY)
        sinks.failed(session, TENANT, "file:/x", "still full", MONDAY + HOUR)

    with database.read() as session:
        place = sinks.positions(session, TENANT)["file:/x"]
    assert (place.behind, place.failing_since, place.error) == (1, MONDAY, "still full")


# --- pseudonyms -----------------------------------------------------------------------------------------------

ADA_ID = "11111111-1111-4111-8111-111111111111"
BOB_ID = "22222222-2222-4222-8222-222222222222"


def counted():
    """Bytes that never repeat and are the same every day."""
    number = 0

    def make(size: int) -> bytes:
        nonlocal number
        number += 1
        return hashlib.sha512(str(number).encode()).digest()[:size]

    return make


@pytest.fixture
def veiled(database):
    veil = Veil(b"v" * 32, counted())
    database.info[VEIL] = Veils(lambda _: veil)
    return database


def raw(database: Database) -> str:
    with database.read() as session:
        return json.dumps(list(journal.export(session)))


def test_persons_stand_behind_signs_and_are_read_as_before(veiled):
    human = {"tid": "t", "oid": BOB_ID, "upn": "bob@contoso.example", "name": "Bob Brown", "employee_id": "77"}
    body = {
        "user": ADA_ID,
        "upn": "ada@contoso.example",
        "comment": "She asked Bob.",
        "approver": human,
        "lines": ["R1/1"],
    }
    body |= {"facts": {"department": "Sales", "groups": ["Board"], "is_member": True}}
    tell(veiled, ADA_ID, "R1/1", kind="intent", body=body, actor="carol@contoso.example")

    written = raw(veiled)
    for private in ("ada@", ADA_ID, "bob@", BOB_ID, "Bob", "asked", "carol@", '"77"', "Sales", "Board"):
        assert private not in written
    assert verified(veiled).ok
    with veiled.read() as session:
        by_person, by_line = journal.rows_for(session, TENANT, ADA_ID), journal.rows_for(session, TENANT, "R1")
    assert [(row.subject, row.actor, dict(row.body)) for row in by_person] == [(ADA_ID, "carol@contoso.example", body)]
    assert [row.body["approver"] for row in by_line] == [human, human]


def test_an_erased_person_is_gone_from_the_log_and_the_chain_is_whole(veiled):
    tell(veiled, ADA_ID, body={"upn": "ada@contoso.example", "user": ADA_ID, "comment": "private"})
    tell(veiled, BOB_ID, body={"comment": "his"})
    take(veiled)
    before = raw(veiled)

    with veiled.write() as session:
        count = persons.erase(session, TENANT, ["ada@contoso.example"], MONDAY)

    assert count == 1
    assert raw(veiled) == before
    assert verified(veiled).ok
    with veiled.read() as session:
        (ada,) = journal.rows_for(session, TENANT, ADA_ID)
        (bob,) = journal.rows_for(session, TENANT, BOB_ID)
    assert "ada" not in json.dumps(ada.body)
    assert "private" not in json.dumps(ada.body)
    assert ada.subject.startswith("p_")
    assert (bob.subject, bob.body["comment"]) == (BOB_ID, "his")


def test_whom_the_log_forgot_is_not_remembered_by_a_later_row(veiled):
    tell(veiled, ADA_ID, body={"upn": "ada@contoso.example", "user": ADA_ID})
    with veiled.write() as session:
        persons.erase(session, TENANT, [ADA_ID, "ada@contoso.example"], MONDAY)
    tell(veiled, ADA_ID, body={"upn": "ada@contoso.example", "user": ADA_ID, "comment": "again"})

    with veiled.read() as session:
        rows = journal.rows_for(session, TENANT, ADA_ID)
    assert len(rows) == 2
    assert "again" not in json.dumps([row.body for row in rows])


def test_a_key_of_another_installation_reads_nothing(veiled):
    tell(veiled, ADA_ID, body={"comment": "private"})
    other = Veil(b"w" * 32, counted())
    veiled.info[VEIL] = Veils(lambda _: other)

    with veiled.read() as session:
        assert journal.rows_since(session, TENANT, MONDAY, "config")[0].body["comment"].startswith("t_")
