"""What a worker holds open: the store for all its tenants, the tenants that it works for, its counters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from prometheus_client import start_http_server

from reconciler.clock import Clock
from reconciler.config import Settings
from reconciler.daemon import Wishes
from reconciler.daemon.waits import once_usable
from reconciler.errors import UserError
from reconciler.fleet.schema import conninfo_of
from reconciler.fleet.turns import Turns
from reconciler.fleet.worker import Fleet
from reconciler.health import Health
from reconciler.logs import Log
from reconciler.metrics import Meter
from reconciler.wiring import App, open_app
from reconciler.wiring.measuring import registry
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
) -> Iterator[Fleet]:
    """A worker of the configured tenants, or of one of them, for a block.

    Raises:
        UserError: the store is not on PostgreSQL, or is none of this version. One that cannot be reached is waited for.
        Stopping: the worker has to end before the store could be reached.
    """
    url = settings.store.read_url()
    if url is None or not url.get_secret_value().startswith("postgresql"):
        raise UserError(
            f"{settings.source}: workers share a store on PostgreSQL; set [store] url to it, or use `reconciler run`, "
            "which is the service of a store in a file"
        )
    tenants = frozenset({only} if only is not None else settings.tenants)
    with ExitStack() as held:
        most, health = CONNECTIONS_EACH * concurrency + 3, Health(log, wall.monotonic)
        database = held.enter_context(once_usable(lambda: open_store(settings, connections=most), health, wishes, wall))
        meter = Meter(registry(settings, tenants))

        def opened(tenant: str) -> AbstractContextManager[App]:
            require_one_key(settings, tenant, database)
            return open_app(settings, tenant, meter=meter, database=database)

        turns = Turns(opened, log, wishes, wall, database=database, ours=tenants)
        held.callback(turns.close)
        if metrics_port is not None:
            assert meter.registry is not None
            try:
                server, thread = start_http_server(metrics_port, settings.web.host, meter.registry.collectors)
            except OSError as error:
                raise UserError(
                    f"metrics cannot be served on {settings.web.host}:{metrics_port}: {error.strerror}; "
                    "choose another --metrics-port",
                    exit_code=1,
                ) from None
            held.callback(thread.join)
            held.callback(server.shutdown)
        yield Fleet(
            conninfo_of(url.get_secret_value()),
            database,
            turns,
            lambda: tenants,
            wall,
            health,
            wishes,
            concurrency,
        )
