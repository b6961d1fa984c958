"""The gauges that stand in the store, as prometheus-client wants them: read at each scrape, absent when unseen.

A store that cannot be read (locked, in the middle of a migration, gone) costs its gauges and nothing else:
`reconciler_inventory_ok` says 0, the log says why once, and whatever this process counted is served as ever.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from desired_state.model import SkuId
from reconciler.approvals.values import State
from reconciler.errors import UserError
from reconciler.inventory.reading import Found, Reader
from reconciler.logs import Log
from reconciler.metrics import Registry
from reconciler.metrics import labels as lab
from reconciler.metrics import series as s
from reconciler.metrics.series import SERIES, Series
from reconciler.seats.book import Book, position
from reconciler.store.database import Database

KEPT = timedelta(seconds=1)  # two scrapers at once share one reading


@dataclass(slots=True)
class Tenancy:
    """One tenant as the collector needs it, by the configuration in use: that may change between two scrapes.

    `now` is by the tenant's own clock; `prices` are a month's, by SKU.
    """

    reader: Reader
    database: Callable[[], Database]
    now: Callable[[], datetime]
    prices: Callable[[], Mapping[SkuId, Decimal]]


@dataclass(slots=True, eq=False)
class Inventory(Collector):
    """Reads every tenant of this process. Safe for threads. `log` takes what is wrong with a store."""

    tenancies: Sequence[Tenancy]
    registry: Registry
    version: str
    expires_at: Callable[[], datetime | None]  # of the first credential whose end is known
    log: Log
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _failing: set[str] = field(default_factory=set)
    _read_at: float | None = None
    _found: list[tuple[Tenancy, Found | None]] = field(default_factory=list)

    def collect(self) -> Iterable[Metric]:
        """Called once a scrape."""
        with self._lock:
            now = self.registry.wall()
            if self._read_at is None or not 0 <= now - self._read_at < KEPT.total_seconds():
                self._found = [(tenancy, self._read(tenancy)) for tenancy in self.tenancies]
                self._read_at = now
            gauges = _Gauges()
            for tenancy, found in self._found:
                name = tenancy.reader.tenant
                gauges.add(s.INVENTORY_OK, 0 if found is None else 1, name)
                if found is not None:
                    prices = tenancy.prices()
                    _tell(gauges, name, found, self._costs(name, found, prices), is_priced=bool(prices))
            for tenant, gauge, age in self.registry.ages():
                gauges.add(s.GAUGE_AGE, age, tenant, gauge)
            self._tell_of_all(gauges)
            return gauges.families()

    def _read(self, tenancy: Tenancy) -> Found | None:
        name = tenancy.reader.tenant
        try:
            with tenancy.database().read() as session:
                found = tenancy.reader.read(session, tenancy.now())
        except UserError as error:
            self._failed(name, str(error))
            return None
        except Exception as error:  # a table of another version of the schema: whatever it is, the scrape goes on
            self._failed(name, f"a defect, or a store of another version ({type(error).__name__})")
            return None
        self._failing.discard(name)
        return found

    def _failed(self, name: str, why: str) -> None:
        if name not in self._failing:
            self._failing.add(name)
            self.log("gauges cannot be read from the store", tenant=name, why=why)

    def _costs(self, tenant: str, found: Found, prices: Mapping[SkuId, Decimal]) -> dict[str, float]:
        """By kind; nothing where no price is configured."""
        seen = dict(self.registry.costs(tenant))
        if found.lines is not None and found.lines.granted is not None:
            seen["granted"] = float(found.lines.granted)
        looked = [book for book in found.books.values() if book.idle_at is not None and book.sku in prices]
        if looked:
            seen["idle"] = float(sum((prices[b.sku] * len(b.idle) for b in looked), Decimal(0)))
        return seen

    def _tell_of_all(self, gauges: _Gauges) -> None:
        known = [(t, found) for t, found in self._found if found is not None]
        if known and len(known) == len(self._found):
            gauges.add(s.AUDIT_OK, float(all(found.is_log_whole for _, found in known)))
        ages = [(found.at - found.signed_at).total_seconds() for _, found in known if found.signed_at is not None]
        if ages:
            gauges.add(s.AUDIT_HEAD_AGE, max(0.0, *ages))
        end = self.expires_at()
        if end is not None:
            gauges.add(s.CREDENTIAL_EXPIRY, end.timestamp() - self.registry.wall())
        gauges.add(s.BUILD_INFO, 1, self.version)


class _Gauges:
    """Families in the order of the table; one without a value is not shown."""

    def __init__(self) -> None:
        self._families: dict[str, GaugeMetricFamily] = {}

    def add(self, series: Series, value: float, *values: str) -> None:
        if series.name not in self._families:
            names = [label.name for label in series.labels]
            self._families[series.name] = GaugeMetricFamily(series.name, series.help, labels=names)
        shown = [
            label.shown(v) if label.values is not None else v for label, v in zip(series.labels, values, strict=True)
        ]
        self._families[series.name].add_metric(shown, value)

    def families(self) -> list[Metric]:
        return [self._families[name] for name in SERIES if name in self._families]


def _tell(gauges: _Gauges, tenant: str, found: Found, costs: Mapping[str, float], *, is_priced: bool) -> None:
    """What one tenant's store says."""
    told: dict[str, None] = {}  # names of gauges, in order

    def add(series: Series, value: float, *values: str) -> None:
        gauges.add(series, value, tenant, *values)
        told[series.name] = None

    looked = (found.at - found.looked_at).total_seconds() if found.looked_at is not None else None
    for state in (state.value for state in State if state is not State.DRAFT):
        add(s.APPROVALS, found.approvals.get(state, 0), state)
    if found.backlog.since is not None:
        add(s.APPROVAL_OLDEST_AGE, _age(found.at, found.backlog.since))
    add(s.APPROVAL_OVERDUE, found.backlog.overdue(found.at).total_seconds())
    if is_priced:
        add(s.APPROVAL_COST, float(found.backlog.cost))
    for budget, left in found.remaining.items():
        add(s.BUDGET_REMAINING, float(left), budget)
        add(s.BUDGET_LIMIT, float(found.limits[budget]), budget)
    for state, count in found.notices.items():
        add(s.NOTICES, count, state)
    live = set(told)  # true now; what follows is as old as the last look of a cycle
    if found.lines is not None:
        _tell_of_lines(add, found)
    for kind, amount in costs.items():
        add(s.COST, amount, kind)
    for book in found.books.values():
        for kind, count in _seats(book):
            add(s.SEATS, count, book.part_number or book.sku, kind)
    for name in told:
        age = 0.0 if name in live else looked
        if age is not None:
            gauges.add(s.GAUGE_AGE, max(0.0, age), tenant, name)


