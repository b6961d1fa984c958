"""What Graph's refusals teach: kept when one is heard, and put before the plan like a hard rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from desired_state.model import LineKey
from desired_state.plan_rules import Exclusion
from reconciler.loop.bounds import Bounds
from reconciler.model import Outcome
from reconciler.store import journal, learned
from reconciler.store.database import Database


def taught(bounds: Bounds, database: Database, tenant: str, at: datetime) -> Bounds:
    """The bounds of a plan with what earlier refusals taught."""
    with database.read() as session:
        known = learned.rules(learned.lessons(session, tenant), at)
    return replace(bounds, rules=bounds.rules.with_learnt(known)) if known else bounds


def learn(
    outcomes: Mapping[LineKey, tuple[Outcome, ...]], database: Database, tenant: str, *, cycle: str, at: datetime
) -> None:
    """Keep every rule that this cycle's refusals named, each with its row in the audit log."""
    heard = [(key, o) for key, done in sorted(outcomes.items()) for o in done if o.taught is not None]
    if not heard:
        return
    with database.write() as session:
        for key, outcome in heard:
            rule = outcome.taught
            assert rule is not None
            lesson = learned.remember(session, tenant, rule, outcome.words, at)
            plans = (rule.a, rule.b) if isinstance(rule, Exclusion) else (rule.plan, *rule.any_of)
            body = {
                "rule": "exclusion" if isinstance(rule, Exclusion) else "need",
                "plans": list(plans),
                "words": lesson.words,
                "times": lesson.times,
                "lines": [str(key)],
                "request_id": outcome.request_id,
            }
            journal.append(session, tenant, kind="learnt", subject=str(key), body=body, at=at, cycle=cycle)
