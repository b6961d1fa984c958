"""A store on PostgreSQL: what can be wrong with its server, a sentence each, and what two writers do to each other."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from sqlalchemy import text
from sqlmodel import Session

from reconciler.errors import StoreUnusable, UserError
from reconciler.store import configs, journal, leases, rulings, watermarks
from reconciler.store.database import Database, connect, open_database
from reconciler.store.leases import Lease, LeaseLost
from reconciler.store.watermarks import Watermark
from tests.make import MONDAY
from tests.make_database import SERVER, a_place
from tests.make_postgres import Server, an_own_server
from tests.make_store import TENANT


@pytest.fixture
def url(tmp_path) -> Iterator[str]:
    with a_place(SERVER, tmp_path) as found:
        yield str(found)


@pytest.fixture(scope="module")
def own() -> Iterator[Server]:
    """A server that a test may stop and start."""
    with an_own_server() as server:
        yield server


def tell(database: Database, subject: str) -> None:
    with database.write() as session:
        journal.append(session, TENANT, kind="config", subject=subject, body={}, at=MONDAY)


def subjects(database: Database) -> list[str]:
    with database.read() as session:
        assert journal.verify(journal.export(session)).ok
        return [row["subject"] for row in journal.export(session, TENANT)]


# --- what can be wrong ----------------------------------------------------------------------------------------


def refused(*words: str) -> pytest.RaisesExc[UserError]:
    return pytest.raises(UserError, match=".*".join(words))


def test_a_database_that_is_not_there_says_so(url):
    with refused("is not on its server", "create that database"):
        open_database(url.replace("@/t", "@/nothing"))


def test_an_account_that_is_not_there_says_so(url):
    with refused("does not know the account"):
        open_database(url.replace("postgres@", "somebody@"))


def test_an_empty_database_is_filled_by_the_command_and_by_nothing_else(url):
    database = connect(url)
    with database.write() as session:
        session.execute(text("DROP SCHEMA public CASCADE"))
        session.execute(text("CREATE SCHEMA public"))
    database.close()

    with refused("is empty", "reconciler db upgrade"):
        open_database(url)
    with connect(url) as again:
        again.upgrade()
    with open_database(url) as opened:
        assert opened.check().is_ok


@pytest.mark.parametrize(("version", "words"), [("0013", "older schema.*db upgrade"), ("9999", "newer version")])
def test_a_schema_of_another_version_is_not_used(url, version, words):
    with connect(url) as database, database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = :version"), {"version": version})

    with refused(words):
        open_database(url)


def test_a_wrong_password_says_so_and_is_not_shown(own: Server):
    own.run("CREATE ROLE guarded LOGIN PASSWORD 'right'")
    hba = own.folder / "data" / "pg_hba.conf"
    before = hba.read_text()
    try:
        hba.write_text("local all guarded scram-sha-256\nlocal all postgres trust\n")
        own.control("-m", "fast", "restart")
        for secret, words in ((":wrong", "refuses the password"), ("", "refuses the password")):
            with refused(words, "url_file") as caught:
                open_database(own.url("current", user=f"guarded{secret}"))
            assert "wrong" not in str(caught.value)
        with refused("pg_hba"):
            open_database(own.url("current", user="elsewhere"))
    finally:
        hba.write_text(before)
        own.control("-m", "fast", "restart")


def test_a_server_that_is_down_says_so_and_is_used_again_when_it_is_up(own: Server):
    with open_database(own.url("current")) as database:
        own.control("-m", "fast", "stop")
        try:
            with pytest.raises(StoreUnusable, match="cannot be reached"):
                tell(database, "down")
            with pytest.raises(StoreUnusable, match="cannot be reached"):
                open_database(own.url("current"))
        finally:
            own.control("start")

        tell(database, "up again")
        assert subjects(database) == ["up again"]


def test_a_restart_in_the_middle_of_a_transaction_keeps_nothing_of_it_and_the_next_is_kept(own: Server):
    with open_database(own.url("current")) as database:
        before = subjects(database)
        with pytest.raises(StoreUnusable, match="cannot be reached"), database.write() as session:
            journal.append(session, TENANT, kind="config", subject="half", body={}, at=MONDAY)
            own.control("-m", "fast", "restart")
            journal.append(session, TENANT, kind="config", subject="other half", body={}, at=MONDAY)

        tell(database, "after")
        assert subjects(database) == [*before, "after"]


# --- turns ----------------------------------------------------------------------------------------------------


def test_two_connections_that_append_at_once_make_one_chain(url):
    def append(name: str) -> None:
        with open_database(url) as mine:
            start.wait(30)
            for n in range(25):
                tell(mine, f"{name}{n}")

    start = threading.Barrier(3)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(append, "abc"))

    with open_database(url) as database:
        told = subjects(database)
    assert sorted(told) == sorted(f"{name}{n}" for name in "abc" for n in range(25))
    assert [t for t in told if t[0] == "a"] == [f"a{n}" for n in range(25)]


def test_writers_of_a_tenant_queue_from_their_first_word_and_those_of_others_do_not(url):
    with open_database(url) as first, open_database(url, busy_timeout_s=0.2) as second, open_database(url) as other:
        first.tenant = second.tenant = TENANT
        other.tenant = "elsewhere"

        with first.write() as session:
            watermarks.save(session, TENANT, "servicenow", Watermark(MONDAY, "a"))
            with pytest.raises(StoreUnusable, match="locked by another process"), second.write() as late:
                watermarks.save(late, TENANT, "graph", Watermark(MONDAY, "b"))
            with other.write() as apart:
                watermarks.save(apart, "elsewhere", "servicenow", Watermark(MONDAY, "c"))

        with second.write() as again:
            watermarks.save(again, TENANT, "graph", Watermark(MONDAY, "b"))
        with second.read() as session:
            assert set(watermarks.load_all(session, TENANT)) == {"servicenow", "graph"}


def test_of_two_that_read_first_and_write_then_the_second_sees_what_the_first_wrote(url):
    """A number that is the last one and one more, as configurations and proposals have it."""

    def accept(name: str) -> None:
        with open_database(url) as mine:
            mine.tenant = TENANT
            start.wait(30)
            for n in range(5):
                with mine.write() as session:
                    configs.accept(session, TENANT, f"{name}{n}", {"of": name, "n": n}, how="sandbox", at=MONDAY)

    start = threading.Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(accept, "ab"))

    with open_database(url) as database, database.read() as session:
        last = configs.accepted(session, TENANT)
        assert last is not None
        assert last.number == 10


def test_two_tenants_keep_the_same_text_at_once(url):
    """Rules and configurations are kept under their digest, whoever uses them: no tenant's turn is about them."""
    with open_database(url) as one, open_database(url) as two:
        one.tenant, two.tenant = TENANT, "elsewhere"

        with ThreadPoolExecutor(1) as pool:
            with one.write() as session:
                keep(session)
                waiting = pool.submit(kept, two)
                with suppress(TimeoutError):
                    waiting.result(0.3)  # it waits for what the first one does
            waiting.result(30)

        with one.read() as session:
            assert rulings.text_of(session, "h" * 64) == "rules"
            assert configs.text_of(session, "c" * 64) == {"a": 1}


