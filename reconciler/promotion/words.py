"""One line that was compared, as people and programs read it. Pure."""

from __future__ import annotations

from typing import Any

from reconciler.promotion.effects import sentence
from reconciler.promotion.values import Shadow


def line_json(shadow: Shadow) -> dict[str, Any]:
    """One line with its evidence; who acted is named."""
    return {
        "line": str(shadow.line),
        "axis": shadow.axis.value,
        "step": shadow.step,
        "outcome": shadow.outcome.value,
        "would": sentence(shadow.would),
        "told": told(shadow),
        "why": shadow.why,
        "by": shadow.by or None,
        "digest": shadow.digest,
        "is_removal": shadow.is_removal,
        "recorded_at": shadow.recorded_at.isoformat(),
        "acted_at": shadow.acted_at.isoformat() if shadow.acted_at is not None else None,
        "decided_at": shadow.decided_at.isoformat() if shadow.decided_at is not None else None,
    }


def told(shadow: Shadow) -> str:
    """The evidence of one line in words: what would have been, or was, done, and what people made of it."""
    did = "we did" if shadow.step == "enforce" else "we would have done"
    when = ""
    if shadow.acted_at is not None:
        hours = (shadow.acted_at - shadow.recorded_at).total_seconds() / 3600
        when = f" ({hours:.0f} h later)" if hours >= 1 else " (within the hour)"
    waits = "Nobody has turned it back yet" if shadow.step == "enforce" else "Nobody has acted yet"
    why = shadow.why.rstrip(".") or waits
    return f"{did}: {sentence(shadow.would)}. {why}{when}."
