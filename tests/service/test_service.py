"""Dashboards and rules against the real thing: Debian's Prometheus scrapes the running service while stories and faults
play. Every expression returns series, and what needs less than a minute is seen firing."""

from __future__ import annotations

import math
import sqlite3
import subprocess
from contextlib import closing

import httpx
import pytest

from deploy.monitoring.boards import BOARDS
from deploy.monitoring.rules import ALERTS, RECORDINGS
from tests.service.conftest import EARLY, LATE, Played
from tests.service.make_prometheus import as_grafana_asks, binary, until


def test_every_panel_returns_series(played: Played, capsys: pytest.CaptureFixture[str]):
    found = [
        (board.title, panel.title, query.legend, played.prometheus.series(as_grafana_asks(query.expr)))
        for board in BOARDS
        for panel in board.panels
        for query in panel.queries
    ]

    with capsys.disabled():
        print("\npanels, with the number of series of each expression:")
        for board, panel, legend, series in found:
            print(f"  {len(series):4}  {board} / {panel} / {legend or '-'}")
    empty = [(board, panel, legend) for board, panel, legend, series in found if not series]
    assert empty == []
    without_value = [
        (board, panel, legend)
        for board, panel, legend, series in found
        if not any(math.isfinite(one.value) for one in series)
    ]
    assert without_value == []


def test_every_rule_works_and_returns_series(played: Played, capsys: pytest.CaptureFixture[str]):
    recorded = {rule.record: played.prometheus.series(rule.record) for group in RECORDINGS for rule in group.rules}
    judged = {alert.name: played.prometheus.series(alert.value) for alert in ALERTS}
    health = {rule["name"]: rule["health"] for rule in played.prometheus.rules()}

    with capsys.disabled():
        print("\nrules, with the number of series of each:")
        for name, series in {**recorded, **judged}.items():
            print(f"  {len(series):4}  {name}")
    assert [name for name, series in {**recorded, **judged}.items() if not series] == []
    assert {name for name, state in health.items() if state != "ok"} == set()
    assert {alert.name for alert in ALERTS} | set(recorded) <= set(health)


def test_no_twin_says_that_a_series_is_missing(played: Played):
    missing = {
        alert.twin_name: played.prometheus.series(alert.missing)
        for alert in ALERTS
        if played.prometheus.series(alert.missing)
    }

    assert missing == {}


def test_alerts_that_need_less_than_a_minute_are_seen_firing(played: Played, capsys: pytest.CaptureFixture[str]):
    with capsys.disabled():
        print("\nalerts that fired:")
        for name, alert in sorted(played.fired.items()):
            print(f"  {name}: {alert['annotations']['summary']}")
    assert {*EARLY, *LATE} - set(played.fired) == set()


def test_what_is_scraped_is_clean(played: Played):
    with httpx.Client(trust_env=False, timeout=30) as http:
        plain = http.get(f"http://127.0.0.1:{played.port}/metrics")

    told = subprocess.run(
        [binary("promtool"), "check", "metrics"], input=plain.text, text=True, capture_output=True, check=False
    )
    assert (told.returncode, told.stdout + told.stderr) == (0, "")


def test_a_broken_audit_log_is_seen_within_a_minute_and_is_the_last_thing(played: Played):
    assert "ReconcilerAuditBroken" not in played.look()

    with closing(sqlite3.connect(played.state / "reconciler.db", timeout=30)) as store:
        for (name,) in store.execute(
            "SELECT name FROM sqlite_master WHERE type='trigger' AND tbl_name='audit'"
        ).fetchall():
            store.execute(f'DROP TRIGGER "{name}"')
        store.execute("UPDATE audit SET body = replace(body, '1', '2') WHERE seq = 3")
        store.commit()

    assert until(lambda: "ReconcilerAuditBroken" in played.look(), 55)
