"""Opening a store, its transactions, its rehearsals, and the sentences of everything that can be wrong with it."""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from reconciler.errors import UserError
from reconciler.store import journal, watermarks
from reconciler.store.database import Database, connect, open_database, row_counts
from reconciler.store.watermarks import Watermark
from tests.make import HOUR, MONDAY
from tests.make_store import TENANT
from tests.store.make_processes import append_rows, others


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def mark(database: Database, at: datetime, source: str = "servicenow") -> None:
    with database.write() as session:
        watermarks.save(session, TENANT, source, Watermark(at, "a"))


def marked(database: Database, source: str = "servicenow") -> Watermark | None:
    with database.read() as session:
        return watermarks.load(session, TENANT, source)


# --- creation -----------------------------------------------------------------------------------------------


def test_a_fresh_store_and_its_directory_are_for_the_owner_alone(path):
    old = os.umask(0)
    try:
        with open_database(path) as database:
            mark(database, MONDAY)

            assert mode(path.parent) == 0o700
            assert {mode(file) for file in path.parent.iterdir()} == {0o600}  # the log of SQLite included
    finally:
        os.umask(old)


def test_a_fresh_store_is_complete_and_leaves_nothing_else_behind(path):
    with open_database(path) as database:
        assert database.check().is_ok

    assert [file.name for file in path.parent.iterdir()] == ["reconciler.db"]


def test_an_empty_file_becomes_a_store(tmp_path):
    path = tmp_path / "reconciler.db"
    path.touch()

    with open_database(path) as database:
        assert database.check().is_ok


def test_a_store_is_the_same_by_path_by_text_and_by_url(path):
    with open_database(path) as database:
        mark(database, MONDAY)

    for url in (str(path), f"sqlite:///{path}"):
        with open_database(url) as database:
            assert marked(database) == Watermark(MONDAY, "a")


def test_a_committed_intent_is_on_the_disk_before_the_write_returns(embedded):
    with embedded.write() as session:
        assert session.execute(text("PRAGMA synchronous")).scalar() == 2  # FULL
        assert session.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert session.execute(text("PRAGMA foreign_keys")).scalar() == 1


# --- transactions -------------------------------------------------------------------------------------------


def test_an_instant_comes_back_in_utc_whatever_zone_it_had(database):
    noon = datetime(2026, 11, 2, 12, 0, 0, 123456, tzinfo=timezone(timedelta(hours=2)))

    mark(database, noon)

    found = marked(database)
    assert found is not None
    assert found.at == noon
    assert found.at.utcoffset() == timedelta(0)


def test_a_naive_instant_is_refused_and_nothing_is_kept(database):
    with pytest.raises(Exception, match="without a time zone"):
        mark(database, datetime(2026, 11, 2, 12, 0))

    assert marked(database) is None


def test_what_fails_halfway_leaves_nothing_behind(database):
    with pytest.raises(ZeroDivisionError), database.write() as session:
        watermarks.save(session, TENANT, "servicenow", Watermark(MONDAY, "a"))
        journal.append(session, TENANT, kind="config", subject="s", body={}, at=MONDAY)
        raise ZeroDivisionError

    with database.read() as session:
        assert set(row_counts(session).values()) == {0}


def test_a_reader_keeps_its_view_while_a_writer_commits(database):
    mark(database, MONDAY)

    with database.read() as session:
        before = watermarks.load(session, TENANT, "servicenow")
        mark(database, MONDAY + HOUR)
        session.expire_all()
        assert watermarks.load(session, TENANT, "servicenow") == before

    assert marked(database) == Watermark(MONDAY + HOUR, "a")


def test_a_write_in_a_read_transaction_is_refused_rather_than_lost(database):
    with pytest.raises(UserError, match="cannot be written"), database.read() as session:
        journal.append(session, TENANT, kind="intent", subject="s", body={}, at=MONDAY)


