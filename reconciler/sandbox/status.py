"""What `sandbox status` shows of a world: counts only, JSON-plain, read in one go under the world's lock."""

from __future__ import annotations

from collections import Counter
from typing import Any

from reconciler.sandbox.world import World

STATES = {"-5": "pending", "1": "open", "2": "in progress", "3": "closed complete", "4": "closed incomplete"}


def status(world: World) -> dict[str, Any]:
    """`{"now", "users", "groups", "tickets": {state: n}, "events", "next_event_at", "faults"}`."""
    with world.lock:
        tickets = world.instance.records("sc_req_item")
        next_at = world.next_event_at()
        return {
            "now": world.clock.now().isoformat(),
            "users": len(world.directory.store.users),
            "groups": len(world.directory.store.groups),
            "tickets": dict(sorted(Counter(_state(str(t["state"])) for t in tickets).items())),
            "events": world.events_pending(),
            "next_event_at": next_at.isoformat() if next_at else None,
            "faults": len(world.faults.to_json()["rules"]),
        }


def _state(value: str) -> str:
    return STATES.get(value, f"state {value}")
