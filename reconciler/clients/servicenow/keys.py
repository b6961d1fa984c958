"""Where a reader of tickets stands: the key (sys_updated_on, sys_id) of the last one, and queries from there. Pure.

A key is unique and a change moves a ticket to the end, so nothing behind a key is skipped or read twice by a move; an
offset would do both. Source: servicenow.md section 4; a condition on two columns without NQ is inferred there, one on
three is built the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from reconciler.clients.servicenow.queries import instant


@dataclass(frozen=True, slots=True, order=True)
class Watermark:
    """Everything up to this row has been read. `sys_id` "" stands before all rows of its second."""

    at: datetime
    sys_id: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """Tickets of the items (sys_ids) behind `after`, or from the second `since` on, that changed by `until`."""

    items: tuple[str, ...]
    after: Watermark | None
    since: datetime | None
    until: datetime

    def holds(self, key: Watermark) -> bool:
        if key.at > self.until or (self.since is not None and key.at < self.since):
            return False
        return self.after is None or key > self.after


def behind(key: Watermark, link: str = "", own: str = "") -> str:
    """Rows of tickets behind this one, and its own rows behind `own`: a chain of ORs each, so no NQ is needed."""
    walk = f"{link}." if link else ""
    at, stamp = f"{walk}sys_updated_on", instant(key.at)
    if not own:
        return f"{at}>={stamp}^{at}>{stamp}^OR{walk}sys_id>{key.sys_id}"
    whose = f"{walk}sys_id"
    same_or_later = f"{at}>={stamp}^{at}>{stamp}^OR{whose}>={key.sys_id}"
    return f"{same_or_later}^{at}>{stamp}^OR{whose}>{key.sys_id}^ORsys_id>{own}"


def ahead(key: Watermark) -> str:
    """Tickets before this one."""
    stamp = instant(key.at)
    return f"sys_updated_on<={stamp}^sys_updated_on<{stamp}^ORsys_id<{key.sys_id}"
