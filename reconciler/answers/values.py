"""The values of answering: how an item wants to be answered, what was done, what is owed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from desired_state.model import LineKey, PlanId, ProductKey, SkuId
from reconciler.model import AnswerKind

ITEM = "item"  # the title of a CLOSED answer whose target is the item itself
REQUEST = "request"  # the title of a REOPENED answer whose target is the request above the ticket
INCOMPLETE = "4"  # closed incomplete, the stored value of the base system (servicenow.md section 8)
COMPLETE, INCOMPLETE = "3", "4"  # stored values of a closed task's state (servicenow.md section 8)
LEVELS = ("silent", "note", "task", "full")
NOTE_LENGTH_MAX = 3700  # a journal value is cut at 4000 characters (servicenow.md section 19)
COMMENT_LENGTH_MAX = 1500


@dataclass(frozen=True, slots=True)
class Manners:
    """How one catalogue item wants to be answered, and how far this tenant lets us go.

    `level` is silent, note, task or full; `our_groups` are sys_ids of the queues whose tasks are ours to close.
    `queues` maps an owner (`causes.Owner`) to the sys_id of the group that gets its tasks; who is not in it is reached
    through `follow_up_group`. `evidence` says whether the chain of a line is attached as a file.
    """

    level: str = "silent"
    levels: Mapping[ProductKey, str] = field(default_factory=dict)  # narrower ones, per product
    may_reopen: bool = False
    follow_up_group: str = ""  # sys_id
    queues: Mapping[str, str] = field(default_factory=dict)
    closes: str = "task"  # task, item, none
    our_groups: frozenset[str] = frozenset()
    evidence: bool = False
    reopen_path: str = ""  # the customer's own endpoint for reopening
    reopened_stage: str = ""  # stage of a ticket that is opened again, "" to leave it
    reopened_request_state: str = ""  # request_state of the request above it, "" to leave it
    review_item: str = ""  # sys_id of an item that is ordered when nothing else takes a ticket back
    review_variable: str = "description"


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer to one ticket. `target` is the sys_id it is written to.

    `text` goes where the desk reads it (work notes, a task's description, close notes, a file), `comment` where the
    requester does; "" tells the requester nothing. `marks` says that the ticket's correlation id is free for ours.
    """

    kind: AnswerKind
    key: str
    ticket: str
    target: str
    lines: tuple[LineKey, ...]
    text: str
    title: str = ""  # task: its short description; evidence: the file's name
    group: str = ""  # task: the queue's sys_id
    comment: str = ""
    marks: bool = False
    state: str = COMPLETE  # closed: the state that it is closed in


@dataclass(frozen=True, slots=True)
class Names:
    """Names for people; an id stands for itself where none is known."""

    skus: Mapping[SkuId, str] = field(default_factory=dict)
    plans: Mapping[PlanId, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Deed:
    """One write to the directory that was intended for a line, as the audit log has it.

    `result` is accepted, failed or unknown (sent, and no trustworthy reply came); `words` are the remote system's own.
    `seq` is the audit row of the intent; `found` is the cause for which the line began to be changed, "" if unknown.
    """

    kind: str  # an action kind
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    result: str
    at: datetime
    seq: int
    words: str = ""
    request_id: str = ""
    client_request_id: str = ""
    digest: str = ""  # of the request that it was sent for
    found: str = ""

    @property
    def is_done(self) -> bool:
        """It was done, or may have been."""
        return self.result != "failed"
