"""The rows of what stops writes: switches, and plans that a guard stopped."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Field

from desired_state.rows import Row, UtcDateTime


class SwitchRow(Row, table=True):
    """A stop that a person threw or planned: the kill switch, or a freeze of one lane or of everything."""

    __tablename__ = "switch"

    tenant: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    kind: str
    scope: str
    is_on: bool
    reason: str
    by: str
    changed_at: datetime = Field(sa_type=UtcDateTime)
    from_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    until_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class GuardPlanRow(Row, table=True):
    """A lane's plan that a guard stopped, or ends that are known ahead, and who let it through once (`guards release`).

    `digest` names the plan; `body` is JSON: what would be changed.
    """

    __tablename__ = "guard_plan"

    tenant: str = Field(primary_key=True)
    digest: str = Field(primary_key=True)
    guard: str
    lane: str
    wanted: int
    allowed: int
    sentence: str
    body: str
    cycle: str
    at: datetime = Field(sa_type=UtcDateTime)
    released_by: str = ""
    reason: str = ""
    released_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class GuardFactRow(Row, table=True):
    """What a guard remembers between cycles, by name: how many people there are, a breaker that is open, …"""

    __tablename__ = "guard_fact"

    tenant: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    body: str  # JSON
    at: datetime = Field(sa_type=UtcDateTime)
