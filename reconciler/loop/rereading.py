"""Accounts again, just before they are changed: when the world has moved since the plan was made, nothing is sent.

Who was to get what they did not hold needs no look at plans: as long as the account holds what it held, there are none.
Whether somebody joined a group meanwhile, the group says by itself when they are put into it (graph.md section 8). All
others are read in full.

The people of the next slice are read beside the writes of the one before it, except those whom that one writes to; so
nobody is written to by a look that is older than two slices.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future
from contextvars import copy_context
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from desired_state.model import UserId
from reconciler.clock import Clock
from reconciler.errors import RemoteError
from reconciler.line import DriftKind, Gated, Gone, Observed, Unread
from reconciler.loop.look import Eyes, look, value_of
from reconciler.model import Action, ActionKind, ObservedUser

T = TypeVar("T")
_GIVES = (ActionKind.SET_USAGE_LOCATION, ActionKind.ASSIGN_LICENSE, ActionKind.ADD_GROUP_MEMBER)


class Beside(Protocol):
    """Begins work that goes on beside what its caller does next; what it returns gives the result, or raises what the
    work raised."""

    def __call__(self, work: Callable[[], T]) -> Callable[[], T]: ...


def when_asked(work: Callable[[], T]) -> Callable[[], T]:
    """Beside nothing: the work is done when its result is asked for. Where a clock is turned by hand."""
    return work


def in_a_thread(work: Callable[[], T]) -> Callable[[], T]:
    """In a thread of its own, by the names that the caller's log lines have. It ends by itself if nobody asks."""
    told: Future[T] = Future()
    context = copy_context()

    def run() -> None:
        try:
            told.set_result(context.run(work))
        except BaseException as error:  # whoever asks for the result is told
            told.set_exception(error)

    threading.Thread(target=run, name="reads", daemon=True).start()
    return told.result


@dataclass(slots=True)
class Rereading:
    """The looks of one plan. `observed` is what it was made from."""

    eyes: Eyes
    clock: Clock
    observed: Observed
    beside: Beside = when_asked
    _early: Callable[[], Observed] | None = None

    def begin(self, coming: Sequence[Gated], now: Sequence[Gated]) -> None:
        """Read the people of the slice that comes, except those whom the one that leaves now writes to."""
        busy = {g.proposal.finding.line.account for g in now}
        calm = [g for g in coming if g.proposal.finding.line.account not in busy]
        self._early = self.beside(lambda: self._read(calm)) if calm else None

    def read(self, leaving: Sequence[Gated]) -> Observed:
        """The people of a slice as they are now, or were when the one before it began to leave.

        Raises:
            RemoteError: they could not be read.
        """
        early = self._told()
        if early is None:
            return self._read(leaving)
        late = [g for g in leaving if g.proposal.finding.line.account not in early.users]
        if not late:
            return early
        again = self._read(late)
        return replace(
            again,
            users={**early.users, **again.users},
            details={**early.details, **again.details},
            members={**early.members, **again.members},
            probed={**early.probed, **again.probed},
        )

    def _told(self) -> Observed | None:
        """What was read early; None where nothing was, or it failed: then it is read now."""
        early, self._early = self._early, None
        try:
            return early() if early is not None else None
        except RemoteError:
            return None

    def _read(self, gated: Sequence[Gated]) -> Observed:
        before, at = self.observed, self.clock.now()
        shortly = {g.proposal.finding.line.account for g in gated if gives_only(g)}
        shortly -= {g.proposal.finding.line.account for g in gated if not gives_only(g)}
        full = [g.proposal.finding.line for g in gated if g.proposal.finding.line.account not in shortly]
        again = look(self.eyes, full, before.skus.values(), at=at, groups=before.groups)
        users = _accounts(self.eyes, (user for user in shortly if user is not None))
        members = {pair: sits for pair, sits in before.members.items() if pair[1] in users}
        return replace(
            again,
            users={**again.users, **users},
            details={**{u: before.details[u] for u in users if u in before.details}, **again.details},
            members={**members, **again.members},
            audits=before.audits,
        )


def gives_only(gated: Gated) -> bool:
    """Whether a change gives what its person did not hold at all, and takes nothing."""
    finding, user = gated.proposal.finding, gated.proposal.finding.user
    drift = finding.drift
    if drift is None or drift.take_back or not isinstance(user, ObservedUser) or user.skus is None:
        return False
    is_new = drift.kind in (DriftKind.MISSING, DriftKind.NOT_MEMBER)
    held = user.skus
    return is_new and all(_gives(action, held) for action in gated.proposal.actions)


def _gives(action: Action, held: Collection[str]) -> bool:
    return action.kind in _GIVES and not action.remove and not any(grant.sku in held for grant in action.add)


def _accounts(eyes: Eyes, users: Iterable[UserId]) -> dict[UserId, ObservedUser | Gone | Unread]:
    wanted = sorted(users)
    read = eyes.graph.users(wanted) if wanted else {}
    return {user: value_of(read.get(user)) for user in wanted}
