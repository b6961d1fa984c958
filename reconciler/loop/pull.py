"""Tickets into the ledger: every ticket that moved is read again in full and declared again (level-triggered).

The watermark is saved in the transaction of the rows that it stands for, so a crash repeats a page and loses none.
Declaring what is known already adds no row.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from desired_state import ledger
from desired_state.hiding import is_open
from desired_state.intake import user_names
from desired_state.model import LineKey, Person, Refusal, Says, SkuId, Ticket, Why
from desired_state.proposals import is_number
from desired_state.says import what_it_says
from reconciler.causes import Cause
from reconciler.clients.servicenow import Moved, Stamp, Watermark
from reconciler.lifecycle import Phase
from reconciler.line import LineState
from reconciler.loop.declare import declare
from reconciler.loop.mentions import mentions
from reconciler.loop.ours import Known, Ours, counts, with_tasks
from reconciler.loop.pauses import Pause, uninterrupted
from reconciler.loop.questions import Forms
from reconciler.loop.questions import load as load_forms
from reconciler.loop.reader import LOOKED, SOURCE, Reader
from reconciler.loop.whole import MEANING, TASKS, WHOLE, Whole, begun
from reconciler.store import lines, sold, tickets, watermarks
from reconciler.store.sold import Sold

_SOUGHT = (Phase.APPROVED, Phase.VERIFYING, Phase.HELD)


@dataclass(slots=True)
class Memory:
    """What is remembered of a tenant's tickets, or of the named ones: read once for a cycle, and kept as the store is.

    Whoever holds the tenant's lease alone changes what is in it; what software files meanwhile is for the next cycle.
    """

    standings: dict[LineKey, ledger.Standing]
    states: dict[LineKey, LineState]
    copies: dict[str, Ticket]
    marks: dict[str, watermarks.Watermark]
    sold: dict[SkuId, Sold]  # what licences contain, and since when
    forms: Forms | None = None  # what forms ask; None: not needed so far
    by_ticket: dict[str, dict[LineKey, LineState]] = field(init=False)  # the states again, by number

    def __post_init__(self) -> None:
        self.by_ticket = _by_ticket(self.states)


def remembered(reader: Reader, numbers: Collection[str] = ()) -> Memory:
    """Standings, states and copies of all tickets, or of the named ones, in one view."""
    only = set(numbers) or None
    with reader.database.read() as session:
        return Memory(
            ledger.standings(session, reader.tenant, tickets=only),
            lines.load(session, reader.tenant, tickets=only),
            tickets.load(session, reader.tenant, numbers=only),
            watermarks.load_all(session, reader.tenant),
            sold.load(session, reader.tenant),
        )


def renew(reader: Reader, known: Memory, numbers: Collection[str]) -> None:
    """Another cycle has worked on these tickets: what is remembered of them is read again."""
    now = remembered(reader, numbers)
    known.standings |= now.standings
    known.states |= now.states
    known.by_ticket |= now.by_ticket
    known.copies |= now.copies
    known.sold, known.forms = now.sold, None


def pull(
    reader: Reader,
    *,
    cycle: str,
    at: datetime,
    numbers: Collection[str] = (),
    memory: Memory | None = None,
    ours: Ours | None = None,
    pause: Pause = uninterrupted,
) -> int:
    """Read what changed since the watermark, or the named tickets; returns how many tickets were read.

    `at` is when the cycle began. `memory` is what is remembered of the same tickets; it is kept up to date. `ours` is
    what the cycle's answers wrote: a ticket to which nobody else wrote is taken in as it was looked at (I6).
    """
    count = 0
    known = memory if memory is not None else remembered(reader, numbers)
    if numbers:
        found = reader.servicenow.tickets_by_number(sorted(n for n in numbers if not is_number(n)))
        _take_in(reader, found, cycle, known, watermark=None, read_at=at)
        return len(found)
    marks, unseen = dict(known.marks), _passed(reader, known)
    mark, meant, whole = marks.get(SOURCE), marks.get(MEANING), marks.get(WHOLE)
    now, read_at = reader.clock.now(), at if ours is None else None
    is_same = meant is not None and meant.sys_id == reader.meaning
    reading: Whole | None = None
    if mark is None or whole is None or not is_same or now - whole.at >= reader.whole_every:
        with reader.database.read() as session:
            reading = begun(session, reader.tenant, marks, SOURCE, reader.meaning, now)
    until = marks.get(TASKS, mark if reading is None or reading.since is None else None)
    may_ask = mark is not None and until is not None and (meant is None or is_same)
    around = _Around(reader, known, until if may_ask else None, unseen, at, ours, is_whole=reading is not None)
    if ours is not None:
        reader.written.clear()  # what was written before has been read since
    since = reading.since if reading is not None else Watermark(mark.at, mark.sys_id) if mark is not None else None
    pages = reader.servicenow.tickets(
        items=tuple(sorted(reader.items)), watermark=since, page_size=reader.page_size, also=around.also
    )
    shown: set[str] = set()
    for page in pages:
        if page.named:  # they come with the first page
            # The ticket may be as it was, and what it points to readable now: a person, an answer, a task.
            named = page.named
            _take_in(reader, named, cycle, known, watermark=None, is_reread=True, people=page.people, read_at=read_at)
        reading = _take_in(
            reader,
            page.tickets,
            cycle,
            known,
            watermark=page.watermark,
            people=page.people,
            reading=reading,
            read_at=read_at,
            kept=page.kept,
        )
        shown.update(one.number for one in (*page.named, *page.tickets))
        count += len(page.tickets)
        if served := pause():
            renew(reader, known, served)
            shown |= served  # read by another cycle since
    told = around.told
    still = [t for n, t in told.items() if n not in shown and known.copies[n] != t]  # the tasks alone were written to
    if still:
        _take_in(reader, still, cycle, known, watermark=None, kept=frozenset(t.sys_id for t in still))
    _keep_moved(reader, around.moved, shown, marks.get(TASKS))
    if reading is not None:  # only now: a crash before this goes on behind the last page
        with reader.database.write() as session:
            reading.end(session, reader.tenant, watermarks.load_all(session, reader.tenant))
    return count


@dataclass(slots=True)
class _Around:
    """What is read besides the tickets that changed: asked for once it is known which those are, so that a ticket whose
    task moved, too, is not read twice. `until`: up to when changes of tasks are known, None: they are not asked for.

    `told` are tickets (by number) with their tasks as we left them.
    """

    reader: Reader
    known: Memory
    until: watermarks.Watermark | None
    unseen: Collection[str]
    at: datetime
    ours: Ours | None
    is_whole: bool
    moved: Moved = field(default=Moved(frozenset(), None))
    told: dict[str, Ticket] = field(default_factory=dict)

    def also(self, shown: frozenset[str]) -> tuple[Collection[str], Known | None]:
        """The numbers of the tickets to read besides those `shown`, and the copies that hold."""
        if self.ours is not None and self.ours.is_all:
            self.moved = Moved(frozenset(self.ours.tasks), None, self.ours.tasks)
        elif self.until is not None:
            self.moved = _tasks_moved(self.reader, self.until)
        if self.is_whole:
            return sorted({*self.unseen, *(self.moved.numbers - shown)}), None
        copies = _known(self.reader, self.known, self.unseen, self.at, self.ours)
        self.told = _told_by_us(self.moved, copies)
        self.moved = replace(self.moved, numbers=self.moved.numbers - self.told.keys())
        copies = replace(
            copies, copies=ChainMap(self.told, self.known.copies), open_={*copies.open_, *self.moved.numbers}
        )
        return sorted({*self.unseen, *(self.moved.numbers - shown)}), copies


def _known(reader: Reader, known: Memory, unseen: Iterable[str], at: datetime, ours: Ours | None) -> Known:
    """What need not be read whole: an answer's own update after a cycle that read the ticket, or nothing new."""
    looked = known.marks.get(LOOKED)
    whole_at = at if ours is not None else looked.at if looked is not None and looked.at <= at else None
    waiting = {k.ticket for k, s in known.standings.items() if s.request is None or s.request.says is Says.WAITING}
    return Known(known.copies, whole_at, waiting | {*unseen}, ours or Ours(), reader.written)


