"""The directory's own log of who changed what: directoryAudits (graph.md section 5).

Entries are kept in the shape Graph answers with. The change itself is often only in the sibling "Update user" entry,
as in real tenants, unless `Switches.audit_is_complete`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from reconciler.clock import Clock
from reconciler.sandbox.instants import iso_fine

KEPT = timedelta(days=30)


class Actor(msgspec.Struct, frozen=True):
    """Who did it: an application, or a person."""

    app_id: str | None = None
    app_name: str | None = None
    user_id: str | None = None
    upn: str | None = None
    name: str | None = None

    def as_graph(self) -> dict[str, Any]:
        """The `initiatedBy` of an entry."""
        if self.user_id is not None:
            person = {"id": self.user_id, "displayName": self.name, "userPrincipalName": self.upn, "ipAddress": ""}
            return {"user": person, "app": None}
        return {
            "user": None,
            "app": {
                "appId": self.app_id,
                "displayName": self.app_name,
                "servicePrincipalId": None,
                "servicePrincipalName": None,
            },
        }


class Change(NamedTuple):
    """One modified property; values are anything JSON-plain."""

    name: str
    old: Any
    new: Any


class AuditLog:
    """Entries in order of time of writing; those older than 30 days are not shown."""

    def __init__(self, clock: Clock, rng: random.Random) -> None:
        self._clock = clock
        self._rng = rng
        self._entries: list[dict[str, Any]] = []

    def write(
        self,
        activity: str,
        *,
        category: str,
        actor: Actor,
        target: Mapping[str, Any],
        changes: Iterable[Change] = (),
        at: datetime | None = None,
        operation: str = "Update",
    ) -> None:
        """Add an entry; `target` is `{"id", "type", "displayName", "userPrincipalName"?}`."""
        self._entries.append(
            {
                "id": f"Directory_{UUID(int=self._rng.getrandbits(128), version=4)}",
                "category": category,
                "correlationId": str(UUID(int=self._rng.getrandbits(128), version=4)),
                "result": "success",
                "resultReason": "",
                "activityDisplayName": activity,
                "activityDateTime": iso_fine(at or self._clock.now()),
                "loggedByService": "Core Directory",
                "operationType": operation,
                "initiatedBy": actor.as_graph(),
                "targetResources": [
                    {
                        **target,
                        "modifiedProperties": [
                            {
                                "displayName": c.name,
                                "oldValue": None if c.old is None else json.dumps(c.old),
                                "newValue": None if c.new is None else json.dumps(c.new),
                            }
                            for c in changes
                        ],
                    }
                ],
                "additionalDetails": [],
            }
        )

    def entries(self) -> list[dict[str, Any]]:
        """What is still kept, newest first."""
        order = sorted(enumerate(self._kept()), key=lambda ne: (str(ne[1]["activityDateTime"]), ne[0]), reverse=True)
        return [entry for _, entry in order]

    def _kept(self) -> list[dict[str, Any]]:
        oldest = iso_fine(self._clock.now() - KEPT)
        return [e for e in self._entries if e["activityDateTime"] >= oldest]

    def to_json(self) -> list[dict[str, Any]]:
        """What is still kept, JSON-plain, in order of writing."""
        return self._kept()

    def load(self, data: Iterable[Mapping[str, Any]]) -> None:
        """Become what `to_json` wrote."""
        self._entries = [dict(e) for e in data]
