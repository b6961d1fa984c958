"""Keys that nobody named are made in the state folder. Two machines on one store would make two: the second is told."""

from __future__ import annotations

from reconciler.audit.notes import opened
from reconciler.config import Settings
from reconciler.errors import UserError
from reconciler.store import checkpoints, persons
from reconciler.store.database import Database
from reconciler.wiring.keys import is_named, known_verifier, persons_veil


def require_one_key(settings: Settings, tenant: str, database: Database) -> None:
    """Return when this machine's keys of a tenant are those that the store was written with, or were named by people.

    Raises:
        UserError: the log is signed, or its persons are hidden, by a key that is not here.
    """
    log, veil = is_named(settings, tenant)
    with database.read() as session:
        last = checkpoints.last(session, tenant) if not log else None
        is_veiled = settings.audit.persons == "pseudonym" and not veil
        is_read = not is_veiled or persons.is_read_by(session, tenant, persons_veil(settings, tenant))
    if last is not None:
        mine = known_verifier(settings, tenant)
        if mine is None or not opened(last.note, [mine])[1]:
            raise UserError(
                f"the log of {tenant} is signed by a key that is not in {settings.state_dir}, where this machine makes "
                "its own; give every machine that shares the store the same file, and name it: audit.key_file",
                exit_code=1,
            )
    if not is_read:
        raise UserError(
            f"persons of {tenant} are hidden by a key that is not in {settings.state_dir}, where this machine makes its"
            " own; give every machine that shares the store the same file, and name it: audit.persons_key_file",
            exit_code=1,
        )
