"""Bad news is believed when two reads agree (I4): that a grant is gone, and whatever would be handed back. Pure.

The directory is replicated, and a replica that lags shows yesterday's licences without a word of warning (graph.md
section 8). Writes are safe already: `execute` reads each account again and sends nothing when the two reads differ.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from reconciler.lifecycle import Phase
from reconciler.line import Finding, Line, Observed, Rest, Unread
from reconciler.loop.aftermath import needs_second_look

SECOND_LOOK_S = 5.0  # replicas usually agree within seconds; no bound is published


def doubtful(findings: Iterable[Finding]) -> tuple[Line, ...]:
    """Lines whose account has to be read a second time."""
    return tuple(f.line for f in findings if f.line.binding.user is not None and (needs_second_look(f) or _is_new(f)))


def _is_new(finding: Finding) -> bool:
    """Whether the line would be handed back, or called up for review, and was not already."""
    state = finding.line.state
    return finding.rest in (Rest.HAND_BACK, Rest.REVIEW) and (state is None or state.phase is not Phase.REVIEW)


def confirmed(first: Observed, second: Observed, before: Iterable[Finding], again: Iterable[Finding]) -> Observed:
    """What is believed of both looks: the second, but nothing of an account on which they differ."""
    was = {f.key: f for f in before}
    moved = {
        f.line.binding.user: Unread("two reads say different things")
        for f in again
        if f.rest is not Rest.PROVEN and _facts(f) != _facts(was[f.key])
    }
    seen = replace(
        first,
        users={**first.users, **second.users},
        details={**first.details, **second.details},
        groups={**first.groups, **second.groups},
        members={**first.members, **second.members},
        probed={**first.probed, **second.probed},
    )
    unsure = {user: why for user, why in moved.items() if user is not None}
    return replace(seen, users={**seen.users, **unsure})


def _facts(finding: Finding) -> tuple[object, ...]:
    return finding.rest, finding.cause, finding.drift, finding.proof
