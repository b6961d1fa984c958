"""Where the products of a tenant stand between observe and enforce, as the configuration that may be used has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.ladder import Ladder, ladder
from reconciler.wiring import configured
from reconciler.wiring.measuring import vocabulary

if TYPE_CHECKING:
    from reconciler.wiring.app import App


def ladder_of(app: App) -> Ladder:
    """Reads the store, contacts nobody."""
    offered = vocabulary(app.settings, [app.name]).configured
    own, positions = configured.positions(app.settings, app.tenant, offered)
    return ladder(app.database, app.name, own, positions, app.tenant.promotion.watching(), app.clock.now())
