"""The version of the schema: is it ours, and how it becomes so. Migrations are in `migrations/`.

Alembic costs a second to import, so it is only when there is something to migrate or to explain: an ordinary open
compares one row with HEAD.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from reconciler.errors import UserError
from reconciler.store.tables import METADATA

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0030"  # the newest file in migrations/versions; a test compares the two
_VERSION_TABLE = "alembic_version"


@dataclass(frozen=True, slots=True)
class Check:
    """What `db check` found. `version` is None for a store without a schema; `faults` are sentences, none is well."""

    version: str | None
    faults: tuple[str, ...]

    @property
    def is_ok(self) -> bool:
        return not self.faults


def version(connection: Connection) -> str | None:
    """The schema's version; None when it has none."""
    if not inspect(connection).has_table(_VERSION_TABLE):
        return None
    return connection.execute(text(f"SELECT version_num FROM {_VERSION_TABLE}")).scalar()  # noqa: S608 a constant


def is_blank(connection: Connection) -> bool:
    """There is nothing in it yet, or nothing any more."""
    return not set(inspect(connection).get_table_names()) - {_VERSION_TABLE} and version(connection) is None


def require(connection: Connection, name: str) -> None:
    """Return when the schema is this version's.

    Raises:
        UserError: it is older, newer, or not a schema of ours.
    """
    found = version(connection)
    if found == HEAD:
        return
    raise UserError(_fault(found, name), exit_code=1)


def upgrade(connection: Connection) -> None:
    """Migrate to HEAD inside the transaction of `connection`.

    Raises:
        UserError: the schema is newer than this version, or not ours.
    """
    found = version(connection)
    if not is_blank(connection) if found is None else found not in _known():
        raise UserError(_fault(found, "the store"), exit_code=1)
    if found != HEAD:
        from alembic import command

        command.upgrade(_config(connection), "head")


def downgrade(connection: Connection, to: str) -> None:
    """Migrate back to a version, or to "base": for tests and for the day an upgrade has to be taken back."""
    from alembic import command

    command.downgrade(_config(connection), to)


def check(connection: Connection) -> Check:
    """Compare the schema with the rows this version declares, and let SQLite check its pages."""
    found = version(connection)
    if found != HEAD:
        return Check(found, (_fault(found, "the store"),))
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    context = MigrationContext.configure(connection, opts={"compare_type": True})
    faults = [
        f"the schema differs from this version's: {difference!r}" for difference in compare_metadata(context, METADATA)
    ]
    if connection.dialect.name == "sqlite":
        said = [str(row[0]) for row in connection.execute(text("PRAGMA integrity_check(10)"))]
        faults += [f"the file is damaged: {line}" for line in said if line != "ok"]
    return Check(found, tuple(faults))


def _fault(found: str | None, name: str) -> str:
    if found is None:
        return f"{name} is not a store of ours: it has tables but no version; choose another place"
    if found in _known():
        return f"{name} has an older schema ({found}, this version needs {HEAD}); run `reconciler db upgrade`"
    return f"{name} was written by a newer version (schema {found}); use that version, or restore an older backup"


def _known() -> frozenset[str]:
    from alembic.script import ScriptDirectory

    return frozenset(script.revision for script in ScriptDirectory.from_config(_config(None)).walk_revisions())


def _config(connection: Connection | None) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
