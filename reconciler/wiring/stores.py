"""Which tenant, and where its rows are."""

from __future__ import annotations

from reconciler.config import Settings
from reconciler.errors import UserError
from reconciler.store.database import Database, connect, open_database
from reconciler.store.persons import VEIL, Veils
from reconciler.wiring.keys import persons_veil


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


def open_store(settings: Settings) -> Database:
    """The store, migrated when it is the embedded one. Raises UserError."""
    url = settings.store.read_url()
    database = open_database(url.get_secret_value() if url is not None else settings.state_dir / "reconciler.db")
    if settings.audit.persons == "pseudonym":
        veils = Veils(lambda tenant: persons_veil(settings, tenant))
        for tenant in settings.tenants:  # a key that cannot be used is found now, not in the middle of a cycle
            veils[tenant]
        database.info[VEIL] = veils
    return database


def connect_store(settings: Settings, *, read_only: bool = False) -> Database:
    """The store whatever its version is: for migrations and checks. Raises UserError."""
    url = settings.store.read_url()
    place = url.get_secret_value() if url is not None else settings.state_dir / "reconciler.db"
    return connect(place, read_only=read_only)
