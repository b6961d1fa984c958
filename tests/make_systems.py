"""Both remote systems of a simulated world, behind the same clients as real ones."""

from __future__ import annotations

from typing import Any

import httpx

from reconciler.clients.auth import Basic, ClientSecret
from reconciler.clock import Clock
from reconciler.sandbox import hosts
from reconciler.wiring.systems import Systems


def systems_of(clock: Clock, graph: httpx.Client, servicenow: httpx.Client, **more: Any) -> Systems:
    """How they are reached in this process, with whatever of it differs."""
    told: dict[str, Any] = {
        "graph_base": f"{hosts.GRAPH_URL}/v1.0",
        "authority": hosts.LOGIN_URL,
        "servicenow_base": hosts.SERVICENOW_URL,
    }
    return Systems(
        clock=clock,
        tenant_id=hosts.TENANT_ID,
        client_id=hosts.CLIENT_ID,
        credential=lambda: ClientSecret(hosts.CLIENT_SECRET),
        servicenow_tokens=lambda _: Basic(hosts.SERVICENOW_USER, hosts.SERVICENOW_PASSWORD),
        graph_http=graph,
        servicenow_http=servicenow,
        servicenow_user=hosts.SERVICENOW_USER,
        **{**told, **more},
    )
