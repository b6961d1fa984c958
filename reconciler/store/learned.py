"""What Microsoft Graph taught by refusing a change: two plans exclude each other, or one needs another.

Kept per tenant with the words of the refusal, first and last time, and how often. A lesson counts like a hard rule
for LESSON_HOLDS after it was last heard; then the change is tried again, because Microsoft changes its rules without a
word (Exchange plans exclude each other no more since January 2023).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, bindparam, select
from sqlmodel import Session

from desired_state.model import PlanId
from desired_state.plan_rules import Enforcement, Exclusion, Need, Rule, exclusion
from desired_state.rows import table_of
from reconciler.store.rows.licences import LearnedRow

LESSON_HOLDS = timedelta(days=180)
WORDS_MAX = 500
_EXCLUSION, _NEED = "exclusion", "need"
_TABLE = table_of(LearnedRow)
_OF_TENANT = select(_TABLE).where(_TABLE.c.tenant == bindparam("tenant")).order_by(_TABLE.c.kind, _TABLE.c.plans)


@dataclass(frozen=True, slots=True)
class Lesson:
    """One rule that a refusal taught; `words` are Graph's own."""

    rule: Rule
    words: str
    seen_at: datetime
    last_at: datetime
    times: int


def remember(session: Session, tenant: str, rule: Rule, words: str, at: datetime) -> Lesson:
    """Keep what a refusal said; one that was heard before is counted once more."""
    kind, plans = _named(rule)
    row = session.get(LearnedRow, (tenant, kind, plans))
    if row is None:
        row = LearnedRow(tenant=tenant, kind=kind, plans=plans, words="", seen_at=at, last_at=at, times=0)
        session.add(row)
    row.words, row.last_at, row.times = words[:WORDS_MAX], at, row.times + 1
    session.flush()
    return _lesson(row)


def lessons(session: Session, tenant: str) -> tuple[Lesson, ...]:
    """Everything that refusals taught, in the order of kinds and plans."""
    return tuple(map(_lesson, session.connection().execute(_OF_TENANT, {"tenant": tenant})))


def rules(known: Iterable[Lesson], at: datetime) -> tuple[Rule, ...]:
    """The rules that still count at this instant."""
    return tuple(lesson.rule for lesson in known if at - lesson.last_at < LESSON_HOLDS)


def _named(rule: Rule) -> tuple[str, str]:
    if isinstance(rule, Exclusion):
        return _EXCLUSION, f"{rule.a} {rule.b}"
    return _NEED, " ".join((rule.plan, *sorted(rule.any_of)))


def _lesson(row: LearnedRow | Row[Any]) -> Lesson:
    first, *others = (PlanId(plan) for plan in row.plans.split())
    rule: Rule
    if row.kind == _EXCLUSION:
        rule = exclusion(first, others[0], Enforcement.HARD, learnt_at=row.last_at)
    else:
        rule = Need(first, tuple(others), Enforcement.HARD, row.last_at)
    return Lesson(rule, row.words, row.seen_at, row.last_at, row.times)
