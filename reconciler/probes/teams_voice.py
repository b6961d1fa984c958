"""Whether a person can make calls: Teams Phone is in force and a number is assigned.

`MCOEV` says Success as soon as the licence is there; without enterprise voice and a number nobody can call. Source:
Graph v1.0 reference, "teamsUserConfiguration: get" (least permission TeamsUserConfiguration.Read.All).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from desired_state.model import UserId
from reconciler.clients.graph import Graph, Voice
from reconciler.errors import NotFound, RemoteError
from reconciler.line import Look, Unread
from reconciler.model import Probed

NO_NUMBER = "Teams Phone is licensed, and no telephone number is assigned, so no call is possible."
NO_VOICE = "Teams Phone is licensed, and enterprise voice is not switched on for the account."
NO_TEAMS = "Teams does not know the account yet."


def teams_voice(graph: Graph) -> Look:
    """The probe over this client."""

    def look(users: Collection[UserId]) -> Mapping[UserId, Probed | Unread]:
        return {user: judged(found) for user, found in graph.voice(users).items()}

    return look


def judged(found: Voice | RemoteError) -> Probed | Unread:
    """What Teams shows of one person, as an answer. What it does not show is no answer. Pure."""
    match found:
        case Voice(is_enabled=None) | Voice(numbers=None):
            return Probed(None, "Teams does not show whether voice is set up.")
        case Voice(is_enabled=True, numbers=numbers) if numbers:
            return Probed(True)
        case Voice(numbers=()):
            return Probed(False, NO_NUMBER)
        case Voice():
            return Probed(False, NO_VOICE)
        case NotFound():
            return Probed(False, NO_TEAMS)
        case _:
            return Unread(str(found))
