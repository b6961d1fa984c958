"""Who and which tickets moved since they were last asked for: what a service asks between cycles. Hints, all of them.

Whoever is named is read, and each cycle reads the tickets that changed whatever was said here. The link that the
directory gave is kept with the tenant it is of, and goes on only once a cycle has read the people that it told of: one
that is kept too early would lose them, one that is kept late tells of them twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from desired_state.model import UserId
from reconciler.clients.graph import Graph, Tracked
from reconciler.clients.servicenow import Watermark
from reconciler.clients.servicenow.touched import Touched
from reconciler.errors import Forbidden, Rejected
from reconciler.loop.ours import SETTLES
from reconciler.loop.pull import has_news
from reconciler.loop.reader import SOURCE, Reader
from reconciler.store import guards, lines, watermarks
from reconciler.store.database import Database

LINK = "users.delta"
UNTOLD = Touched(None, "", None)


@dataclass
class News:
    """Whether a ticket reads otherwise than its copy, asked with one request as long as nothing was written to any.

    What was no news is not asked for again: once it is told, only what was written to since is, by the instance's
    clock and `SETTLES` earlier, so a poll does not cost what the last busy hour left.
    """

    is_strange: bool = field(default=False, init=False)  # whether something was written to that was no news of ours
    _quiet: frozenset[tuple[str, str, str]] = field(default=frozenset(), init=False)  # touched when nothing was news
    _told: Watermark | None = field(default=None, init=False)  # until when, by the instance, and a record of those
    _is_refused: bool = field(default=False, init=False)

    def ask(self, reader: Reader) -> bool:
        """Whether a cycle has tickets to read.

        Raises:
            RemoteError: it could not be asked.
        """
        now, self.is_strange = self._touched(reader), False
        is_known = now.rows is not None and all(row in self._quiet or _is_ours(row, reader) for row in now.rows)
        if not is_known and has_news(reader):
            return True
        self._quiet, self._told, self.is_strange = now.rows or frozenset(), _told(now), not is_known
        return False

    def _touched(self, reader: Reader) -> Touched:
        with reader.database.read() as session:
            mark = watermarks.load(session, reader.tenant, SOURCE)
        if mark is None or self._is_refused:
            return UNTOLD
        try:
            return reader.servicenow.touched(mark.at, self._told)
        except (Rejected, Forbidden):  # an integration user who may not read the parent table; not asked again
            self._is_refused = True
            return UNTOLD


def _told(now: Touched) -> Watermark | None:
    """Where the next question begins; None where nothing was shown that it could name, or no instant."""
    return Watermark(now.served_at - SETTLES, now.shown) if now.shown and now.served_at is not None else None


def _is_ours(row: tuple[str, str, str], reader: Reader) -> bool:
    """Whether a ticket or task was written to as often as when our last answers had been taken in."""
    record, _, count = row
    return str(reader.written.get(record)) == count


@dataclass
class Moves:
    """One service's way to hear of people. `people` moved, and no cycle has read them since.

    Asking costs one request and, while nobody moved, not a row of the store.
    """

    database: Database
    tenant: str
    people: frozenset[UserId] = frozenset()
    _link: str | None = field(default=None, init=False)
    _of: str = field(default="", init=False)  # the directory that the link is of
    _kept: str | None = field(default=None, init=False)
    _is_lost: bool = field(default=False, init=False)  # anybody may have moved, and nobody was scanned since
    _is_further: bool = field(default=False, init=False)  # whether the link is past what the kept one tells of again

    def ask(self, graph: Graph, tenant_id: str, seen: Mapping[UserId, Tracked] = MappingProxyType({})) -> bool:
        """Ask who moved, and keep in mind who of them a line is about. Who is as we last saw them has not moved.

        False: the directory does not know our link any more, so anybody may have moved, and only a full scan tells. It
        is asked from now on for what comes after that.

        Raises:
            RemoteError: it could not be asked; what was kept in mind stays.
        """
        if self._link is None or self._of != tenant_id:
            self._link, self._of = self._load(tenant_id), tenant_id
            self._kept = self._link
        if self._link is None:  # never asked before: what moved earlier, the first full scan has seen or the next will
            self._link = graph.latest_link()
            return True
        moved = graph.moved_since(self._link, seen)
        if moved is None:
            self._link, self._is_lost = graph.latest_link(), True
            return False
        self._link, self._is_further = moved.link, self._is_further or moved.is_known
        self.add(moved.users)
        return True

    def add(self, users: frozenset[UserId]) -> bool:
        """Keep in mind those of them whom a line is about; whether there are any."""
        if not users:
            return False
        with self.database.read() as session:
            ours = lines.accounts(session, self.tenant, users)
        self.people |= ours
        return bool(ours)

    def read(self, people: frozenset[UserId], at: datetime, *, is_full: bool) -> None:
        """A cycle has read these people. The link is kept when that, or a full scan, makes it worth a row.

        `is_full`: everybody was scanned after the link was had. One that took the place of a lost one is not kept
        before that: a process that dies meanwhile would leave nobody who knows that a scan is owed.
        """
        self.people -= people
        self._is_lost = self._is_lost and not is_full
        if self._is_lost:
            return
        is_worth_it = bool(people) or is_full or self._is_further
        if self._link is None or self.people or self._link == self._kept or not is_worth_it:
            return
        with self.database.write() as session:
            guards.remember(session, self.tenant, LINK, {"tenant_id": self._of, "link": self._link}, at)
        self._kept, self._is_further = self._link, False

    def _load(self, tenant_id: str) -> str | None:
        with self.database.read() as session:
            kept = guards.fact(session, self.tenant, LINK)
        return str(kept[0]["link"]) if kept is not None and kept[0]["tenant_id"] == tenant_id else None
