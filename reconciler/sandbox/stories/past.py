"""What "we" had granted before the sandbox's first day, for an empty store that is handed a past.

JSON-plain, so that whoever keeps such a record can read it through an interface of their own.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from reconciler.sandbox.stories.tenancy import closed_at
from reconciler.sandbox.world import World

# ticket -> who, product, the licence that was assigned directly, when it was to end
GRANTS = {
    "RITM0010017": ("quentin.moreau@contoso.example", "project-plan-1", "PROJECT_P1", None),
    "RITM0010018": (
        "rachel.stone@contoso.example",
        "project-plan-3",
        "PROJECTPROFESSIONAL",
        "2026-10-26T23:59:59+00:00",
    ),
}


def history(world: World) -> list[dict[str, Any]]:
    """`[{"ticket", "line", "upn", "object_id", "product", "sku_id", "granted_at", "ends_at"}]`, instants ISO 8601 in
    UTC; `sku_id` is the licence that was assigned directly.

    `world` is Contoso's, at any later time. Empty for a world of which this is not the past.
    """
    past: list[dict[str, Any]] = []
    for ticket, (upn, product, part_number, ends_at) in GRANTS.items():
        try:
            object_id = world.directory.user(upn).user_id
        except KeyError:
            continue
        granted_at: datetime = closed_at(ticket)
        past.append(
            {
                "ticket": ticket,
                "line": 1,
                "upn": upn,
                "object_id": object_id,
                "product": product,
                "sku_id": world.directory.sku(part_number),
                "granted_at": granted_at.isoformat(),
                "ends_at": ends_at,
            }
        )
    return past
