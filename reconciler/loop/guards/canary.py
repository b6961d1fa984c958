"""First one change, then ten, then a tenth of the batch at a time, each looked at before the next goes out. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

FIRST, SECOND = 1, 10


@dataclass(frozen=True, slots=True)
class Canary:
    """How far a lane's batch of `total` people has come; `open` were changed since the last look."""

    total: int
    stage: int = 0
    open: int = 0

    @property
    def size(self) -> int:
        """How many may be changed in this stage."""
        return (FIRST, SECOND)[self.stage] if self.stage < 2 else max(1, -(-self.total // 10))

    @property
    def is_due(self) -> bool:
        """Whether those that were changed have to be looked at before the next one."""
        return self.open >= self.size

    def sent(self) -> Canary:
        return replace(self, open=self.open + 1)

    def looked(self) -> Canary:
        return replace(self, stage=self.stage + 1, open=0)
