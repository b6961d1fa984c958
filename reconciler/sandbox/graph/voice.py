"""What Teams knows of a person's phone: GET /admin/teams/userConfigurations/{id}.

Not in graph.md. Source: Graph v1.0 reference, "teamsUserConfiguration: get" (least permission
TeamsUserConfiguration.Read.All), and the property texts in msgraph-sdk 1.65.0. Reduced to what tells whether voice
works: it does when Teams Phone is provisioned and a number is assigned. When the number shows before the licence does
is UNCONFIRMED: here it shows once the licence is in force.
"""

from __future__ import annotations

from typing import Any

from reconciler.sandbox.directory import User, refusals
from reconciler.sandbox.graph.answers import Answer
from reconciler.sandbox.graph.calls import Call
from reconciler.sandbox.instants import iso

TEAMS_PLANS = ("TEAMS1", "MCOSTANDARD")
VOICE_PLAN = "MCOEV"


class Voice:
    """Routes under /admin/teams."""

    def get(self, call: Call, key: str) -> Answer:
        """GET /admin/teams/userConfigurations/{id}; 404 for someone without Teams."""
        call.refuse_options("$select")
        user = call.store.live_user(key, stale=call.is_stale)
        if not any(_works(call, user, plan) for plan in TEAMS_PLANS):
            raise refusals.not_found(key)
        has_voice = _works(call, user, VOICE_PLAN)
        number = user.telephone_number if has_voice else None
        row: dict[str, Any] = {
            "id": user.user_id,
            "tenantId": call.directory.tenant_id,
            "userPrincipalName": user.upn,
            "accountType": "user",
            "isEnterpriseVoiceEnabled": number is not None,
            "featureTypes": ["Teams", *(["PhoneSystem"] if has_voice else [])],
            "telephoneNumbers": [] if number is None else [_assigned(number)],
            "createdDateTime": iso(user.created_at),
            "modifiedDateTime": iso(call.world.clock.now()),
        }
        select = call.select()
        shown = row if select is None else {k: v for k, v in row.items() if k in select or k == "id"}
        return Answer(200, {"@odata.context": call.context("admin/teams/userConfigurations/$entity")} | shown)


def _works(call: Call, user: User, plan_name: str) -> bool:
    state = user.plans.get(call.directory.plan(plan_name))
    return state is not None and state.capability == "Enabled" and state.status == "Success"


def _assigned(number: str) -> dict[str, str]:
    return {"telephoneNumber": number, "assignmentCategory": "primary"}