def _told_by_us(moved: Moved, known: Known) -> dict[str, Ticket]:
    """Tickets (by number) whose tasks nobody but us has written to since they were copied, with those tasks."""
    found: dict[str, Ticket] = {}
    for number, tasks in moved.tasks.items():
        copy = known.of(number)
        ticket = with_tasks(copy, tasks, known.ours.closed) if copy is not None else None
        if ticket is not None:
            found[number] = ticket
    return found


def has_news(reader: Reader) -> bool:
    """Whether a ticket reads otherwise than its copy. Writes nothing: a cycle that reads them follows.

    Of a ticket itself, when and how often it was written to is compared. What hangs on it is read where a task moved.
    """
    with reader.database.read() as session:
        marks = watermarks.load_all(session, reader.tenant)
    mark = marks.get(SOURCE)
    if mark is None:
        return True
    since = Watermark(mark.at, mark.sys_id)
    items = tuple(sorted(reader.items))
    changed = reader.servicenow.stamps(items=items, since=since)
    with reader.database.read() as session:
        copies = tickets.load(session, reader.tenant, {one.number for one in changed})
    if any(not _is_at_stamp(copies.get(one.number), one) for one in changed):
        return True
    moved = _tasks_moved(reader, marks.get(TASKS, mark))
    with reader.database.read() as session:
        copies = tickets.load(session, reader.tenant, moved.numbers)
    known = {n for n, rows in moved.tasks.items() if n in copies and with_tasks(copies[n], rows, ()) is not None}
    read = reader.servicenow.tickets_by_number(sorted(moved.numbers - known)) if moved.numbers - known else ()
    return any(not _is_as(copies.get(t.number), t) for t in read if t.item in reader.items)


