"""Writing back: notes, tasks, reopening, closing, attachments. Source: servicenow.md sections 9 and 10.

Every write is sent once and carries a key that can be looked for afterwards: the first line of a note, the
correlation_id of a task, the name of a file. Whoever looks is told "not there" only where nothing that matches was
counted: rows are hidden after they were counted, and what is hidden may be ours (servicenow.md section 4). A reply
shows what was accepted, not what a rule made of it a moment later: whatever changes a state is read back. Ticket text
is data: nothing in it can become markup.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final

import msgspec

from desired_state.model import Task, Ticket
from reconciler.clients.servicenow import records
from reconciler.clients.servicenow.dialect import SYSTEM
from reconciler.clients.servicenow.queries import among, chunks, equal, is_sys_id, key, sys_id
from reconciler.clients.servicenow.records import ITEM_TABLE, REQUEST_TABLE, TASK_FIELDS, TASK_TABLE
from reconciler.clients.servicenow.tables import Row, Tables, reply, total_of
from reconciler.errors import Forbidden, Malformed, OutcomeUnknown, Rejected, RemoteError, SignInFailed
from reconciler.model import Reply

US = "m365-reconciler"  # correlation_display: by convention the name of the other system
JOURNAL, MARK = "sys_journal_field", "[m365r:"
TICKETS_MAX = 200  # journals in one address, as `hydrate.IDS_MAX`
ATTACHMENTS = "/api/now/attachment"
NOTE_MAX, SHORT_MAX, CLOSE_MAX = 3800, 160, 3900  # columns cut longer texts silently (servicenow.md section 19)
_MARKUP = re.compile(r"\[(/?)code\]", re.IGNORECASE)
_NOTES = re.compile(rf"{re.escape(MARK)}([^\]]+)\]")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_STATE_FIELDS = ("state", "active", "stage", "approval", "sys_updated_on", "sys_updated_by", "sys_mod_count")


class Hidden(Enum):
    """What was looked for may be there: something that matches is counted and not shown, or nothing was counted."""

    HIDDEN = "hidden"


HIDDEN: Final = Hidden.HIDDEN


@dataclass(frozen=True, slots=True)
class ItemState:
    """A ticket's own word about itself at one moment. `request_id` is the write's, "" for a mere look."""

    state: str
    is_active: bool | None
    stage: str
    approval: str
    updated_at: datetime
    updated_by: str
    mod_count: int
    request_id: str = ""


def marker(note_key: str) -> str:
    """The first line of a note with this key."""
    return f"{MARK}{key(note_key)}]"


def plain(text: str, limit: int) -> str:
    """Text that shows as typed whether or not the instance renders [code], cut visibly rather than silently."""
    clean = _MARKUP.sub(r"(\1code)", text)
    if not clean.isprintable():
        clean = "".join(c for c in clean if c in "\n\t" or c.isprintable())
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def add_note(tables: Tables, ticket: str, text: str, *, note_key: str, comment: str, correlation: str) -> Reply:
    body = {"work_notes": f"{marker(note_key)}\n{plain(text, NOTE_MAX)}"}
    if comment:
        body["comments"] = plain(comment, NOTE_MAX)
    if correlation:
        body |= {"correlation_id": key(correlation), "correlation_display": US}
    return tables.update(ITEM_TABLE, ticket, body, operation="add_note")


def has_note(tables: Tables, ticket: str, note_key: str) -> bool | None:
    """True when the note is there, False when the journal was read without it, None when it cannot be read."""
    mark = marker(note_key)
    query = f"{equal('element_id', sys_id(ticket))}^valueLIKE{mark}^ORDERBYsys_id"
    try:
        page = tables.page(JOURNAL, query, ("element_id", "element", "value"), limit=10, operation="has_note")
    except (Forbidden, Rejected):
        return None
    for row in page.rows:
        value = row.text("value")
        if row.text("element_id") != ticket or (value is not None and mark not in value):
            raise Malformed(SYSTEM, "a journal row that was not asked for: a part of the query is ignored")
        if value is not None:
            return True
    if page.rows or page.has_more or page.total:
        return None  # there is something that we are not shown
    return False if page.total == 0 or _journal_is_readable(tables) else None


def notes_shown(tables: Tables, notes: Mapping[str, str]) -> frozenset[str]:
    """Keys of the notes that are seen in the journals of their tickets (sys_ids). Nothing where journals are closed."""
    seen: set[str] = set()
    for some in chunks(sorted(notes.items()), TICKETS_MAX):
        owners = {sys_id(ticket) for _, ticket in some}
        query = f"{among('element_id', sorted(owners))}^valueLIKE{MARK}"
        fits = _journals(owners)
        try:
            rows = list(tables.rows(JOURNAL, query, ("element_id", "value"), operation="has_note", fits=fits))
        except (Forbidden, Rejected):
            return frozenset()
        told = {(row.text("element_id"), note) for row in rows for note in _NOTES.findall(row.text("value") or "")}
        seen.update(note for note, ticket in some if (ticket, note) in told)
    return frozenset(seen)


def _journals(tickets: Collection[str]) -> Callable[[Row], bool]:
    """A row of one of these journals, with a note of ours or a text that is not shown."""
    return lambda row: row.text("element_id") in tickets and MARK in (row.text("value") or MARK)


def _journal_is_readable(tables: Tables) -> bool:
    page = tables.page(JOURNAL, "ORDERBYsys_id", ("element_id",), limit=1, operation="has_note")
    return bool(page.rows)


def create_task(
    tables: Tables,
    ticket: Ticket,
    *,
    task_key: str,
    short_description: str,
    description: str,
    assignment_group: str,
    work_notes: str,
) -> Task:
    body = {
        "request_item": sys_id(ticket.sys_id),
        "parent": ticket.sys_id,
        "short_description": plain(short_description, SHORT_MAX),
        "description": plain(description, CLOSE_MAX),
        "state": "1",
        "correlation_id": key(task_key),
        "correlation_display": US,
    }
    if ticket.request:
        body["request"] = ticket.request
    if assignment_group:
        body["assignment_group"] = sys_id(assignment_group)
    if work_notes:
        body["work_notes"] = f"{marker(task_key)}\n{plain(work_notes, NOTE_MAX)}"
    row, _ = tables.create(TASK_TABLE, body, TASK_FIELDS, operation="create_task")
    return records.task(row)


def find_task(tables: Tables, task_key: str) -> Task | Hidden | None:
    """The oldest task that carries the key, None when there is none, HIDDEN when one may be there unseen."""
    counts: list[int] = []
    found = list(
        tables.rows(
            TASK_TABLE,
            equal("correlation_id", key(task_key)),
            TASK_FIELDS,
            operation="find_task",
            fits=lambda row: (row.text("correlation_id") or "").lower() == task_key.lower(),
            counted=counts.append,
        )
    )
    ours = sorted((r for r in found if r.text("correlation_id") == task_key), key=_age)
    if ours:
        return records.task(ours[0])
    return None if _all_shown(len(found), counts[0] if counts else None) else HIDDEN


def _all_shown(shown: int, counted: int | None) -> bool:
    return counted is not None and shown >= counted


def _age(row: Row) -> tuple[str, str]:
    return row.text("sys_created_on") or "", row.need("sys_id")


def close(tables: Tables, table: str, record: str, *, state: str, close_notes: str, work_notes: str) -> Reply:
    """One PATCH with everything that closing may demand: a second one may meet a closed, read-only record."""
    body = {"state": state, "close_notes": plain(close_notes, CLOSE_MAX)}
    if work_notes:
        body["work_notes"] = plain(work_notes, NOTE_MAX)
    return tables.update(table, record, body, operation="close")


def set_correlation(tables: Tables, ticket: str, correlation: str, display: str) -> Reply:
    body = {"correlation_id": key(correlation), "correlation_display": plain(display, 100)}
    return tables.update(ITEM_TABLE, ticket, body, operation="set_correlation")


def reopen(tables: Tables, ticket: str, *, state: str, stage: str | None, correlation: str | None = None) -> ItemState:
    body = {"state": state, "active": "true"} | ({"stage": stage} if stage is not None else {})
    if correlation is not None:
        body |= {"correlation_id": key(correlation), "correlation_display": US}
    sent = tables.update(ITEM_TABLE, ticket, body, operation="reopen")
    return read_back(tables, ticket, sent)


def reopen_request(tables: Tables, request: str, *, state: str, request_state: str | None) -> ItemState:
    """Open the request (REQ) of a ticket; the words of `request_state` are the instance's own (section 19)."""
    body = {"state": state, "active": "true"} | ({"request_state": request_state} if request_state is not None else {})
    sent = tables.update(REQUEST_TABLE, request, body, operation="reopen_request")
    return read_back(tables, request, sent, table=REQUEST_TABLE)


