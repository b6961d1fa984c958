"""Counters, histograms and gauges of this process, over a registry of their own; prometheus-client does the counting.

Label values outside their closed sets are shown as the set's last resort, so the number of series has a bound that
does not depend on what comes in.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from reconciler.metrics import labels as lab
from reconciler.metrics.labels import Vocabulary
from reconciler.metrics.series import SERIES, TENANTS_MAX, Kind, Series
from reconciler.metrics.zeros import zeros

Wall = Callable[[], float]  # seconds since 1970 by this machine's clock: what Prometheus compares with


class Registry:
    """Everything that is exported. Safe for threads. `wall` is the machine's clock, not the sandbox's."""

    def __init__(self, known: Vocabulary, wall: Wall) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # they would double the series, and say nothing that a restart does not
        self.known, self.wall = known, wall
        self.is_crowded = len(known.tenants) > TENANTS_MAX
        self._own = CollectorRegistry()
        self._families: dict[str, Counter | Gauge | Histogram] = {}
        self._set_at: dict[tuple[str, str], float] = {}  # (tenant, gauge) -> when it was last set, by wall
        self._costs: dict[str, tuple[dict[str, float], float]] = {}  # tenant -> kind -> amount, and when
        self._lock = threading.Lock()
        for series in SERIES.values():
            if not series.is_stored:
                self._families[series.name] = self._family(series)
        self._begin()

    def renew(self, known: Vocabulary) -> None:
        """Another configuration is in use: what it adds begins at 0, and of what it drops no gauge says anything more.

        Counters stay, for what they counted has happened. The tenants are those of before.
        """
        self.known = known
        self._begin()
        for series in SERIES.values():
            if series.kind is Kind.GAUGE and not series.is_stored and lab.PRODUCT in series.labels:
                self._forget(series, known.configured)

    def _begin(self) -> None:
        for series in SERIES.values():
            if not series.is_stored:
                for values in zeros(series, self.known):
                    self._child(series, dict(zip((label.name for label in series.labels), values, strict=True)))

    def _forget(self, series: Series, products: Collection[str]) -> None:
        """Drop the values of a gauge that are of none of these products."""
        family = self._families[series.name]
        for sample in [sample for metric in family.collect() for sample in metric.samples]:
            if sample.labels["product"] not in products:
                family.remove(*(sample.labels[label.name] for label in series.labels))

    def add(self, series: Series, amount: float = 1.0, **labels: str) -> None:
        """Count an event, observe a span in seconds, or set a gauge."""
        child = self._child(series, labels)
        match child:
            case Counter():
                child.inc(amount)
            case Histogram():
                child.observe(max(0.0, amount))
            case Gauge():
                child.set(amount)
                with self._lock:
                    self._set_at[labels.get("tenant", ""), series.name] = self.wall()

    def value(self, series: Series, **labels: str) -> float | None:
        """What a series says now, None when it is absent; for tests. A histogram says how often it was observed."""
        name = f"{series.name}_count" if series.kind is Kind.HISTOGRAM else series.name
        return self._own.get_sample_value(name, self._shown(series, labels))

    def remember_costs(self, tenant: str, known: Mapping[str, float]) -> None:
        """Costs that only a cycle can see."""
        with self._lock:
            self._costs[tenant] = (dict(known), self.wall())

    def costs(self, tenant: str) -> dict[str, float]:
        """The costs that the last whole cycle saw, by kind; empty before the first one."""
        with self._lock:
            return dict(self._costs.get(tenant, ({}, 0.0))[0])

    def register(self, collector: Collector) -> None:
        """Add what is read at scrape time."""
        self._own.register(collector)

    @property
    def collectors(self) -> CollectorRegistry:
        """Everything, for a server of its own."""
        return self._own

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """Everything, in the format that the Accept header asks for, with its content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self._own), content_type

    def ages(self) -> list[tuple[str, str, float]]:
        """Tenant ("" for none) and name of each gauge of this process, and the seconds since it was last set."""
        with self._lock:
            now, known = self.wall(), dict(self._set_at)
        return [(tenant, name, max(0.0, now - at)) for (tenant, name), at in sorted(known.items())]

    def _family(self, series: Series) -> Counter | Gauge | Histogram:
        names = [label.name for label in series.named(many_tenants=self.is_crowded)]
        match series.kind:
            case Kind.COUNTER:
                return Counter(series.name, series.help, names, registry=self._own)
            case Kind.GAUGE:
                return Gauge(series.name, series.help, names, registry=self._own)
            case Kind.HISTOGRAM:
                return Histogram(series.name, series.help, names, registry=self._own, buckets=series.buckets)

    def _child(self, series: Series, labels: Mapping[str, str]) -> Counter | Gauge | Histogram:
        family, shown = self._families[series.name], self._shown(series, labels)
        return family.labels(**shown) if shown else family

    def _shown(self, series: Series, labels: Mapping[str, str]) -> dict[str, str]:
        """Raises KeyError for a label that is missing: a defect of the caller."""
        named = series.named(many_tenants=self.is_crowded)
        return {label.name: label.shown(labels[label.name], self.known.of(label.name)) for label in named}
