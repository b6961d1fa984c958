"""A store that two machines share is written with one key: keys that each made for itself are refused by the second."""

from __future__ import annotations

import pytest

from reconciler.config import Settings, load
from reconciler.errors import UserError
from reconciler.store import checkpoints, journal
from reconciler.store.database import Database
from reconciler.store.persons import VEIL, Veils
from reconciler.store.tables import EVERYONE
from reconciler.wiring.keys import persons_veil, signer
from reconciler.wiring.one_key import own_signer, require_one_key
from tests.make import MONDAY
from tests.make_database import EMBEDDED, an_empty_database

TENANT, PERSON = "contoso", "anna.berger@contoso.example"


@pytest.fixture
def database():
    with an_empty_database(EMBEDDED) as opened:
        yield opened


def machine(folder, **audit: str) -> Settings:
    env = {f"RECONCILER_AUDIT__{name.upper()}": value for name, value in audit.items()}
    return load(None, {"RECONCILER_STATE_DIR": str(folder), **env})


def write(settings: Settings, database: Database, tenant: str = TENANT) -> None:
    """A row about a person, and a checkpoint over it."""
    if settings.audit.persons == "pseudonym":
        database.info[VEIL] = Veils(lambda tenant: persons_veil(settings, tenant))
    with database.write() as session:
        journal.append(session, tenant, kind="config", subject=PERSON, body={}, at=MONDAY, about=(PERSON,))
        checkpoints.take(session, tenant, own_signer(settings, tenant, database), MONDAY)


def test_an_empty_store_is_anybodys(database, tmp_path):
    require_one_key(machine(tmp_path / "a", persons="pseudonym"), TENANT, database)


def test_the_machine_that_made_the_keys_goes_on(database, tmp_path):
    settings = machine(tmp_path / "a", persons="pseudonym")
    write(settings, database)

    require_one_key(settings, TENANT, database)


def test_a_second_machine_with_a_key_of_its_own_is_told_what_to_do(database, tmp_path):
    write(machine(tmp_path / "a"), database)

    with pytest.raises(UserError, match=r"log of contoso is signed by a key that is not in .*name it: audit.key_file"):
        require_one_key(machine(tmp_path / "b"), TENANT, database)


def test_a_key_that_hides_persons_is_told_of_as_well(database, tmp_path):
    first = machine(tmp_path / "a", persons="pseudonym")
    write(first, database)
    named = {"key_file": str(first.state_dir / "audit-key.pem"), "persons": "pseudonym"}

    with pytest.raises(UserError, match=r"persons of contoso are hidden .*name it: audit.persons_key_file"):
        require_one_key(machine(tmp_path / "b", **named), TENANT, database)

    persons = {"persons_key_file": str(first.state_dir / "audit-persons.key")}
    require_one_key(machine(tmp_path / "b", **named, **persons), TENANT, database)


def test_a_log_key_that_people_named_may_be_another_one(database, tmp_path):
    write(machine(tmp_path / "a"), database)
    other = machine(tmp_path / "b")
    signer(other, TENANT)

    require_one_key(machine(tmp_path / "c", key_file=str(other.state_dir / "audit-key.pem")), TENANT, database)


def test_what_concerns_all_tenants_is_signed_by_one_key_and_keeps_no_tenant_from_being_served(database, tmp_path):
    write(machine(tmp_path / "a"), database, EVERYONE)

    require_one_key(machine(tmp_path / "b"), TENANT, database)
    with pytest.raises(UserError, match=r"what concerns all tenants is signed by a key that is not in"):
        write(machine(tmp_path / "b"), database, EVERYONE)