def _is_as(copy: Ticket | None, now: Ticket) -> bool:
    """Whether a ticket reads as its copy, apart from what is known of the copy's form beside what it shows."""
    return copy is not None and copy == replace(now, unshown=copy.unshown)


def _is_at_stamp(copy: Ticket | None, one: Stamp) -> bool:
    return copy is not None and (copy.updated_at, copy.mod_count) == (one.updated_at, one.mod_count)


def _tasks_moved(reader: Reader, known: watermarks.Watermark) -> Moved:
    """Tickets of which a task was taken, given back or closed: that does not change the ticket itself."""
    since = Watermark(known.at, known.sys_id)
    return reader.servicenow.tickets_with_changed_tasks(items=tuple(sorted(reader.items)), since=since)


def _keep_moved(reader: Reader, moved: Moved, found: Collection[str], known: watermarks.Watermark | None) -> None:
    """Only once every one of them was read: what is not shown now is asked for again."""
    if moved.until is None or not moved.numbers <= set(found) or _is_at(known, moved.until):
        return
    with reader.database.write() as session:
        watermarks.save(session, reader.tenant, TASKS, moved.until)


def _is_at(known: watermarks.Watermark | None, mark: Watermark) -> bool:
    return known is not None and (known.at, known.sys_id) == (mark.at, mark.sys_id)


def _passed(reader: Reader, known: Memory) -> list[str]:
    """Tickets that the watermark has passed and that may read differently now, so they are read by number.

    Of some, something was not shown. Of others a person holds the task: giving it back touches the task alone. Whose
    account is not found may have had a name corrected, which touches the person alone. Of some, a line stands as it was
    read before its ticket was approved, because its person was hidden then: showing them again touches no ticket.
    """
    unread = {key.ticket for key, s in known.standings.items() if s.held or _may_change_unseen(s.declaration)}
    hidden = {n for n, t in known.copies.items() if is_open(t, reader.items.get(t.item))}
    lost = {key.ticket for key, s in known.states.items() if s.cause == Cause.USER_MISSING and s.phase in _SOUGHT}
    behind = {key.ticket for key, s in known.standings.items() if _is_behind(reader, s, known.copies.get(key.ticket))}
    return sorted(n for n in unread | hidden | lost | behind if not is_number(n))  # a proposal is read from nowhere


def _is_behind(reader: Reader, standing: ledger.Standing, copy: Ticket | None) -> bool:
    """Whether a line waits for an approval that its ticket has."""
    is_waiting = standing.request is not None and standing.request.says is Says.WAITING
    if not is_waiting or copy is None or copy.item not in reader.items:
        return False
    return what_it_says(copy, reader.items[copy.item], reader.words).says in (Says.APPROVED, Says.FULFILLED)


def _may_change_unseen(declaration: object) -> bool:
    """A product that is not clear may be an answer that was not shown; reading it again costs one request."""
    return isinstance(declaration, Refusal) and declaration.why in (
        Why.UNKNOWN,
        Why.PRODUCT_UNMAPPED,
        Why.HELD_BY_PERSON,
    )


