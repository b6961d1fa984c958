"""Migrations go up and down, agree with the rows, and are part of the package."""

from __future__ import annotations

import importlib
import io
import sqlite3
import subprocess
import sys
from contextlib import closing
from importlib.resources import files

import pytest
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import text

from reconciler.errors import UserError
from reconciler.store import schema
from reconciler.store.database import Database, connect
from reconciler.store.tables import METADATA
from tests.make_database import SERVER

OBJECTS = {
    "sqlite": "SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'",
    "postgresql": "SELECT relkind::text, relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace "
    "UNION ALL SELECT 'function', proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace "
    "UNION ALL SELECT 'trigger', tgname FROM pg_trigger",
}


def objects(database: Database) -> set[tuple[str, str]]:
    """Kind and name of everything that is in a store."""
    with database.read() as session:
        kind = session.get_bind().dialect.name
        return {(row[0], row[1]) for row in session.execute(text(OBJECTS[kind]))}


def test_the_schema_goes_down_to_nothing_and_up_to_the_same_again(database, place):
    before = objects(database)

    with database.write() as session:
        schema.downgrade(session.connection(), "base")
    assert {name for _, name in objects(database)} <= {"alembic_version", "alembic_version_pkc"}

    with connect(place) as again:
        again.upgrade()
    assert objects(database) == before


def test_migrating_a_store_that_is_current_changes_nothing(database):
    database.upgrade()

    assert database.check() == schema.Check(schema.HEAD, ())


def test_the_version_that_an_open_compares_with_is_the_newest_migration():
    config = Config()
    config.set_main_option("script_location", str(files("reconciler.store") / "migrations"))

    assert ScriptDirectory.from_config(config).get_heads() == [schema.HEAD]


def test_a_schema_that_was_changed_by_hand_is_found(database):
    with database.write() as session:
        session.execute(text("ALTER TABLE line ADD COLUMN extra TEXT"))

    faults = database.check().faults

    assert len(faults) == 1
    assert "extra" in faults[0]


def test_a_store_with_tables_and_no_version_is_not_migrated(tmp_path):
    path = tmp_path / "theirs.db"
    with closing(sqlite3.connect(path)) as theirs:
        theirs.execute("CREATE TABLE customers (id)")

    with connect(path) as connected:
        with pytest.raises(UserError, match="not a store of ours"):
            connected.upgrade()

        assert objects(connected) == {("table", "customers")}


@pytest.mark.parametrize("table", ["audit", "ledger"])
@pytest.mark.parametrize("change", ["UPDATE {t} SET body = '{{}}'", "DELETE FROM {t}", "wholesale"])
def test_the_log_and_the_ledger_refuse_to_be_changed(database, engine, table, change):
    if change == "wholesale":
        change = "TRUNCATE {t}" if engine == SERVER else "REPLACE INTO {t} SELECT * FROM {t}"
    with database.write() as session:
        values = {
            "audit": "('contoso', 1, 'at', 'kind', 's', 'a', 'c', '{\"a\":1}', 'p', 'h')",
            "ledger": "(1, 'contoso', 'RITM1', 1, 'ended', '{\"a\":1}', '2026-11-02 00:00:00')",
        }
        session.execute(text(f"INSERT INTO {table} VALUES {values[table]}".replace(":", "\\:")))

    with pytest.raises(Exception, match="append-only"), database.write() as session:
        session.execute(text(change.format(t=table)))

    with database.read() as session:
        assert session.execute(text(f"SELECT body FROM {table}")).scalars().all() == ['{"a":1}']


def test_an_ordinary_open_does_not_pay_for_the_migration_tool(embedded, path):
    code = (
        "import sys\n"
        "from reconciler.store.database import open_database\n"
        f"open_database({str(path)!r}).close()\n"
        "print('alembic' in sys.modules)\n"
    )

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert said.stdout.strip() == "False"


def test_postgresql_gets_the_same_tables_and_triggers():
    said = io.StringIO()
    context = MigrationContext.configure(dialect_name="postgresql", opts={"as_sql": True, "output_buffer": said})

    with Operations.context(context):
        versions = files("reconciler.store") / "migrations" / "versions"
        for version in sorted(file.name[:-3] for file in versions.iterdir() if file.name[0].isdigit()):
            importlib.import_module(f"reconciler.store.migrations.versions.{version}").upgrade()

    assert said.getvalue().count("CREATE TABLE") == len(METADATA.tables)
    assert said.getvalue().count("BEFORE UPDATE OR DELETE") == 5  # the log's is made anew
    assert said.getvalue().count("TIMESTAMP WITH TIME ZONE") > 0
    assert "TIMESTAMP WITHOUT" not in said.getvalue()
