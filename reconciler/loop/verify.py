"""Stage 6: observe again, and believe the directory instead of the reply.

What was changed is watched for a short while, because a direct assignment is often provisioned within a minute; what
takes longer is left to the next cycle. Only an account read after the write can prove anything (I5): it may be the one
that was read before the next change left. Of that it is believed that all is well or on its way, and anything else is
looked at again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from desired_state.model import LineKey, UserId
from reconciler.causes import Cause
from reconciler.clock import Clock
from reconciler.errors import RemoteError
from reconciler.lifecycle import Phase
from reconciler.line import (
    Finding,
    Line,
    Observed,
    Rest,
)
from reconciler.loop.diff import Windows, diff
from reconciler.loop.look import NOBODY, Eyes, look
from reconciler.model import ActionKind, ObservedUser, Outcome, Result, Verdict

FIRST_LOOK_S, LONGEST_S = 5.0, 40.0
FRESH = timedelta(minutes=2)  # so long an account that was read after its change need not be read for the first look


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
    trouble: Callable[[str], None],
    seen: Mapping[UserId, ObservedUser] = NOBODY,
) -> dict[LineKey, Finding]:
    """Watch the accounts that were changed until they are proven or `watch` is over.

    Lines in `undoing` are watched until what was given for them is gone. `seen` are accounts as they were read after
    what was last sent for them. Where the directory cannot be read, `trouble` is told why and nothing is raised: what
    was sent has to be recorded all the same, and the next cycle looks again.
    Returns the last finding of every line of that person and product that was looked at, lines that merely share the
    change included.
    """
    every = tuple(lines)
    changed = {(line.binding.user, _product(line)) for line in every if line.key in acted}
    watched = tuple(line for line in every if (line.binding.user, _product(line)) in changed)
    last: dict[LineKey, Finding] = {}
    until, wait_s = clock.now() + watch, FIRST_LOOK_S

    def see(some: tuple[Line, ...], known: Mapping[UserId, ObservedUser]) -> tuple[Line, ...]:
        """Look at these lines; those whose change may still arrive."""
        at = clock.now()
        again = look(eyes, some, observed.skus.values(), at=at, groups=observed.groups, known=known)
        found = diff(some, replace(again, audits=observed.audits), at=at, windows=windows, among=every)
        last.update({f.key: f for f in found})
        return tuple(line for line in some if _may_arrive(last[line.key], is_undoing=line.key in undoing))

    known = _fresh(seen, clock.now()) if not undoing else NOBODY
    try:
        open_ = see(watched, known)
        arriving = {line.key for line in open_}
        doubted = (line for line in watched if line.account in known and line.key not in arriving)
        if again := tuple(line for line in doubted if last[line.key].rest is not Rest.PROVEN):
            for line in again:  # if it cannot be looked at again, nothing is known of it
                del last[line.key]
            open_ = (*open_, *see(again, NOBODY))
        while open_ and clock.now() < until:
            progress(f"waiting for {len(open_)} of {len(acted)} to be provisioned")
            eyes.pause()
            clock.sleep(max(0.0, min(wait_s, (until - clock.now()).total_seconds())))
            wait_s = min(wait_s * 2, LONGEST_S)
            open_ = see(open_, NOBODY)
    except RemoteError as error:
        trouble(f"what was changed could not be looked at: {error}")
    return last


def _fresh(seen: Mapping[UserId, ObservedUser], now: datetime) -> dict[UserId, ObservedUser]:
    return {user: account for user, account in seen.items() if timedelta(0) <= now - account.read_at <= FRESH}
