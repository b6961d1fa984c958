"""The rules by themselves: each alert fires and resolves, minute by minute, in Debian's promtool."""

from __future__ import annotations

import subprocess

import pytest

from tests.service.make_prometheus import ROOT, binary

PROMETHEUS = ROOT / "deploy/prometheus"


@pytest.mark.parametrize(
    "command",
    [
        ("check", "rules", "reconciler.rules.yml"),
        ("check", "config", "prometheus.yml"),
        ("check", "config", "../compose/prometheus.yml"),
        ("test", "rules", "reconciler.rules.test.yml"),
    ],
    ids=" ".join,
)
def test_promtool_finds_nothing_wrong(command: tuple[str, ...]):
    told = subprocess.run(
        [binary("promtool"), *command], cwd=PROMETHEUS, capture_output=True, text=True, check=False, timeout=110
    )

    assert told.returncode == 0, told.stdout + told.stderr
