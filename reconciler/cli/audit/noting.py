"""Whoever reads or copies the log is written into it first; where that cannot be written, nothing is handed out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reconciler.config import Settings
    from reconciler.wiring import App


def note(app: App, tenant: str, what: str, *, exported: bool = False) -> None:
    """One row: who takes what, by the tenant's own clock."""
    from reconciler.cli.operator import operator
    from reconciler.store import journal

    with app.database.write() as session:
        journal.note_read(session, tenant, what=what, by=operator(), at=app.clock.now(), exported=exported)


def note_export(settings: Settings, tenants: Sequence[str], what: str) -> None:
    """The same for a copy of several chains."""
    from reconciler.wiring import open_app

    configured = [name for name in tenants if name in settings.tenants]
    for name in configured or sorted(settings.tenants)[:1]:
        with open_app(settings, name) as app:
            others = [t for t in tenants if t not in settings.tenants] if name == (configured or [name])[0] else []
            for tenant in ([name] if name in tenants else []) + others:
                note(app, tenant, what, exported=True)
