"""The gauges that are read from the store at each scrape, for the tenant that a process serves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path

from cryptography import x509

from desired_state.model import ProductKey
from reconciler.clock import Clock, SystemClock
from reconciler.config import Settings
from reconciler.inventory import Inventory, Tenancy
from reconciler.inventory.reading import Reader
from reconciler.logs import Log
from reconciler.wiring.app import App
from reconciler.wiring.guards import limits

_DIST = "license-reconciler"


@contextmanager
def taking_stock(app: App, *, log: Log, wall: Clock | None = None) -> Iterator[None]:
    """Add the store's gauges to what the process counts, where it counts. `wall` is the machine's clock."""
    own = wall or SystemClock()
    registry = app.meter.registry
    if registry is not None:
        reader = Reader(
            app.name, lambda: limits(app.tenant.guards), lambda product: _price(app, product), own.monotonic
        )
        tenancy = Tenancy(reader, app.database, app.clock, app.sku_prices)
        registry.register(
            Inventory([tenancy], registry, version(_DIST), lambda: first_end(app.settings, app.name), log)
        )
    yield


def _price(app: App, product: str) -> Decimal | None:
    known = app.catalogue.product(ProductKey(product))
    return known.price if known is not None else None


def first_end(settings: Settings, tenant: str) -> datetime | None:
    """When the first credential whose end is known runs out: certificates say it, secrets have it configured."""
    own = settings.tenants[tenant]
    files = (own.graph.certificate_file, own.sign_in.certificate_file, settings.web.tls_certificate_file)
    ends = [end for path in files if path is not None for end in _ends_in(path)]
    days = (own.graph.credential_expires, own.servicenow.credential_expires, own.sign_in.credential_expires)
    ends += [_midnight(day) for day in days if day is not None]
    return min(ends, default=None)


def _ends_in(path: Path) -> Iterable[datetime]:
    try:
        return [found.not_valid_after_utc for found in x509.load_pem_x509_certificates(path.read_bytes())]
    except (OSError, ValueError):
        return ()  # what it is needed for says so, in a sentence


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)