def test_a_connection_that_has_written_refuses_to_write_for_a_reader_and_writes_again_for_a_writer(database):
    mark(database, MONDAY)

    for hours in (1, 2):
        with pytest.raises(UserError, match="cannot be written"), database.read() as session:
            watermarks.save(session, TENANT, "servicenow", Watermark(MONDAY, "refused"))
        mark(database, MONDAY + hours * HOUR)
        assert marked(database) == Watermark(MONDAY + hours * HOUR, "a")


def test_a_broken_constraint_is_a_defect_and_no_sentence_for_people(database):
    insert = text("INSERT INTO watermark (tenant, source, at, sys_id) VALUES ('a', 'b', '2026-11-02', NULL)")

    with pytest.raises(IntegrityError), database.write() as session:
        session.execute(insert)


# --- rehearsals ---------------------------------------------------------------------------------------------


def test_a_rehearsal_sees_the_store_and_its_own_writes_and_keeps_none(database):
    mark(database, MONDAY)

    with database.dry() as rehearsal:
        assert marked(rehearsal) == Watermark(MONDAY, "a")
        mark(rehearsal, MONDAY + HOUR)
        with rehearsal.write() as session:
            journal.append(session, TENANT, kind="config", subject="s", body={}, at=MONDAY)
        assert marked(rehearsal) == Watermark(MONDAY + HOUR, "a")

    assert marked(database) == Watermark(MONDAY, "a")
    with database.read() as session:
        assert row_counts(session)["audit"] == 0


def test_what_fails_in_a_rehearsal_is_rolled_back_within_it(database):
    with database.dry() as rehearsal:
        mark(rehearsal, MONDAY)
        with pytest.raises(ZeroDivisionError), rehearsal.write() as session:
            watermarks.save(session, TENANT, "servicenow", Watermark(MONDAY + HOUR, "b"))
            raise ZeroDivisionError

        assert marked(rehearsal) == Watermark(MONDAY, "a")


def test_a_rehearsal_holds_up_no_writer(database):
    mark(database, MONDAY)

    with database.dry() as rehearsal:
        mark(rehearsal, MONDAY + HOUR)
        with rehearsal.write() as session:
            journal.append(session, TENANT, kind="config", subject="rehearsed", body={}, at=MONDAY)
        mark(database, MONDAY + 2 * HOUR)
        with database.write() as session:
            journal.append(session, TENANT, kind="config", subject="real", body={}, at=MONDAY)
        assert marked(rehearsal) == Watermark(MONDAY + HOUR, "a")

    assert marked(database) == Watermark(MONDAY + 2 * HOUR, "a")
    with database.read() as session:
        assert [row["subject"] for row in journal.export(session)] == ["real"]
        assert journal.verify(journal.export(session)).ok


def test_a_rehearsal_leaves_the_file_byte_for_byte(embedded, path):
    mark(embedded, MONDAY)
    embedded.close()
    before = path.read_bytes()

    with open_database(path, read_only=True) as reading, reading.dry() as rehearsal:
        mark(rehearsal, MONDAY + HOUR)

    assert path.read_bytes() == before


def test_a_rehearsal_fails_like_its_body(database):
    with pytest.raises(ZeroDivisionError), database.dry() as rehearsal:
        mark(rehearsal, MONDAY)
        raise ZeroDivisionError

    assert marked(database) is None


# --- what can be wrong ----------------------------------------------------------------------------------------


def refused(*words: str) -> pytest.RaisesExc[UserError]:
    return pytest.raises(UserError, match=".*".join(words))


def test_a_store_that_is_only_to_be_read_must_be_there(path):
    with refused("there is no store", "reconcile") as caught:
        open_database(path, read_only=True)

    assert caught.value.exit_code == 1
    assert not path.parent.exists()


def test_a_store_opened_for_reading_can_be_read_and_not_written(database, place):
    mark(database, MONDAY)
    database.close()

    with open_database(place, read_only=True) as reading:
        assert marked(reading) == Watermark(MONDAY, "a")
        with refused("for reading only"):
            mark(reading, MONDAY + HOUR)


