"""Where software proposes, for one tenant."""

from __future__ import annotations

from reconciler.loop.guards.scope import outside_by_name
from reconciler.proposing import Counter
from reconciler.wiring.app import App
from reconciler.wiring.guards import scope


def counter(app: App) -> Counter:
    """Takes proposals in for the tenant of `app`; contacts nobody. The gate judges the account itself."""
    lists = scope(app.tenant.guards)
    return Counter(
        app.name,
        app.database,
        lambda: app.catalogue,
        lambda upn: outside_by_name(upn, lists),
        app.own_meter,
        app.tell,
    )
