"""What one cycle of a service leaves to the next where another process may do it. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.daemon.timetable import Duty, Timetable, from_text, to_text


@dataclass(frozen=True, slots=True)
class Memory:
    """`answers` stands for what people had answered when the last cycle began, `scans` counts full scans, `epoch` is of
    the lease under which this was left, `at_s` when that was."""

    table: Timetable
    answers: str = ""
    scans: int = 0
    epoch: int = 0
    at_s: float = 0.0

    def to_text(self) -> str:
        plain = {"answers": self.answers, "scans": self.scans, "epoch": self.epoch, "table": to_text(self.table)}
        return json.dumps({**plain, "at_s": self.at_s}, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str, every: Mapping[Duty, float], now_s: float) -> Memory | None:
        """What `to_text` made; None for nothing, or for what another version left: then everything is due.

        Left later than now: the clock that all share was set back, and everything goes back with it.
        """
        try:
            plain = json.loads(text)
            table = from_text(plain["table"], every, now_s)
            at_s = float(plain["at_s"])
            table = table.earlier(max(0.0, at_s - now_s)).paced(every, now_s)
            return cls(table, str(plain["answers"]), int(plain["scans"]), int(plain["epoch"]), min(at_s, now_s))
        except (ValueError, KeyError, TypeError):
            return None
