"""Everything that the service holds open while it runs: the port, the sandbox where it is one, the store, the pages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from reconciler.config import Settings
from reconciler.logs import Log
from reconciler.metrics import Meter
from reconciler.traces import UNTRACED, Tracer
from reconciler.web.server import WebServer
from reconciler.wiring.app import App, open_app
from reconciler.wiring.governing import note_start
from reconciler.wiring.measuring import registry
from reconciler.wiring.pages import public_url, web_app
from reconciler.wiring.stock import taking_stock
from reconciler.wiring.twin import ServedTwin, served_sandbox


@dataclass(frozen=True)
class Served:
    """One tenant with its pages up. `url` is where people find them, `sandbox` the sandbox's addresses, if any."""

    app: App
    url: str
    sandbox: Mapping[str, str]


@contextmanager
def serving(settings: Settings, tenant: str, *, log: Log, tracer: Tracer = UNTRACED) -> Iterator[Served]:
    """The pages of one tenant, and its sandbox on its ports, for a block. `log` takes one line.

    Raises UserError when a port is taken, the store cannot be opened or nobody could sign in.
    """
    web = settings.web
    with (
        WebServer(
            host=web.host,
            port=web.port,
            tls_certificate_file=web.tls_certificate_file,
            tls_key_file=web.tls_key_file,
        ) as server,
        _twin(settings, tenant) as twin,
        open_app(
            settings,
            tenant,
            clock=twin.clock if twin is not None else None,
            port=server.port,
            meter=Meter(registry(settings, [tenant])),
            tracer=tracer,
        ) as app,
        taking_stock(app, log=log),
        server.serving(web_app(app, port=server.port, log=log)),
    ):
        note_start(app)
        yield Served(app, public_url(app, server.port), twin.line if twin is not None else {})


@contextmanager
def _twin(settings: Settings, tenant: str) -> Iterator[ServedTwin | None]:
    if not settings.tenants[tenant].sandbox:
        yield None
        return
    with served_sandbox(settings) as twin:
        yield twin
