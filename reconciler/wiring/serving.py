"""Everything that the service holds open while it runs: the port, the sandbox where it is one, the store, the pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from reconciler.config import Settings
from reconciler.errors import UserError
from reconciler.logs import Log
from reconciler.metrics import Meter
from reconciler.traces import UNTRACED, Tracer
from reconciler.web.server import WebServer
from reconciler.wiring.app import App
from reconciler.wiring.governing import note_configuration, note_start
from reconciler.wiring.measuring import registry, vocabulary
from reconciler.wiring.one_key import require_one_key
from reconciler.wiring.opening import open_app
from reconciler.wiring.pages import Loop, public_url, web_app
from reconciler.wiring.stock import taking_stock
from reconciler.wiring.twin import ServedTwin, followed_sandbox, served_sandbox


@dataclass
class Served:
    """One tenant with its pages up. `url` is where people find them, `sandbox` the sandbox's addresses, if any.

    `swap` takes another configuration into use while the port stays open; see `_Rig.swap`.
    """

    app: App
    url: str
    sandbox: Mapping[str, str]
    swap: Callable[[Settings], App]


@contextmanager
def serving(
    settings: Settings, tenant: str, *, log: Log, tracer: Tracer = UNTRACED, loop: Loop | None = None
) -> Iterator[Served]:
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
        ExitStack() as held,
    ):
        measured = _Measured(Meter(registry(settings, [tenant])), tracer)
        rig = _Rig(settings, tenant, log, loop, server.port, twin, measured)
        held.callback(rig.close)
        app = rig.open(settings)
        held.enter_context(taking_stock(lambda: rig.app, log=log))
        with server.serving(rig):
            note_start(app)
            yield Served(app, public_url(app, server.port), twin.line if twin is not None else {}, rig.swap)


@dataclass(frozen=True)
class _Measured:
    """What holds for the process, whichever configuration is in use. Products that come later count as others do that
    the registry does not know."""

    meter: Meter
    tracer: Tracer


class _Rig:
    """The tenant that is in use, and its pages, as an application that another one can take the place of."""

    def __init__(
        self,
        settings: Settings,
        tenant: str,
        log: Log,
        loop: Loop | None,
        port: int,
        twin: ServedTwin | None,
        measured: _Measured,
    ) -> None:
        self._settings, self._tenant, self._log, self._loop = settings, tenant, log, loop
        self._port, self._twin, self._measured = port, twin, measured
        self._app: App | None = None
        self._pages: ASGIApp | None = None
        self._held: list[ExitStack] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self._pages is not None
        await self._pages(scope, receive, send)

    @property
    def app(self) -> App:
        """The tenant by the configuration that is in use."""
        assert self._app is not None
        return self._app

    def open(self, settings: Settings) -> App:
        """Take this configuration into use. Raises UserError, and then the one before is still in use."""
        with ExitStack() as held:
            clock = self._twin.clock if self._twin is not None else None
            own = self._measured
            app = held.enter_context(
                open_app(settings, self._tenant, clock=clock, port=self._port, meter=own.meter, tracer=own.tracer)
            )
            require_one_key(settings, self._tenant, app.database)
            pages = web_app(app, port=self._port, log=self._log, loop=self._loop)
            self._app, self._pages, self._settings = app, pages, settings
            self._held.append(held.pop_all())
        return app

    def swap(self, settings: Settings) -> App:
        """The tenant by another configuration. What was open for the one before is closed with the next swap, so that
        a page that is being answered keeps what it works with.

        Raises:
            UserError: it cannot be used, or differs in what holds for as long as the process runs; nothing changed.
        """
        fixed = _fixed(self._settings, settings, self._tenant)
        if fixed:
            raise UserError(f"{settings.source}: {fixed} cannot change while the service runs; start it anew")
        app = self.open(settings)
        if self._measured.meter.registry is not None:
            self._measured.meter.registry.renew(vocabulary(settings, [self._tenant]))
        note_configuration(app)
        while len(self._held) > 2:
            self._held.pop(0).close()
        return app

    def close(self) -> None:
        while self._held:
            self._held.pop().close()


def _fixed(old: Settings, new: Settings, tenant: str) -> str:
    """What of a new configuration takes a new process, "" when nothing does."""
    if tenant not in new.tenants:
        return f"the tenant '{tenant}', which is not in it any more,"
    places = ("host", "port", "tls_certificate_file", "tls_key_file")
    pairs = {
        "the state directory": (old.state_dir, new.state_dir),
        "[store]": (old.store, new.store),
        "[sandbox]": (old.sandbox, new.sandbox),
        f"tenants.{tenant}.sandbox": (old.tenants[tenant].sandbox, new.tenants[tenant].sandbox),
        **{f"web.{name}": (getattr(old.web, name), getattr(new.web, name)) for name in places},
    }
    return next((name for name, (before, now) in pairs.items() if before != now), "")


@contextmanager
def _twin(settings: Settings, tenant: str) -> Iterator[ServedTwin | None]:
    if not settings.tenants[tenant].sandbox:
        yield None
        return
    with followed_sandbox(settings) as theirs:
        if theirs is not None:
            yield theirs
            return
    with served_sandbox(settings) as twin:
        yield twin
