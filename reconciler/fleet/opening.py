"""What a worker holds open: the store for all its tenants, the tenants that it works for, its counters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from prometheus_client import start_http_server

from reconciler.clock import Clock
from reconciler.config import Settings
from reconciler.daemon import Wishes
from reconciler.daemon.waits import once_usable
from reconciler.errors import UserError
from reconciler.fleet.schema import conninfo_of
from reconciler.fleet.turns import Open, Turns
from reconciler.fleet.worker import Fleet
from reconciler.health import Health
from reconciler.logs import Log
from reconciler.metrics import Meter
from reconciler.wiring import App, open_app, pick_tenant
from reconciler.wiring.measuring import registry, vocabulary
from reconciler.wiring.one_key import require_one_key
from reconciler.wiring.stores import open_store

CONNECTIONS_EACH = 3  # to the store for a turn: one view beside one write, and one that prolongs the lease


@contextmanager
def working(
    settings: Settings,
    log: Log,
    wishes: Wishes,
    *,
    only: str | None = None,
    concurrency: int,
    wall: Clock,
    metrics_port: int | None = None,
    again: Callable[[], Settings] | None = None,
) -> Iterator[Fleet]:
    """A worker of the configured tenants, or of one of them, for a block. `again` reads the configuration anew.

    Raises:
        UserError: the store is not on PostgreSQL, or is none of this version. One that cannot be reached is waited for.
        Stopping: the worker has to end before the store could be reached.
    """
    conninfo = conninfo_of(_server(settings))
    with ExitStack() as held:
        most, health = CONNECTIONS_EACH * concurrency + 3, Health(log, wall.monotonic)
        database = held.enter_context(once_usable(lambda: open_store(settings, connections=most), health, wishes, wall))
        meter = Meter(registry(settings, _tenants(settings, only)))

        def opening(by: Settings) -> Open:
            def opened(tenant: str) -> AbstractContextManager[App]:
                require_one_key(by, tenant, database)
                return open_app(by, tenant, meter=meter, database=database)

            return opened

        turns = Turns(opening(settings), log, wishes, wall, database=database, ours=_tenants(settings, only))
        held.callback(turns.close)

        def reload() -> None:
            fresh = again() if again is not None else settings
            _require_same(settings, fresh)
            tenants = _tenants(fresh, only)
            assert meter.registry is not None
            meter.registry.renew(vocabulary(fresh, tenants))
            turns.use(opening(fresh), tenants)

        if metrics_port is not None:
            _serve_metrics(meter, settings, metrics_port, held)
        yield Fleet(
            conninfo,
            database,
            turns,
            lambda: turns.ours or (),
            wall,
            health,
            wishes,
            concurrency,
            reload=reload,
        )


def _server(settings: Settings) -> str:
    """Where the store is. Raises UserError when that is no PostgreSQL."""
    url = settings.store.read_url()
    if url is None or not url.get_secret_value().startswith("postgresql"):
        raise UserError(
            f"{settings.source}: workers share a store on PostgreSQL; set [store] url to it, or use `reconciler run`, "
            "which is the service of a store in a file"
        )
    return url.get_secret_value()


def _tenants(settings: Settings, only: str | None) -> frozenset[str]:
    return frozenset({pick_tenant(settings, only)} if only is not None else settings.tenants)


def _require_same(old: Settings, new: Settings) -> None:
    """Return when nothing differs that holds for as long as the process runs. Raises UserError."""
    pairs = {
        "the state directory": (old.state_dir, new.state_dir),
        "[store]": (old.store, new.store),
        "audit.persons": (old.audit.persons, new.audit.persons),
    }
    for name, (before, now) in pairs.items():
        if before != now:
            raise UserError(f"{new.source}: {name} cannot change while a worker runs; start it anew")


def _serve_metrics(meter: Meter, settings: Settings, port: int, held: ExitStack) -> None:
    assert meter.registry is not None
    try:
        server, thread = start_http_server(port, settings.web.host, meter.registry.collectors)
    except OSError as error:
        raise UserError(
            f"metrics cannot be served on {settings.web.host}:{port}: {error.strerror}; choose another --metrics-port",
            exit_code=1,
        ) from None
    held.callback(thread.join)
    held.callback(server.shutdown)
