"""Looking at what was just changed: is it there? Waited for a little, because a replica may lag behind a write.

What was looked at is told in the audit log, and to the breakers: a change that was accepted and is not there speaks
against the system, one that was there and has to be made again is somebody else's doing.

Of a long plan the first change, the next ten and the first tenth are waited for. Each later tenth is looked at beside
the writes of the one after it, so never more than two of them are out unseen (ADR 51).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from sqlmodel import Session

from desired_state.model import GroupId, UserId
from reconciler.clients.graph import Graph
from reconciler.clock import Clock
from reconciler.errors import RemoteError
from reconciler.line import Gated, Lane, Trip
from reconciler.loop.guarding import Post
from reconciler.loop.guards.breakers import touches
from reconciler.loop.guards.canary import Canary
from reconciler.loop.guards.judge import CANARY
from reconciler.loop.guards.lanes import lane_of, lanes_of
from reconciler.loop.rereading import Beside, when_asked
from reconciler.model import Action, ActionKind, ObservedUser, Outcome, Result
from reconciler.store import journal
from reconciler.store.database import Database

WAITS_S = (0.0, 1.0, 2.0, 4.0, 8.0, 15.0)  # graph.md section 8: a replica may lag by seconds, no bound is published
MANY = 100  # changes; below, what is not shown costs more than is saved
MANY_MEMBERS = 500  # of one group: its list is pages of 999, and 20 people are read at once by id
_MEMBERSHIPS = (ActionKind.ADD_GROUP_MEMBER, ActionKind.REMOVE_GROUP_MEMBER)


@dataclass(slots=True)
class _Early:
    """A look that was begun beside the next writes: at which changes, what it finds of each, and whom it read by id.

    `moved` are those who were written to since; what was read of them may be older than that.
    """

    actions: list[Action]
    told: Callable[[], list[bool | None]]
    accounts: dict[UserId, ObservedUser]
    moved: set[UserId] = field(default_factory=set)


@dataclass(slots=True)
class Batch:
    """The changes of one cycle on their way out, lane by lane: one, then ten, then a tenth at a time.

    `seen` are the accounts as they were read by id after what was last sent for them; what is sent next drops them.
    """

    graph: Graph
    clock: Clock
    database: Database
    tenant: str
    cycle: str
    post: Post
    canaries: dict[Lane, Canary]
    open: dict[int, Action] = field(default_factory=dict)  # by identity
    stopped: dict[Lane, str] = field(default_factory=dict)
    seen: dict[UserId, ObservedUser] = field(default_factory=dict)
    beside: Beside = when_asked
    early: dict[Lane, _Early] = field(default_factory=dict)
    _newest: dict[tuple[str, str], Action] = field(default_factory=dict)  # by whom and what it sets: see `touches`

    def may_go(self, gated: Gated, plan_digest: str) -> str:
        """Why the next change may not go out, "" when it may. Looks at those before it where that is due."""
        lanes = lanes_of(gated)
        due = [lane for lane in sorted(lanes) if lane in self.canaries and self.canaries[lane].is_due]
        for lane in due:
            absent = self._look_at_lane(lane)
            self.canaries[lane] = self.canaries[lane].looked()
            if absent:
                why = (
                    f"{absent} of the changes that went out first cannot be seen although they were accepted, so the "
                    f"rest of lane {lane} waits for the next cycle."
                )
                self.stopped[lane] = why
                self.post.trips.append(Trip(CANARY, lane, absent, 0, plan_digest, why))
        return next((self.stopped[lane] for lane in sorted(lanes) if lane in self.stopped), "")

    def is_due(self, gated: Gated) -> bool:
        """Whether somebody has to look before a change like this one goes out, or its lane was stopped."""
        lanes = lanes_of(gated)
        return any(lane in self.stopped or (lane in self.canaries and self.canaries[lane].is_due) for lane in lanes)

    def room(self, lanes: Collection[Lane]) -> int:
        """How many changes of these lanes may leave together before somebody has to look."""
        known = [self.canaries[lane] for lane in lanes if lane in self.canaries]
        return min((canary.size - canary.open for canary in known), default=len(self.open) + 1)

    def changed(self, outcomes: Sequence[Outcome]) -> None:
        """This has been sent, whoever looks at it: accounts were read before it, and what it sets anew is gone."""
        for outcome in outcomes:
            self.seen.pop(outcome.action.user, None)
            for early in self.early.values():
                early.moved.add(outcome.action.user)
            if _has_changed(outcome):
                self._follow(outcome.action)

    def went(self, outcomes: Sequence[Outcome]) -> None:
        """The change of one line has gone out."""
        self.changed(outcomes)
        done = [o.action for o in outcomes if o.result is Result.APPLIED and _is_visible(o)]
        self.open |= {id(action): action for action in done if self._is_newest(action)}
        for lane in sorted({lane_of(a) for a in done} & set(self.canaries)):
            self.canaries[lane] = self.canaries[lane].sent()

    def _follow(self, action: Action) -> None:
        """What an earlier change set and this one sets anew is not looked for any more: it is there no longer."""
        for touch in touches(action):
            before = self._newest.get((touch.user, touch.thing))
            if before is not None:
                self.open.pop(id(before), None)
            self._newest[touch.user, touch.thing] = action

    def _is_newest(self, action: Action) -> bool:
        return all(self._newest.get((touch.user, touch.thing)) is action for touch in touches(action))

    def end(self) -> None:
        """Look at those that nobody has looked at yet."""
        for lane in sorted(self.early):
            self._end_early(lane)
        self._look(list(self.open.values()))

    def _look_at_lane(self, lane: Lane) -> int:
        """Look at what went out of it since the last look, or begin to; how many of those before could not be seen."""
        absent = self._end_early(lane)
        sent = [a for a in self.open.values() if lane_of(a) is lane]
        if absent or not self.canaries[lane].is_beside:
            return absent + self._look(sent)
        accounts: dict[UserId, ObservedUser] = {}
        self.early[lane] = _Early(sent, self.beside(lambda: are_there(self.graph, sent, accounts)), accounts)
        return 0

    def _end_early(self, lane: Lane) -> int:
        """End the look that was begun beside the last writes, if there is one; how many changes could not be seen."""
        early = self.early.pop(lane, None)
        if early is None:
            return 0
        found = early.told()
        self.seen |= {user: account for user, account in early.accounts.items() if user not in early.moved}
        still = [(action, there) for action, there in zip(early.actions, found, strict=True) if id(action) in self.open]
        return self._look([action for action, _ in still], [there for _, there in still])

    def _look(self, actions: Sequence[Action], found: Sequence[bool | None] | None = None) -> int:
        """Look at changes until all are there or it has been waited long enough; how many could not be seen.

        `found`: what the first look found, where it has been made already.
        """
        seen: dict[int, bool | None] = {}
        for wait_s in WAITS_S:
            left = [a for a in actions if seen.get(id(a)) is not True]
            if not left:
                break
            if found is None:
                self.clock.sleep(wait_s)
                found = are_there(self.graph, left, self.seen)
            seen |= {id(action): there for action, there in zip(left, found, strict=True)}
            found = None
        known = [(action, seen[id(action)]) for action in actions if seen.get(id(action)) is not None]
        if known:
            with self.database.write() as session:
                for action, there in known:
                    self._tell(session, action, is_there=bool(there))
        for action in actions:
            self.open.pop(id(action), None)
        return sum(1 for action in actions if seen.get(id(action)) is not True)

    def _tell(self, session: Session, action: Action, *, is_there: bool) -> None:
        set_ = [{"thing": t.thing, "value": t.value} for t in touches(action)]
        lane = lane_of(action)
        against = {} if is_there else {"trouble": "accepted, and not there when it was read back"}
        body = {
            "action": action.kind.value,
            "lane": lane.value,
            "lines": [str(key) for key in action.keys],
            "set": set_,
            "present": is_there,
            **against,
        }
        at = self.clock.now()
        journal.append(session, self.tenant, kind="readback", subject=action.user, body=body, at=at, cycle=self.cycle)
        self.post.read_back(session, action.user, lane, is_there=is_there)


def _is_visible(outcome: Outcome) -> bool:
    """Whether there is something to see: what was so already is not ours, and a reprocessing shows by itself later."""
    return not outcome.why and outcome.action.kind is not ActionKind.REPROCESS


def _has_changed(outcome: Outcome) -> bool:
    """Whether it may be otherwise than before because of this one."""
    return outcome.is_unsure or (outcome.result is Result.APPLIED and not outcome.why)


def canaries(cleared: Sequence[Gated]) -> dict[Lane, Canary]:
    """One batch a lane, sized by its changes."""
    lanes = [lane for g in cleared for lane in lanes_of(g)]
    return {lane: Canary(lanes.count(lane)) for lane in sorted(set(lanes))}


def are_there(
    graph: Graph, actions: Sequence[Action], found: dict[UserId, ObservedUser] | None = None
) -> list[bool | None]:
    """Whether each change is there; None where that cannot be told.

    Of many, a filter is asked first, or the list of the group: what it shows to be there is there, however old the
    answer is. Whatever it does not show is read by id, and put into `found`.
    """
    seen = _shown(graph, actions) if len(actions) >= MANY else [False] * len(actions)
    left = [action for action, there in zip(actions, seen, strict=True) if not there]
    users = sorted({a.user for a in left if a.kind not in _MEMBERSHIPS})
    members = sorted({a.user for a in left if a.kind in _MEMBERSHIPS})
    try:
        read: Mapping[UserId, ObservedUser | RemoteError] = graph.users(users) if users else {}
        belongs: Mapping[UserId, frozenset[GroupId] | RemoteError] = graph.user_groups(members) if members else {}
    except RemoteError:
        return [True if there else None for there in seen]
    if found is not None:
        found |= {user: account for user, account in read.items() if isinstance(account, ObservedUser)}
    return [
        True if there else _is_there(a, read.get(a.user), belongs.get(a.user))
        for a, there in zip(actions, seen, strict=True)
    ]


def _shown(graph: Graph, actions: Sequence[Action]) -> list[bool]:
    """Which of many changes are there by what is read of many at once; a failure shows nothing."""
    others = [a for a in actions if a.add and not a.remove]  # that nothing is shown is no sign that it went
    joins = Counter(a.group for a in actions if a.kind is ActionKind.ADD_GROUP_MEMBER)
    lists: dict[GroupId | None, Collection[UserId]] = {}
    try:
        rows = graph.users_shown({a.user for a in others}) if others else {}
        lists = {g: graph.group_members(g) for g, count in joins.items() if g is not None and count >= MANY_MEMBERS}
    except RemoteError:
        return [False] * len(actions)
    return [
        a.user in lists.get(a.group, ())
        if a.kind is ActionKind.ADD_GROUP_MEMBER
        else bool(a.add and not a.remove) and _is_there(a, rows.get(a.user), None) is True
        for a in actions
    ]


def _is_there(
    action: Action, user: ObservedUser | RemoteError | None, groups: frozenset[GroupId] | RemoteError | None
) -> bool | None:
    if action.kind in _MEMBERSHIPS:
        is_in = action.group in groups if isinstance(groups, frozenset) else None
        return is_in if action.kind is ActionKind.ADD_GROUP_MEMBER or is_in is None else not is_in
    if not isinstance(user, ObservedUser) or action.kind is ActionKind.REPROCESS:
        return None
    if action.kind is ActionKind.SET_USAGE_LOCATION:
        return user.usage_location == action.country if user.usage_location is not None else None
    if user.assignments is None:
        return None
    direct = {a.sku: a.disabled_plans for a in user.assignments if a.group is None}
    given = all(direct.get(grant.sku) == grant.disabled_plans for grant in action.add)
    return given and not any(sku in direct for sku in action.remove)
