"""What would have been done for a line, and what people did: frozen values. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from desired_state.model import LineKey


class Axis(StrEnum):
    MODE = "mode"  # the directory
    ANSWERS = "answers"  # the ticket


class Outcome(StrEnum):
    """How what people did compares with what would have been done. Only the first two are decided."""

    AGREED = "agreed"
    DIFFERED = "differed"
    NOBODY_ACTED = "nobody_acted"
    CANNOT_TELL = "cannot_tell"
    OVERTAKEN = "overtaken"  # it became another request, or we made the change ourselves
    WAITING = "waiting"


DECIDED = frozenset({Outcome.AGREED, Outcome.DIFFERED})


@dataclass(frozen=True, slots=True)
class Watching:
    """How long people have to act, how long a judgement is kept, and what counts as enough of them.

    `agreement_min` is compared with the lower bound of the agreement, not with the agreement itself.
    """

    wait: timedelta = timedelta(days=7)
    keep: timedelta = timedelta(days=180)
    window: timedelta = timedelta(days=60)
    decided_min: int = 30  # accounts
    agreement_min: float = 0.9
    canary_share: Decimal = Decimal("0.1")  # that mode enforce is advised to begin with


WATCHING = Watching()


@dataclass(frozen=True, slots=True)
class Shadow:
    """What would have been done for one line by one request, or was done where it is enforced: once a line and digest.

    `step` is the mode, or the level of answers, that the line was under. `would` are effects as JSON values
    (`effects`), `base` what the ticket looked like then. `by` is who acted, "" where nobody is known.
    """

    line: LineKey
    axis: Axis
    digest: str
    product: str
    step: str
    would: tuple[Mapping[str, Any], ...]
    recorded_at: datetime
    user: str = ""
    is_removal: bool = False
    base: Mapping[str, Any] = field(default_factory=dict)
    outcome: Outcome = Outcome.WAITING
    why: str = ""
    by: str = ""
    acted_at: datetime | None = None
    decided_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        return self.outcome is Outcome.WAITING


@dataclass(frozen=True, slots=True)
class Found:
    """What was found about a shadow; `acted_at` None: when is not known."""

    outcome: Outcome
    why: str = ""
    by: str = ""
    acted_at: datetime | None = None


STILL = Found(Outcome.WAITING)
