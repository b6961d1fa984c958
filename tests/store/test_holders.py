"""Whose tenants are free at once: those of processes that are known to be dead, and of nobody else."""

from __future__ import annotations

import os

import pytest

from reconciler import holders
from reconciler.store import leases
from reconciler.store.database import Database

NOBODY = 999_999_999  # no process has such an id


def hold(database: Database, tenant: str, holder: str) -> None:
    with database.write() as session:
        leases.claim(session, tenant, holder, ttl_s=600)


def held(database: Database) -> dict[str, str]:
    with database.read() as session:
        return leases.holders(session)


def test_what_dead_processes_of_this_machine_had_is_free_and_the_rest_is_not(database):
    alive, elsewhere = holders.name_of(os.getpid()), "elsewhere" + holders.name_of(NOBODY)
    hold(database, "dead", holders.name_of(NOBODY))
    hold(database, "alive", alive)
    hold(database, "elsewhere", elsewhere)

    assert holders.free_all(database) == {"dead"}

    assert held(database) == {"alive": alive, "elsewhere": elsewhere}
    assert holders.free_all(database) == frozenset()


def test_a_lease_that_was_freed_is_worth_nothing_to_whoever_had_it(database):
    name = holders.name_of(NOBODY)
    with database.write() as session:
        lease = leases.claim(session, "one", name, ttl_s=600)
    assert isinstance(lease, leases.Lease)

    holders.free_all(database)

    with database.write() as session:
        assert not leases.renew(session, lease, ttl_s=600)
        with pytest.raises(leases.LeaseLost):
            leases.guard(session, lease)


NOT_KNOWN = {
    "of another start of the machine, or a container of its name": lambda: holders.name_of(NOBODY)[:-1] + "x",
    "as versions before named themselves": lambda: holders.name_of(NOBODY).rpartition(":")[0],
    "machine and process alone": lambda: f"{os.uname().nodename}:{NOBODY}",
    "no number": lambda: holders.name_of(NOBODY).replace(f":{NOBODY}:", ":pid:"),
    "alive": lambda: holders.name_of(os.getpid()),
    "no name": lambda: "",
    "nothing but colons": lambda: "::::",
}


@pytest.mark.parametrize("name", NOT_KNOWN)
def test_of_whom_nothing_is_known_is_not_dead(name):
    assert not holders.is_dead(NOT_KNOWN[name]())


def test_a_process_that_does_not_exist_is_dead():
    assert holders.is_dead(holders.name_of(NOBODY))
    assert holders.is_dead(holders.name_of(10**30))
