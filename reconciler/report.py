"""What one cycle found and did, as one object: the JSON of `reconcile --output json` and the facts of its table. Pure.

The keys are a contract (architecture.md section 5): one row per line in scope, converged ones too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from desired_state.model import Refusal
from desired_state.text import one_line
from reconciler.digest import plain
from reconciler.lifecycle import FINAL, Phase
from reconciler.line import Decision, Ending, LineState, Trip
from reconciler.model import (
    AnswerKind,
    Outcome,
    Result,
    Verdict,
)


def folded(problems: Iterable[str]) -> tuple[str, ...]:
    """What is wrong, without saying the same of everybody: the first of many sentences that differ in names alone, and
    how many there are besides. A name is a word with a digit before the first colon."""
    alike: dict[tuple[str, str], list[str]] = {}
    for problem in problems:
        whom, _, what = problem.partition(": ")
        alike.setdefault((_NAME.sub("", whom), what), []).append(problem)
    return tuple(sentence for group in alike.values() for sentence in _said_once(group))


def _said_once(group: list[str]) -> list[str]:
    if len(group) <= SAID_EACH:
        return group
    whom, _, what = group[0].partition(": ")
    return [f"{whom} (and {len(group) - 1} more): {what}"]


SAID_EACH = 3  # as many are named
_NAME = re.compile(r"\S*\d\S*")
# Nothing more is owed to a line in one of these.
AT_EASE = FINAL | {Phase.GRANTED}


@dataclass(frozen=True, slots=True)
class CycleReport:
    """Everything a cycle can tell. Counters are of requests that were sent."""

    cycle: str
    tenant: str
    mode: str
    answers: str
    is_dry_run: bool
    started_at: datetime
    finished_at: datetime
    endings: tuple[Ending, ...]
    plan_digest: str
    given: Mapping[str, tuple[AnswerKind, ...]] = field(default_factory=dict)  # by ticket, in this cycle
    trips: tuple[Trip, ...] = ()
    requests: Mapping[str, int] = field(default_factory=dict)
    writes: Mapping[str, int] = field(default_factory=dict)
    audit_head: str = ""
    audit_size: int = 0
    warnings: tuple[str, ...] = ()  # what somebody should look at, and kept nothing from being done
    problems: tuple[str, ...] = ()  # what kept parts of the cycle from being done, one sentence each

    @property
    def is_converged(self) -> bool:
        """Every line in scope is at ease and every part of the cycle was done."""
        return not self.problems and not self.trips and all(is_at_ease(e.state) for e in self.endings)

    @property
    def exit_code(self) -> int:
        """1 a part failed, 4 a guard stopped a lane, 3 drift needs time or a person, 0 nothing to do."""
        if self.problems:
            return 1
        if self.trips:
            return 4
        return 0 if self.is_converged else 3

    def counts(self) -> dict[str, int]:
        """The `counts` object: verdicts as found, what this cycle did, phases as they ended."""
        verdicts = [e.gated.proposal.finding.verdict for e in self.endings]
        phases = [e.state.phase for e in self.endings]
        counted = {"lines": len(self.endings)}
        counted |= {v.value: verdicts.count(v) for v in Verdict}
        counted["corrected"] = sum(1 for e in self.endings if is_corrected(e))
        counted["handed_back"] = sum(1 for e in self.endings if self._is_handed_back(e))
        for phase in (
            Phase.HELD,
            Phase.REFUSED,
            Phase.AWAITING_APPROVAL,
            Phase.WAITING_FOR_SEAT,
            Phase.GRANTED,
            Phase.REVOKED,
            Phase.REVIEW,
            Phase.CANCELLED,
        ):
            counted[phase.value] = phases.count(phase)
        return counted

    def _is_handed_back(self, ending: Ending) -> bool:
        given = self.given.get(ending.state.key.ticket, ())
        return ending.state.phase is Phase.REVIEW and bool({AnswerKind.TASK, AnswerKind.REOPENED} & set(given))

    def as_json(self) -> dict[str, Any]:
        """The object of architecture.md section 5, plain JSON values."""
        return {
            "cycle": self.cycle,
            "tenant": self.tenant,
            "mode": self.mode,
            "answers": self.answers,
            "dry_run": self.is_dry_run,
            "started_at": self.started_at.isoformat(),
            "finished_at": self.finished_at.isoformat(),
            "converged": self.is_converged,
            "counts": self.counts(),
            "tickets": [self._row(e) for e in self.endings],
            "guards": [_guard(t) for t in self.trips],
            "requests": {"graph": 0, "servicenow": 0, **self.requests},
            "writes": {"graph": 0, "servicenow": 0, **self.writes},
            "audit": {"head": self.audit_head, "size": self.audit_size},
        }

    def _row(self, ending: Ending) -> dict[str, Any]:
        first, state = ending.gated.proposal.finding, ending.state
        line = first.line
        return {
            "number": state.key.ticket,
            "line": state.key.line,
            "user": user_name(ending),
            "product": line.product.key if line.product is not None else _asked(ending),
            "path": line.product.path.value if line.product is not None else None,
            "verdict": first.verdict.value if first.verdict is not None else None,
            "cause": cause_of(ending),
            "phase": state.phase.value,
            "tier": state.tier,
            "ends_at": state.ends_at.isoformat() if state.ends_at is not None else None,
            "actions": actions_of(ending),
            "answer": [kind.value for kind in self.given.get(state.key.ticket, ())],
            "digest": ending.gated.proposal.digest,
        }


def is_at_ease(state: LineState) -> bool:
    """Nothing more is owed now; a grant that merely ends soon is no trouble."""
    return state.phase in AT_EASE or (state.phase is Phase.EXPIRING and state.cause is None)


def is_corrected(ending: Ending) -> bool:
    """False at the start, granted at the end, and by something that this cycle wrote."""
    wrote = any(o.result is Result.APPLIED or o.is_unsure for o in ending.outcomes)
    return wrote and ending.gated.proposal.finding.verdict is Verdict.FALSE and ending.state.phase is Phase.GRANTED


def cause_of(ending: Ending) -> str | None:
    """The most specific cause known at the end for what was found at the start; None when nothing was wrong."""
    first = ending.gated.proposal.finding
    if ending.state.cause is not None and ending.state.phase is not Phase.VERIFYING:
        return ending.state.cause
    if first.cause is not None:
        return first.cause.value
    return ending.state.cause


def user_name(ending: Ending) -> str | None:
    """Whom the line is about, by sign-in name where the directory knows one, as the ticket says it otherwise."""
    if ending.finding.user is not None:
        return ending.finding.user.upn
    named = _named(ending)
    return one_line(named, 120) if named else None


def _named(ending: Ending) -> str | None:
    line = ending.finding.line
    if isinstance(line.declared, Refusal):
        return line.declared.person or None
    claim = line.declared.claim
    person = line.person or claim.person
    return claim.upn or (person.email or person.user_name if person is not None else None)


def _asked(ending: Ending) -> str | None:
    declared = ending.finding.line.declared
    return declared.product


def actions_of(ending: Ending) -> list[dict[str, Any]]:
    """The line's actions with what became of them; planned ones where nothing was sent.

    Where a person has the line nothing is planned, whatever would be done had nobody.
    """
    if ending.outcomes:
        return [_action(o) for o in ending.outcomes]
    if ending.state.phase is Phase.REVIEW:
        return []
    result = Result.SKIPPED if ending.gated.decision is Decision.STOPPED else Result.PLANNED
    return [_action(Outcome(a, result)) for a in ending.gated.proposal.actions]


def _action(outcome: Outcome) -> dict[str, Any]:
    action = outcome.action
    return {
        "kind": action.kind.value,
        "result": outcome.result.value,
        "before": plain(action.before),
        "after": plain(action.after),
        "request_id": outcome.request_id or None,
    }


def _guard(trip: Trip) -> dict[str, Any]:
    return {
        "guard": trip.guard,
        "lane": trip.lane.value,
        "wanted": trip.wanted,
        "limit": trip.limit,
        "digest": trip.digest,
        "sentence": trip.sentence,
    }
