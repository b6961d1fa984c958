"""Which tenant, and where its rows are."""

from __future__ import annotations

from reconciler.config import Settings
from reconciler.errors import UserError
from reconciler.store.database import Database, connect, open_database
from reconciler.store.persons import VEIL, Veils
from reconciler.store.server import CONNECTIONS
from reconciler.wiring.keys import is_named, persons_veil
from reconciler.wiring.one_key import persons_key_differs


def pick_tenant(settings: Settings, name: str | None) -> str:
    """The named tenant, or the only one. Raises UserError."""
    known = sorted(settings.tenants)
    if name is None:
        if len(known) == 1:
            return known[0]
        raise UserError(f"{settings.source} has {len(known)} tenants; say which one with --tenant: {', '.join(known)}")
    if name not in settings.tenants:
        raise UserError(f"{settings.source} has no tenant '{name}'; it has {', '.join(known) or 'none'}")
    return name


def open_store(settings: Settings, *, connections: int = CONNECTIONS) -> Database:
    """The store, migrated when it is the embedded one; a server gives `connections` at most. Raises UserError."""
    url = settings.store.read_url()
    place = url.get_secret_value() if url is not None else settings.state_dir / "reconciler.db"
    database = open_database(place, connections=connections)
    if settings.audit.persons == "pseudonym":
        database.info[VEIL] = Veils(
            lambda tenant: persons_veil(settings, tenant),
            lambda tenant: None if is_named(settings, tenant)[1] else persons_key_differs(settings, tenant),
        )
    return database


def require_veil(settings: Settings, tenant: str) -> None:
    """Return when the persons of a tenant can be put behind signs, or need not be.

    A key that cannot be used is found before a cycle, not in the middle of it, and is of no other tenant's concern.

    Raises:
        UserError: its key cannot be used.
    """
    if settings.audit.persons == "pseudonym":
        persons_veil(settings, tenant)


def connect_store(settings: Settings, *, read_only: bool = False) -> Database:
    """The store whatever its version is: for migrations and checks. Raises UserError."""
    url = settings.store.read_url()
    place = url.get_secret_value() if url is not None else settings.state_dir / "reconciler.db"
    return connect(place, read_only=read_only)