def _take_in(
    reader: Reader,
    found: Iterable[Ticket],
    cycle: str,
    known: Memory,
    watermark: Watermark | None,
    *,
    is_reread: bool = False,
    people: Mapping[str, Person] | None = None,
    reading: Whole | None = None,
    read_at: datetime | None = None,
    kept: Collection[str] = (),
) -> Whole | None:
    """Declare the tickets that do not read as they did, or all of them; what is declared so already adds no row.

    `people` are those who were read with the tickets, by sys_id; who else is mentioned is asked for. `reading` is the
    read of all tickets that this is a part of, and is returned as it is afterwards. `read_at`: when the cycle began
    that looks at what is read here. What is `kept` (sys_ids) nobody but us has written to since a cycle looked at it.
    """
    found = tuple(found)
    is_reread = is_reread or (reading is not None and reading.is_anew)
    more = _count(found, reading)
    read = tuple(t for t in found if t.item in reader.items and not is_number(t.number))
    states, copies = known.by_ticket, {t.number: known.copies[t.number] for t in read if t.number in known.copies}
    read = _completed(reader, read, copies, known)
    fresh = tuple(t for t in read if is_reread or t.number not in states or copies.get(t.number) != t)
    if not fresh and (watermark is None or _is_at(known.marks.get(SOURCE), watermark)):
        return replace(reading, count=reading.count + more) if reading is not None else None
    meant = _meant(reader, fresh, copies, known.standings)
    people = {**(people or {}), **_people(known, (t for t in fresh if t.sys_id in kept))}
    mentioned = mentions(reader.servicenow, fresh, reader.items, read=people, meant=meant)
    at = reader.clock.now()
    renewed: set[str] = set()
    with reader.database.write() as session:
        before = ledger.standings(session, reader.tenant, {t.number for t in fresh})
        for ticket in fresh:
            is_first = ticket.number not in copies
            if copies.get(ticket.number) != ticket:
                is_kept = ticket.sys_id in kept
                tickets.save(session, reader.tenant, ticket, None if is_kept else read_at or at)
                if is_kept:
                    reader.written.update(counts(ticket))
                copies[ticket.number] = ticket
            own = states.get(ticket.number, {})
            if declare(reader, session, ticket, mentioned[ticket.number], own, before, cycle, at, is_first=is_first):
                renewed.add(ticket.number)
        if watermark is not None:
            watermarks.save(session, reader.tenant, SOURCE, watermark)
            reading = reading.with_page(session, reader.tenant, more) if reading is not None else None
        if known.forms is not None:
            known.forms.keep(session, reader.tenant, at)
        moved = lines.load(session, reader.tenant, renewed) if renewed else {}
    known.standings |= before
    known.states |= moved
    known.by_ticket |= _by_ticket(moved)
    known.copies |= copies
    if watermark is not None:
        known.marks[SOURCE] = watermarks.Watermark(watermark.at, watermark.sys_id)
    return reading


def _completed(
    reader: Reader, read: tuple[Ticket, ...], copies: Mapping[str, Ticket], known: Memory
) -> tuple[Ticket, ...]:
    """The tickets, with what of their forms is there and not shown; what they show of their forms is learnt first."""
    news = [t for t in read if copies.get(t.number) != t]
    if not news:
        return read
    if known.forms is None:
        with reader.database.read() as session:
            known.forms = load_forms(session, reader.tenant)
    forms, at = known.forms, reader.clock.now()
    for ticket in news:
        forms.learn(ticket, reader.items[ticket.item])
    done = {
        t.number: forms.complete(t, reader.items[t.item], copies.get(t.number), reader.servicenow, at) for t in news
    }
    return tuple(done.get(t.number, t) for t in read)


def _people(known: Memory, kept: Iterable[Ticket]) -> dict[str, Person]:
    """Those whom tickets mention that were looked at in this cycle, by sys_id."""
    found: dict[str, Person] = {}
    numbers = set[str]()
    for ticket in kept:
        numbers.add(ticket.number)
        found |= {p.sys_id: p for p in (ticket.opened_by, ticket.requested_for) if p is not None}
    requests = (s.request for key, s in known.standings.items() if key.ticket in numbers) if numbers else ()
    return found | {r.claim.person.sys_id: r.claim.person for r in requests if r is not None and r.claim.person}


def _count(found: Sequence[Ticket], reading: Whole | None) -> int:
    """How many of them the read of all tickets had not shown before it was cut short."""
    since = reading.since if reading is not None else None
    return sum(since is None or Watermark(t.updated_at, t.sys_id) > since for t in found)


def _by_ticket(states: Mapping[LineKey, LineState]) -> dict[str, dict[LineKey, LineState]]:
    found: dict[str, dict[LineKey, LineState]] = {}
    for key, state in states.items():
        found.setdefault(key.ticket, {})[key] = state
    return found


def _meant(
    reader: Reader,
    fresh: Iterable[Ticket],
    copies: Mapping[str, Ticket],
    standings: Mapping[LineKey, ledger.Standing],
) -> dict[LineKey, str]:
    """Whom (sys_id) a user name on a form was read to mean, as long as the form says the same or they have the name."""
    typed = {t.number: (t, names) for t in fresh if (names := user_names(t, reader.items[t.item]))}
    if not typed:
        return {}
    found: dict[LineKey, str] = {}
    for ticket, names in typed.values():
        copy = copies.get(ticket.number)
        is_same = copy is not None and (copy.variables, copy.rows) == (ticket.variables, ticket.rows)
        for line, name in names.items():
            standing = standings.get(LineKey(ticket.number, line))
            person = standing.request.claim.person if standing is not None and standing.request is not None else None
            if person is not None and (is_same or person.user_name == name):
                found[LineKey(ticket.number, line)] = person.sys_id
    return found
