"""Whether what was read can carry a removal. Pure.

A short source looks like people who lost their right to something: a ticket query that returns half of what it always
did, a catalogue without SKUs, accounts that could not be read. Then nothing is taken away (I4); grants go on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from reconciler.line import Observed, Unread

SHORT_SHARE = 0.5  # of the usual count (approvals.md section 7)
UNREAD_SHARE = 0.1  # of the accounts and groups that were asked for
UNREAD_LEAST = 3


@dataclass(frozen=True, slots=True)
class Pulled:
    """How many tickets a read of everything showed: the usual number, and the last one."""

    usual: int
    last: int

    @property
    def is_short(self) -> bool:
        return self.last < self.usual * SHORT_SHARE or (self.last == 0 and self.usual > 0)


def pulled(before: Pulled | None, count: int) -> Pulled:
    """What is remembered after a whole read. A short one does not become the usual."""
    now = Pulled(before.usual if before is not None else count, count)
    return now if now.is_short else replace(now, usual=count)


def short(observed: Observed, tickets: Pulled | None, *, now: datetime, stale_after: timedelta) -> str:
    """Why nothing may be taken away on the strength of this look, "" when it may."""
    if tickets is not None and tickets.is_short:
        return f"ServiceNow showed {tickets.last} tickets where it usually shows {tickets.usual}"
    if not observed.skus:
        return "the directory shows no licences that the tenant owns"
    asked = [*observed.users.values(), *observed.groups.values()]
    unread = [found for found in asked if isinstance(found, Unread)]
    if len(unread) >= UNREAD_LEAST and len(unread) > len(asked) * UNREAD_SHARE:
        return f"{len(unread)} of {len(asked)} accounts and groups could not be read, one because {unread[0].why}"
    if now - observed.at > stale_after:
        return f"what was read is {(now - observed.at).total_seconds() / 60:.0f} minutes old"
    return ""