@pytest.mark.parametrize("content", [b"not a database at all " * 50, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_a_file_that_is_no_database_is_named_and_left_alone(tmp_path, content):
    path = tmp_path / "reconciler.db"
    path.write_bytes(content)

    with refused("reconciler.db", "restore it from a backup") as caught:
        open_database(path)

    assert caught.value.exit_code == 1
    assert path.read_bytes() == content


def test_a_store_with_damaged_pages_is_named_when_they_are_read(embedded, path):
    with embedded.write() as session:
        for i in range(200):
            journal.append(session, TENANT, kind="config", subject="s" * 500, body={"i": i}, at=MONDAY)
    embedded.close()
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : -4096] = b"\xff" * (len(content) - len(content) // 2 - 4096)
    path.write_bytes(content)

    with refused("damaged", "backup") as caught, open_database(path) as damaged, damaged.read() as session:
        list(journal.export(session))

    assert caught.value.exit_code == 1


def test_somebody_elses_database_is_not_taken_over(tmp_path):
    path = tmp_path / "theirs.db"
    with closing(sqlite3.connect(path)) as theirs:
        theirs.execute("CREATE TABLE customers (id)")

    with refused("not a store of ours", "another place"):
        open_database(path)


def test_a_newer_store_is_not_touched(database, place):
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()

    with refused("newer version", "9999") as caught:
        open_database(place)
    assert caught.value.exit_code == 1

    with refused("newer version"), connect(place) as connected:
        connected.upgrade()


def test_a_store_in_a_place_that_cannot_be_written_says_so(tmp_path):
    in_the_way = tmp_path / "file"
    in_the_way.touch()

    with refused("cannot be created", "choose a place") as caught:
        open_database(in_the_way / "var" / "reconciler.db")

    assert caught.value.exit_code == 1


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a directory that even root cannot write")
def test_a_read_only_directory_says_so():
    with refused("/proc/reconciler.db", "cannot be created", "choose a place"):
        open_database("/proc/reconciler.db")


def test_a_locked_store_says_so_after_the_time_limit(embedded, path):
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        with open_database(path, busy_timeout_s=0.05) as late, refused("locked by another process", "try again"):
            mark(late, MONDAY)

    assert marked(embedded) is None


def test_a_full_disk_raises_so_that_nothing_is_sent(embedded):
    with embedded.write() as session:
        pages = session.execute(text("PRAGMA page_count")).scalar_one()

    with refused("no room left"), embedded.write() as session:
        session.execute(text(f"PRAGMA max_page_count = {pages}"))
        for i in range(500):
            journal.append(session, TENANT, kind="intent", subject="s" * 500, body={"i": i}, at=MONDAY)

    with embedded.read() as session:
        assert journal.head(session, TENANT).size == 0


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "://", "nonsense://x"])
def test_a_url_that_names_no_store_is_refused(url):
    with pytest.raises(UserError) as caught:
        open_database(url)

    assert caught.value.exit_code == 1


def test_a_url_that_cannot_be_read_does_not_show_its_password():
    with pytest.raises(UserError) as caught:
        open_database("postgresql://me:hunter2@[::1/db")

    assert "hunter2" not in str(caught.value)


# --- several processes ----------------------------------------------------------------------------------------


def test_two_processes_that_open_a_fresh_store_at_once_share_one_unbroken_chain(path):
    start = others.Event()
    processes = [others.Process(target=append_rows, args=(path, 20, start)) for _ in range(2)]

    for process in processes:
        process.start()
    start.set()
    for process in processes:
        process.join(60)

    assert [process.exitcode for process in processes] == [0, 0]
    with open_database(path) as database, database.read() as session:
        assert journal.verify(journal.export(session)).size == 40
        assert journal.verify(journal.export(session)).ok
    assert [file.name for file in path.parent.iterdir()] == ["reconciler.db"]
