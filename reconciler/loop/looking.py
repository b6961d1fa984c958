"""What tickets show around the answers of a round: tasks just before they are closed, notes and tasks just after.

One request looks at as many as an address holds. What it does not show is asked for by its own id: only that can say
that something is not there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from desired_state.model import Task
from reconciler.answers import Answer
from reconciler.clients.servicenow import SYSTEM, ServiceNow
from reconciler.clock import Clock
from reconciler.errors import OutcomeUnknown, RemoteError, SignInFailed

FRESH_S = 30.0  # so long a look at a task is good for closing it: a colleague may take it meanwhile
TASKS_MAX = 200  # of one look, as many ids as an address holds


@dataclass(slots=True)
class Looks:
    """Looks at the records of one round of answers."""

    servicenow: ServiceNow
    clock: Clock
    _due: list[str] = field(default_factory=list, init=False)
    _tasks: dict[str, Task] = field(default_factory=dict, init=False)
    _at_s: float = field(default=0.0, init=False)

    def expect(self, tasks: Sequence[str]) -> None:
        """These tasks (sys_ids) will be asked for, in this order."""
        self._due, self._tasks = list(tasks), {}

    def task(self, task: str) -> Task:
        """The task as it is now, or was seconds ago. Raises NotFound, and whatever a look raises."""
        is_stale = self.clock.monotonic() - self._at_s > FRESH_S
        if task not in self._tasks or is_stale:
            left = self._due[self._due.index(task) :] if task in self._due else [task]
            self._at_s = self.clock.monotonic()
            self._tasks = self.servicenow.tasks(left[:TASKS_MAX]) if len(left) > 1 else {}
        return self._tasks.get(task) or self.servicenow.task(task)


def missing_notes(servicenow: ServiceNow, notes: Collection[Answer]) -> dict[str, RemoteError]:
    """Those of the notes (keys) that were accepted and are certainly not there; a look that fails says nothing."""
    try:
        shown = servicenow.notes_shown({a.key: a.target for a in notes}) if len(notes) > 1 else frozenset()
        left = [a for a in notes if a.key not in shown]
        gone = [a for a in left if servicenow.has_note(a.target, a.key) is False]
    except RemoteError:
        return {}
    return {a.key: OutcomeUnknown(SYSTEM, "the note was accepted and is not on the ticket") for a in gone}


def open_tasks(servicenow: ServiceNow, closed: Collection[Answer]) -> tuple[dict[str, RemoteError], dict[str, Task]]:
    """Those of the answers (keys) whose task was told to close and does not read closed, each with what is wrong; and
    the tasks of the others, as they read now."""
    try:
        shown: Mapping[str, Task] = servicenow.tasks([a.target for a in closed]) if len(closed) > 1 else {}
    except RemoteError as error:
        return {a.key: _unseen(error) for a in closed}, {}
    wrong: dict[str, RemoteError] = {}
    seen: dict[str, Task] = {}
    for answer in closed:
        task = shown.get(answer.target)
        if task is None or task.is_active is not False:
            try:
                task = servicenow.task(answer.target)
            except RemoteError as error:
                wrong[answer.key] = _unseen(error)
                continue
        if task.is_active is not False:
            wrong[answer.key] = OutcomeUnknown(SYSTEM, f"task {task.number} reads open after it was closed")
        else:
            seen[answer.key] = task
    return wrong, seen


def _unseen(error: RemoteError) -> RemoteError:
    """The error of a write that was accepted but whose effect cannot be read."""
    if isinstance(error, SignInFailed):
        return error
    return OutcomeUnknown(SYSTEM, f"accepted, but not readable afterwards: {error}")
