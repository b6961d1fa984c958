"""Which writes the modes let through, at the choke-point: whatever the gate said, this is asked again (I2, I7).

A line that nobody judged in this cycle is not written for, and neither is one whose mode asks people who have not
agreed. What a person agreed to is named by the gate; that it still holds is asked in the intent's own transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from desired_state.model import LineKey
from reconciler.line import Gated
from reconciler.loop.gate import Policy, mode_of
from reconciler.loop.send import Write


@dataclass(frozen=True, slots=True)
class Permits:
    """`enforced` are the lines that are written for without asking, `agreed` those that people said yes to.

    `mode` and `level` are the tenant's, of the directory and of answers; no line goes further than they do.
    """

    mode: str
    level: str
    enforced: frozenset[LineKey]
    agreed: frozenset[LineKey]
    is_dry: bool = False

    def refuse(self, write: Write) -> str:
        """Why a write is not sent, "" when it may be."""
        if self.is_dry:
            return "this is a dry run"
        if write.system == "servicenow":
            return "answers are silent" if self.level == "silent" else ""
        keys = frozenset(write.keys)
        if self.mode == "enforce":
            may = bool(keys) and keys <= self.enforced | self.agreed
            return "" if may else "it is not enforced for this person and product, and no person has agreed to it"
        if self.mode == "suggest" and keys & self.agreed:
            return ""
        return f"mode {self.mode} writes nothing to the directory that no person has agreed to"


def permits(
    gated: Iterable[Gated], policy: Policy, agreed: Mapping[LineKey, object], *, mode: str, level: str, is_dry: bool
) -> Permits:
    """What may be sent in a cycle that judged these lines."""
    enforced = (g.proposal.finding.key for g in gated if mode_of(g.proposal, policy) == "enforce")
    return Permits(mode, level, frozenset(enforced), frozenset(agreed), is_dry)
