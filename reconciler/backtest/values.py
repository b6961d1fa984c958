"""What a backtest is made of: one closed line with its evidence, its class, its cost; frozen values. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from desired_state.model import Product
from reconciler.causes import Cause
from reconciler.line import Finding, Unread
from reconciler.model import AuditTrail, Verdict


class Standing(StrEnum):
    """What a closed line is, by what is observed now and what the directory's log still tells. Every line has one.

    "At the closing" is the instant that the ticket gives as closed_at.
    """

    TRUE = "true"  # there at the closing and now
    UNDATED = "undated"  # there now; since when is not known
    LATE_PROVEN = "late_proven"  # there now, and it came after the closing: the log or the account's age says so
    LATE_LIKELY = "late_likely"  # there now, and its licence last changed after the closing
    FALSE_PROVEN = "false_proven"  # not there now, and not there at the closing
    FALSE_LIKELY = "false_likely"  # not there now, for a reason that will have stood at the closing too
    UNKNOWN = "unknown"  # cannot be told
    REMOVED = "removed"  # there at the closing, taken away since: the ticket was true
    LEAVER = "leaver"  # the person has left: apart from all rates
    ENDED = "ended"  # the period that was asked for is over: apart from all rates


APART = frozenset({Standing.LEAVER, Standing.ENDED})


@dataclass(frozen=True, slots=True)
class Case:
    """One line of a closed ticket, with everything that its judgement is over.

    `trail` is what the directory's log shows of the person, None when nothing was asked; `log_from` is how far back
    such a log reaches at all. `instead` is another product of the form that the person has in place of the one asked.
    """

    finding: Finding
    closed_at: datetime | None
    at: datetime
    log_from: datetime
    trail: AuditTrail | Unread | None = None
    would: Would | None = None
    group: str = ""  # name of the assignment group, "" for none
    instead: Product | None = None
    services: frozenset[str] = frozenset()  # ids and names of the plans that prove the product


class Step(StrEnum):
    """What the reconciler would have done about the line, with writes allowed."""

    NOTHING = "nothing"
    CORRECT = "correct"
    QUEUE = "queue_for_seat"
    ASK = "ask"
    HAND_BACK = "hand_back"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class Would:
    """The step, the changes it consists of (kinds of actions, in order), and whose move it is otherwise."""

    step: Step
    actions: tuple[str, ...] = ()
    owner: str = ""
    sentence: str = ""


class Waste(StrEnum):
    """Why a licence is paid for that no ticket asks for."""

    WRONG_PRODUCT = "wrong_product"
    PERIOD_OVER = "period_over"
    LEAVER = "leaver"


@dataclass(frozen=True, slots=True)
class Cost:
    """A wrong grant. `monthly` None: the price is not configured. `since` None: from when is not known."""

    kind: Waste
    product: str
    monthly: Decimal | None
    since: datetime | None
    so_far: Decimal | None


@dataclass(frozen=True, slots=True)
class Judged:
    """A line's class, why in one sentence, and what follows. `late_s` is how long after the closing access came."""

    number: str
    line: int
    person: str
    product: str
    group: str
    closed_at: datetime | None
    standing: Standing
    why: str
    verdict: Verdict | None
    cause: Cause | None
    would: Would
    late_s: float | None = None
    cost: Cost | None = None


@dataclass(frozen=True, slots=True)
class Replayed:
    """A whole backtest. `skipped` counts tickets by why they were not judged; `limits` are sentences for readers."""

    tenant: str
    source: str
    since: datetime
    at: datetime
    log_from: datetime
    lines: tuple[Judged, ...]
    tickets: int
    skipped: Mapping[str, int]
    limits: tuple[str, ...] = ()