def reopen_by_script(tables: Tables, path: str, ticket: Ticket, *, correlation: str, reason: str) -> None:
    """Ask an endpoint of the customer's own. What it answers is not defined (section 10): read back what it did."""
    body = {
        "sys_id": sys_id(ticket.sys_id),
        "number": ticket.number,
        "correlation_id": key(correlation),
        "reason": plain(reason, CLOSE_MAX),
    }
    tables.wire.post(path, json=body, operation="reopen_by_script")


class _Ordered(msgspec.Struct):
    request_number: str = ""
    number: str = ""


class _Order(msgspec.Struct):
    result: _Ordered


def order(tables: Tables, item: str, variables: dict[str, str]) -> str:
    """Order a catalogue item for ourselves; the number of the request (REQ). Source: servicenow.md section 11."""
    body = {"sysparm_quantity": 1, "variables": variables}
    url = f"/api/sn_sc/servicecatalog/items/{sys_id(item)}/order_now"
    answer = tables.wire.post(url, json=body, operation="order")
    try:
        made = msgspec.json.decode(answer.body, type=_Order).result
    except msgspec.DecodeError:
        raise OutcomeUnknown(SYSTEM, "the reply names no request", request_id=answer.request_id) from None
    return made.request_number or made.number


def read_back(tables: Tables, ticket: str, sent: Reply, *, table: str = ITEM_TABLE) -> ItemState:
    """What a write made of the ticket. Raises OutcomeUnknown when that cannot be seen."""
    try:
        return state_of(tables, ticket, request_id=sent.request_id, table=table)
    except RemoteError as error:
        raise unseen(error, sent) from None


