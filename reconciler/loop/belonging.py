"""Who is in which group, read once a cycle: the scope and the rules ask the same of the same people.

What could not be read is no answer, is not kept, and is asked for again by whoever needs it next.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from desired_state.model import GroupId, UserId
from reconciler.clients.graph import Graph
from reconciler.errors import RemoteError
from reconciler.model import ObservedGroup


@dataclass(slots=True)
class Belonging:
    """Groups of people, and groups by name, as they were when they were first asked for. For one cycle."""

    graph: Graph
    _inside: dict[UserId, frozenset[GroupId]] = field(default_factory=dict)
    _called: dict[str, tuple[ObservedGroup, ...]] = field(default_factory=dict)

    def of(self, users: Collection[UserId]) -> dict[UserId, frozenset[GroupId] | RemoteError]:
        """The groups that each user is in, through groups in groups as well. Raises RemoteError."""
        missing = sorted({user for user in users if user not in self._inside})
        read = self.graph.transitive_groups(missing) if missing else {}
        self._inside |= {user: found for user, found in read.items() if isinstance(found, frozenset)}
        every = {**read, **self._inside}
        return {user: every[user] for user in users if user in every}

    def called(self, names: Collection[str]) -> dict[str, tuple[ObservedGroup, ...] | RemoteError]:
        """All groups of each name, () for none. Raises RemoteError."""
        missing = sorted({name for name in names if name not in self._called})
        read = self.graph.groups_by_name(missing) if missing else {}
        self._called |= {name: found for name, found in read.items() if isinstance(found, tuple)}
        every = {**read, **self._called}
        return {name: every[name] for name in names if name in every}
