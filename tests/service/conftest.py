"""The service and a Prometheus that scrapes it, for one play of about a minute.

The service starts as the second one of its tenant: another holds the lease until Prometheus has read the counters at 0.
What the first cycle counts is invisible to `increase()` otherwise, whenever that cycle is faster than a scrape.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from reconciler.store import leases
from reconciler.store.database import open_database
from tests.service.make_customer import configuration, keep_world
from tests.service.make_prometheus import Prometheus, free_port, until

SPEED = 60  # a cycle on a busy machine then takes minutes, and what it has read is not old when it writes
PLAY_S = 60  # at most, before and after
CYCLES = 2  # at least, before and after two days go by at once
GRANTED = 'sum(reconciler_tickets{product="visio-plan-2",phase="granted"}) >= 5'
# Alerts without `for` that need no long quiet: seen before, and after the two days.
EARLY = (
    "ReconcilerFalseFulfilmentFast",
    "ReconcilerFalseFulfilmentSlow",
    "ReconcilerTimeToAccessFast",
    "ReconcilerTimeToAccessSlow",
    "ReconcilerGuardTripped",
    "ReconcilerBudgetLow",
    "ReconcilerCredentialExpiring",
    "ReconcilerUnknownVerdicts",
)
LATE = ("ReconcilerFlapping", "ReconcilerApprovalOverdue")
COMMAND = (sys.executable, "-m", "reconciler")
COLD_S = 90  # a busy machine may take so long to start


@dataclass
class Played:
    """What is up. `fired` are alerts that were seen firing at some moment, by name."""

    prometheus: Prometheus
    state: Path
    port: int
    log: Path
    fired: dict[str, dict[str, Any]] = field(default_factory=dict)

    def look(self) -> dict[str, dict[str, Any]]:
        now = self.prometheus.firing()
        self.fired = {**now, **self.fired}
        return now


def _environment(folder: Path, port: int) -> dict[str, str]:
    return {
        **os.environ,
        "RECONCILER_STATE_DIR": str(folder / "var"),
        "RECONCILER_CONFIG": str(configuration(folder)),
        "RECONCILER_WEB__PORT": str(port),
        "RECONCILER_SANDBOX__SPEED": str(SPEED),
        "RECONCILER_SANDBOX__FAULTS": "true",
        "RECONCILER_SCHEDULE__EVERY": "3m",
    }


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    """Prometheus first, as it sees a service that is installed beside it; then the service, for a while."""
    folder = tmp_path_factory.mktemp("service")
    port = free_port()
    prometheus = Prometheus(folder / "prometheus", port)
    try:
        keep_world(folder / "var")
        log = folder / "service.log"
        with log.open("wb") as said:
            env = _environment(folder, port)
            elsewhere = _hold_the_tenant(folder / "var")
            service = subprocess.Popen([*COMMAND, "run"], cwd=folder, env=env, stdout=subprocess.DEVNULL, stderr=said)
        try:
            up = Played(prometheus, folder / "var", port, log)
            _let_go(up, service, elsewhere)
            _play(up, service, env)
            yield up
        finally:
            service.send_signal(signal.SIGTERM)
            try:
                service.wait(30)
            except subprocess.TimeoutExpired:
                service.kill()
                service.wait(30)
    finally:
        prometheus.close()


def _hold_the_tenant(state: Path) -> leases.Lease:
    with open_database(state / "reconciler.db") as database, database.write() as session:
        lease = leases.claim(session, "contoso", "elsewhere:1:2:abc", ttl_s=2 * COLD_S)
    assert isinstance(lease, leases.Lease)
    return lease


def _let_go(up: Played, service: subprocess.Popen[bytes], lease: leases.Lease) -> None:
    def is_read() -> bool:
        assert service.poll() is None, up.log.read_text("utf-8")[-2000:]
        return bool(up.prometheus.series("reconciler_fulfilment_verdicts_total"))

    assert until(is_read, COLD_S), up.log.read_text("utf-8")
    assert not up.prometheus.series("reconciler_fulfilment_verdicts_total > 0")
    with open_database(up.state / "reconciler.db") as database, database.write() as session:
        leases.release(session, lease)


def _play(up: Played, service: subprocess.Popen[bytes], env: Mapping[str, str]) -> None:
    def seen(expr: str) -> bool:
        assert service.poll() is None, up.log.read_text("utf-8")[-2000:]
        up.look()
        return bool(up.prometheus.series(expr))

    def cycles(more: int) -> None:
        done = up.prometheus.series("sum(reconciler_cycles_total)")
        wanted = (done[0].value if done else 0) + more
        assert until(lambda: seen(f"sum(reconciler_cycles_total) >= {wanted}"), COLD_S, every=1), up.log.read_text(
            "utf-8"
        )

    cycles(CYCLES)
    # a breaker may have stopped a lane for a while: what is to be turned back has to be granted first
    until(lambda: seen(GRANTED) and set(EARLY) <= set(up.fired), PLAY_S, every=1)
    subprocess.run([*COMMAND, "sandbox", "advance", "50h"], env=env, check=True, capture_output=True, timeout=60)
    cycles(CYCLES)
    # faults may have left something undone in each of them
    assert until(lambda: seen("reconciler_last_success_timestamp_seconds"), COLD_S, every=1), up.log.read_text("utf-8")
    until(lambda: seen("up") and set(LATE) <= set(up.fired), PLAY_S, every=1)
