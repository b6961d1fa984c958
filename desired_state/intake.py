"""A ticket read as lines: each a request in our words, or a refusal that its requester can read. Pure.

Nothing is guessed and nothing is left out: every line that the form names comes out, in the form's order, and what
cannot be read says so. No text from the ticket reaches the outside unclean (I17), and an answer that is missing is
never read as "nothing wanted" (I4). Called by the observe stage for every ticket of a configured item.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from decimal import ROUND_DOWN, Decimal

from desired_state.catalogue import Catalogue, Unclear
from desired_state.hiding import unread
from desired_state.items import Item
from desired_state.model import OUR_MARK, Claim, LineKey, Person, Refusal, Request, Says, Task, Ticket, Why
from desired_state.reading import PeriodNames, Unreadable, read_period, read_person, read_price, user_name
from desired_state.says import TicketWords, what_it_says
from desired_state.text import one_line

LINES_MAX = 500  # a longer list is no request of one person any more
USER_NAMES_MAX = 50  # different ones that are looked up for one ticket, whatever else is read with it
_CENT = Decimal("0.01")
_LENGTHS = {"justification": 1000}


@dataclass(frozen=True, slots=True)
class Intake:
    """What one ticket says, line by line; `sentence` is why it is INCONSISTENT, else ""."""

    says: Says
    lines: tuple[Request | Refusal, ...]
    sentence: str = ""


def intake(
    ticket: Ticket,
    item: Item,
    people: Mapping[str, Person],
    catalogue: Catalogue,
    *,
    at: datetime,
    our_groups: AbstractSet[str],
    our_accounts: AbstractSet[str] = frozenset(),
    words: TicketWords | None = None,
    zone: tzinfo = UTC,
    named: Mapping[str, Person | None] | None = None,
) -> Intake:
    """Read one ticket.

    `people` are those that its own variables refer to, by sys_id, and `named` those of its `user_names` that one
    person has, None for who is not shown; nobody else may be among them, or a ticket would read differently beside
    another one (I11). `our_groups` are sys_ids of groups, `our_accounts` of accounts that are not persons (ours).
    `zone` is where the tenant's days begin.
    """
    said = what_it_says(ticket, item, words or TicketWords())
    reader = _Reader(ticket, item, people, named or {}, catalogue, said.says, at, zone)
    lines = reader.lines()
    if said.says is Says.INCONSISTENT:
        lines = tuple(_instead(line, Why.TICKET_INCONSISTENT, said.sentence, needs_person=True) for line in lines)
    elif said.says is Says.APPROVED:
        holder = _held_by(ticket, item, our_groups, our_accounts)
        if holder:
            lines = tuple(_instead(line, Why.HELD_BY_PERSON, holder) for line in lines)
    return Intake(said.says, lines, said.sentence)


def called_off(ticket: Ticket, taken: Intake, request: Request) -> Request | Refusal | None:
    """What becomes of a line that was read before when its ticket does not let us serve it now; None: it stands.

    That is said by the ticket's own fields: whoever hides a form, or a person from it, hides by that no cancellation,
    no approval that is asked for again, and no colleague who took the task.
    """
    if taken.says is Says.INCONSISTENT:
        return _instead(request, Why.TICKET_INCONSISTENT, taken.sentence, needs_person=True)
    if taken.says in (Says.REJECTED, Says.CANCELLED):
        return replace(request, says=taken.says, closed_by=one_line(ticket.closed_by, 200))
    if taken.says is Says.WAITING and request.says in (Says.APPROVED, Says.FULFILLED):
        return replace(request, says=taken.says)
    kept = next((x for x in taken.lines if isinstance(x, Refusal) and x.why is Why.HELD_BY_PERSON), None)
    return _instead(request, kept.why, kept.sentence) if kept is not None else None


def user_names(ticket: Ticket, item: Item) -> dict[int, str]:
    """Which user names of ServiceNow the form holds where a person is expected, by the number of the line."""
    typed = _persons(ticket, item)
    found = {n: name for n, text in enumerate(typed, 1) if len(typed) <= LINES_MAX and (name := user_name(text))}
    looked_up = set(list(dict.fromkeys(found.values()))[:USER_NAMES_MAX])
    return {n: name for n, name in found.items() if name in looked_up}


def _person_column(item: Item) -> str | None:
    """The question whose answer is the person of a line."""
    return (item.rows and item.rows.person) or item.variables.person


def _persons(ticket: Ticket, item: Item) -> tuple[str, ...]:
    """What the form says where a person is expected, one text a line, "" for nobody; () when it could not be read."""
    answers, name = ticket.variables, _person_column(item)
    if answers is None:
        return ()
    if item.rows is not None:
        # What a row leaves blank is taken from the form, but never the person.
        return tuple((row if item.rows.person else answers).get(name, "") if name else "" for row in ticket.rows)
    parts = [part for part in (answers.get(name, "") if name else "").split(",") if part.strip()]
    return tuple(parts or [""])


@dataclass(frozen=True, slots=True)
class _Reader:
    """One ticket, taken apart. A method a question that the form answers."""

    ticket: Ticket
    item: Item
    people: Mapping[str, Person]
    named: Mapping[str, Person | None]
    catalogue: Catalogue
    says: Says
    at: datetime
    zone: tzinfo

    def lines(self) -> tuple[Request | Refusal, ...]:
        answers = self.ticket.variables
        if answers is None:
            sentence = (
                "The form's answers could not be read (the account that reads them may lack a permission), "
                "so it is not known what was asked for."
            )
            return (self._refusal(1, Unreadable(Why.UNKNOWN, sentence)),)
        if hidden := unread(self.ticket, self.item):
            return (self._refusal(1, Unreadable(Why.UNKNOWN, hidden)),)
        if self.item.rows is not None:
            return self._from_rows(answers)
        return self._from_persons(answers)

    def _from_rows(self, answers: Mapping[str, str]) -> tuple[Request | Refusal, ...]:
        rows = self.ticket.rows
        if not rows:
            sentence = "The form's table of people is empty or could not be read. Please name at least one person."
            return (self._refusal(1, Unreadable(Why.UNKNOWN, sentence)),)
        if len(rows) > LINES_MAX:
            return (self._refusal(1, _too_many(len(rows))),)
        name = _person_column(self.item)
        lines = []
        for number, (row, who) in enumerate(zip(rows, _persons(self.ticket, self.item), strict=True), 1):
            merged = {**answers, **{k: v for k, v in row.items() if v.strip()}}
            lines.append(self._line(number, merged, name, who))
        return self._priced(lines)

    def _from_persons(self, answers: Mapping[str, str]) -> tuple[Request | Refusal, ...]:
        name, persons = self.item.variables.person, _persons(self.ticket, self.item)
        if len(persons) > LINES_MAX:
            return (self._refusal(1, _too_many(len(persons))),)
        wrong = self._quantity(answers, len(persons))
        if wrong is not None:
            return (self._refusal(1, wrong, person=", ".join(persons)),)
        return self._priced([self._line(number, answers, name, who) for number, who in enumerate(persons, 1)])

    def _quantity(self, answers: Mapping[str, str], persons: int) -> Unreadable | None:
        """A licence is for a person: three of them need three names."""
        name = self.item.variables.quantity
        text = (answers.get(name, "") if name else "").strip()
        if not text:
            return None
        if not (text.isascii() and text.isdigit() and len(text) <= 6):
            shown = one_line(text, 40)
            return Unreadable(
                Why.POLICY_REFUSED,
                f"The answer to '{name}' is '{shown}'; a whole number is expected. Please answer with the people "
                "who need the licence.",
            )
        if int(text) == persons:
            return None
        who = "one person is named" if persons == 1 else f"{persons} people are named"
        return Unreadable(
            Why.POLICY_REFUSED,
            f"'{name}' is {int(text)}, but {who}. Please answer with the sign-in names of everybody who needs one.",
        )

    def _line(self, number: int, answers: Mapping[str, str], name: str | None, who: str) -> Request | Refusal:
        """One line from its own answers; the first thing that cannot be read is what the requester is told."""
        product = self.catalogue.item_product(self.item, answers)
        claim = self._claim(name, who)
        person = _shown(claim, who)
        if isinstance(product, Unclear):
            return self._refusal(number, Unreadable(product.why, product.sentence), person=person)
        if isinstance(claim, Unreadable):
            return replace(self._refusal(number, claim, person=person), product=product)
        ask, rows = self.item.variables, self.item.rows
        names = PeriodNames(
            start=(rows and rows.start) or ask.start,
            end=(rows and rows.end) or ask.end,
            duration=(rows and rows.duration) or ask.duration,
        )
        period = read_period(names, answers, at=self.at, zone=self.zone)
        if isinstance(period, Unreadable):
            return replace(self._refusal(number, period, person=person), product=product)
        ticket = self.ticket
        return Request(
            key=self._key(number),
            claim=claim,
            product=product,
            says=self.says,
            requested_at=ticket.opened_at,
            due_since=_due_since(ticket, self.says),
            period=period,
            justification=self._text("justification", answers),
            cost_center=self._text("cost_center", answers),
            manager=self._text("manager", answers),
            manager_country=self._manager_country(answers),
            price_cap=self._price_cap(answers),
            closed_by=one_line(ticket.closed_by, 200),
            opened_by=one_line((ticket.opened_by.user_name if ticket.opened_by else None) or "", 200),
            approvers=tuple(one_line(a.approver_name, 200) for a in ticket.approvals if _is_yes(a.state)),
        )

    def _claim(self, name: str | None, who: str) -> Claim | Unreadable:
        if who.strip():
            return read_person(name or "", who, self.people, self.named)
        if self.item.rows is not None and self.item.rows.person:
            # The requester of a table asks for others; nobody is put into an empty row.
            return Unreadable(Why.IDENTITY_MISMATCH, f"A row of the table names nobody in '{name}'. Please name them.")
        if self.ticket.requested_for is not None:
            return Claim(None, self.ticket.requested_for)
        return Unreadable(Why.UNKNOWN, "The ticket shows no person: neither in its form nor as 'requested for'.")

    def _manager_country(self, answers: Mapping[str, str]) -> str:
        manager = self.people.get(self._text("manager", answers))
        return one_line((manager.country if manager is not None else None) or "", 60)

    def _text(self, question: str, answers: Mapping[str, str]) -> str:
        name = getattr(self.item.variables, question)
        return one_line(answers.get(name, ""), _LENGTHS.get(question, 200)) if name else ""

    def _price_cap(self, answers: Mapping[str, str]) -> Decimal | None:
        name = self.item.variables.price
        price = read_price(answers.get(name, "")) if name else None
        if price is None:
            price = self.ticket.price or None  # ServiceNow stores 0 where no price is kept
        return price

    def _priced(self, lines: list[Request | Refusal]) -> tuple[Request | Refusal, ...]:
        """A price that was approved for the whole item is shared by its lines."""
        if self.item.price_covers == "line":
            return tuple(lines)
        return tuple(
            replace(line, price_cap=(line.price_cap / len(lines)).quantize(_CENT, rounding=ROUND_DOWN))
            if isinstance(line, Request) and line.price_cap is not None
            else line
            for line in lines
        )

    def _refusal(self, number: int, what: Unreadable, *, person: str = "") -> Refusal:
        return Refusal(self._key(number), what.why, what.sentence, self.says, person=one_line(person, 200))

    def _key(self, number: int) -> LineKey:
        return LineKey(one_line(self.ticket.number, 40), number)


def _held_by(ticket: Ticket, item: Item, our_groups: AbstractSet[str], our_accounts: AbstractSet[str]) -> str:
    """Why an approved ticket is not ours to fulfil now, "" when it is.

    The trigger is an open task in our group, or the approved item itself when nobody else's task is open. A task
    assigned to a person is theirs (architecture.md section 5). What we made ourselves for other teams holds nothing up.
    """

    def is_theirs(assigned_to: str) -> bool:
        return bool(assigned_to) and assigned_to not in our_accounts

    open_tasks = [t for t in ticket.tasks if t.is_active is not False and not t.correlation_id.startswith(OUR_MARK)]
    ours = [task for task in open_tasks if task.assignment_group in our_groups]
    if any(not is_theirs(task.assigned_to) for task in ours):
        return ""
    if ours:
        return f"{_task(ours[0])} is assigned to a person, who keeps it; clear 'assigned to' to hand it over."
    if open_tasks:
        return f"{_task(open_tasks[0])} is open in another group, so it is not our turn yet."
    if item.close == "item" and is_theirs(ticket.assigned_to):
        return "The item is assigned to a person, who keeps it; clear 'assigned to' to hand it over."
    return ""


def _task(task: Task) -> str:
    return f"Task {one_line(task.number, 40)}"


def _due_since(ticket: Ticket, says: Says) -> datetime:
    """When it was approved, or said to be fulfilled. Never `updated_at`: our own notes move that."""
    if says is Says.FULFILLED:
        return ticket.closed_at or ticket.opened_at
    decided = [a.decided_at for a in ticket.approvals if a.decided_at is not None and _is_yes(a.state)]
    return max([*decided, ticket.opened_at])


def _is_yes(state: str) -> bool:
    return state.strip().casefold() == "approved"


def _instead(line: Request | Refusal, why: Why, sentence: str, *, needs_person: bool = False) -> Refusal:
    """The same line, not taken in, for a reason that holds for the whole ticket."""
    if isinstance(line, Refusal):
        return replace(line, why=why, sentence=sentence, needs_person=needs_person)
    person = _shown(line.claim, "")
    return Refusal(line.key, why, sentence, line.says, line.product, person, needs_person)


def _shown(claim: Claim | Unreadable, typed: str) -> str:
    """The person as a list shows them."""
    if isinstance(claim, Unreadable):
        return one_line(typed, 200)
    person = claim.person
    return one_line(claim.upn or (person and (person.email or person.name or person.user_name)) or typed, 200)


def _too_many(lines: int) -> Unreadable:
    return Unreadable(
        Why.POLICY_REFUSED, f"The form names {lines} people; at most {LINES_MAX} fit into one ticket. Please split it."
    )
