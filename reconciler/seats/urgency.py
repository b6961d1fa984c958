"""Which tickets are served before older ones, and why. Pure.

Somebody named the ticket in the configuration, or its priority in ServiceNow is one that is configured as urgent. A
priority that is not shown makes nothing urgent: unknown stays unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Urgency:
    """`named` tickets by number with who decided it and why; `priorities` are values of the ticket's own field."""

    named: Mapping[str, str] = field(default_factory=dict)
    priorities: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        """Whether any ticket can be urgent at all."""
        return bool(self.named or self.priorities)

    def why(self, number: str, priority: str) -> str:
        """Why this ticket goes first, "" where it does not. `priority` "": it was not shown."""
        named = self.named.get(number, "")
        if named or not priority or priority not in self.priorities:
            return named
        return f"its priority in ServiceNow is {priority}"