def keep(session: Session) -> None:
    rulings.keep_text(session, "h" * 64, "rules", MONDAY)
    configs.keep(session, "c" * 64, {"a": 1}, MONDAY)


def kept(database: Database) -> None:
    with database.write() as session:
        keep(session)


def test_a_commit_is_on_the_disk_when_it_returns_where_the_server_would_let_it_wait(url):
    with open_database(url) as database:
        database.tenant = TENANT
        with database.write() as session:
            assert session.execute(text("SHOW synchronous_commit")).scalar() == "on"
        with database.read() as session:
            assert session.execute(text("SHOW synchronous_commit")).scalar() == "off"  # the server's own


def test_a_process_that_was_stopped_in_the_middle_of_a_turn_loses_it(url):
    with open_database(url) as paused, open_database(url, busy_timeout_s=30) as next_one:
        paused.tenant = next_one.tenant = TENANT

        with pytest.raises(StoreUnusable, match="cannot be reached"), paused.write() as session:
            session.execute(text("SET LOCAL idle_in_transaction_session_timeout = 50"))
            journal.append(session, TENANT, kind="config", subject="paused", body={}, at=MONDAY)
            tell(next_one, "next")  # waits until the server has ended the first one's session
            journal.append(session, TENANT, kind="config", subject="late", body={}, at=MONDAY)

        assert subjects(next_one) == ["next"]


# --- leases ---------------------------------------------------------------------------------------------------


def test_of_connections_that_claim_at_once_exactly_one_wins(url):
    def claim(name: str) -> bool:
        with open_database(url) as mine, mine.write() as session:
            start.wait(30)
            return isinstance(leases.claim(session, TENANT, name, ttl_s=60), Lease)

    start = threading.Barrier(4)
    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(claim, "abcd")) == [False, False, False, True]


def test_a_late_writer_of_another_machine_writes_nothing_whatever_its_clock_says(url):
    """Time is the server's: the lease ends by it, for whoever holds it and for whoever wants it."""
    with open_database(url) as one, open_database(url) as two:
        with one.write() as session:
            late = leases.claim(session, TENANT, "one", ttl_s=0.05)
        assert isinstance(late, Lease)
        with two.write() as session:
            session.execute(text("SELECT pg_sleep(0.1)"))
            now = leases.claim(session, TENANT, "two", ttl_s=60)
        assert isinstance(now, Lease)
        assert now.epoch == late.epoch + 1

        with pytest.raises(LeaseLost), leases.fenced(one, late) as session:
            journal.append(session, TENANT, kind="intent", subject="late", body={}, at=MONDAY)
        with leases.fenced(two, now) as session:
            journal.append(session, TENANT, kind="intent", subject="now", body={}, at=MONDAY)

        assert subjects(two) == ["now"]


def test_a_lease_is_not_taken_over_between_the_look_at_it_and_the_write_under_it(url):
    with open_database(url) as one, open_database(url) as two:
        with one.write() as session:
            mine = leases.claim(session, TENANT, "one", ttl_s=60)
        assert isinstance(mine, Lease)

        with ThreadPoolExecutor(1) as pool:
            with leases.fenced(one, mine) as session:
                taking = pool.submit(take_over, two)
                assert not taking.done()
                journal.append(session, TENANT, kind="intent", subject="in time", body={}, at=MONDAY)
            assert taking.result(30).epoch == mine.epoch + 1

        with pytest.raises(LeaseLost), leases.fenced(one, mine) as session:
            journal.append(session, TENANT, kind="intent", subject="late", body={}, at=MONDAY)
        assert subjects(one) == ["in time"]


def take_over(database: Database) -> Lease:
    with database.write() as session:
        leases.abandon(session, TENANT, "one")
        found = leases.claim(session, TENANT, "two", ttl_s=60)
    assert isinstance(found, Lease)
    return found
