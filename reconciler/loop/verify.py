"""Stage 6: observe again, and believe the directory instead of the reply.

What was changed is watched for a short while, because a direct assignment is often provisioned within a minute; what
takes longer is left to the next cycle. Only an account read after the write can prove anything (I5).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from datetime import timedelta

from desired_state.model import LineKey
from reconciler.causes import Cause
from reconciler.clock import Clock
from reconciler.lifecycle import Phase
from reconciler.line import (
    Finding,
    Line,
    Observed,
    Rest,
)
from reconciler.loop.diff import Windows, diff
from reconciler.loop.look import Eyes, look
from reconciler.model import ActionKind, Outcome, Result, Verdict

FIRST_LOOK_S, LONGEST_S = 5.0, 40.0


def _product(line: Line) -> str:
    return line.product.key if line.product is not None else ""


def _may_arrive(finding: Finding, *, is_undoing: bool) -> bool:
    """What a group gives, or takes away, takes longer than anybody would watch."""
    if is_undoing and finding.there is not None:
        return bool(finding.there)
    return finding.rest in (Rest.WAIT, Rest.ACT, Rest.HOLD) and finding.cause is not Cause.GROUP_PENDING


_STANDING = (Phase.GRANTED, Phase.EXPIRING, Phase.DRIFTED, Phase.REVOKING)
_TAKES = (ActionKind.REMOVE_LICENSE, ActionKind.REMOVE_GROUP_MEMBER)


def overtaken(findings: Iterable[Finding], outcomes: Mapping[LineKey, tuple[Outcome, ...]]) -> dict[LineKey, Finding]:
    """Lines that were proven before something was taken from their account in this cycle: none of them is granted by
    that look (I5). The next cycle looks again. What was granted before stands until then.
    """
    taken = {
        o.action.user: str(key)
        for key, done in outcomes.items()
        for o in done
        if (o.result is Result.APPLIED or o.is_unsure) and (o.action.kind in _TAKES or o.action.remove)
    }
    found: dict[LineKey, Finding] = {}
    for finding in findings:
        state, user = finding.line.state, finding.user
        is_new = finding.rest is Rest.PROVEN and (state is None or state.phase not in _STANDING)
        if is_new and user is not None and user.id in taken and finding.key not in outcomes:
            found[finding.key] = replace(
                finding,
                rest=Rest.WAIT,
                verdict=None if finding.verdict is None else Verdict.PENDING,
                cause=Cause.PROVISIONING_PENDING,
                sentence=f"The account's licences were just changed for {taken[user.id]}; they are looked at again.",
            )
    return found


def verify(
    lines: Iterable[Line],
    acted: Collection[LineKey],
    observed: Observed,
    *,
    undoing: Collection[LineKey] = (),
    eyes: Eyes,
    clock: Clock,
    windows: Windows,
    watch: timedelta,
    progress: Callable[[str], None],
) -> dict[LineKey, Finding]:
    """Watch the accounts that were changed until they are proven or `watch` is over.

    Lines in `undoing` are watched until what was given for them is gone.
    Returns the last finding of every line of that person and product, lines that merely share the change included.
    """
    every = tuple(lines)
    changed = {(line.binding.user, _product(line)) for line in every if line.key in acted}
    watched = tuple(line for line in every if (line.binding.user, _product(line)) in changed)
    last: dict[LineKey, Finding] = {}
    open_ = watched
    until, wait_s = clock.now() + watch, FIRST_LOOK_S
    while open_:
        at = clock.now()
        again = replace(
            look(eyes, open_, observed.skus.values(), at=at, groups=observed.groups), audits=observed.audits
        )
        last |= {f.key: f for f in diff(open_, again, at=at, windows=windows, among=every)}
        open_ = tuple(line for line in open_ if _may_arrive(last[line.key], is_undoing=line.key in undoing))
        left_s = (until - clock.now()).total_seconds()
        if not open_ or left_s <= 0:
            break
        progress(f"waiting for {len(open_)} of {len(acted)} to be provisioned")
        clock.sleep(min(wait_s, left_s))
        wait_s = min(wait_s * 2, LONGEST_S)
    return last
