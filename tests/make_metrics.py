"""A registry with a few products, what it exports as text, and Debian's promtool where it can be had."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from desired_state.model import Path as Way
from desired_state.model import Tier
from reconciler.metrics import Meter, Offered, Registry, Vocabulary
from reconciler.metrics import labels as lab

WALL = 1_790_000_000.0
OFFERED = {
    "visio-plan-1": Offered(),
    "visio-plan-2": Offered(Way.GROUP),
    "teams-phone": Offered(tier=Tier.V3, is_probed=True),
}
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def a_registry(*tenants: str) -> Registry:
    known = Vocabulary(tenants or ("contoso",), frozenset({*OFFERED, "project-plan-3"}), OFFERED)
    return Registry(known, lambda: WALL)


def a_meter(registry: Registry, tenant: str = "contoso", mode: str = "enforce") -> Meter:
    return Meter(registry).of(tenant, mode, ours=frozenset({"svc.reconciler"}), flows=frozenset({"svc.flow"}))


def samples(registry: Registry) -> Samples:
    """Everything that a scrape shows, by name and labels."""
    body, _ = registry.exposition("")
    families = text_string_to_metric_families(body.decode())
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def series_of(registry: Registry) -> frozenset[tuple[str, frozenset[tuple[str, str]]]]:
    """The names and labels that a scrape shows, not written out and read again: a fifth of the time."""
    families = registry.collectors.collect()
    return frozenset((s.name, frozenset(s.labels.items())) for family in families for s in family.samples)


def total(found: Samples, name: str, **labels: str) -> float:
    """The sum over all series of a name that have these labels; a name that is absent has none, which fails."""
    values = [value for (known, values), value in found.items() if known == name and set(labels.items()) <= values]
    assert values, f"no series {name} with {labels}"
    return sum(values)


@cache
def promtool() -> str:
    """The checker; a test that needs it is skipped where neither the machine nor Debian has it."""
    found = shutil.which("promtool")
    if found is not None:
        return found
    folder = Path("var/prometheus")
    unpacked = folder / "usr/bin/promtool"
    if not unpacked.exists():
        folder.mkdir(parents=True, exist_ok=True)
        try:
            subprocess.run(
                ["apt-get", "download", "prometheus"], cwd=folder, check=True, capture_output=True, timeout=90
            )
            (package,) = folder.glob("prometheus_*.deb")
            subprocess.run(["dpkg", "-x", package.name, "."], cwd=folder, check=True, capture_output=True)
            package.unlink()
        except (OSError, subprocess.SubprocessError, ValueError):
            pytest.skip("promtool is not installed, and Debian's package prometheus cannot be fetched")
    return str(unpacked.absolute())


__all__ = ["OFFERED", "WALL", "Samples", "a_meter", "a_registry", "lab", "promtool", "samples", "total"]
