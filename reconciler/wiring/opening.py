"""One tenant with its store and its systems, for a block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from reconciler.clients.wire import Patience
from reconciler.clock import Clock
from reconciler.config import Settings
from reconciler.loop.deps import Progress
from reconciler.metrics import UNCOUNTED, Meter
from reconciler.store.database import Database
from reconciler.traces import UNTRACED, Tracer
from reconciler.wiring.app import PATIENCE, App
from reconciler.wiring.governing import governed
from reconciler.wiring.stores import open_store, require_veil
from reconciler.wiring.systems import systems


@contextmanager
def open_app(
    settings: Settings,
    name: str,
    *,
    progress: Progress | None = None,
    patience: Patience = PATIENCE,
    clock: Clock | None = None,
    port: int | None = None,
    meter: Meter = UNCOUNTED,
    tracer: Tracer = UNTRACED,
    database: Database | None = None,
) -> Iterator[App]:
    """One tenant with its store and its systems, for a block. `clock` is the systems' own where that is at hand.

    `database` is a store that is open already and stays so: of a worker, for all its tenants.
    """
    tenant = settings.tenants[name]
    require_veil(settings, name)
    own = open_store(settings) if database is None else database
    store = own.of(name)
    try:
        with systems(settings, tenant) as found:
            reached = replace(found, clock=clock) if clock is not None else found
            app = App(
                name,
                settings,
                tenant,
                reached,
                store,
                progress or (lambda _: None),
                patience,
                port=port,
                meter=meter,
                tracer=tracer,
            )
            yield governed(app)
    finally:
        if database is None:
            own.close()
