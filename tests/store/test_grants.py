"""The account that runs the service adds to the log and cannot change it; its owner keeps it within its terms."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from reconciler.audit.veil import Veil
from reconciler.cli.main import run
from reconciler.errors import UserError
from reconciler.store import checkpoints, journal, persons, retention
from reconciler.store.database import Database, open_database
from reconciler.store.grants import ADDED_TO
from tests.make import DAY, MONDAY
from tests.make_audit import KEY, TENANT
from tests.make_database import APPLICATION, SERVER, a_database, a_place, for_the_application

OLD = MONDAY - 3000 * DAY


@pytest.fixture
def owner(tmp_path) -> Iterator[Database]:
    with a_place(SERVER, tmp_path) as place, a_database(place) as opened:
        yield opened


@pytest.fixture
def service(owner: Database) -> Iterator[Database]:
    url = owner._engine.url.render_as_string(hide_password=False)
    with open_database(for_the_application(url)) as opened:
        yield opened


def tell(database: Database, *subjects: str) -> None:
    with database.write() as session:
        for subject in subjects:
            journal.append(session, TENANT, kind="config", subject=subject, body={}, at=OLD)
        checkpoints.take(session, TENANT, KEY, OLD)


CHANGES = ("UPDATE {t} SET tenant = 'x'", "DELETE FROM {t}", "TRUNCATE {t}", "ALTER TABLE {t} DISABLE TRIGGER ALL")


def test_the_service_may_not_change_what_was_kept_nor_switch_off_what_refuses_it(service):
    tell(service, "a")

    for table in sorted(ADDED_TO | {"audit_segment"}):
        for change in CHANGES:
            with pytest.raises(UserError, match=r"may not do that.*db grants"), service.write() as session:
                session.execute(text(change.format(t=table)))


def test_the_service_appends_signs_and_reads(service):
    tell(service, "a", "b")
    tell(service, "c")

    with service.read() as session:
        assert journal.verify(journal.export(session)).size == 3
        assert checkpoints.last(session, TENANT) is not None


def test_only_the_owner_removes_a_sealed_segment(service, owner):
    tell(service, "a", "b")

    with pytest.raises(UserError, match="may not do that"), service.write() as session:
        retention.remove(session, TENANT, 2, by="ada", at=MONDAY)
    with owner.write() as session:
        segment = retention.remove(session, TENANT, 2, by="ada", at=MONDAY)

    assert (segment.first, segment.last) == (1, 2)
    with service.read() as session:
        assert [row["subject"] for row in journal.export(session)] == ["audit"]
    with pytest.raises(Exception, match="append-only"), owner.write() as session:  # its triggers hold for it too
        session.execute(text("DELETE FROM audit"))


def test_the_owner_alone_erases_a_person(service, owner):
    for database in (service, owner):
        database.info[persons.VEIL] = persons.Veils(lambda _: Veil(b"v" * 32, os.urandom))
    tell(service, "ada@contoso.example")

    with pytest.raises(UserError, match="may not do that"), service.write() as session:
        persons.erase(session, TENANT, ["ada@contoso.example"], MONDAY)
    with owner.write() as session:
        assert persons.erase(session, TENANT, ["ada@contoso.example"], MONDAY) > 0


def test_the_command_prints_what_it_would_grant_and_grants_it(owner, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RECONCILER_STORE__URL", owner._engine.url.render_as_string(hide_password=False))
    monkeypatch.setenv("RECONCILER_STATE_DIR", str(tmp_path))
    for_the_application(owner._engine.url.render_as_string())  # so that there is such an account
    with owner.write() as session:
        session.execute(text(f'REVOKE ALL ON ALL TABLES IN SCHEMA public FROM "{APPLICATION}"'))

    printed, said = run(["db", "grants", APPLICATION]), capsys.readouterr().out
    before = may(owner, "INSERT")
    granted = run(["db", "grants", APPLICATION, "--apply"])

    assert (printed, granted, before) == (0, 0, False)
    assert 'GRANT SELECT, INSERT ON "public"."audit"' in said
    assert (may(owner, "INSERT"), may(owner, "UPDATE"), may(owner, "DELETE")) == (True, False, False)


def may(owner: Database, what: str) -> bool:
    with owner.read() as session:
        asked = text("SELECT has_table_privilege(:who, 'audit', :what)")
        return bool(session.execute(asked, {"who": APPLICATION, "what": what}).scalar())


def test_an_embedded_store_has_no_accounts(embedded):
    with pytest.raises(UserError, match="has no accounts"):
        embedded.grants("anybody")
