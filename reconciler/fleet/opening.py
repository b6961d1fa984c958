"""What a worker holds open: the store for all its tenants, the tenants that it works for, its counters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from prometheus_client import start_http_server

from reconciler.clock import Clock
from reconciler.config import Settings
from reconciler.daemon import Wishes
from reconciler.errors import UserError
from reconciler.fleet.schema import conninfo_of
from reconciler.fleet.turns import Turns
from reconciler.fleet.worker import Fleet
from reconciler.health import Health
from reconciler.logs import Log
from reconciler.metrics import Meter
from reconciler.wiring import App, open_app
from reconciler.wiring.measuring import registry
from reconciler.wiring.stores import open_store


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
) -> Iterator[Fleet]:
    """A worker of the configured tenants, or of one of them, for a block.

    Raises:
        UserError: the store is not on PostgreSQL, or cannot be opened.
    """
    url = settings.store.read_url()
    if url is None or not url.get_secret_value().startswith("postgresql"):
        raise UserError(
            f"{settings.source}: workers share a store on PostgreSQL; set [store] url to it, or use `reconciler run`, "
            "which is the service of a store in a file"
        )
    tenants = frozenset({only} if only is not None else settings.tenants)
    with ExitStack() as held:
        database = held.enter_context(open_store(settings))
        meter = Meter(registry(settings, tenants))

        def opened(tenant: str) -> AbstractContextManager[App]:
            return open_app(settings, tenant, meter=meter, database=database)

        turns = Turns(opened, log, wishes, wall)
        held.callback(turns.close)
        if metrics_port is not None:
            assert meter.registry is not None
            server, thread = start_http_server(metrics_port, settings.web.host, meter.registry.collectors)
            held.callback(thread.join)
            held.callback(server.shutdown)
        yield Fleet(
            conninfo_of(url.get_secret_value()),
            database,
            turns,
            lambda: tenants,
            wall,
            Health(log, wall.monotonic),
            wishes,
            concurrency,
        )
