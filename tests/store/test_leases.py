"""One writer per tenant: claims expire by themselves, and a late writer is refused by its epoch."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from datetime import UTC, datetime

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from reconciler.store import journal, leases, watermarks
from reconciler.store.database import Database, row_counts
from reconciler.store.leases import Held, Lease, LeaseLost
from reconciler.store.watermarks import Watermark
from tests.make import MONDAY
from tests.make_database import EMBEDDED, SERVER, an_empty_database
from tests.make_store import TENANT
from tests.store.make_processes import hold, others, race

NOON = 1_800_000_000.0
TTL = 60.0


def claim(database: Database, owner: str, at: float | None = NOON, ttl: float = TTL) -> Lease | Held:
    with database.write() as session:
        return leases.claim(session, TENANT, owner, ttl_s=ttl, now_s=at)


def won(database: Database, owner: str, at: float | None = NOON, ttl: float = TTL) -> Lease:
    lease = claim(database, owner, at, ttl)
    assert isinstance(lease, Lease)
    return lease


def holds(database: Database, lease: Lease, at: float | None = NOON, need: float = 0.0) -> bool:
    try:
        with database.write() as session:
            leases.guard(session, lease, need_s=need, now_s=at)
    except LeaseLost:
        return False
    return True


def test_a_second_claim_is_refused_naming_holder_and_since_when(database):
    won(database, "one")

    found = claim(database, "two", NOON + 10)

    assert found == Held("one", datetime.fromtimestamp(NOON, UTC), datetime.fromtimestamp(NOON + TTL, UTC))


def test_the_holder_itself_does_not_get_a_second_cycle(database):
    won(database, "one")

    assert isinstance(claim(database, "one"), Held)


def test_tenants_have_leases_of_their_own(database):
    won(database, "one")

    with database.write() as session:
        assert leases.claim(session, "fabrikam", "two", ttl_s=TTL, now_s=NOON) == Lease("fabrikam", "two", 1)


def test_a_claim_expires_by_itself_and_the_next_has_a_higher_epoch(database):
    first = won(database, "one")

    second = won(database, "two", NOON + TTL)

    assert second.epoch > first.epoch
    assert not holds(database, first, NOON + TTL)
    assert holds(database, second, NOON + TTL)


def test_a_renewed_lease_lasts_longer_and_an_expired_one_is_never_renewed(database):
    lease = won(database, "one")
    with database.write() as session:
        assert leases.renew(session, lease, ttl_s=TTL, now_s=NOON + 50)
    assert holds(database, lease, NOON + 100)

    with database.write() as session:
        assert not leases.renew(session, lease, ttl_s=TTL, now_s=NOON + 110)
    assert isinstance(claim(database, "two", NOON + 110), Lease)


def test_renewing_does_not_change_since_when_it_is_held(database):
    lease = won(database, "one")
    with database.write() as session:
        leases.renew(session, lease, ttl_s=TTL, now_s=NOON + 50)

    with database.read() as session:
        found = leases.holder(session, TENANT, now_s=NOON + 60)

    assert found is not None
    assert found.since == datetime.fromtimestamp(NOON, UTC)


def test_a_late_writer_is_refused_and_its_intent_is_rolled_back(database):
    late = won(database, "one")
    won(database, "two", NOON + TTL)

    with pytest.raises(LeaseLost, match="one no longer holds contoso"), database.write() as session:
        journal.append(session, TENANT, kind="intent", subject="s", body={}, at=MONDAY)
        leases.guard(session, late, now_s=NOON + TTL)
    with pytest.raises(LeaseLost), leases.fenced(database, late, now_s=NOON + TTL) as session:
        watermarks.save(session, TENANT, "servicenow", Watermark(MONDAY, "a"))

    with database.read() as session:
        assert row_counts(session)["audit"] == row_counts(session)["watermark"] == 0


def test_a_late_writer_neither_renews_nor_releases_what_is_somebody_elses(database):
    late = won(database, "one")
    now = won(database, "two", NOON + TTL)

    with database.write() as session:
        assert not leases.renew(session, late, ttl_s=TTL, now_s=NOON + TTL)
        assert not leases.release(session, late, now_s=NOON + TTL)

    assert holds(database, now, NOON + TTL)


def test_the_same_owner_is_fenced_from_its_own_past(database):
    late = won(database, "one")
    won(database, "one", NOON + TTL)

    assert not holds(database, late, NOON + TTL)


def test_a_write_that_may_take_longer_than_the_lease_is_not_begun(database):
    lease = won(database, "one")

    assert holds(database, lease, NOON + 40, need=15)
    assert not holds(database, lease, NOON + 50, need=15)


def test_what_was_released_is_free_at_once_and_the_epoch_goes_on(database):
    first = won(database, "one")
    with database.write() as session:
        assert leases.release(session, first, now_s=NOON)
        assert leases.holder(session, TENANT, now_s=NOON) is None

    second = won(database, "two")

    assert second.epoch == first.epoch + 1
    assert not holds(database, first)


def test_a_dead_owner_is_abandoned_by_name_only(database):
    lease = won(database, "dead")
    with database.write() as session:
        assert not leases.abandon(session, TENANT, "alive", now_s=NOON)
        assert leases.abandon(session, TENANT, "dead", now_s=NOON)

    assert not holds(database, lease)
    assert isinstance(claim(database, "next"), Lease)


def test_time_is_the_databases_own(database):
    lease = won(database, "one", at=None)

    assert holds(database, lease, at=None)
    assert isinstance(claim(database, "two", at=None), Held)
    won_at = claim(database, "two", at=None)
    assert isinstance(won_at, Held)
    assert abs((won_at.since - datetime.now(UTC)).total_seconds()) < 60


# --- any order of things ------------------------------------------------------------------------------------


class Claims(RuleBasedStateMachine):
    """Three workers claim, pause, renew, write and release while time goes on; at most one of them may write."""

    engine = EMBEDDED

    @initialize()
    def begin(self):
        self.held = ExitStack()
        self.database = self.held.enter_context(an_empty_database(self.engine))
        self.now = NOON
        self.mine: dict[str, Lease] = {}
        self.epochs: list[int] = []

    @rule(owner=st.sampled_from("abc"))
    def try_to_claim(self, owner):
        found = claim(self.database, owner, self.now)
        if isinstance(found, Lease):
            self.mine[owner] = found
            self.epochs.append(found.epoch)

    @rule(seconds=st.sampled_from([1.0, 30.0, 60.0, 200.0]))
    def wait(self, seconds):
        self.now += seconds

    @rule(owner=st.sampled_from("abc"))
    def renew(self, owner):
        if owner in self.mine:
            held = holds(self.database, self.mine[owner], self.now)
            with self.database.write() as session:
                assert leases.renew(session, self.mine[owner], ttl_s=TTL, now_s=self.now) == held

    @rule(owner=st.sampled_from("abc"))
    def release(self, owner):
        if owner in self.mine:
            with self.database.write() as session:
                leases.release(session, self.mine[owner], now_s=self.now)
            assert not holds(self.database, self.mine[owner], self.now)

    @invariant()
    def at_most_one_may_write_and_it_has_the_highest_epoch(self):
        if not hasattr(self, "mine"):
            return
        writers = [lease for lease in self.mine.values() if holds(self.database, lease, self.now)]
        assert [lease.epoch for lease in writers] in ([], [max(self.epochs, default=0)])
        assert self.epochs == sorted(set(self.epochs))

    def teardown(self):
        if hasattr(self, "held"):
            self.held.close()


class ClaimsOnTheServer(Claims):
    engine = SERVER


TestClaims, TestClaimsOnTheServer = Claims.TestCase, ClaimsOnTheServer.TestCase
TestClaims.settings = settings(max_examples=12, stateful_step_count=15, deadline=None)
TestClaimsOnTheServer.settings = settings(max_examples=6, stateful_step_count=15, deadline=None)


# --- real processes -----------------------------------------------------------------------------------------


def test_a_killed_process_keeps_the_tenant_only_until_its_lease_runs_out(database, place):
    taken = others.Event()
    process = others.Process(target=hold, args=(place, taken, 5.0))
    process.start()
    assert taken.wait(60)

    found = claim(database, "second", at=None)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(60)

    assert isinstance(found, Held)
    assert found.by == "first"
    assert claim(database, "second", at=found.until.timestamp() + 0.01) == Lease(TENANT, "second", 2)


def test_of_processes_that_claim_at_once_exactly_one_wins(embedded, path):
    start, wins = others.Event(), others.Queue()
    processes = [others.Process(target=race, args=(path, f"p{i}", start, wins)) for i in range(3)]
    for process in processes:
        process.start()

    start.set()
    results = [wins.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(60)

    assert sorted(is_winner for _, is_winner in results) == [False, False, True]