def unseen(error: RemoteError, sent: Reply) -> RemoteError:
    """The error of a write that was accepted but whose effect cannot be read."""
    if isinstance(error, SignInFailed):
        return error
    return OutcomeUnknown(SYSTEM, f"accepted, but not readable afterwards: {error}", request_id=sent.request_id)


def state_of(tables: Tables, ticket: str, *, request_id: str = "", table: str = ITEM_TABLE) -> ItemState:
    row = tables.one(table, ticket, _STATE_FIELDS, operation="state_of")
    return ItemState(
        state=row.need("state"),
        is_active=row.flag("active"),
        stage=row.text("stage") or "",
        approval=row.text("approval") or "",
        updated_at=records.updated(row),
        updated_by=row.text("sys_updated_by") or "",
        mod_count=int(row.text("sys_mod_count") or "0"),
        request_id=request_id,
    )


class _Attached(msgspec.Struct):
    sys_id: str


class _Result(msgspec.Struct):
    result: _Attached


class _Results(msgspec.Struct):
    result: list[dict[str, object]]


def attach(tables: Tables, ticket: str, file_name: str, content_type: str, data: bytes) -> str:
    if not _FILE.fullmatch(file_name):
        raise ValueError("a file name is 1 to 100 characters of A-Z a-z 0-9 . _ -")
    params = {"table_name": ITEM_TABLE, "table_sys_id": sys_id(ticket), "file_name": file_name}
    answer = tables.wire.post(
        f"{ATTACHMENTS}/file", params=params, content=data, content_type=content_type, operation="attach"
    )
    try:
        return msgspec.json.decode(answer.body, type=_Result).result.sys_id
    except msgspec.DecodeError:
        raise OutcomeUnknown(
            SYSTEM, "the reply names no attachment", status=answer.status, request_id=reply(answer).request_id
        ) from None


def find_attachment(tables: Tables, ticket: str, file_name: str) -> str | Hidden | None:
    """sys_id of the ticket's attachment of that name, None when there is none, HIDDEN when one may be there unseen."""
    query = f"{equal('table_sys_id', sys_id(ticket))}^{equal('file_name', file_name)}"
    params = {"sysparm_query": query, "sysparm_limit": "100"}
    answer = tables.wire.get(ATTACHMENTS, params=params, operation="find_attachment")
    try:
        found = msgspec.json.decode(answer.body, type=_Results).result
    except msgspec.DecodeError:
        raise Malformed(SYSTEM, "the list of attachments", request_id=answer.request_id) from None
    for row in found:
        if row.get("table_sys_id") != ticket:
            raise Malformed(SYSTEM, "an attachment that was not asked for: a part of the query is ignored")
    same = sorted(str(row.get("sys_id")) for row in found if row.get("file_name") == file_name)
    ours = next((one for one in same if is_sys_id(one)), None)
    return ours if ours is not None or _all_shown(len(found), total_of(answer)) else HIDDEN
