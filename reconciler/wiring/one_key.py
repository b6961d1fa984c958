"""Keys that nobody named are made in the state folder. Two machines on one store would make two: the second is told.

It runs no cycle, signs no log and hides no person; it may read, and may write what needs none of the keys.
"""

from __future__ import annotations

from sqlmodel import Session

from reconciler.audit.notes import Signer, opened
from reconciler.config import Settings
from reconciler.errors import UserError
from reconciler.store import checkpoints, persons
from reconciler.store.database import Database
from reconciler.store.tables import EVERYONE
from reconciler.wiring.keys import is_named, known_verifier, persons_veil, signer


def require_one_key(settings: Settings, tenant: str, database: Database) -> None:
    """Return when this machine's keys of a tenant are those that the store was written with, or were named by people.

    Those of what concerns all tenants keep no tenant from being served: they are asked for where they are used.

    Raises:
        UserError: the log is signed, or its persons are hidden, by a key that is not here.
    """
    with database.read() as session:
        _require_log_key(settings, tenant, session)
        if settings.audit.persons != "pseudonym" or is_named(settings, tenant)[1]:
            return
        if not persons.is_read_by(session, tenant, persons_veil(settings, tenant)):
            raise persons_key_differs(settings, tenant)


def own_signer(settings: Settings, tenant: str, database: Database) -> Signer:
    """The key that signs the log of a tenant. Raises UserError where another made key signed it, or as `signer`."""
    with database.read() as session:
        _require_log_key(settings, tenant, session)
    return signer(settings, tenant)


def persons_key_differs(settings: Settings, tenant: str) -> UserError:
    """What a machine is told whose key cannot read the persons of a tenant."""
    return UserError(
        f"persons of {_whose(tenant)} are hidden by a key that is not in {settings.state_dir}, where this machine "
        "makes its own; give every machine that shares the store the same file, and name it: audit.persons_key_file",
        exit_code=1,
    )


def _require_log_key(settings: Settings, tenant: str, session: Session) -> None:
    last = checkpoints.last(session, tenant) if not is_named(settings, tenant)[0] else None
    if last is None:
        return
    mine = known_verifier(settings, tenant)
    if mine is None or not opened(last.note, [mine])[1]:
        raise UserError(
            f"the log of {_whose(tenant)} is signed by a key that is not in {settings.state_dir}, where this machine "
            "makes its own; give every machine that shares the store the same file, and name it: audit.key_file (a new "
            "one, where it is lost)",
            exit_code=1,
        )


def _whose(tenant: str) -> str:
    return tenant if tenant != EVERYONE else "what concerns all tenants"
