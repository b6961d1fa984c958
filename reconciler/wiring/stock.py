"""The gauges that are read from the store at each scrape, for the tenant that a process serves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path

from cryptography import x509

from desired_state.model import ProductKey
from reconciler.clock import Clock, SystemClock
from reconciler.config import Settings
from reconciler.inventory import Inventory, Tenancy
from reconciler.inventory.reading import Reader, Terms
from reconciler.logs import Log
from reconciler.wiring.app import App
from reconciler.wiring.guards import limits

_DIST = "license-reconciler"


@contextmanager
def taking_stock(in_use: Callable[[], App], *, log: Log, wall: Clock | None = None) -> Iterator[None]:
    """Add the store's gauges to what the process counts, where it counts. `wall` is the machine's clock.

    `in_use` gives the tenant by the configuration that is used now: another one may be taken into use meanwhile.
    """
    own, first = wall or SystemClock(), in_use()
    registry = first.meter.registry

    def now() -> datetime:
        return in_use().clock.now()

    def ends() -> datetime | None:
        app = in_use()
        return first_end(app.settings, app.name)

    if registry is not None:
        reader = Reader(first.name, _Terms(in_use), own.monotonic)
        tenancy = Tenancy(reader, lambda: in_use().database, now, lambda: in_use().sku_prices())
        registry.register(Inventory([tenancy], registry, version(_DIST), ends, log))
    yield


class _Terms:
    """What the configuration in use says, worked out once each."""

    def __init__(self, in_use: Callable[[], App]) -> None:
        self._in_use = in_use
        self._of: tuple[App, Terms] | None = None

    def __call__(self) -> Terms:
        app = self._in_use()
        if self._of is None or self._of[0] is not app:
            self._of = app, _terms(app)
        return self._of[1]


def _terms(app: App) -> Terms:
    def price(product: str) -> Decimal | None:
        known = app.catalogue.product(ProductKey(product))
        return known.price if known is not None else None

    def grace(product: str) -> timedelta:
        known = app.catalogue.product(ProductKey(product))
        return timedelta(seconds=known.grace_s if known is not None else 0.0)

    return Terms(limits(app.tenant.guards), price, grace)


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