def _tell_of_lines(add: Callable[..., None], found: Found) -> None:
    lines, at = found.lines, found.at
    assert lines is not None
    for (product, phase), count in sorted(lines.tickets.items()):
        add(s.TICKETS, count, product, phase)
    for phase, since in sorted(lines.oldest.items()):
        add(s.TICKET_OLDEST_AGE, _age(at, since), phase)
    for (product, cause), count in sorted(lines.drift.items()):
        add(s.DRIFT, count, product, cause)
    for cause, since in sorted(lines.drift_oldest.items()):
        add(s.DRIFT_AGE_MAX, _age(at, since), cause)
    for window, days in lab.WINDOWS.items():
        add(s.GRANTS_EXPIRING, lines.expiring(at, days), window)
    expired = lines.expired(at)
    for product in sorted({product for product, _ in lines.tickets}):
        add(s.EXPIRED_LICENSED, expired[product], product)


def _seats(book: Book) -> Iterator[tuple[str, int]]:
    yield "enabled", book.enabled
    yield "consumed", book.consumed
    yield "warning", book.warning
    yield "suspended", book.suspended
    yield "reserved", len(book.kept)
    yield "queued", position(book, None)[1]


def _age(at: datetime, since: datetime) -> float:
    return max(0.0, (at - since).total_seconds())
