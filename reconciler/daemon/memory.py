"""What one cycle of a service leaves to the next where another process may do it. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from reconciler.daemon.timetable import Duty, Timetable, from_text, to_text
from reconciler.health import Condition, Known

instant = datetime.fromisoformat


@dataclass(frozen=True, slots=True)
class Memory:
    """`answers` stands for what people had answered when the last cycle began, `scans` counts full scans, `epoch` is of
    the lease under which this was left, `at_s` when that was, `known` what people have been told of and is not over."""

    table: Timetable
    answers: str = ""
    scans: int = 0
    epoch: int = 0
    at_s: float = 0.0
    known: Known = field(default_factory=Known)

    def to_text(self) -> str:
        plain = {"answers": self.answers, "scans": self.scans, "epoch": self.epoch, "table": to_text(self.table)}
        known = {
            "conditions": [[c.name, c.since.isoformat(), c.message] for c in self.known.conditions],
            "notes": {sentence: at.isoformat() for sentence, at in self.known.notes.items()},
        }
        return json.dumps({**plain, "at_s": self.at_s, **known}, separators=(",", ":"))

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
            known = Known(
                tuple(Condition(name, instant(since), message) for name, since, message in plain.get("conditions", ())),
                {sentence: instant(at) for sentence, at in plain.get("notes", {}).items()},
            )
            answers, scans, epoch = str(plain["answers"]), int(plain["scans"]), int(plain["epoch"])
            return cls(table, answers, scans, epoch, min(at_s, now_s), known)
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
