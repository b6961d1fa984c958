"""The sandbox as five addresses on loopback, over TLS: Graph, sign-in, ServiceNow, the Teams webhook and mail.

`serve` puts a world behind them. The base address of Graph ends in `/v1.0`, as `msgraph-sdk` wants it; a client that
appends the version itself reaches the same resources. Every request that may have changed the world is followed by
`on_write` before its answer leaves, so that what a client was told is also kept.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from reconciler.sandbox import hosts
from reconciler.sandbox.asgi import Service
from reconciler.sandbox.graph.service import GraphService
from reconciler.sandbox.keeping import Watch
from reconciler.sandbox.login import LoginService
from reconciler.sandbox.mail.service import MailService
from reconciler.sandbox.mail.smtp import SmtpServer
from reconciler.sandbox.ports import Ports
from reconciler.sandbox.servicenow import ServiceNowService
from reconciler.sandbox.teams.service import TeamsService
from reconciler.sandbox.tls import Authority
from reconciler.sandbox.world import World

VERSION = "/v1.0"


def nothing() -> None:
    """What follows a write when nothing needs to."""


class Services:
    """The services of one world by name. The world can be replaced (a reset) under open ports."""

    def __init__(self, world: World, *, on_write: Callable[[], None] = nothing) -> None:
        self.on_write = on_write
        self.smtp_port: int | None = None
        self.replace(world)

    def replace(self, world: World) -> None:
        """Answer from this world from the next request on."""
        self.world = world
        self._by_name: Mapping[str, Service] = {
            "graph": GraphService(world),
            "login": LoginService(world),
            "servicenow": ServiceNowService(world),
            "teams": TeamsService(world),
            "mail": MailService(world, lambda: self.smtp_port),
        }

    def named(self) -> dict[str, Service]:
        """Each service as a function that survives `replace`."""
        return {name: self._entry(name) for name in self._by_name}

    def _entry(self, name: str) -> Service:
        def answer(request: httpx.Request) -> httpx.Response:
            watch = Watch(self.world)
            response = self._by_name[name](one_version(request) if name == "graph" else request)
            if watch.saw_change(request.method, is_login=name == "login"):
                self.on_write()
            return response

        return answer


class Serving:
    """Open ports over one set of services; a context manager that closes them."""

    def __init__(
        self, services: Services, *, directory: Path, port: int = 0, extra: Mapping[str, Service] | None = None
    ) -> None:
        """Bind; raises OSError for a taken port. SMTP follows the named five; `extra` services take free ports."""
        authority = Authority(directory)
        self.ca_file = authority.ca_file
        tls = authority.server_context()
        self._ports = Ports(services.named(), tls=tls, port=port)
        try:
            self._smtp = SmtpServer(
                lambda: services.world, tls=tls, port=port and port + len(self._ports.urls), on_write=services.on_write
            )
        except BaseException:
            self._ports.stop()
            raise
        services.smtp_port = self._smtp.port
        self._extra = Ports(extra or {}, tls=tls)
        urls = self._ports.urls
        self.graph = urls["graph"] + VERSION
        self.login = urls["login"]
        self.servicenow = urls["servicenow"]
        self.teams = urls["teams"]
        self.mail = urls["mail"]
        self.smtp_port = self._smtp.port
        self.extra = self._extra.urls

    def line(self) -> dict[str, str]:
        """What a program needs to use the sandbox: base addresses, the authority's file, working credentials."""
        return {
            "graph": self.graph,
            "login": self.login,
            "servicenow": self.servicenow,
            "teams": self.teams,
            "mail": self.mail,
            "ca_file": str(self.ca_file.resolve()),
            "tenant_id": hosts.TENANT_ID,
            "client_id": hosts.CLIENT_ID,
            "client_secret": hosts.CLIENT_SECRET,
            "servicenow_user": hosts.SERVICENOW_USER,
            "servicenow_password": hosts.SERVICENOW_PASSWORD,
        }

    def start(self) -> None:
        """Return once every port answers."""
        self._ports.start()
        try:
            self._extra.start()
        except BaseException:
            self._ports.stop()
            raise
        self._smtp.start()

    def stop(self) -> None:
        """Close the ports; a second call does nothing."""
        self._smtp.stop()
        self._extra.stop()
        self._ports.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class _Temporary(Serving):
    """A serving whose certificate authority goes with it."""

    def __init__(self, services: Services, *, port: int) -> None:
        self._kept = tempfile.TemporaryDirectory(prefix="sandbox-")
        super().__init__(services, directory=Path(self._kept.name), port=port)

    def stop(self) -> None:
        super().stop()
        self._kept.cleanup()


def serve(world: World, *, port: int = 0, state_dir: Path | None = None) -> Serving:
    """The world on loopback ports, as a context manager: `with serve(contoso()) as sandbox: sandbox.graph`.

    `port` N uses N, N+1, … in the order graph, login, servicenow, teams, mail, SMTP; 0 takes free ones. Without
    `state_dir` the certificate authority lives as long as the ports. Nothing is saved: `SandboxState` does that.
    Raises OSError when a port is taken.
    """
    services = Services(world)
    if state_dir is None:
        return _Temporary(services, port=port)
    return Serving(services, directory=state_dir, port=port)


def one_version(request: httpx.Request) -> httpx.Request:
    """The request with the version once in its path, when the client added it to an address that had it."""
    raw = request.url.raw_path
    doubled = f"{VERSION}{VERSION}/".encode()
    if not raw.startswith(doubled):
        return request
    url = request.url.copy_with(raw_path=raw[len(VERSION) :])
    return httpx.Request(request.method, url, headers=request.headers, content=request.read())
