"""First one change, then ten, then a tenth of the batch at a time, each looked at before the next goes out. Pure.

After the first tenth, a large one may be looked at beside the next (ADR 51).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

FIRST, SECOND = 1, 10
TENTH = 2  # the stage of the first tenth
LARGE = 100  # changes: of fewer, a look takes no time to speak of


@dataclass(frozen=True, slots=True)
class Canary:
    """How far a lane's batch of `total` people has come; `open` were changed since the last look."""

    total: int
    stage: int = 0
    open: int = 0

    @property
    def size(self) -> int:
        """How many may be changed in this stage."""
        return (FIRST, SECOND)[self.stage] if self.stage < TENTH else max(1, -(-self.total // 10))

    @property
    def is_due(self) -> bool:
        """Whether those that were changed have to be looked at before the next one."""
        return self.open >= self.size

    @property
    def is_beside(self) -> bool:
        """Whether those that were changed may be looked at while the next ones leave."""
        return self.stage > TENTH and self.size >= LARGE

    def sent(self) -> Canary:
        return replace(self, open=self.open + 1)

    def looked(self) -> Canary:
        return replace(self, stage=self.stage + 1, open=0)
