"""Which tickets read as they are known: nobody but us has written to them since they were last read whole. Pure.

A ticket and a task say how often they were written to. Where that is as often as when they were read, or as often as
our own answers since then explain, and everything else that they say is the same, nothing that hangs on them is read
again: our own updates make no work (I6). One write more, and it is read whole.

What hangs on a ticket may show a little later than the ticket, and an approval may be given without touching it
(servicenow.md section 6): a copy that was made within minutes of a change, and one that waits, is read whole again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from desired_state.model import Task, Ticket

SETTLES = timedelta(minutes=10)  # after a change, by our clock, which may be minutes off the instance's


@dataclass(slots=True)
class Ours:
    """What our answers wrote in a cycle: how many notes on each ticket (number), and which tasks (sys_ids) closed.

    `tasks` are those by the number of their ticket, as they were read afterwards. `is_all`: nothing else was written,
    so no other task needs a look for our sake.
    """

    notes: Counter[str] = field(default_factory=Counter)
    closed: set[str] = field(default_factory=set)
    tasks: dict[str, tuple[Task, ...]] = field(default_factory=dict)
    is_all: bool = True


@dataclass(frozen=True, slots=True)
class Known:
    """Copies by number, as a reader of tickets is handed them. `whole_at`: when a cycle last began to read them whole.

    Tickets of `open_` (numbers) are always read whole. `written` says how often tickets (sys_ids) were written to when
    our last answers had been, as far as this process remembers.
    """

    copies: Mapping[str, Ticket]
    whole_at: datetime | None
    open_: Collection[str] = ()
    ours: Ours = field(default_factory=Ours)
    written: Mapping[str, int] = field(default_factory=dict)

    def of(self, number: str) -> Ticket | None:
        return self.copies.get(number) if self.whole_at is not None and number not in self.open_ else None

    def holds(self, copy: Ticket, now: Ticket) -> bool:
        if now == copy:
            return self._is_settled(copy) or self.written.get(copy.sys_id) == now.mod_count
        return self.is_ours(copy, now) and self._is_settled(copy)

    def is_ours(self, copy: Ticket, now: Ticket) -> bool:
        """Whether the notes that we wrote are all that happened to the ticket since it was copied."""
        notes = self.ours.notes[copy.number]
        since = replace(
            copy,
            updated_at=now.updated_at,
            updated_by=now.updated_by,
            mod_count=copy.mod_count + notes,
            correlation_id=now.correlation_id,
        )
        return notes > 0 and now == since

    def _is_settled(self, copy: Ticket) -> bool:
        return self.whole_at is not None and copy.updated_at + SETTLES <= self.whole_at


def counts(ticket: Ticket) -> dict[str, int]:
    """How often the ticket and its tasks were written to, by sys_id."""
    tasks = {task.sys_id: task.mod_count for task in ticket.tasks if task.mod_count is not None}
    return {ticket.sys_id: ticket.mod_count, **tasks}


def with_tasks(copy: Ticket, rows: Iterable[Task], closed: Collection[str]) -> Ticket | None:
    """The copy with tasks as they read now; None where somebody else wrote to one of them, or made it."""
    tasks = {task.sys_id: task for task in copy.tasks}
    for row in rows:
        known = tasks.get(row.sys_id)
        if known is None or known.mod_count is None or row.mod_count is None:
            return None
        is_same = row == known and row.mod_count == known.mod_count
        as_before = replace(row, state=known.state, is_active=known.is_active)
        is_ours = row.sys_id in closed and row.mod_count == known.mod_count + 1 and as_before == known
        if not is_same and not (is_ours and row.is_active is False):
            return None
        tasks[row.sys_id] = row
    return replace(copy, tasks=tuple(tasks.values()))
