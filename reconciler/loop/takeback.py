"""What is taken back, when, and what is not: at the end of a period, and after a correction that failed. Pure.

Nothing is ever taken back that was not given by us for the line and is observed there directly now (I3). What only a
person may decide is proposed to them: licences that somebody else gave, suites that keep mail or files, groups that
carry more than the licence.
"""

from __future__ import annotations

from datetime import datetime

from desired_state.model import Request
from desired_state.periods import ends_at
from reconciler.line import Line


def end_of(line: Line, granted_at: datetime | None) -> datetime | None:
    """When what was granted for the line ends; None: open, or not granted yet. The ledger's grant comes first."""
    since = line.granted_at or granted_at
    if since is None or not isinstance(line.declared, Request):
        return None
    return ends_at(line.declared.period, since, line.zone)
