"""The tables of the queue, which are procrastinate's. They are made with the store's, by `reconciler db upgrade`."""

from __future__ import annotations

from procrastinate import App, SyncPsycopgConnector
from sqlalchemy import make_url

from reconciler.store.server import lively


def conninfo_of(url: str) -> str:
    """The store's address as libpq takes it."""
    parsed = lively(make_url(url))
    return parsed.set(drivername="postgresql").render_as_string(hide_password=False)


def make_queue(conninfo: str) -> bool:
    """Have the queue's tables in the store; False when they are there. Whoever calls it owns them."""
    with App(connector=SyncPsycopgConnector(conninfo=conninfo, min_size=1, max_size=1, timeout=10.0)).open() as app:
        if app.check_connection():
            return False
        app.schema_manager.apply_schema()
    return True
