"""A read of all tickets: it may take longer than a process lives, so the next one goes on where it ended.

How far it came is the watermark itself, which moves with every page; that such a read is under way is a fact of the
tenant, written in the transaction of the page. The configuration that tickets are read with must be the same still.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlmodel import Session

from reconciler.clients.servicenow import Watermark
from reconciler.loop.guards.sources import Pulled, pulled
from reconciler.store import guards, watermarks

READING = "tickets.reading"  # the guards' fact: a read of all tickets that has not ended
TICKETS = "tickets"  # the guards' fact: how many a whole read showed
WHOLE = "servicenow.whole"  # when all tickets were last read, whatever the watermark says
MEANING = "meaning"  # the watermark's source under which the configuration that tickets were read with is kept
TASKS = "servicenow.tasks"  # up to when changes of tasks are known
EARLIER = timedelta(minutes=10)  # our clock may be ahead of the instance's


@dataclass(frozen=True, slots=True)
class Whole:
    """A read of all tickets under `meaning`. `count`: tickets that it showed; `since`: where it goes on, None at first.

    `is_anew`: tickets mean something else than before, so each is declared again, and their number compares with none.
    """

    began_at: datetime
    meaning: str
    is_anew: bool
    count: int = 0
    since: Watermark | None = None

    def with_page(self, session: Session, tenant: str, count: int) -> Whole:
        """Keep that a page of so many more tickets is taken in; in the transaction that takes it in."""
        after = replace(self, count=self.count + count)
        body = {"count": after.count, "meaning": self.meaning, "is_anew": self.is_anew}
        guards.remember(session, tenant, READING, body, self.began_at)
        if self.is_anew:  # some tickets are declared by one configuration and some by another: neither holds for all
            watermarks.save(session, tenant, MEANING, Watermark(self.began_at, ""))
        return after

    def end(self, session: Session, tenant: str, marks: Mapping[str, watermarks.Watermark]) -> None:
        """All tickets were read: how many, and what changed while it went on is asked for from its beginning."""
        guards.forget(session, tenant, READING)
        watermarks.save(session, tenant, MEANING, Watermark(self.began_at, self.meaning))
        watermarks.save(session, tenant, WHOLE, Watermark(self.began_at, ""))
        if TASKS not in marks:
            watermarks.save(session, tenant, TASKS, Watermark(self.began_at - EARLIER))
        kept = guards.fact(session, tenant, TICKETS)
        before = Pulled(int(kept[0]["usual"]), int(kept[0]["last"])) if kept is not None and not self.is_anew else None
        now = pulled(before, self.count)
        guards.remember(session, tenant, TICKETS, {"usual": now.usual, "last": now.last}, self.began_at)


def begun(
    session: Session, tenant: str, marks: Mapping[str, watermarks.Watermark], source: str, meaning: str, at: datetime
) -> Whole:
    """The read that was under way with the same configuration, or a new one."""
    kept, mark, meant = guards.fact(session, tenant, READING), marks.get(source), marks.get(MEANING)
    if kept is not None and mark is not None and kept[0]["meaning"] == meaning and kept[1] <= at:
        body, began_at = kept
        return Whole(began_at, meaning, bool(body["is_anew"]), int(body["count"]), Watermark(mark.at, mark.sys_id))
    return Whole(at, meaning, meant is not None and meant.sys_id != meaning)
