"""What a service hears between cycles: who and which tickets moved, and what the scan in slices shows. Hints only.

Whoever is heard of is kept in mind until a cycle has read them by name; a process that dies hears of them again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from desired_state.model import UserId
from reconciler.clients.graph import Tracked, tracked
from reconciler.errors import Forbidden, Rejected, RemoteError, StoreUnusable
from reconciler.line import Ending
from reconciler.loop.moved import Moves, News
from reconciler.loop.pull import has_news
from reconciler.loop.reader import Reader
from reconciler.model import ObservedUser
from reconciler.store import heartbeat
from reconciler.store.database import Database
from reconciler.wiring import App

SEEN_MAX = 10_000  # accounts, some 300 bytes each; whoever is beyond that is read once more
UNSEEN = Tracked(None, None, None)


class Hearing:
    """One tenant's. `sliced_s` is when the last page of the scan in slices was read, on the service's stopwatch."""

    def __init__(self, database: Database, tenant: str, now_s: float) -> None:
        self._moves, self._news = Moves(database, tenant), News()
        self.sliced_s = now_s
        self.is_lost = False  # whether the directory had forgotten our link when it was asked within a cycle
        self._heard_at: datetime | None = None
        # how our cycles, the last one of the tenant too, left whom they wrote to
        self._seen: dict[UserId, Tracked] = {}
        self._cycles = 0  # how many the tenant had by then

    @property
    def people(self) -> frozenset[UserId]:
        """Those who moved, and whom no cycle has read since."""
        return self._moves.people

    def use(self, database: Database) -> None:
        """Go on with another connection to the store."""
        self._moves.database = database

    def is_news(self, reader: Reader, anew: Callable[[], Reader | None]) -> bool:
        """Whether a cycle has tickets to read. Raises RemoteError when it could not be asked.

        Something that is none of ours may be an order of an item that was made anew under its name: `anew` is a reader
        that has asked for the names again, None while that was done lately.
        """
        if self._news.ask(reader):
            return True
        again = anew() if self._news.is_strange else None
        return again is not None and has_news(again)

    def ask(self, app: App) -> bool:
        """Who moved since the last time. False when only a full scan can tell.

        A directory that refuses the question is asked no less by scans. Raises RemoteError when it could not be asked.
        """
        return self._ask(app, self._seen if self._seen and self._count() == self._cycles else {})

    def _ask(self, app: App, seen: Mapping[UserId, Tracked]) -> bool:
        try:
            return self._moves.ask(app.graph, app.systems.tenant_id, seen)
        except (Rejected, Forbidden):
            return True

    def listen(self, app: App, seen: Mapping[UserId, ObservedUser]) -> None:
        """Ask who moved while a cycle is about to look at what it changed: whom it reads from now on, nobody has to be
        woken for, nor who is as they were `seen` a moment ago. Those are mostly the people whom it has just written to.
        What cannot be asked is asked at the next poll. For a process whose next poll another one may do.
        """
        at = app.clock.now()
        try:
            self.is_lost = not self._ask(app, {user: tracked(account) for user, account in seen.items()})
        except (RemoteError, StoreUnusable):
            return
        self._heard_at = at

    def have_left(self, endings: Iterable[Ending]) -> None:
        """Keep in mind how a cycle left the accounts that it wrote to, as all lines of theirs saw them last: that they
        changed is no news.
        """
        try:
            before, self._cycles = self._cycles, self._count()
        except StoreUnusable:  # the next cycle says so
            before = -1
        if self._cycles != before + 1:  # somebody else's was in between, and may have seen them otherwise
            self._seen.clear()
        written, ways = set[UserId](), dict[UserId, set[Tracked]]()
        for ending in endings:
            account, user = ending.finding.line.account, ending.finding.user
            if account is not None:
                ways.setdefault(account, set()).add(tracked(user) if user is not None else UNSEEN)
                if ending.outcomes:
                    written.add(account)
        for account in ways.keys() & {*written, *self._seen.keys()}:
            (way, *others) = ways[account]
            self._seen.pop(account, None)
            if not others and len(self._seen) < SEEN_MAX:
                self._seen[account] = way

    def _count(self) -> int:
        with self._moves.database.read() as session:
            beat = heartbeat.last(session, self._moves.tenant)
        return beat.number if beat is not None else 0

    def settled(self, endings: Iterable[Ending]) -> frozenset[UserId]:
        """Those who moved and whose lines were all looked at after that was heard of; said once."""
        heard_at, self._heard_at = self._heard_at, None
        if heard_at is None:
            return frozenset()
        late, early = set[UserId](), set[UserId]()
        for ending in endings:
            user = ending.finding.user
            if user is not None:
                (late if user.read_at >= heard_at else early).add(user.id)
        return self.people & (late - early)

    def scan_on(self, app: App, now_s: float, *, full_s: float, not_before_s: float) -> bool:
        """Read a page of all users when one is due; whether the pass that it ends shows somebody who has to be read.

        `full_s`: seconds between two full scans. Raises RemoteError, StoreUnusable: the next full scan is done whole.
        """
        rolling = app.kept.observed
        every_s = rolling.every_s(full_s)
        if every_s is None or now_s < max(self.sliced_s + every_s, not_before_s):
            return False
        self.sliced_s = now_s
        result = rolling.slice(app.graph)
        return result is not None and self._moves.add(result.candidates)

    def have_read(self, people: frozenset[UserId], at: datetime, *, is_full: bool) -> None:
        """A cycle has read these people, and with `is_full` scanned everybody when it began."""
        try:
            self._moves.read(people, at, is_full=is_full and not self.is_lost)
        except StoreUnusable:  # the next cycle says so, and they are told of again
            return
