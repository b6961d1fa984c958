"""ServiceNow: tickets in, answers out. One method says one thing to the instance: typed in, typed out, no policy.

Every method may raise what `Wire` raises: Throttled, Unavailable, SignInFailed, Forbidden, NotFound, Malformed.
Writes are sent once and raise OutcomeUnknown when they may have landed; look for their key before anything is sent
again. After OutcomeUnknown with `status` 403 and nothing found, the credentials lack the right to create.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime

from desired_state.model import Person, Task, Ticket
from reconciler.clients.servicenow import answers, approving, form, hydrate, names, probes, reading, records
from reconciler.clients.servicenow.answers import ItemState
from reconciler.clients.servicenow.approving import Asked, Change, Impersonation, StandsIn
from reconciler.clients.servicenow.keys import Watermark
from reconciler.clients.servicenow.probes import Probe
from reconciler.clients.servicenow.reading import Also, Copies, Moved, TicketPage
from reconciler.clients.servicenow.records import (
    ITEM_TABLE,
    REQUEST_TABLE,
    TASK_FIELDS,
    TASK_TABLE,
    Stamp,
    TicketFields,
)
from reconciler.clients.servicenow.sizes import Sizes
from reconciler.clients.servicenow.tables import Tables
from reconciler.clients.servicenow.touched import Touched, touched
from reconciler.clients.servicenow.urgent import urgent
from reconciler.clients.wire import Wire
from reconciler.clock import Clock
from reconciler.errors import Rejected, RemoteError
from reconciler.model import Reply


class ServiceNow:
    """One instance. Safe for threads as far as `wire` is; keep at most four requests going (servicenow.md 13)."""

    def __init__(
        self, wire: Wire, clock: Clock, fields: TicketFields | None = None, sizes: Sizes | None = None
    ) -> None:
        self.wire, self._clock, self._fields = wire, clock, fields or TicketFields()
        self._tables = Tables(wire, sizes)

    # --- reading --------------------------------------------------------------------------------------------

    def tickets(
        self,
        *,
        items: Collection[str],
        watermark: Watermark | None = None,
        page_size: int = 200,
        numbers: Collection[str] = (),
        copies: Copies | None = None,
        also: Also | None = None,
    ) -> Iterator[TicketPage]:
        """Tickets of the catalogue items (sys_ids) that changed since the watermark, oldest change first, hydrated.

        Starts 120 s before the watermark, so some come again: upsert by sys_id and mod_count. Keep a page's watermark
        only once its tickets are stored. The tickets of `numbers`, whatever their item, come with the first page. What
        hangs on a ticket whose copy holds is not read again. `also` says both once it knows what the first page has.
        """
        if not items:
            return iter(())
        return reading.changed(
            self._tables,
            self._clock,
            self._fields,
            items=items,
            watermark=watermark,
            page_size=page_size,
            numbers=numbers,
            copies=copies,
            also=also,
        )

    def questions(self, item: str) -> dict[str, bool] | None:
        """What the form of a catalogue item (sys_id) asks now, and which questions have to be answered; None: the
        catalogue does not show us that form."""
        return form.questions(self._tables, item)

    def stamps(self, *, items: Collection[str], since: Watermark) -> tuple[Stamp, ...]:
        """Which tickets changed since a mark, 120 s before it included, without what hangs on them."""
        return reading.stamps(self._tables, items=items, since=since) if items else ()

    def tickets_with_changed_tasks(self, *, items: Collection[str], since: Watermark) -> Moved:
        """Which tickets have a task that changed since a mark; see `reading.with_changed_tasks`."""
        return reading.with_changed_tasks(self._tables, self._clock, items=items, since=since)

    def touched(self, since: datetime, told: Watermark | None = None) -> Touched:
        """What was written to any item or task since a mark, and since it was `told` already; see `touched`."""
        return touched(self._tables, since=since, told=told)

    def urgent(
        self, *, items: Collection[str], since: datetime, priorities: Collection[str], numbers: Collection[str]
    ) -> tuple[Stamp, ...]:
        """Which tickets of these priorities or numbers changed since a mark, in one request; see `urgent`."""
        return urgent(self._tables, items=items, since=since, priorities=priorities, numbers=numbers)

    def tickets_by_number(self, numbers: Collection[str]) -> tuple[Ticket, ...]:
        """The tickets of these numbers. Who is missing is not there or not visible, and is never to be acted on."""
        return reading.by_number(self._tables, self._fields, numbers)

    def items(self, names_: Collection[str]) -> dict[str, str | Rejected]:
        """sys_id of the catalogue item of each exact name; Rejected (code "ambiguous") for a name of several."""
        return names.items(self._tables, names_)

    def people(self, sys_ids: Collection[str]) -> dict[str, Person]:
        """People by sys_id; what is no sys_id, not there or not visible is left out."""
        return hydrate.people(self._tables, sys_ids, self._fields)

    def people_named(self, user_names: Collection[str]) -> dict[str, Person | RemoteError]:
        """The one person of each user name; see `names.people_named`."""
        return names.people_named(self._tables, self._fields, user_names)

    def person_by(self, *, email: str | None = None, user_name: str | None = None) -> Person | None:
        """The one person of an address or a user name. Raises Rejected (code "ambiguous") when it means several."""
        return names.person_by(self._tables, self._fields, email=email, user_name=user_name)

    def group(self, name: str) -> str | None:
        """sys_id of the group of that exact name. Raises Rejected (code "ambiguous") when it means several."""
        return names.group(self._tables, name)

    def group_names(self, sys_ids: Collection[str]) -> dict[str, str]:
        """Names of groups by sys_id; what is no sys_id, not there or not visible is left out."""
        return names.group_names(self._tables, sys_ids)

    def task(self, task: str) -> Task:
        """One catalogue task by sys_id. Raises NotFound."""
        return records.task(self._tables.one(TASK_TABLE, task, TASK_FIELDS, operation="task"))

    def tasks(self, sys_ids: Collection[str]) -> dict[str, Task]:
        """Catalogue tasks by sys_id, 200 a request; what is not there or not visible is left out."""
        return hydrate.tasks(self._tables, sys_ids)

    # --- who approves ---------------------------------------------------------------------------------------

    def asked(self, subjects: Collection[str]) -> tuple[Asked, ...]:
        """Who was asked to approve these records (sys_ids of tickets and requests), and what they said."""
        return approving.asked(self._tables, subjects)

    def approval_changes(self, rows: Collection[str]) -> dict[str, tuple[Change, ...]] | None:
        """How the state of approvers' rows (sys_ids) changed, and by whom; None where the history is closed to us."""
        return approving.changes(self._tables, rows)

    def impersonations(self, names: Collection[str], since: datetime) -> tuple[Impersonation, ...] | None:
        """When somebody acted in the name of these users; None where the events are closed to us."""
        return approving.impersonations(self._tables, names, since)

    def delegates(self, users: Collection[str]) -> tuple[StandsIn, ...]:
        """Who may approve for these people (sys_ids), from when until when."""
        return approving.delegates(self._tables, users)

    def cost_center_owner(self, person: str) -> str | None:
        """sys_id of whoever owns a person's (sys_id) cost centre; "" for nobody, None where it is not shown."""
        return approving.cost_center_owner(self._tables, person)

    # --- looking before and after a write -------------------------------------------------------------------

    def has_note(self, ticket: str, key: str) -> bool | None:
        """Whether the note of this key is in the ticket's journal; None when the journal cannot be read."""
        return answers.has_note(self._tables, ticket, key)

    def notes_shown(self, notes: Mapping[str, str]) -> frozenset[str]:
        """Which of these notes are seen on their tickets; `notes` has the ticket (sys_id) of each note's key.

        Of one that is not among them nothing is said: it may be hidden, and `has_note` tells.
        """
        return answers.notes_shown(self._tables, notes)

    def find_task(self, key: str) -> Task | answers.Hidden | None:
        """The task that was created with this key; HIDDEN when it may be there and is not shown."""
        return answers.find_task(self._tables, key)

    def find_attachment(self, ticket: str, file_name: str) -> str | answers.Hidden | None:
        """sys_id of the attachment of that name; HIDDEN when it may be there and is not shown."""
        return answers.find_attachment(self._tables, ticket, file_name)

    def state_of(self, ticket: str) -> ItemState:
        """What the ticket says about itself now. Raises NotFound."""
        return answers.state_of(self._tables, ticket)

    # --- writing --------------------------------------------------------------------------------------------

    def add_note(self, ticket: str, text: str, *, key: str, comment: str = "", correlation: str = "") -> Reply:
        """Append to the ticket's work notes and, in the same request, to the comments that its requester sees.

        The first line of the work note is `[m365r:<key>]`. A comment may be sent on by e-mail. `correlation` marks the
        ticket as known to us; it overwrites. Every call appends again: ask `has_note` before a second one.
        """
        return answers.add_note(self._tables, ticket, text, note_key=key, comment=comment, correlation=correlation)

    def create_task(
        self,
        ticket: Ticket,
        *,
        key: str,
        short_description: str,
        description: str,
        assignment_group: str = "",
        work_notes: str = "",
    ) -> Task:
        """Create a catalogue task under the ticket, with the key as its correlation_id. Starts no flow and reopens
        nothing by itself. `assignment_group` is a sys_id; a wrong one would be stored without an error.
        """
        return answers.create_task(
            self._tables,
            ticket,
            task_key=key,
            short_description=short_description,
            description=description,
            assignment_group=assignment_group,
            work_notes=work_notes,
        )

    def close_task(self, task: str, *, close_notes: str, work_notes: str = "", state: str = "3") -> Reply:
        """Close one of our tasks. A rule may undo it or leave it as it was: what became of it, `tasks` tells."""
        return answers.close(
            self._tables, TASK_TABLE, task, state=state, close_notes=close_notes, work_notes=work_notes
        )

    def close_item(self, ticket: str, *, close_notes: str, work_notes: str = "", state: str = "3") -> ItemState:
        """Close a ticket that no flow owns, and read it back."""
        sent = answers.close(
            self._tables, ITEM_TABLE, ticket, state=state, close_notes=close_notes, work_notes=work_notes
        )
        return answers.read_back(self._tables, ticket, sent)

    def reopen(
        self, ticket: str, *, state: str = "2", stage: str | None = None, correlation: str | None = None
    ) -> ItemState:
        """Ask for a closed ticket to be worked on again, and read it back: only `state` and `is_active` of the result
        say whether it was, and a rule may still turn it back later (`state_of`). Restarts no flow. `correlation` marks
        the ticket as ours in the same request.

        Raises:
            Forbidden: an ACL or a business rule keeps closed tickets closed.
        Source: servicenow.md section 10; inferred there, hence the reading back.
        """
        return answers.reopen(self._tables, ticket, state=state, stage=stage, correlation=correlation)

    def request_state(self, request: str) -> ItemState:
        """What the request (REQ) above a ticket says about itself now. Raises NotFound."""
        return answers.state_of(self._tables, request, table=REQUEST_TABLE)

    def reopen_request(self, request: str, *, state: str = "2", request_state: str | None = None) -> ItemState:
        """Open a closed request (REQ) whose ticket is open again, and read it back. Raises Forbidden.

        `request_state` is the instance's own word for an open one, None to leave that field alone.
        """
        return answers.reopen_request(self._tables, request, state=state, request_state=request_state)

    def reopen_by_script(self, path: str, ticket: Ticket, *, correlation: str, reason: str) -> None:
        """Post ticket and reason to the customer's own endpoint. Whether it reopened the ticket, `state_of` tells."""
        answers.reopen_by_script(self._tables, path, ticket, correlation=correlation, reason=reason)

    def order(self, item: str, variables: dict[str, str]) -> str:
        """Order a catalogue item (sys_id); the number of the new request. Every call orders again."""
        return answers.order(self._tables, item, variables)

    def set_correlation(self, ticket: str, key: str, display: str = answers.US) -> Reply:
        """Mark the ticket as known to us. Overwrites."""
        return answers.set_correlation(self._tables, ticket, key, display)

    def attach(self, ticket: str, file_name: str, content_type: str, data: bytes) -> str:
        """Attach a file to the ticket; its sys_id. Every call attaches again: ask `find_attachment` before."""
        return answers.attach(self._tables, ticket, file_name, content_type, data)

    # --- self test ------------------------------------------------------------------------------------------

    def probe(self, *, items: Collection[str] = (), group: str = "", account: str = "") -> tuple[Probe, ...]:
        """What the credentials can and cannot read, and how the instance treats queries. Read-only."""
        return probes.probe(self._tables, self._clock, self._fields, items=items, group=group, account=account)
