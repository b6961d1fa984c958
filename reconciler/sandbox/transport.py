"""The sandbox behind httpx, without a socket: requests are routed by host to the service of that name.

`httpx.Client(transport=SandboxTransport(world))` reaches all of them under the names in `hosts`; a
request to any other host fails as a name that does not resolve does.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import httpx

from reconciler.sandbox import hosts
from reconciler.sandbox.graph import GraphService
from reconciler.sandbox.login import LoginService
from reconciler.sandbox.mail.service import MailService
from reconciler.sandbox.teams.service import TeamsService
from reconciler.sandbox.world import World

Service = Callable[[httpx.Request], httpx.Response]


class SandboxTransport(httpx.BaseTransport):
    """One world's services. Safe to share between threads and clients."""

    def __init__(self, world: World) -> None:
        self.login = login = LoginService(world)
        self._services: dict[str, Service] = {
            hosts.GRAPH_HOST: GraphService(world),
            hosts.LOGIN_HOST: login,
            hosts.IMDS_HOST: login,
            hosts.SERVICENOW_HOST: _servicenow(world),
            hosts.TEAMS_HOST: TeamsService(world),
            hosts.MAIL_HOST: MailService(world),
        }

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer, or fail as the network does.

        Raises:
            httpx.ConnectError: no service has this name.
        """
        request.read()
        service = self._services.get(request.url.host)
        if service is None:
            raise httpx.ConnectError(f"[Errno -2] Name or service not known: {request.url.host}", request=request)
        response = service(request)
        response.request = request
        return response


def _servicenow(world: World) -> Any:
    """The ServiceNow half; found late, because the halves do not know each other."""
    return importlib.import_module("reconciler.sandbox.servicenow").ServiceNowService(world)
